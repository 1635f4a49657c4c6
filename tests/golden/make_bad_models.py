"""Make the broken models of `bad/`: what each is for stands in README.md.

    python make_bad_models.py [DIR]

`bad/weights/<fault>/` are model folders with a sound `model.yaml` and one fault in the weights;
`bad/weights/intact/` is the same folder without a fault. `bad/yaml/<fault>.yaml` are model files
without weights, each with one fault.
"""

import struct
import sys
from pathlib import Path

import numpy as np

from make_golden import HERE
from make_tiny import calibrated
from reference.files import join_safetensors, safetensors_parts
from reference.network import Network

SEED = 11
YAML = """\
# A small sound model with one row of every attention mechanism.
nc: 2
names: [left, right]
reg_max: 1
end2end: False
scale: n
scales: # [depth, width, max_channels]
  n: [0.50, 0.0625, 256]

backbone: # [from, repeats, module, args]
  - [-1, 1, Conv, [64, 3, 2]]                # 0
  - [-1, 1, Conv, [64, 3, 2]]                # 1
  - [-1, 1, Conv, [64, 3, 2]]                # 2  P3/8
  - [-1, 1, StokenAttention, [[4, 4], 1, 2]] # 3
  - [-1, 1, Conv, [128, 3, 2]]               # 4  P4/16
  - [-1, 1, BiLevelRoutingAttention, [2, 2]] # 5
  - [-1, 1, Conv, [128, 3, 2]]               # 6  P5/32

head:
  - [3, 1, PolarizedSelfAttention, []]       # 7
  - [6, 1, nn.Upsample, [None, 2, nearest]]  # 8
  - [[-1, 5], 1, Concat, [1]]                # 9
  - [[7, 9, 6], 1, Detect, [nc]]             # 10
"""
ROW_1 = "[-1, 1, Conv, [64, 3, 2]]                # 1"
ROW_3 = "[-1, 1, StokenAttention, [[4, 4], 1, 2]]"
ROW_4 = "[-1, 1, Conv, [128, 3, 2]]               # 4  P4/16"
ROW_5 = "[-1, 1, BiLevelRoutingAttention, [2, 2]]"
ROW_9 = "[[-1, 5], 1, Concat, [1]]"
ROW_10 = "  - [[7, 9, 6], 1, Detect, [nc]]             # 10\n"
WIDTH = "[0.50, 0.0625, 256]"

# fault -> (text of the sound model, what stands there instead)
YAML_FAULTS = {
    "unknown_module": (ROW_3, "[-1, 1, MysteryAttention, [64]]"),
    "forward_reference": (ROW_4, "[6, 1, Conv, [128, 3, 2]]"),
    "self_reference": (ROW_4, "[4, 1, Conv, [128, 3, 2]]"),
    "before_start": (ROW_1, "[-9, 1, Conv, [64, 3, 2]]"),
    "negative_size": (ROW_4, "[-1, 1, Conv, [-128, 3, 2]]"),
    "zero_stride": (ROW_4, "[-1, 1, Conv, [128, 3, 0]]"),
    "repeats_1e9": (ROW_4, "[-1, 1000000000, C3k2, [128, False]]"),
    "repeats_negative": (ROW_4, "[-1, -1, Conv, [128, 3, 2]]"),
    "row_too_short": (ROW_4, "[-1, 1, Conv]"),
    "nc_zero": ("nc: 2", "nc: 0"),
    "nc_1e12": ("nc: 2", "nc: 1000000000000"),
    "width_infinite": (WIDTH, "[0.50, .inf, 256]"),
    "concat_size_mismatch": (ROW_9, "[[6, 5], 1, Concat, [1]]"),
    "stoken_size_zero": (ROW_3, "[-1, 1, StokenAttention, [[0, 4], 1, 2]]"),
    "heads_do_not_divide": (ROW_3, "[-1, 1, StokenAttention, [[4, 4], 1, 3]]"),
    "topk_larger_than_regions": (
        ROW_5, "[-1, 1, BiLevelRoutingAttention, [2, 2, None, None, 4, 4, None, identity, 5]]",
    ),
    "no_detect": (ROW_10, ""),
    "unclosed_bracket": (ROW_4, "[-1, 1, Conv, [128, 3, 2]"),
}


