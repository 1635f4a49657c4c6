"""Task-aligned assignment of anchors to boxes, for pairs of a box and an anchor inside it only.

All pairs are handled as flat lists: most anchors lie in few boxes, so that the dense
picture x box x anchor arrays would be nearly empty.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from detect import Anchors

#: Boxes with shorter sides are enlarged to this many pixels when anchors inside are looked for.
SMALLEST_SIDE = 16.0


def ciou(a: Tensor, b: Tensor) -> Tensor:
    """Complete IoU of boxes `a` (truth) and `b` (prediction), [..., 4] corners each."""
    eps = 1e-7
    wa, ha = a[..., 2] - a[..., 0], a[..., 3] - a[..., 1] + eps
    wb, hb = b[..., 2] - b[..., 0], b[..., 3] - b[..., 1] + eps
    inter = ((torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])).clamp(0)
             * (torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])).clamp(0))
    iou = inter / (wa * ha + wb * hb - inter + eps)
    cw = torch.maximum(a[..., 2], b[..., 2]) - torch.minimum(a[..., 0], b[..., 0])
    ch = torch.maximum(a[..., 3], b[..., 3]) - torch.minimum(a[..., 1], b[..., 1])
    apart = ((b[..., 0] + b[..., 2] - a[..., 0] - a[..., 2]) ** 2
             + (b[..., 1] + b[..., 3] - a[..., 1] - a[..., 3]) ** 2) / 4
    v = 4 / math.pi**2 * (torch.atan(wa / ha) - torch.atan(wb / hb)) ** 2
    with torch.no_grad():
        alpha = v / (v - iou + 1 + eps)
    return iou - apart / (cw**2 + ch**2 + eps) - alpha * v


class Assigned(NamedTuple):
    """Positive anchors, P of them."""

    image: Tensor  # [P]
    anchor: Tensor  # [P]
    cls: Tensor  # [P]
    box: Tensor  # [P, 4] pixels
    weight: Tensor  # [P] target score


class Pairs(NamedTuple):
    """Every (picture, box, anchor) with the anchor's centre in the box."""

    image: Tensor
    box: Tensor
    anchor: Tensor


def pairs_of(boxes: Tensor, anchors: Anchors) -> Pairs:
    """boxes [B, M, 5] class and corners in pixels, class -1 where there is none."""
    corners = boxes[..., 1:]
    centre = (corners[..., :2] + corners[..., 2:]) / 2
    half = (corners[..., 2:] - corners[..., :2]).clamp(min=SMALLEST_SIDE) / 2
    points = anchors.points * anchors.stride  # [A, 2]
    inside = ((points - centre[:, :, None]).abs() < half[:, :, None] - 1e-9).all(-1)
    inside &= boxes[..., :1] >= 0
    return Pairs(*inside.nonzero(as_tuple=True))


@torch.no_grad()
def assign(scores: Tensor, predicted: Tensor, boxes: Tensor, pairs: Pairs, topk: int,
           keep: int | None = None) -> Assigned:
    """scores [B, A, nc] probabilities, predicted [B, A, 4] pixels, boxes [B, M, 5].

    Each box takes its `topk` best anchors by score^0.5 · CIoU^6; an anchor wanted by several goes
    to the box with the highest CIoU; then each box keeps its best `keep`.
    """
    _, a, _ = scores.shape
    m = boxes.shape[1]
    i, g, p = pairs
    truth = boxes[i, g]
    cls = truth[:, 0].long()
    overlap = ciou(truth[:, 1:], predicted[i, p]).clamp(0)
    metric = scores[i, p, cls].sqrt() * overlap**6
    owner = i * m + g  # which box
    chosen = _best(metric, owner, topk)
    # An anchor wanted by several boxes: the one with the highest overlap over all boxes.
    place = i * a + p
    top = torch.zeros(len(scores) * a, device=scores.device).scatter_reduce(0, place, overlap, "amax")
    wanted = torch.zeros(len(scores) * a, device=scores.device).index_add(0, place, chosen.float())
    contested = wanted[place] > 1
    chosen = torch.where(contested, overlap >= top[place], chosen) & (wanted[place] > 0)
    if keep is not None and keep != topk:
        chosen &= _best(torch.where(chosen, metric, -1.0), owner, keep)
    i, g, p, cls, metric, overlap, owner = (
        t[chosen] for t in (i, g, p, cls, metric, overlap, owner))
    largest = torch.zeros(len(boxes) * m, device=scores.device)
    best_metric = largest.scatter_reduce(0, owner, metric, "amax")[owner]
    best_overlap = largest.scatter_reduce(0, owner, overlap, "amax")[owner]
    weight = metric * best_overlap / (best_metric + 1e-9)
    return Assigned(i, p, cls, boxes[i, g, 1:], weight)


def _best(value: Tensor, owner: Tensor, k: int) -> Tensor:
    """True for the `k` largest values of every owner."""
    order = torch.argsort(value, descending=True, stable=True)
    order = order[torch.argsort(owner[order], stable=True)]
    sorted_owner = owner[order]
    _, counts = torch.unique_consecutive(sorted_owner, return_counts=True)
    first = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    rank = torch.arange(len(owner), device=owner.device) - first
    best = torch.zeros(len(owner), dtype=torch.bool, device=owner.device)
    best[order] = rank < k
    return best
