"""Average precision of drawn boxes by pycocotools, which defines it.

    python -m venv venv && venv/bin/pip install pycocotools==2.0.11 numpy==2.4.6
    venv/bin/python tests/average_precision/make_reference.py

writes reference.json beside this file. Corners are quarters and scores are 64ths, so that single precision holds them
exactly and many of them tie; boxes are often shifted copies of the true ones, some true ones are crowds, and each
picture labels a part of the classes only.
"""

import json
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

CLASSES, PICTURES, SIDE = 4, 14, 96.0


def box(rng):
    size = rng.integers(16, 200, 2) / 4
    corner = rng.integers(0, 4 * SIDE, 2) / 4
    return [*corner, *(corner + size)]


def picture(rng):
    truths, found = [], []
    for _ in range(rng.integers(0, 9)):
        rect, label = box(rng), int(rng.integers(CLASSES - 1))  # the last class has detections only
        truths.append([label, *rect, int(rng.random() < 0.15)])
        for _ in range(rng.integers(0, 4)):
            spread = rng.choice([1, 4, 16])
            near = [float(v + s / 4) for v, s in zip(rect, rng.integers(-spread, spread + 1, 4))]
            if near[2] > near[0] and near[3] > near[1]:
                found.append([label, *near])
    found += [[int(rng.integers(CLASSES)), *box(rng)] for _ in range(rng.integers(0, 6))]
    found = [[*d, int(rng.integers(1, 64)) / 64] for d in found]
    labelled = [c for c in range(CLASSES) if rng.random() < 0.8]
    return {"truths": truths, "found": found, "labelled": labelled}


def wide(x1, y1, x2, y2):
    return [x1, y1, x2 - x1, y2 - y1]


def expected(pictures, label):
    """The average precision of a class at the ten overlaps, on the pictures that label it."""
    ids = [i for i, p in enumerate(pictures, 1) if label in p["labelled"]]
    truths = [
        {"image_id": i, "category_id": 1, "bbox": wide(*t[1:5]), "area": wide(*t[1:5])[2] * wide(*t[1:5])[3], "iscrowd": t[5]}
        for i in ids for t in pictures[i - 1]["truths"] if t[0] == label
    ]
    found = [
        {"image_id": i, "category_id": 1, "bbox": wide(*d[1:5]), "score": d[5]}
        for i in ids for d in pictures[i - 1]["found"] if d[0] == label
    ]
    boxes = sum(1 - t["iscrowd"] for t in truths)
    if boxes == 0 or not found:
        return {"pictures": len(ids), "boxes": boxes, "at": [0.0] * 10 if boxes else None}
    coco = COCO()
    coco.dataset = {
        "info": {}, "images": [{"id": i} for i in ids], "categories": [{"id": 1}],
        "annotations": [{"id": n, **t} for n, t in enumerate(truths, 1)],
    }
    coco.createIndex()
    run = COCOeval(coco, coco.loadRes(found), "bbox")
    run.params.imgIds, run.params.maxDets = ids, [300]
    run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
    run.evaluate()
    run.accumulate()
    at = run.eval["precision"][:, :, 0, 0, 0].mean(axis=1)  # overlaps x recalls
    return {"pictures": len(ids), "boxes": boxes, "at": [float(v) for v in at]}


def main():
    sets = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        pictures = [picture(rng) for _ in range(PICTURES)]
        sets.append({"pictures": pictures, "classes": [expected(pictures, c) for c in range(CLASSES)]})
    text = json.dumps({"sets": sets}, separators=(",", ":"))
    (Path(__file__).parent / "reference.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