def alias_bomb():
    """Ten levels of ten references: 10^10 elements if expanded, half a kilobyte as text."""
    lines = ["l0: &l0 [w, w, w, w, w, w, w, w, w, w]"]
    for i in range(1, 10):
        lines.append(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]")
    return "\n".join(lines + ["nc: 2", "backbone: *l9", "head: []", ""])


def yaml_files():
    """File name -> bytes of every broken YAML."""
    out = {"empty": b"", "not_a_mapping": b"- nc\n- backbone\n- head\n", "alias_bomb": alias_bomb().encode()}
    out["invalid_utf8"] = YAML.encode().replace(b"left", b"l\xff\xfet")
    for name, (sound, broken) in YAML_FAULTS.items():
        assert YAML.count(sound) == 1, name
        out[name] = YAML.replace(sound, broken).encode()
    return out


def changed(tensors, name, index, value):
    """A copy with one number of one tensor replaced."""
    array = tensors[name].copy()
    array[index] = value
    return tensors | {name: array}


def tensor_faults(tensors):
    """Fault -> state dict that a sound file holds."""
    gone = ("model.3.stoken_refine.proj.bias", "model.6.bn.running_var", "model.7.", "model.10.")
    missing = {k: v for k, v in tensors.items() if not k.startswith(gone)}
    extra = {"model.11.conv.weight": np.ones((2, 2, 1, 1), np.float16), "teacher.scale": np.ones(1, np.float16)}
    short = tensors["model.4.conv.weight"][:, 1:].copy()
    return {
        "intact": tensors,
        "missing_tensors": missing,
        "extra_tensors": tensors | extra,
        "misshaped_tensor": tensors | {"model.4.conv.weight": short},
        "nan_weight": changed(tensors, "model.5.qkv.qkv.weight", (1, 2), np.nan),
        "negative_variance": changed(tensors, "model.6.bn.running_var", 3, -0.5),
    }


def two_tensors(first, second=None, size=16):
    """A file with hand-written entries (dtype, shape, begin, end) of a body of `size` bytes."""
    entries = {"model.0.conv.weight": first}
    if second:
        entries["model.1.conv.weight"] = second
    header = {k: {"dtype": d, "shape": s, "data_offsets": [b, e]} for k, (d, s, b, e) in entries.items()}
    return join_safetensors(header, bytes(range(size)))


def container_faults(sound):
    """Fault -> bytes of a file that is no safetensors file, or not a consistent one."""
    return {
        "truncated": sound[: len(sound) // 3],
        "empty_file": b"",
        "header_length_max": b"\xff" * 8 + sound[8:520],
        "header_beyond_file": struct.pack("<Q", 1 << 20) + sound[8:520],
        "header_not_json": join_safetensors(b"this is not JSON", bytes(16)),
        "unknown_dtype": two_tensors(("F33", [4], 0, 16)),
        "overlapping_offsets": two_tensors(("F32", [3], 0, 12), ("F32", [3], 4, 16)),
        "reversed_offsets": two_tensors(("F32", [2], 16, 8), ("F32", [2], 0, 8)),
        "offsets_beyond_end": two_tensors(("F32", [2], 0, 8), ("F32", [1000], 8, 4008)),
        "shape_and_size_differ": two_tensors(("F32", [5], 0, 16)),
        "shape_overflow": two_tensors(("F32", [1 << 40, 1 << 40], 0, 16)),
    }


def main():
    out = (Path(sys.argv[1]) if len(sys.argv) > 1 else HERE) / "bad"
    tensors = calibrated(Network(YAML), SEED)
    weights = {}
    for name, state in tensor_faults(tensors).items():
        weights[name] = join_safetensors(*safetensors_parts(state, {"made_by": "tests/golden/make_bad_models.py"}))
    weights |= container_faults(weights["intact"])
    files = {f"yaml/{name}.yaml": data for name, data in yaml_files().items()}
    for name, data in weights.items():
        files[f"weights/{name}/model.yaml"] = YAML.encode()
        files[f"weights/{name}/weights.safetensors"] = data
    for name, data in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        print(f"{len(data):8,}  bad/{name}")
    print(f"{sum(map(len, files.values())):8,}  total")


if __name__ == "__main__":
    main()
