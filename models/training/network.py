"""A network from the rows of a `model.yaml`, the same file that the program reads.

Tensor names are `model.<row>.…`, as in published checkpoints.
"""

from __future__ import annotations

import difflib
import math
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn

import attention as attn
import blocks
from detect import Detect, Raw

#: Blocks with [c_out, ...] arguments; the value tells whether repeats go inside.
CONV_LIKE = {
    "Conv": (blocks.Conv, False), "SPPF": (blocks.SPPF, False), "SCDown": (blocks.SCDown, False),
    "PSA": (blocks.PSA, False), "C2f": (blocks.C2f, True), "C3k2": (blocks.C3k2, True),
    "C2fCIB": (blocks.C2fCIB, True), "C2PSA": (blocks.C2PSA, True),
}
#: Blocks that keep the channels of their input and take them as their first argument.
KEEPING = {
    "StokenAttention": attn.StokenAttention, "StokenBlock": attn.StokenBlock,
    "BiLevelRoutingAttention": attn.BiLevelRoutingAttention, "BiFormerBlock": attn.BiFormerBlock,
    "PolarizedSelfAttention": attn.PolarizedSelfAttention,
    "ParallelPolarizedSelfAttention": attn.PolarizedSelfAttention,
    "SequentialPolarizedSelfAttention": attn.SequentialPolarizedSelfAttention,
}


class Network(nn.Module):
    """All rows in order. `forward` gives the raw outputs by head, `o2m` and perhaps `o2o`."""

    def __init__(self, definition: dict):
        super().__init__()
        self.nc = int(definition["nc"])
        self.names = list(definition.get("names") or map(str, range(self.nc)))
        if len(self.names) != self.nc:
            raise ValueError(f"names has {len(self.names)} entries; nc is {self.nc}")
        self.reg_max = int(definition.get("reg_max", 16))
        scales = definition.get("scales") or {"": [1.0, 1.0, math.inf]}
        self.scale_name = definition.get("scale") or next(iter(scales))
        self.depth, self.width, self.max_channels = scales[self.scale_name]
        rows = [*definition["backbone"], *definition["head"]]
        self.sources: list[list[int]] = []
        self.modules_of_rows = [str(row[2]).removeprefix("nn.") for row in rows]
        legacy = not {"C3k2", "C2fCIB", "SCDown"} & set(self.modules_of_rows)
        channels: list[int] = []
        self.model = nn.ModuleList()
        for index, (source, repeats, _, args) in enumerate(rows):
            source = source if isinstance(source, list) else [source]
            source = [index + s if s < 0 else s for s in source]
            name = self.modules_of_rows[index]
            try:
                inputs = [3 if s == -1 else channels[s] for s in source]
                end2end = bool(definition.get("end2end")) or name == "v10Detect"
                module, c = self._row(name, inputs, repeats, list(args), end2end, legacy)
            except (TypeError, ValueError, KeyError, IndexError) as e:
                raise ValueError(f"row {index} ({name}): {e}") from e
            self.model.append(module)
            self.sources.append(source)
            channels.append(c)
        if not isinstance(self.model[-1], Detect):
            raise ValueError(f"the last row is {self.modules_of_rows[-1]}; expected Detect")
        self.end2end = self.model[-1].end2end
        self.needed = {s for sources in self.sources for s in sources}

    @classmethod
    def from_yaml(cls, path: Path | str) -> "Network":
        path = Path(path)
        path = path / "model.yaml" if path.is_dir() else path
        try:
            return cls(yaml.safe_load(path.read_text()))
        except (ValueError, KeyError, TypeError, yaml.YAMLError) as e:
            raise SystemExit(f"{path}: {e}") from e

    def _row(self, name, inputs, repeats, args, end2end, legacy) -> tuple[nn.Module, int]:
        args = [self.nc if a == "nc" else None if a == "None" else a for a in args]
        n = max(round(repeats * self.depth), 1) if repeats > 1 else repeats
        if name in CONV_LIKE:
            kind, inside = CONV_LIKE[name]
            c = 8 * math.ceil(min(args[0], self.max_channels) * self.width / 8)
            rest = args[1:]
            if name == "C3k2" and self.scale_name in ("m", "l", "x"):
                rest = [True, *rest[1:]]
            if inside:
                return kind(inputs[0], c, n, *rest), c
            make = [kind(inputs[0] if i == 0 else c, c, *rest) for i in range(n)]
            return (make[0] if n == 1 else nn.Sequential(*make)), c
        if name in KEEPING:
            return KEEPING[name](inputs[0], *args), inputs[0]
        if name == "Upsample":
            return nn.Upsample(scale_factor=args[1], mode=args[2]), inputs[0]
        if name == "Concat":
            return blocks.Concat(), sum(inputs)
        if name in ("Detect", "v10Detect"):
            return Detect(self.nc, self.reg_max, end2end, inputs, legacy), 0
        raise ValueError("this module is not known")

    def forward(self, x: Tensor, keep: dict[int, Tensor] | None = None) -> dict[str, Raw]:
        """[B, 3, H, W] in 0..1. `keep`, if given, receives the output of every row."""
        out: list[Tensor | None] = []
        for index, (module, sources) in enumerate(zip(self.model, self.sources)):
            inputs = [x if s == -1 else out[s] for s in sources]
            many = isinstance(module, (blocks.Concat, Detect))
            y = module(inputs if many else inputs[0])
            if keep is not None:
                keep[index] = y
            out.append(y)
        return y

    def start(self, folder: Path) -> list[str]:
        """Takes what fits from another model folder; says what was taken, row by row.

        Rows are matched in order by module, so that inserted rows shift what follows. Attention
        blocks that find nothing start as identity.
        """
        state, other = load_file(folder / "weights.safetensors"), Network.from_yaml(folder)
        ours, theirs = self.modules_of_rows, other.modules_of_rows
        pairs: dict[int, int] = {}
        for a, b, n in difflib.SequenceMatcher(a=ours, b=theirs, autojunk=False).get_matching_blocks():
            pairs.update({a + i: b + i for i in range(n)})
        said, own = [], self.state_dict()
        taken = 0
        for row, module in enumerate(self.model):
            names = [k for k in own if k.startswith(f"model.{row}.")]
            fit = {}
            for k in names:
                source = k.replace(f"model.{row}.", f"model.{pairs.get(row)}.", 1)
                if source in state and state[source].shape == own[k].shape:
                    fit[k] = state[source]
            for k, v in fit.items():
                own[k].copy_(v)
            taken += len(fit)
            if names and len(fit) == len(names) and pairs[row] == row:
                continue
            if not fit and hasattr(module, "start_as_identity"):
                module.start_as_identity()
                said.append(f"row {row} ({ours[row]}): new, starts as identity")
            elif names:
                source = f"from row {pairs[row]}" if row in pairs else "no such row"
                said.append(f"row {row} ({ours[row]}): {len(fit)} of {len(names)} tensors, {source}")
        return [f"{taken} of {len(own)} tensors from {folder.name}; rows with the same number and all "
                "tensors are not listed", *said]


def parameters_of(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
