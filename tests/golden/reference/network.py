"""From YAML rows to layer outputs, traces and detections."""

from dataclasses import dataclass, field

import numpy as np
import yaml

from . import blocks, heads
from .mechanisms import (
    bi_level_routing_attention,
    polarized_self_attention,
    super_token_attention,
)
from .ops import upsample_nearest

# Rows whose first argument is the number of output channels, scaled by the width.
SCALED = {
    "Conv", "DWConv", "Bottleneck", "C3", "C3k", "C2f", "C3k2", "SPPF", "C2PSA", "PSA", "SCDown", "CIB", "C2fCIB",
}
# Rows that take the (scaled) number of repeats themselves.
REPEATING = {"C3", "C2f", "C3k2", "C2PSA", "C2fCIB"}
DETECT = {"Detect", "v10Detect"}
BRA_ARGS = [
    "n_win", "heads", "qk_dim", "qk_scale", "kv_per_win", "kv_downsample_ratio",
    "kv_downsample_kernel", "kv_downsample_mode", "topk", "param_attention", "param_routing",
    "diff_routing", "soft", "side_dwconv", "auto_pad",
]


@dataclass
class Row:
    """One line of the YAML with sources, repeats and channels resolved."""

    index: int
    sources: list
    repeats: int
    module: str
    args: list
    c1: list
    c2: int
    settings: dict = field(default_factory=dict)


