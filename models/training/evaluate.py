"""mAP of a model folder: `python evaluate.py --model ../yolo26n-attn --data DIR`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file

import data
import measure
from knobs import Knobs
from network import Network


def load_model(folder: Path, device) -> Network:
    network = Network.from_yaml(folder)
    weights = load_file(folder / "weights.safetensors")
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})
    return network.to(device).eval().to(memory_format=torch.channels_last)


def evaluate(network: Network, items: list[data.Item], side: int, device) -> dict:
    """{head: scores}"""
    samples = [measure.letterbox(item, side) for item in items]
    found = measure.detect(network, samples, device)
    return {head: measure.score(own, samples, network.names) for head, own in found.items()}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--model", type=Path, required=True, help="folder with model.yaml and weights.safetensors")
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--split", default="val")
    p.add_argument("--size", type=int, nargs="+", default=[320], help="sides of the input in pixels")
    p.add_argument("--limit", type=int, help="only the first so many pictures")
    p.add_argument("--set", nargs="*", default=[], metavar="KNOB=VALUE", help="e.g. topk=8 stoken_size=4")
    p.add_argument("--threads", type=int, help="on a CPU")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    network = load_model(a.model, a.device)
    Knobs(network).set(**{k: int(v) for k, v in (pair.split("=") for pair in a.set)})
    items = data.items(a.data, a.split, network.nc)[: a.limit]
    for side in a.size:
        result = evaluate(network, items, side, a.device)
        if a.json:
            print(json.dumps({"size": side, "images": len(items), **result}))
            continue
        for head, r in result.items():
            print(f"{side} px, {head}: mAP50 {r['map50']:.4f}, mAP50-95 {r['map']:.4f}")
            print("   " + ", ".join(f"{n} {v[0]:.3f}" for n, v in r["per_class"].items()))


if __name__ == "__main__":
    main()
