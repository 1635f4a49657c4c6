"""Make the golden numbers of the model families: families/<name>.safetensors.

    python make_families.py          into the folder of this script
    python make_families.py DIR      into another folder (to compare)

The stock definitions of `models/definitions` at scale n with four classes, and `families/blocks.yaml`
with every block that stands alone. Their weights are drawn by formula (`reference/drawn.py`), so
that no weights file is needed.
"""

import sys
from pathlib import Path

import numpy as np

from make_golden import HERE, MADE_BY, Report, layer_tensors, run_network, write
from make_tiny import small_street
from reference import drawn, shapes
from reference.network import Network

DEFINITIONS = HERE.parent.parent / "models" / "definitions"
STOCK = ["yolov8", "yolov10n", "yolo11", "yolo26"]
CLASSES = 4
PICTURE_SEED = 5
WHOLE = 200  # values up to which the output of a row is stored as a whole


def definition(name):
    """The text of a definition, with few classes: their logits are most of a head's output."""
    if name == "blocks":
        return (HERE / "families" / "blocks.yaml").read_text()
    return (DEFINITIONS / f"{name}.yaml").read_text().replace("nc: 80", f"nc: {CLASSES}")


def main():
    out = (Path(sys.argv[1]) if len(sys.argv) > 1 else HERE) / "families"
    report = Report()
    picture = small_street(PICTURE_SEED)
    for name in [*STOCK, "blocks"]:
        network = Network(definition(name))
        tensors = drawn.state_dict(shapes.of_network(network))
        exact = run_network(network, picture, tensors, {}, np.float64)
        single = run_network(network, picture, tensors, {}, np.float32)
        layers, steps = layer_tensors(exact[0], 0, WHOLE)
        layers32, _ = layer_tensors(single[0], 0, WHOLE)
        named = {k: v for k, v in exact[1].items() if k not in ("nms", "top300")}
        report.compare(name, layers, layers32)
        report.compare(name, named, single[1])
        metadata = {
            "made_by": MADE_BY, "definition": name, "classes": str(CLASSES), "a.settings": {},
            "input": "input_u8 / 255, RGB, NCHW", "a.sample_stride": steps,
        }
        stored = {f"a.{k}": v for k, v in (layers | named).items()} | {"input_u8": picture[None]}
        write(report, out / f"{name}.safetensors", stored, metadata)
    report.show()


if __name__ == "__main__":
    main()
