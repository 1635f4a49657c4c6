"""The detection head: raw outputs for the loss, boxes and scores for use."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from blocks import Conv, depthwise

STRIDES = (8, 16, 32)


class Raw(NamedTuple):
    """Outputs of one head over all anchors A (P3, P4, P5, each row by row)."""

    boxes: Tensor  # [B, A, 4 * reg_max]
    scores: Tensor  # [B, A, nc], logits


class Anchors(NamedTuple):
    points: Tensor  # [A, 2] cell centres in grid units
    stride: Tensor  # [A, 1]


def anchors_of(height: int, width: int, device) -> Anchors:
    points, strides = [], []
    for s in STRIDES:
        ys, xs = torch.meshgrid(
            torch.arange(height // s, device=device) + 0.5,
            torch.arange(width // s, device=device) + 0.5,
            indexing="ij",
        )
        points.append(torch.stack((xs, ys), -1).reshape(-1, 2))
        strides.append(torch.full((points[-1].shape[0], 1), float(s), device=device))
    return Anchors(torch.cat(points), torch.cat(strides))


def distances(boxes: Tensor, reg_max: int) -> Tensor:
    """Raw boxes [..., 4 * reg_max] to left, top, right, bottom [..., 4] in grid units."""
    boxes = boxes.float()
    if reg_max == 1:
        return boxes
    bins = torch.arange(reg_max, device=boxes.device, dtype=boxes.dtype)
    return boxes.unflatten(-1, (4, reg_max)).softmax(-1) @ bins


def decode(boxes: Tensor, anchors: Anchors, reg_max: int) -> Tensor:
    """Raw boxes [B, A, 4 * reg_max] to x1, y1, x2, y2 in pixels of the input."""
    d = distances(boxes, reg_max)
    corners = torch.cat((anchors.points - d[..., :2], anchors.points + d[..., 2:]), -1)
    return corners * anchors.stride


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return grad * ctx.factor, None


class Dfl(nn.Module):
    """The constant bin numbers, kept as a tensor by published checkpoints."""

    def __init__(self, reg_max: int):
        super().__init__()
        self.conv = nn.Conv2d(reg_max, 1, 1, bias=False).requires_grad_(False)
        self.conv.weight.data[:] = torch.arange(reg_max).reshape(1, reg_max, 1, 1)


class Detect(nn.Module):
    """`cv2`/`cv3` are the one-to-many head, `one2one_*` its copy where `end2end` is set.

    The one-to-one head reads the same maps; `one_to_one_gradient` is the share of its gradient that
    reaches them (0: it trains its own convolutions only).
    """

    def __init__(self, nc: int, reg_max: int, end2end: bool, channels: list[int], legacy: bool):
        super().__init__()
        self.nc, self.reg_max, self.end2end = nc, reg_max, end2end
        self.one_to_one_gradient = 0.0
        c2 = max(16, channels[0] // 4, 4 * reg_max)
        c3 = max(channels[0], min(nc, 100))

        def box(c: int) -> nn.Module:
            return nn.Sequential(Conv(c, c2, 3), Conv(c2, c2, 3), nn.Conv2d(c2, 4 * reg_max, 1))

        def cls(c: int) -> nn.Module:
            if legacy:
                return nn.Sequential(Conv(c, c3, 3), Conv(c3, c3, 3), nn.Conv2d(c3, nc, 1))
            return nn.Sequential(
                nn.Sequential(depthwise(c, c, 3), Conv(c, c3)),
                nn.Sequential(depthwise(c3, c3, 3), Conv(c3, c3)),
                nn.Conv2d(c3, nc, 1),
            )

        self.cv2 = nn.ModuleList(box(c) for c in channels)
        self.cv3 = nn.ModuleList(cls(c) for c in channels)
        if end2end:
            self.one2one_cv2 = nn.ModuleList(box(c) for c in channels)
            self.one2one_cv3 = nn.ModuleList(cls(c) for c in channels)
        if reg_max > 1:
            self.dfl = Dfl(reg_max)
        self.start_biases()

    def start_biases(self) -> None:
        """Boxes of about four cells, class scores of about five objects per picture."""
        for name in ("", "one2one_") if self.end2end else ("",):
            for b, c, s in zip(getattr(self, f"{name}cv2"), getattr(self, f"{name}cv3"), STRIDES):
                b[-1].bias.data[:] = 2.0
                c[-1].bias.data[:] = math.log(5 / self.nc / (640 / s) ** 2)

    def forward(self, maps: list[Tensor]) -> dict[str, Raw]:
        out = {"o2m": self.head(maps, self.cv2, self.cv3)}
        if self.end2end:
            if torch.is_grad_enabled():
                maps = [_ScaledGradient.apply(m, self.one_to_one_gradient)
                        if self.one_to_one_gradient else m.detach() for m in maps]
            out["o2o"] = self.head(maps, self.one2one_cv2, self.one2one_cv3)
        return out

    @staticmethod
    def head(maps: list[Tensor], boxes: nn.ModuleList, scores: nn.ModuleList) -> Raw:
        def flat(convs: nn.ModuleList) -> Tensor:
            return torch.cat([f(m).flatten(2) for f, m in zip(convs, maps)], 2).transpose(1, 2)

        return Raw(flat(boxes), flat(scores))
