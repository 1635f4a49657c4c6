"""Batches made on the device: mosaic, scale, shift, flip and colour by one sampling of the pictures.

Every output picture has four tiles around a centre; a single picture is a mosaic whose first tile
covers all. Each tile shows one source picture under its own scale, flip and shift. The tile that an
anchor lies in decides which classes are labelled there (the intersection over a mosaic of sources
with different labels would throw most negatives away).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from data import Pictures
from detect import STRIDES

FILL = 114.0


@dataclass(frozen=True)
class Augment:
    """Strengths; `off` gives letterboxed pictures, flipped half of the time."""

    mosaic: float = 0.5
    scale: tuple[float, float] = (0.7, 1.5)  # of single pictures against the whole input
    tile_scale: tuple[float, float] = (0.45, 1.4)  # the same in a mosaic
    stretch: float = 0.15  # width against height, log-uniform either way
    flip: float = 0.5
    hue: float = 0.015  # turns
    saturation: float = 0.6
    value: float = 0.4
    visible: float = 0.2  # least share of a box that must remain in sight

    @classmethod
    def gentle(cls) -> "Augment":
        """For the end of a run: single pictures, as they will be met."""
        return cls(mosaic=0.0, scale=(0.8, 1.15), stretch=0.05, saturation=0.4, value=0.3)


@dataclass
class Batch:
    images: Tensor  # [B, 3, S, S] 0..1
    boxes: Tensor  # [B, M, 5] class, corners in pixels; class -1: none
    labelled: Tensor  # [B, A, nc] bool


def make(pictures: Pictures, chosen: Tensor, side: int, how: Augment, generator: torch.Generator) -> Batch:
    """chosen [B, 4]: the pictures of each output picture's tiles (only the first if it is no mosaic)."""
    device = pictures.pixels.device
    b = len(chosen)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return (torch.rand(*shape, generator=generator) * (high - low) + low).to(device)

    mosaics = round(b * how.mosaic)  # they come first
    mosaic = torch.arange(b, device=device) < mosaics
    centre = torch.where(mosaic[:, None], uniform(b, 2, low=0.3, high=0.7) * side, float(side))
    size = pictures.sizes[chosen].float()  # [B, 4, 2]
    # Pixels of the output per pixel of the source, [B, 4, 2]
    scale = side / size.amax(-1, keepdim=True)
    bounds = torch.tensor([how.scale, how.tile_scale], device=device).log()[mosaic.long()]  # [B, 2]
    low, high = bounds[:, None, :1], bounds[:, None, 1:]
    scale = scale * (low + (high - low) * uniform(b, 4, 1)).exp()
    stretch = uniform(b, 4, 1, low=-how.stretch, high=how.stretch)
    scale = scale * torch.cat((stretch, -stretch), -1).exp()
    shown = size * scale
    # Rectangles of the tiles, [B, 4, 2]: left top, right top, left bottom, right bottom
    right = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]], device=device, dtype=torch.bool)
    start = torch.where(right, centre[:, None], 0.0)
    end = torch.where(right, float(side), centre[:, None])
    # A picture smaller than its tile: anywhere in it (single) or at the centre of the mosaic;
    # a larger one: any crop.
    room = end - start - shown
    at = uniform(b, 4, 2)
    at = torch.where(mosaic[:, None, None] & (room > 0), (~right).float(), at)
    corner = start + room * at
    flip = uniform(b, 4) < how.flip

    parts = []
    for some, tiles in ((slice(0, mosaics), 4), (slice(mosaics, b), 1)):
        if len(chosen[some]):
            per_tile = (t[some, :tiles] for t in (scale, corner, flip, size))
            parts.append(_sample(pictures, chosen[some, :tiles], side, centre[some], *per_tile))
    images, outside = (torch.cat(p) for p in zip(*parts))
    images = _colour(images, how, uniform).masked_fill_(outside, FILL / 255)
    boxes = _boxes(pictures, chosen, scale, corner, flip, shown, start, end, how.visible)
    return Batch(images, boxes, _labelled(pictures, chosen, side, centre))


def letterboxed(pictures: Pictures, chosen: Tensor, side: int) -> Batch:
    """chosen [B]: unchanged pictures, centred."""
    size = pictures.sizes[chosen].float()
    scale = (side / size.amax(-1)).reshape(-1, 1, 1).expand(-1, 4, 2)
    shown = size[:, None] * scale
    corner = (side - shown) / 2
    b, device = len(chosen), chosen.device
    centre = torch.full((b, 2), float(side), device=device)
    flip = torch.zeros(b, 4, dtype=torch.bool, device=device)
    four = chosen[:, None].expand(-1, 4)
    images, outside = _sample(pictures, chosen[:, None], side, centre, scale[:, :1], corner[:, :1],
                              flip[:, :1], size[:, None])
    start, end = torch.zeros_like(corner), torch.full_like(corner, side)
    end[:, 1:] = 0  # only the first tile is there
    boxes = _boxes(pictures, four, scale, corner, flip, shown, start, end, 0.2)
    return Batch((images / 255).masked_fill(outside, FILL / 255), boxes, _labelled(pictures, four, side, centre))


def _tile(points: Tensor, centre: Tensor) -> Tensor:
    """[N] coordinates to 0 or 1 along one axis, [B, N]; `centre` [B]."""
    return (points >= centre[:, None]).long()


