"""Pictures and boxes, decoded once into one array that fits a device.

Two kinds of folders are read:
* shards: `*.tar`, each with `labels.jsonl` and its pictures, or the same unpacked into a folder.
  A line: {"file", "width", "height", "source", "labelled": [classes], "boxes": [[class, x1, y1, x2, y2]]},
  boxes in pixels. `labelled` are the classes that the source labels without gaps (absent: all).
* YOLO text: `images/**` and `labels/**` with the same names; lines "class cx cy w h" in 0..1.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

PICTURES = {".webp", ".jpg", ".jpeg", ".png", ".bmp"}


class BadData(SystemExit):
    """One sentence: which file or line, and what was expected."""


@dataclass
class Item:
    """One picture before it is decoded."""

    name: str
    read: Callable[[], bytes]
    labelled: list[int]
    boxes: list[list[float]] = field(default_factory=list)
    relative: bool = False  # boxes are cx, cy, w, h in 0..1
    source: str = ""


def _json_lines(where: str, text: str, nc: int, read: Callable[[str], bytes]) -> Iterator[Item]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        place = f"{where}, line {number}"
        try:
            row = json.loads(line)
            name, boxes = row["file"], row.get("boxes", [])
        except (json.JSONDecodeError, KeyError, TypeError) as e:
            raise BadData(f"{place}: {e!r}; expected an object with file and boxes") from e
        labelled = row.get("labelled", list(range(nc)))
        for box in boxes:
            if len(box) != 5 or not 0 <= box[0] < nc:
                raise BadData(f"{place}: box {box}; expected [class 0..{nc - 1}, x1, y1, x2, y2]")
            if int(box[0]) not in labelled:
                raise BadData(f"{place}: a box of class {box[0]}, which is not in labelled")
        yield Item(f"{where}/{name}", lambda n=name: read(n), labelled, boxes,
                   source=row.get("source", ""))


def _tar(path: Path, nc: int) -> Iterator[Item]:
    try:
        archive = tarfile.open(path)
    except tarfile.TarError as e:
        raise BadData(f"{path}: {e}; expected a tar archive") from e
    members = {m.name: m for m in archive.getmembers()}

    def read(name: str) -> bytes:
        if name not in members:
            raise BadData(f"{path}: {name} is in labels.jsonl but not in the archive")
        return archive.extractfile(members[name]).read()

    yield from _json_lines(path.name, read("labels.jsonl").decode(), nc, read)


def _yolo(folder: Path, nc: int) -> Iterator[Item]:
    for picture in sorted((folder / "images").rglob("*")):
        if picture.suffix.lower() not in PICTURES:
            continue
        label = (folder / "labels" / picture.relative_to(folder / "images")).with_suffix(".txt")
        boxes = []
        for number, line in enumerate(label.read_text().splitlines() if label.exists() else [], 1):
            try:
                c, *box = (float(v) for v in line.split())
                if len(box) != 4 or not 0 <= c < nc:
                    raise ValueError
            except ValueError:
                raise BadData(f"{label}, line {number}: '{line}'; expected class cx cy w h, "
                              f"class 0..{nc - 1}") from None
            boxes.append([c, *box])
        yield Item(picture.name, picture.read_bytes, list(range(nc)), boxes, relative=True)


def items(path: Path, split: str, nc: int) -> list[Item]:
    """All pictures of a split: `split-*.tar` in the folder, or the folder (or folder/split) itself."""
    shards = sorted(path.glob(f"{split}-*.tar"))
    folder = path / split if (path / split).is_dir() else path
    if shards:
        found = [item for shard in shards for item in _tar(shard, nc)]
    elif (folder / "labels.jsonl").exists():
        text = (folder / "labels.jsonl").read_text()
        found = list(_json_lines(str(folder), text, nc, lambda n: (folder / n).read_bytes()))
    elif (folder / "images").is_dir():
        found = list(_yolo(folder, nc))
    else:
        raise BadData(f"{path}: no {split}-*.tar, labels.jsonl or images/ in it")
    if not found:
        raise BadData(f"{path}: no pictures for {split}")
    return found


def decode(item: Item) -> np.ndarray:
    """[height, width, 3] uint8, RGB."""
    try:
        return np.asarray(Image.open(io.BytesIO(item.read())).convert("RGB"))
    except OSError as e:
        raise BadData(f"{item.name}: {e}") from e


def corners(item: Item, width: int, height: int) -> np.ndarray:
    """[n, 5] class, x1, y1, x2, y2 in pixels of the stored picture."""
    boxes = np.asarray(item.boxes, np.float32).reshape(-1, 5).copy()
    if item.relative:
        c, half = boxes[:, 1:3].copy(), boxes[:, 3:5] / 2
        boxes[:, 1:3], boxes[:, 3:5] = c - half, c + half
        boxes[:, 1:] *= (width, height, width, height)
    return boxes


def fit(width: int, height: int, side: int) -> tuple[int, int]:
    """Size with the longest side `side`, rounded half to even, at least 1."""
    scale = min(side / width, side / height)
    return max(round(width * scale), 1), max(round(height * scale), 1)


@dataclass
class Pictures:
    """A split on a device."""

    pixels: Tensor  # [N, 3, side, side] uint8, each picture in the top left corner
    sizes: Tensor  # [N, 2] width and height of the picture in there
    boxes: Tensor  # [N, M, 5] class, x1, y1, x2, y2 in those pixels; class -1 where there is none
    labelled: Tensor  # [N, nc] bool
    digest: str  # SHA-256 over labels and pixels

    def __len__(self) -> int:
        return len(self.sizes)

    def to(self, device) -> "Pictures":
        return Pictures(*(t.to(device) for t in (self.pixels, self.sizes, self.boxes, self.labelled)),
                        self.digest)


def load(path: Path, split: str, nc: int, side: int, cache: Path, limit: int | None = None) -> Pictures:
    """Decodes a split, or maps the array that an earlier call has left in `cache`.

    Pictures larger than `side` are shrunk (antialiased); smaller ones stay as they are.
    """
    found = items(path, split, nc)[:limit]
    key = hashlib.sha256(json.dumps([str(path), split, nc, side, len(found), found[-1].name]).encode())
    stem = cache / f"{split}-{side}-{key.hexdigest()[:12]}"
    labels, pixels = Path(f"{stem}.pt"), Path(f"{stem}.u8")
    if not labels.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _decode_all(found, nc, side, labels, pixels)
    state = torch.load(labels)
    n = len(state["sizes"])
    mapped = np.memmap(pixels, np.uint8, "c", shape=(n, 3, side, side))  # c: torch wants it writable
    return Pictures(torch.from_numpy(mapped), state["sizes"], state["boxes"],
                    state["labelled"], state["digest"])


def _decode_all(found: list[Item], nc: int, side: int, labels: Path, pixels: Path) -> None:
    n = len(found)
    half_done = pixels.with_suffix(".part")
    out = np.memmap(half_done, np.uint8, "w+", shape=(n, 3, side, side))
    sizes, boxes, digest = np.zeros((n, 2), np.int64), [], hashlib.sha256()
    labelled = np.zeros((n, nc), bool)
    for i, item in enumerate(found):
        picture = decode(item)
        h0, w0 = picture.shape[:2]
        own = corners(item, w0, h0)
        if max(h0, w0) > side:
            w, h = fit(w0, h0, side)
            picture = np.asarray(Image.fromarray(picture).resize((w, h), Image.Resampling.BOX))
            own[:, 1:] *= (w / w0, h / h0, w / w0, h / h0)
        h, w = picture.shape[:2]
        out[i, :, :h, :w] = picture.transpose(2, 0, 1)
        sizes[i], labelled[i, item.labelled] = (w, h), True
        boxes.append(own)
        digest.update(picture.tobytes())
        digest.update(own.tobytes())
    padded = np.full((n, max(map(len, boxes)), 5), -1, np.float32)
    for i, own in enumerate(boxes):
        padded[i, : len(own)] = own
    out.flush()
    os.replace(half_done, pixels)
    state = {"sizes": torch.from_numpy(sizes), "boxes": torch.from_numpy(padded),
             "labelled": torch.from_numpy(labelled), "digest": digest.hexdigest()}
    torch.save(state, labels.with_suffix(".part"))
    os.replace(labels.with_suffix(".part"), labels)