class Network:
    """The rows of a model file; `forward` runs them on one picture."""

    def __init__(self, text):
        model = yaml.safe_load(text)
        self.nc, self.reg_max = model["nc"], model.get("reg_max", 16)
        modules = [row[2] for row in model["backbone"] + model["head"]]
        self.end2end = bool(model.get("end2end", False)) or "v10Detect" in modules
        self.legacy = not {"C3k2", "C2fCIB"} & set(modules)
        self.scale = model.get("scale") or next(iter(model["scales"]))
        self.depth, self.width, self.max_channels = model["scales"][self.scale]
        self.rows = []
        for row in model["backbone"] + model["head"]:
            self.rows.append(self.resolve(len(self.rows), *row))

    def resolve(self, index, source, repeats, module, args):
        sources = [s if s >= 0 else index + s for s in np.atleast_1d(source).tolist()]
        args = [self.nc if a == "nc" else None if a == "None" else a for a in args]
        c1 = [self.rows[s].c2 if s >= 0 else 3 for s in sources]
        if repeats > 1:
            repeats = max(round(repeats * self.depth), 1)  # Python rounds halves to even
        c2 = sum(c1) if module == "Concat" else c1[0]
        if module in SCALED:
            c2 = int(8 * np.ceil(min(args[0], self.max_channels) * self.width / 8))
        row = Row(index, sources, repeats, module, args, c1, c2)
        row.settings = attention_settings(module, args)
        return row

    def forward(self, picture, weights, knobs=None):
        """Layer outputs (None for Detect), traces by row, raw heads and level sizes.

        picture [3, H, W] in 0..1. `knobs` replaces stoken_size, n_iter, n_win or topk in every
        attention row that has it.
        """
        outputs, traces = [], {}
        for row in self.rows:
            w = weights / "model" / row.index
            x = [outputs[s] if s >= 0 else picture for s in row.sources]
            if row.module in DETECT:
                self.levels = [tuple(f.shape[1:]) for f in x]
                raw = heads.detect(x, w, self.legacy)
                outputs.append(None)
                continue
            settings = {k: (knobs or {}).get(k, v) for k, v in row.settings.items()}
            y, trace = self.run(row, x, w, settings)
            outputs.append(y)
            if trace is not None:
                traces[row.index] = trace
        return outputs, traces, raw

    def run(self, row, inputs, w, settings):
        """Output and trace (None without attention) of one row."""
        if row.module == "Concat":
            return np.concatenate(inputs), None
        (x,) = inputs
        if row.repeats > 1 and row.module not in REPEATING:
            for i in range(row.repeats):
                x, trace = module(row, x, w / i, settings, self.scale)
            return x, trace
        return module(row, x, w, settings, self.scale)

    def strides(self, picture):
        """Pixels per cell of every level of the last run."""
        return [picture.shape[1] // h for h, _ in self.levels]

    def decode(self, raw, picture):
        """Corners [A, 4] in pixels of the raw boxes of one head."""
        return heads.decode(raw, self.levels, self.strides(picture), self.reg_max)


def attention_settings(module, args):
    """Keyword arguments of a mechanism from the YAML arguments of its row."""
    if module in ("StokenAttention", "StokenBlock"):
        values = args + [(8, 8), 1, 8][len(args) :]
        size = values[0] if isinstance(values[0], (list, tuple)) else [values[0]] * 2
        return {"stoken_size": tuple(size), "n_iter": values[1], "heads": values[2]}
    if module == "BiFormerBlock":
        n_win, heads_, topk = args[:3]
        return {"n_win": n_win, "heads": heads_, "topk": topk}
    if module == "BiLevelRoutingAttention":
        given = {k: v for k, v in zip(BRA_ARGS, args) if v is not None}
        if given.get("kv_downsample_mode", "identity") != "identity":
            raise NotImplementedError("key-value pooling")
        names = {"n_win": 7, "heads": 8, "topk": 4, "qk_dim": None, "soft": False}
        return {k: given.get(k, default) for k, default in names.items()}
    return {}


def plain_block(row, x, w):
    """Output of a block without attention and without rules of its own."""
    extra = row.args[1:]

    def given(i, default):
        return extra[i] if len(extra) > i else default

    match row.module:
        case "DWConv":
            return blocks.conv(x, w, stride=given(1, 1))
        case "Bottleneck":
            return blocks.bottleneck(x, w, given(0, True))
        case "C3":
            return blocks.c3k(x, w, row.repeats, given(0, True))
        case "C3k":
            return blocks.c3k(x, w, given(0, 1), given(1, True))
        case "SCDown":
            return blocks.sc_down(x, w, extra[1])
        case "CIB":
            return blocks.cib(x, w, given(0, True), given(2, False))
        case "C2fCIB":
            return blocks.c2f_cib(x, w, row.repeats, given(0, False), given(1, False))
        case "RepVGGDW":
            return blocks.rep_vgg_dw(x, w)


def module(row, x, w, settings, scale):
    """Output and trace of one module."""
    name, args = row.module, row.args
    extra = args[1:]
    if name == "StokenAttention":
        return super_token_attention(x, w, **settings)
    if name == "StokenBlock":
        return blocks.stoken_block(x, w, **settings)
    if name == "BiLevelRoutingAttention":
        return bi_level_routing_attention(x, w, **settings)
    if name == "BiFormerBlock":
        return blocks.biformer_block(x, w, **settings)
    if name == "PolarizedSelfAttention":
        return polarized_self_attention(x, w)
    if name == "Conv":
        return blocks.conv(x, w, stride=extra[1] if len(extra) > 1 else 1), None
    if name in ("DWConv", "Bottleneck", "C3", "C3k", "SCDown", "CIB", "C2fCIB", "RepVGGDW"):
        return plain_block(row, x, w), None
    seen = []
    if name == "C2f":
        return blocks.c2f(x, w, row.repeats, bool(extra and extra[0])), None
    if name == "C3k2":
        use_c3k = bool(extra and extra[0]) or scale in "mlx"
        attn = bool(extra[2:] and extra[2])
        y = blocks.c3k2(x, w, row.repeats, use_c3k, attn=attn, seen=seen)
        return y, blocks.received(seen, *y.shape[1:])
    if name == "SPPF":
        # YOLO26 writes [c, k, n, shortcut] and leaves out the first activation.
        k, n, shortcut = extra + [5, 3, False][len(extra) :]
        return blocks.sppf(x, w, k, n, shortcut, first_act=len(extra) <= 1), None
    if name == "C2PSA":
        y = blocks.c2psa(x, w, [f"m.{i}" for i in range(row.repeats)], seen)
        return y, blocks.received(seen, *y.shape[1:])
    if name == "PSA":
        y = blocks.c2psa(x, w, [""], seen)
        return y, blocks.received(seen, *y.shape[1:])
    if name == "PSABlock":
        y = blocks.psa_block(x, w, args[2] if len(args) > 2 else 4, seen)
        return y, blocks.received(seen, *y.shape[1:])
    if name == "nn.Upsample":
        return upsample_nearest(x, args[1]), None
    raise ValueError(f"row {row.index}: unknown module {name}")