def _sample(pictures, chosen, side, centre, scale, corner, flip, size) -> tuple[Tensor, Tensor]:
    """[B, 3, S, S] 0..255, bilinear; and [B, 1, S, S] where no picture is."""
    b, tiles = chosen.shape
    device, stored = chosen.device, pictures.pixels.shape[-1]
    source = pictures.pixels.index_select(0, chosen.reshape(-1))
    n = 2 if tiles == 4 else 1
    # Side by side while they are bytes, a quarter of the memory to move.
    atlas = source.reshape(b, n, n, 3, stored, stored).permute(0, 3, 1, 4, 2, 5)
    atlas = atlas.reshape(b, 3, n * stored, n * stored).float()
    # Shrunk by more than two: halve first, or fine structure would alias.
    half = 2.0 if float(scale.median()) < 0.6 else 1.0
    if half == 2.0:
        atlas = F.avg_pool2d(atlas, 2)
        stored //= 2

    pixel = torch.arange(side, device=device) + 0.5
    tx, ty = (_tile(pixel, centre[:, k]) for k in (0, 1))  # [B, S]
    tile = ty[:, :, None] * 2 + tx[:, None, :]  # [B, S, S]

    def of_tile(values: Tensor) -> Tensor:  # [B, 4] to [B, S, S]
        return values.gather(1, tile.reshape(b, -1)).reshape(b, side, side)

    def axis(k: int, at: Tensor) -> tuple[Tensor, Tensor]:
        length = of_tile(size[..., k])
        u = (at - of_tile(corner[..., k])) / of_tile(scale[..., k])
        if k == 0:
            u = torch.where(of_tile(flip), length - u, u)
        outside = (u < 0) | (u > length)
        return torch.minimum(u / half, length / half - 0.5).clamp(min=0.5), outside

    x, out_x = axis(0, pixel[None, None, :])
    y, out_y = axis(1, pixel[None, :, None])
    x = x + tx[:, None, :] * stored
    y = y + ty[:, :, None] * stored
    grid = torch.stack((x, y), -1) * (2 / (n * stored)) - 1
    images = F.grid_sample(atlas, grid, mode="bilinear", align_corners=False)
    return images, (out_x | out_y)[:, None]


def _colour(images: Tensor, how: Augment, uniform) -> Tensor:
    """One 3x3 matrix per picture: hue turned in YIQ, saturation and brightness scaled. To 0..1."""
    b = len(images)
    yiq = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]],
                       device=images.device)
    angle = uniform(b, low=-how.hue, high=how.hue) * 2 * math.pi
    saturation = 1 + uniform(b, low=-how.saturation, high=how.saturation)
    value = 1 + uniform(b, low=-how.value, high=how.value)
    c, s, zero = angle.cos() * saturation, angle.sin() * saturation, torch.zeros_like(angle)
    turn = torch.stack((torch.ones_like(angle), zero, zero, zero, c, -s, zero, s, c), -1)
    matrix = torch.linalg.inv(yiq) @ turn.reshape(b, 3, 3) @ yiq * (value / 255)[:, None, None]
    return torch.einsum("bij,bjhw->bihw", matrix, images).clamp_(0, 1)


def _boxes(pictures, chosen, scale, corner, flip, shown, start, end, visible) -> Tensor:
    b = len(chosen)
    boxes = pictures.boxes[chosen]  # [B, 4, M, 5]
    cls, p = boxes[..., :1], boxes[..., 1:].unflatten(-1, (2, 2))  # corners [B, 4, M, 2, 2]
    p = p * scale[:, :, None, None]
    x = torch.where(flip[:, :, None], shown[..., None, 0] - p[..., 1, 0], p[..., 0, 0])
    x2 = torch.where(flip[:, :, None], shown[..., None, 0] - p[..., 0, 0], p[..., 1, 0])
    low = torch.stack((x, p[..., 0, 1]), -1) + corner[:, :, None]
    high = torch.stack((x2, p[..., 1, 1]), -1) + corner[:, :, None]
    whole = (high - low).clamp(0).prod(-1)
    low = torch.minimum(torch.maximum(low, start[:, :, None]), end[:, :, None])
    high = torch.minimum(torch.maximum(high, start[:, :, None]), end[:, :, None])
    sides = high - low
    kept = (sides > 2).all(-1) & (sides.clamp(0).prod(-1) > visible * whole) & (cls[..., 0] >= 0)
    boxes = torch.cat((cls, low, high), -1).reshape(b, -1, 5)
    kept = kept.reshape(b, -1)
    order = torch.argsort(kept.long(), dim=1, descending=True, stable=True)[:, : max(int(kept.sum(1).max()), 1)]
    boxes = boxes.gather(1, order[..., None].expand(-1, -1, 5))
    return torch.where(kept.gather(1, order)[..., None], boxes, torch.full_like(boxes, -1.0))


def _labelled(pictures, chosen, side, centre) -> Tensor:
    """[B, A, nc]"""
    masks = pictures.labelled[chosen]  # [B, 4, nc]
    out = []
    for s in STRIDES:
        points = (torch.arange(side // s, device=chosen.device) + 0.5) * s
        tile = _tile(points, centre[:, 1])[:, :, None] * 2 + _tile(points, centre[:, 0])[:, None, :]
        tile = tile.reshape(len(chosen), -1, 1).expand(-1, -1, masks.shape[-1])
        out.append(masks.gather(1, tile))
    return torch.cat(out, 1)
