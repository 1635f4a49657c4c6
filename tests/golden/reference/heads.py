"""The Detect head, box decoding, NMS and the end-to-end top-k.

Anchors are the cell centres of all levels, P3 first, row-major inside a level. Rows of detections
are x1, y1, x2, y2 (pixels of the network input), score, class.
"""

import numpy as np

from .blocks import conv
from .ops import conv2d, sigmoid, softmax

MAX_DETECTIONS = 300


def branch(features, w, separable):
    """One box or class branch over all levels: [channels, A]."""
    out = []
    for i, x in enumerate(features):
        v = w / i
        for step in ("0", "1"):
            # The class branch is a depthwise 3x3 followed by a 1x1, the box branch one dense 3x3.
            x = conv(conv(x, v / step / "0"), v / step / "1") if separable else conv(x, v / step)
        y = conv2d(x, v["2.weight"], v["2.bias"])
        out.append(y.reshape(y.shape[0], -1))
    return np.concatenate(out, axis=1)


def detect(features, w, legacy=False):
    """Raw outputs of every head that the weights hold: {"o2m" | "o2o": (boxes, scores)}.

    boxes [4 reg_max, A], scores [nc, A], both before decoding.
    """
    heads = {}
    for name, prefix in (("o2m", ""), ("o2o", "one2one_")):
        if f"{prefix}cv2.0.2.weight" in w:
            boxes = branch(features, w / f"{prefix}cv2", separable=False)
            heads[name] = boxes, branch(features, w / f"{prefix}cv3", separable=not legacy)
    return heads


def decode(boxes, level_sizes, strides, reg_max):
    """Corners [A, 4] in pixels from raw box outputs [4 reg_max, A]."""
    centres, scale = [], []
    for (h, w), stride in zip(level_sizes, strides):
        y, x = np.mgrid[0:h, 0:w] + 0.5
        centres.append(np.stack([x.ravel(), y.ravel()], axis=1))
        scale.append(np.full(h * w, stride))
    centres = np.concatenate(centres).astype(boxes.dtype)
    scale = np.concatenate(scale).astype(boxes.dtype)[:, None]
    if reg_max == 1:
        sides = boxes.T  # left, top, right, bottom in cells, as they are; may be negative
    else:
        bins = softmax(boxes.reshape(4, reg_max, -1), axis=1)
        sides = np.einsum("sba,b->as", bins, np.arange(reg_max, dtype=boxes.dtype))
    return np.concatenate([centres - sides[:, :2], centres + sides[:, 2:]], axis=1) * scale


def iou(box, others):
    """Intersection over union of one box [4] with [n, 4]; no +1, no epsilon."""
    overlap = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = overlap.clip(min=0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return shared / (areas - shared)


def nms(corners, scores, confidence, overlap):
    """Rows [n, 6] of the one-to-many head, and how close its decisions were.

    The best class of an anchor counts if its probability is above `confidence`; a box is dropped
    if its overlap with a kept box of the same class is above `overlap`.
    """
    probability = sigmoid(scores)
    best, label = probability.max(axis=0), probability.argmax(axis=0)
    order = np.argsort(-best, kind="stable")
    order = order[best[order] > confidence]
    kept, closest = [], np.inf
    for a in order:
        same = [b for b in kept if label[b] == label[a]]
        shared = iou(corners[a], corners[same])
        closest = min(closest, np.abs(shared - overlap).min(initial=np.inf))
        if not (shared > overlap).any():
            kept.append(a)
    kept = kept[:MAX_DETECTIONS]
    rows = np.column_stack([corners[kept], best[kept], label[kept]])
    margins = {
        "confidence": float(np.abs(best - confidence).min()),
        "iou": float(closest),
        "score_gap": smallest_gap(best[order]),
    }
    return rows, margins


def top_k(corners, scores):
    """Rows [min(300, A), 6] of the one-to-one head, and the smallest gap between their scores.

    First the anchors with the largest best probability, then the largest (anchor, class) pairs
    among them: an anchor may appear with two classes.
    """
    probability = sigmoid(scores)
    k = min(MAX_DETECTIONS, probability.shape[1])
    anchors = np.argsort(-probability.max(axis=0), kind="stable")[:k]
    pairs = probability[:, anchors].T.ravel()
    best = np.argsort(-pairs, kind="stable")
    gap = smallest_gap(pairs[best[: k + 1]])
    best = best[:k]
    nc = probability.shape[0]
    chosen = anchors[best // nc]
    return np.column_stack([corners[chosen], pairs[best], best % nc]), gap


def smallest_gap(descending):
    """Smallest difference of neighbours in a sorted list; infinite for fewer than two."""
    return float(-np.diff(descending).max(initial=-np.inf))
