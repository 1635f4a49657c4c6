"""Loss of one or two heads: class (BCE), box (CIoU), and side distances (DFL or L1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from assign import Assigned, assign, ciou, pairs_of
from detect import Anchors, Raw, anchors_of, decode, distances

GAIN_BOX, GAIN_CLASS, GAIN_SIDES = 7.5, 0.5, 1.5
#: Anchors a box takes: (candidates, kept of them).
TOPK = {"o2m": (10, None), "o2o": (7, 1)}


def head_loss(raw: Raw, anchors: Anchors, reg_max: int, size: tuple[int, int], assigned: Assigned,
              labelled: Tensor) -> Tensor:
    """[3]: box, class, sides. `labelled` [B, A, nc]: classes whose absence is known there."""
    i, p, cls, box, weight = assigned
    scores = raw.scores.float()
    target = torch.zeros_like(scores)
    target[i, p, cls] = weight
    total = target.sum().clamp(1)
    bce = F.binary_cross_entropy_with_logits(scores, target, reduction="none")
    class_loss = (bce * (labelled | (target > 0))).sum() / total
    if len(i) == 0:
        nothing = raw.boxes.float().sum() * 0
        return torch.stack((nothing, class_loss, nothing))

    stride = anchors.stride[p]
    points = anchors.points[p]
    chosen = raw.boxes[i, p].float()
    d = distances(chosen, reg_max)
    predicted = torch.cat((points - d[:, :2], points + d[:, 2:]), -1)
    truth = box / stride
    box_loss = ((1 - ciou(truth, predicted)) * weight).sum() / total
    sides = torch.cat((points - truth[:, :2], truth[:, 2:] - points), -1)
    if reg_max == 1:
        h, w = size
        scale = stride / torch.tensor([w, h, w, h], device=sides.device)
        each = ((d - sides).abs() * scale).mean(-1)
    else:
        sides = sides.clamp(0, reg_max - 1.01)
        low = sides.floor()
        bins = chosen.unflatten(-1, (4, reg_max)).log_softmax(-1)
        above = sides - low
        at = low.long().unsqueeze(-1)
        each = -(bins.gather(-1, at).squeeze(-1) * (1 - above)
                 + bins.gather(-1, at + 1).squeeze(-1) * above).mean(-1)
    return torch.stack((box_loss, class_loss, (each * weight).sum() / total))


def loss(out: dict[str, Raw], reg_max: int, size: tuple[int, int], boxes: Tensor, labelled: Tensor,
         share_o2m: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum over the heads, and its parts by head [3] (box, class, sides; with gains).

    boxes [B, M, 5] class and corners in pixels (class -1: none). `share_o2m` is the weight of the
    one-to-many head; the other head has the rest. A single head has all.
    """
    device = boxes.device
    anchors = anchors_of(*size, device)
    pairs = pairs_of(boxes, anchors)
    gains = torch.tensor([GAIN_BOX, GAIN_CLASS, GAIN_SIDES], device=device)
    total, parts = torch.zeros((), device=device), {}
    for name, raw in out.items():
        with torch.no_grad():
            predicted = decode(raw.boxes, anchors, reg_max)
            assigned = assign(raw.scores.float().sigmoid(), predicted, boxes, pairs, *TOPK[name])
        part = head_loss(raw, anchors, reg_max, size, assigned, labelled) * gains
        share = 1.0 if len(out) == 1 else share_o2m if name == "o2m" else 1 - share_o2m
        total = total + share * part.sum()
        parts[name] = part.detach()
    return total, parts
