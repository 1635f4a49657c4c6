"""Make the tiny model (tiny/weights.safetensors, tiny/card.json) and its golden numbers.

    python make_tiny.py

The weights are random. Running statistics of batch normalisation are measured on a drawn picture,
layer by layer, so that signals keep their size through the depth as in a trained network; with
plain random weights every output would be its bias. Tensors are stored as float16, the golden
numbers are computed from the stored values.
"""

import json
import sys
from pathlib import Path

import numpy as np

from make_golden import HERE, Report, write_network
from picture import street
from reference import shapes
from reference.files import Weights, write_safetensors
from reference.network import Network

SEED = 57  # chosen so that no decision of routing or NMS hangs on rounding
KNOBS = {"a": {}, "b": {"stoken_size": (3, 5), "n_iter": 3, "n_win": 3, "topk": 2}}


class Calibrating(Weights):
    """Sets the running statistics of every batch normalisation to those of the map it sees."""

    def statistics(self, y):
        mean, variance = y.mean(axis=(1, 2)), y.var(axis=(1, 2))
        variance = variance + 0.25 * variance.mean()  # a flat channel must not be blown up
        for name, value in (("running_mean", mean), ("running_var", variance)):
            self.tensors[self.prefix + name] = value.astype(np.float16)
        return super().statistics(y)


def spread(name, shape):
    """Mean and standard deviation of the random values of one tensor."""
    parts = name.split(".")
    ends_a_branch = parts[2].endswith(("cv2", "cv3")) and parts[-2] == "2"  # of Detect
    if parts[-1] == "bias":
        if ends_a_branch:
            return {"cv2": (4.0, 0.2), "cv3": (-4.5, 0.5)}[parts[2][-3:]]
        return 0.0, 0.2
    if len(shape) == 1:  # scale of a normalisation
        return 1.0, 0.2
    # Small last convolutions keep scores off 0 and 1 and box sides positive; large super-token
    # projections keep their attention off the uniform.
    if ends_a_branch:
        factor = {"cv2": 0.05, "cv3": 0.4}[parts[2][-3:]]
    else:
        factor = 3.0 if "stoken_refine.qkv" in name else 1.4
    return 0.0, factor * float(np.prod(shape[1:])) ** -0.5


def random_tensors(network, seed):
    """Random float16 tensors of a network, without running statistics: those are measured."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in sorted(shapes.of_network(network).items()):
        if "running_" in name:
            continue
        if "fold.weights" in name:
            value = np.eye(9).reshape(shape)
        else:
            mean, deviation = spread(name, shape)
            value = mean + deviation * rng.standard_normal(shape)
        tensors[name] = value.astype(np.float16)
    return tensors


def calibrated(network, seed):
    """A complete state dict of a network."""
    tensors = random_tensors(network, seed)
    network.forward(small_street(seed, 4) / 255.0, Calibrating(tensors))
    return tensors


def small_street(seed, times=1):
    """The drawn street at half size: u8 [3, 64, 96], or that many times as wide and high."""
    return street(128 * times, 192 * times, seed)[:, ::2, ::2].copy()


def card(tensors):
    return {
        "name": "tiny",
        "architecture": "model.yaml",
        "parameters": int(sum(v.size for k, v in tensors.items() if not is_constant(k))),
        "classes": ["circle", "square", "star"],
        "weights": "weights.safetensors, float16, random",
        "initialisation": "random; nothing was trained, boxes and classes mean nothing",
        "input": {"colour": "RGB", "range": "0..1", "letterbox_fill": 114, "recommended": [96, 96], "stride": 32},
    }


def is_constant(name):
    return "running_" in name or "fold.weights" in name


def main():
    folder = (Path(sys.argv[1]) if len(sys.argv) > 1 else HERE) / "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    yaml_text = (HERE / "tiny" / "model.yaml").read_text()
    (folder / "model.yaml").write_text(yaml_text)
    tensors = calibrated(Network(yaml_text), SEED)
    report = Report()
    path = folder / "weights.safetensors"
    metadata = {"model": "tiny", "made_by": "tests/golden/make_tiny.py", "seed": str(SEED)}
    report.sizes["tiny/weights.safetensors"] = write_safetensors(path, tensors, metadata)
    (folder / "card.json").write_text(json.dumps(card(tensors), indent=1) + "\n")
    whole, first = {"a": 10**9, "b": 10**9}, {"a": 0, "b": 4}
    write_network(report, folder / "golden.safetensors", folder, "tiny", KNOBS, small_street(SEED), whole, first)
    report.show()


if __name__ == "__main__":
    main()
