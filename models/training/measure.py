"""Detections, and mean average precision as the README defines it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data import Item, corners, decode as decode_picture, fit
from detect import Raw, anchors_of, decode
from network import Network
from resize import bilinear

FLOOR, MOST, NMS_IOU = 0.001, 300, 0.7
THRESHOLDS = np.arange(0.5, 0.96, 0.05)
RECALLS = np.linspace(0, 1, 101)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """[n, 4] and [m, 4] corners to [n, m]."""
    low = torch.maximum(a[:, None, :2], b[:, :2])
    high = torch.minimum(a[:, None, 2:], b[:, 2:])
    inter = (high - low).clamp(0).prod(-1)
    area_a, area_b = ((t[:, 2:] - t[:, :2]).clamp(0).prod(-1) for t in (a, b))
    return inter / (area_a[:, None] + area_b - inter).clamp(min=1e-9)


def end_to_end(boxes: Tensor, scores: Tensor) -> Tensor:
    """One-to-one head: boxes [A, 4], scores [A, nc] to [n, 6] corners, score, class."""
    k = min(MOST, len(scores))
    anchors = scores.amax(1).topk(k).indices
    top, flat = scores[anchors].flatten().topk(k)
    anchor, cls = anchors[flat // scores.shape[1]], flat % scores.shape[1]
    found = torch.cat((boxes[anchor], top[:, None], cls[:, None].float()), 1)
    return found[top > FLOOR]


def suppressed(boxes: Tensor, scores: Tensor) -> Tensor:
    """One-to-many head: best class of every anchor, then suppression by class. [n, 6]"""
    top, cls = scores.max(1)
    order = torch.argsort(top, descending=True, stable=True)
    order = order[top[order] > FLOOR]
    boxes, top, cls = boxes[order], top[order], cls[order]
    # Boxes of different classes are moved apart, so that they never overlap.
    apart = boxes.double() + cls[:, None] * 1e5
    alive = torch.ones(len(order), dtype=torch.bool, device=boxes.device)
    kept: list[int] = []
    for i in range(len(order)):
        if alive[i]:
            kept.append(i)
            if len(kept) == MOST:
                break
            alive &= iou(apart[i : i + 1], apart)[0] <= NMS_IOU
    return torch.cat((boxes, top[:, None], cls[:, None].float()), 1)[kept]


FINDERS = {"o2o": end_to_end, "o2m": suppressed}


@dataclass
class Sample:
    """One picture, letterboxed."""

    image: Tensor  # [3, S, S] uint8
    truth: np.ndarray  # [n, 5] class, corners in pixels of the picture
    labelled: list[int]
    size: tuple[int, int]  # width, height of the picture
    resized: tuple[int, int]
    pad: tuple[int, int]


def letterbox(item: Item, side: int) -> Sample:
    picture = decode_picture(item)
    h0, w0 = picture.shape[:2]
    w, h = fit(w0, h0, side)
    left, top = round((side - w) / 2 - 0.1), round((side - h) / 2 - 0.1)
    image = torch.full((3, side, side), 114, dtype=torch.uint8)
    image[:, top : top + h, left : left + w] = torch.from_numpy(bilinear(picture, w, h)).permute(2, 0, 1)
    return Sample(image, corners(item, w0, h0), item.labelled, (w0, h0), (w, h), (left, top))


def back(found: Tensor, sample: Sample) -> np.ndarray:
    """Detections in pixels of the picture, clipped to it."""
    found = found.cpu().numpy().astype(np.float64)
    for axis in (0, 1):
        length = sample.size[axis]
        at = (found[:, axis:4:2] - sample.pad[axis]) * (length / sample.resized[axis])
        found[:, axis:4:2] = at.clip(0, length)
    return found


@torch.no_grad()
def detect(network: Network, samples: list[Sample], device, batch: int = 16) -> dict[str, list[np.ndarray]]:
    """Detections by head, one [n, 6] array per picture. float32."""
    out: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(samples), batch):
        some = samples[start : start + batch]
        images = torch.stack([s.image for s in some]).to(device).float() / 255
        images = images.contiguous(memory_format=torch.channels_last)
        anchors = anchors_of(*images.shape[2:], device)
        for head, raw in network(images).items():
            boxes, scores = decode(raw.boxes, anchors, network.reg_max), raw.scores.float().sigmoid()
            for i, sample in enumerate(some):
                out.setdefault(head, []).append(back(FINDERS[head](boxes[i], scores[i]), sample))
    return out


def average_precision(hits: np.ndarray, truths: int) -> float:
    """hits [n] in order of falling score; 101-point interpolation."""
    if truths == 0 or len(hits) == 0:
        return 0.0
    tp = hits.cumsum()
    recall = tp / truths
    precision = tp / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, RECALLS, side="left")
    return float(np.where(at < len(hits), precision[at.clip(max=len(hits) - 1)], 0).mean())


def matches(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """[n, thresholds] bool: detections [n, 6] by falling score take the best free box [m, 4]."""
    hits = np.zeros((len(found), len(THRESHOLDS)), bool)
    if len(truth) == 0 or len(found) == 0:
        return hits
    overlap = iou(torch.from_numpy(found[:, :4]), torch.from_numpy(truth.astype(np.float64))).numpy()
    for t, threshold in enumerate(THRESHOLDS):
        free = np.ones(len(truth), bool)
        for i, row in enumerate(overlap):
            row = np.where(free, row, -1)
            best = row.argmax()
            if row[best] >= threshold - 1e-9:
                hits[i, t] = True
                free[best] = False
    return hits


def score(found: list[np.ndarray], samples: list[Sample], names: list[str]) -> dict:
    """mAP over the classes that have boxes; a class counts only in pictures whose source labels it."""
    per_class, best_f1 = {}, {}
    for c, name in enumerate(names):
        scores, hits, truths = [], [], 0
        for own, sample in zip(found, samples):
            if c not in sample.labelled:
                continue
            truth = sample.truth[sample.truth[:, 0] == c, 1:]
            truths += len(truth)
            own = own[own[:, 5] == c]
            own = own[np.argsort(-own[:, 4], kind="stable")]
            scores.append(own[:, 4])
            hits.append(matches(own, truth))
        if not truths:
            continue
        scores, hits = np.concatenate(scores), np.concatenate(hits)
        order = np.argsort(-scores, kind="stable")
        scores, hits = scores[order], hits[order]
        aps = [average_precision(hits[:, t], truths) for t in range(len(THRESHOLDS))]
        per_class[name] = [round(aps[0], 4), round(float(np.mean(aps)), 4)]
        if len(scores):
            tp = hits[:, 0].cumsum()
            f1 = 2 * tp / (np.arange(1, len(tp) + 1) + truths)
            best_f1[name] = [round(float(f1.max()), 3), round(float(scores[f1.argmax()]), 3)]
    mean = np.array(list(per_class.values())).reshape(-1, 2).mean(0) if per_class else (0.0, 0.0)
    return {"map50": round(float(mean[0]), 4), "map": round(float(mean[1]), 4),
            "per_class": per_class, "best_f1": best_f1}
