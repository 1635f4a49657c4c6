"""A model folder from a run: `python export.py --run NAME --to ../yolo26n-attn --data DIR`.

Writes model.yaml, weights.safetensors (float16, both heads, BatchNorm not folded), card.json and
README.md; what no program can know (limits, failures seen, licences of the data) is taken from
notes.md in the folder, or from data-notes.md here. All figures are measured on the float16 weights
as written. Every measurement is kept in runs/NAME/measured.json, so that a second call goes on where
the first one was cut off.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

import card
import data
import knobs
from evaluate import evaluate, load_model

HERE = Path(__file__).parent
SIZES = (256, 320, 384, 416, 512, 640)


def sweep_settings(names: list[str]) -> list[dict]:
    """Each knob over its range with the others at their defaults, then two corners."""
    each = {"stoken_size": (2, 4, 6, 12), "n_iter": (2, 3), "n_win": (4, 6, 7, 10), "topk": (1, 2, 8, 16)}
    settings = [{}] + [{k: v} for k in names for v in each[k]]
    for corner in ({"stoken_size": 12, "n_iter": 2, "n_win": 10, "topk": 1},
                   {"stoken_size": 4, "n_iter": 3, "n_win": 4, "topk": 16}):
        corner = {k: v for k, v in corner.items() if k in names}
        if len(corner) > 1:
            settings.append(corner)
    return settings


class Measured:
    """Results by what was measured; written after each."""

    def __init__(self, path: Path, weights: str):
        self.path, self.weights = path, weights
        self.known = json.loads(path.read_text()) if path.exists() else {}

    def get(self, key: dict, measure) -> dict:
        name = json.dumps({"weights": self.weights, **key}, sort_keys=True)
        if name not in self.known:
            self.known[name] = measure()
            part = self.path.with_suffix(".part")
            part.write_text(json.dumps(self.known))
            os.replace(part, self.path)
        r = self.known[name]
        print(key, {h: v["map50"] for h, v in r.items()}, flush=True)
        return r


def half(state: dict) -> dict:
    return {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in state.items()}


def digest_of(state: dict) -> str:
    """Of names and values: the same weights have the same digest in whatever order they are written."""
    digest = hashlib.sha256()
    for name, values in sorted(state.items()):
        digest.update(name.encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--run", required=True)
    p.add_argument("--to", type=Path, required=True, help="model folder; its model.yaml is used if it is there")
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--split", default="val")
    p.add_argument("--sweep", type=int, default=250, help="pictures for knobs and sizes")
    p.add_argument("--limit", type=int, help="only the first so many pictures of the split, to try it out")
    p.add_argument("--threads", type=int, help="on a CPU")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--weights-only", action="store_true", help="without measuring; no card")
    a = p.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    run = HERE / "runs" / a.run
    state = torch.load(run / "state.pt", map_location="cpu", weights_only=False)
    a.to.mkdir(parents=True, exist_ok=True)
    definition = a.to / "model.yaml"
    if not definition.exists():
        model = Path(state["arguments"]["model"])
        shutil.copy(model / "model.yaml" if model.is_dir() else model, definition)
    weights = a.to / "weights.safetensors"
    averaged = {k: v.cpu() for k, v in half(state["average"]).items()}
    save_file(averaged, weights, {"averaged": "ema"})  # several entries would be written in any order
    weights.chmod(0o644)
    if a.weights_only:
        return

    network = load_model(a.to, a.device)
    turn = knobs.Knobs(network)
    items = data.items(a.data, a.split, network.nc)[: a.limit]
    some = items[: a.sweep]
    measured = Measured(run / "measured.json", digest_of(averaged)[:16])

    def at(images: list, side: int, **setting) -> dict:
        def measure() -> dict:
            turn.set(**setting)
            return evaluate(network, images, side, a.device)
        return measured.get({"images": len(images), "size": side, **setting}, measure)

    whole, large = at(items, 320), at(items, 640)
    sweep = [{**s, "images": len(some), **card.short(at(some, 320, **s))} for s in sweep_settings(turn.names)]
    sizes = [{"size": s, "images": len(some), **card.short(at(some, s))} for s in SIZES]
    lines = run / "curve.jsonl"
    curve = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    taken = json.loads((run / "log.jsonl").read_text().split("\n", 1)[0])["text"].split(" from ")[0]
    facts = card.Facts(a.to.name, network, turn, state, curve, whole, large, len(items), sweep, sizes,
                       taken)
    notes = a.to / "notes.md"
    card.write(a.to, facts, (notes if notes.exists() else HERE / "data-notes.md").read_text())


if __name__ == "__main__":
    main()
