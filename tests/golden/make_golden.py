"""Make the golden files that the tests read, from the reference in `reference/`.

    python make_golden.py            everything, into the folder of this script
    python make_golden.py DIR        the same into another folder (to compare)

Prints every file with its size, and how far the same computation in float32 strays from the
float64 that is stored (rounded to float32): the room that an implementation in float32 needs.
"""

import json
import sys
from pathlib import Path

import numpy as np

from picture import street
from reference import blocks, heads, shapes
from reference.files import Weights, read_safetensors, write_safetensors
from reference.letterbox import back, letterbox
from reference.mechanisms import (
    bi_level_routing_attention,
    polarized_original,
    polarized_self_attention,
    routing_attention_nchw,
    super_token_attention,
)
from reference.network import Network

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent.parent / "models" / "yolo26n-attn"
MADE_BY = "the scripts of tests/golden: numpy float64, stored as float32; parameters and inputs exact"

# name -> channels, height, width, settings of the mechanism, qkv bias
STA = {
    "sta_divisible": (16, 8, 12, {"stoken_size": (4, 4), "n_iter": 1, "heads": 4}, False),
    "sta_padded_it2": (16, 7, 10, {"stoken_size": (4, 4), "n_iter": 2, "heads": 2}, False),
    "sta_3x5_it3_bias": (24, 11, 13, {"stoken_size": (3, 5), "n_iter": 3, "heads": 3}, True),
    "sta_1x4_it2": (16, 6, 9, {"stoken_size": (1, 4), "n_iter": 2, "heads": 4}, False),
    "sta_one_cell": (16, 6, 7, {"stoken_size": (16, 16), "n_iter": 2, "heads": 4}, True),
    "sta_direct_1x1": (16, 5, 6, {"stoken_size": (1, 1), "n_iter": 1, "heads": 4}, True),
    "sta_c64_8x8": (64, 20, 12, {"stoken_size": (8, 8), "n_iter": 1, "heads": 8}, False),
}
# name -> channels, height, width, settings of the mechanism, width of the depthwise term
BRA = {
    "bra_divisible": (32, 8, 12, {"n_win": 4, "heads": 4, "topk": 3}, 3),
    "bra_padded": (32, 9, 13, {"n_win": 5, "heads": 4, "topk": 4}, 5),
    "bra_qk16": (32, 9, 6, {"n_win": 3, "heads": 2, "topk": 2, "qk_dim": 16}, 3),
    "bra_all_regions": (16, 6, 6, {"n_win": 3, "heads": 2, "topk": 9}, 5),
    "bra_top1": (16, 8, 6, {"n_win": 2, "heads": 8, "topk": 1}, 3),
    "bra_soft_padded": (32, 7, 10, {"n_win": 4, "heads": 4, "topk": 3, "soft": True}, 3),
    "bra_empty_regions": (16, 5, 5, {"n_win": 4, "heads": 2, "topk": 10}, 3),
    "bra_one_region": (16, 4, 6, {"n_win": 1, "heads": 4, "topk": 1}, 5),
}
# name -> channels, height, width, settings, and tensors that are added (shape) or left out (None)
BRA_FORMS = {
    "bra_ada_avgpool": (16, 8, 10, {"n_win": 2, "heads": 2, "topk": 2, "kv_downsample_mode": "ada_avgpool", "kv_per_win": 3}, {}),
    "bra_ada_maxpool": (16, 7, 6, {"n_win": 3, "heads": 4, "topk": 3, "kv_downsample_mode": "ada_maxpool", "kv_per_win": 2}, {}),
    "bra_avgpool": (16, 10, 12, {"n_win": 2, "heads": 2, "topk": 1, "kv_downsample_mode": "avgpool", "kv_downsample_ratio": 2}, {}),
    "bra_maxpool_soft": (16, 9, 9, {"n_win": 3, "heads": 2, "topk": 4, "soft": True, "kv_downsample_mode": "maxpool", "kv_downsample_ratio": 3}, {}),
    "bra_router_soft": (
        16, 6, 8, {"n_win": 2, "heads": 2, "topk": 2, "soft": True},
        {"router.emb.weight": (16, 16), "router.emb.bias": (16,)},
    ),
    "bra_scale_no_output": (
        16, 6, 8, {"n_win": 2, "heads": 4, "topk": 3, "qk_scale": 0.5},
        {"wo.weight": None, "wo.bias": None, "lepe.weight": None, "lepe.bias": None},
    ),
}
# name -> channels, height, width, settings
NCHW = {
    "bra_nchw_divisible": (16, 8, 8, {"n_win": 4, "heads": 2, "topk": 3}),
    "bra_nchw_more_regions": (16, 9, 11, {"n_win": 4, "heads": 4, "topk": 5}),
    "bra_nchw_rectangular": (16, 5, 14, {"n_win": 3, "heads": 2, "topk": 2}),
}
# name -> settings, and tensors that are added
BLOCKS = {
    "bra_block": ({"n_win": 3, "heads": 2, "topk": 2}, {}),
    "bra_block_scaled_dwconv": (
        {"n_win": 2, "heads": 4, "topk": 3},
        {"gamma1": (16,), "gamma2": (16,), "mlp.1.dwconv.weight": (32, 1, 3, 3), "mlp.1.dwconv.bias": (32,)},
    ),
    "bra_block_post_norm": ({"n_win": 3, "heads": 2, "topk": 4, "pre_norm": False}, {}),
}
PSA = {
    "psa_parallel": (32, 9, 7, {"sequential": False}),
    "psa_sequential": (32, 9, 7, {"sequential": True}),
}
# Settings at which the bundled model is run; the letters prefix the tensors.
KNOBS = {
    "a": {"stoken_size": (8, 8), "n_iter": 1, "n_win": 8, "topk": 4},
    "b": {"stoken_size": (5, 3), "n_iter": 2, "n_win": 4, "topk": 16},
    "c": {"stoken_size": (3, 3), "n_iter": 3, "n_win": 5, "topk": 1},
}
PICTURE_SEED = 15  # chosen so that no decision of routing or NMS lies close to its threshold
CONFIDENCE, OVERLAP = 0.05, 0.7
KINDS = {
    "C2PSA": "pos", "C3k2": "pos", "PSA": "pos", "PSABlock": "pos", "StokenAttention": "sta", "StokenBlock": "sta", "BiLevelRoutingAttention": "bra",
    "BiFormerBlock": "bra", "PolarizedSelfAttention": "psa",
}


def parameters(rng, tensor_shapes):
    """Random parameters of a size that makes attention neither uniform nor one-hot."""
    out = {}
    for name, shape in sorted(tensor_shapes.items()):
        if name.endswith("fold.weights"):  # the constants of unfold and fold: one-hot 3x3 kernels
            out[name] = np.eye(9, dtype=np.float32).reshape(shape)
        elif name == "ln.weight" or name.startswith("norm") and name.endswith("weight"):
            out[name] = (1 + 0.3 * rng.standard_normal(shape)).astype(np.float32)
        elif name.endswith("running_var"):
            out[name] = (0.5 + rng.random(shape)).astype(np.float32)
        elif len(shape) == 1:
            out[name] = (0.3 * rng.standard_normal(shape)).astype(np.float32)
        else:
            width = np.prod(shape[1:]) ** -0.5
            out[name] = (1.5 * width * rng.standard_normal(shape)).astype(np.float32)
    return out


def patchy(rng, c, h, w):
    """A map with patches of 3x3 and noise, so that cells and regions differ: [C, H, W]."""
    coarse = rng.standard_normal((c, -(-h // 3), -(-w // 3))).repeat(3, axis=1).repeat(3, axis=2)
    return (coarse[:, :h, :w] + 0.6 * rng.standard_normal((c, h, w))).astype(np.float32)


def pick(trace):
    """A trace as it is stored: of the token attention of a routing, three regions."""
    out = dict(trace)
    attn = out.pop("attn", None)
    if attn is not None:
        last = len(attn) - 1
        out |= {f"attn_region{r}": attn[r] for r in sorted({0, (last + 1) // 2, last})}
    return out


def stored(tensors):
    """Real numbers as float32, whole numbers as they are."""
    return {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in tensors.items()}


def finite(margins):
    """Margins as JSON knows them: null where there was no decision to be close to."""
    if isinstance(margins, dict):
        return {k: finite(v) for k, v in margins.items()}
    return margins if np.isfinite(margins) else None


def routing_gap(trace):
    """Smallest difference of routing logits that decides about r_idx, exact ties left out."""
    ordered = -np.sort(-trace["affinity_r"], axis=1)
    gaps = -np.diff(ordered, axis=1)[:, : trace["r_idx"].shape[1]]
    return float(gaps[gaps > 0].min(initial=np.inf))


class Report:
    """Collects file sizes, and the largest |float32 - float64| by group of tensors."""

    def __init__(self):
        self.sizes, self.rounding = {}, {}

    def compare(self, group, exact, single):
        for name, value in exact.items():
            if value.dtype.kind != "f":
                continue
            key = group, name.rsplit(".", 1)[-1].rstrip("0123456789")
            old, top = self.rounding.get(key, (0.0, 0.0))
            difference = float(np.abs(value - single[name]).max(initial=0))
            self.rounding[key] = max(old, difference), max(top, float(np.abs(value).max(initial=0)))

    def show(self):
        for path, size in self.sizes.items():
            print(f"{size:9,}  {path}")
        print(f"{sum(self.sizes.values()):9,}  total\n")
        print("| group | tensor | f32 - f64 | largest value |\n|---|---|---|---|")
        for (group, name), (difference, top) in self.rounding.items():
            print(f"| {group} | `{name}` | {difference:.1e} | {top:.3g} |")


def write(report, path, tensors, metadata):
    path.parent.mkdir(parents=True, exist_ok=True)
    report.sizes[f"{path.parent.name}/{path.name}"] = write_safetensors(path, stored(tensors), metadata)


def write_module(report, folder, name, seed, size, tensor_shapes, run, settings):
    """One mechanism alone: parameters p.<key>, x, y [1, C, H, W] and its trace."""
    rng = np.random.default_rng(seed)
    p, x = parameters(rng, tensor_shapes), patchy(rng, *size)
    y, trace = run(x.astype(np.float64), Weights(p), **settings)
    y32, trace32 = run(x, Weights(p, np.float32), **settings)
    exact, single = pick(trace) | {"y": y}, pick(trace32) | {"y": y32}
    report.compare(name.split("_")[0], exact, single)
    metadata = {"made_by": MADE_BY, "settings": settings, "seed": str(seed), "layout": "NCHW"}
    if "affinity_r" in trace:
        assert (trace["r_idx"] == trace32["r_idx"]).all(), f"{name}: routing hangs on rounding"
        metadata["routing_gap"] = f"{routing_gap(trace):.1e}"
    tensors = {f"p.{k}": v for k, v in p.items()} | pick(trace) | {"x": x[None], "y": y[None]}
    write(report, folder / f"{name}.safetensors", tensors, metadata)


def write_modules(report, folder):
    for i, (name, (c, h, w, settings, bias)) in enumerate(STA.items()):
        tensor_shapes = shapes.super_token_attention(c)
        if bias:
            tensor_shapes |= {"stoken_refine.qkv.bias": (3 * c,)}
        write_module(report, folder, name, 100 + i, (c, h, w), tensor_shapes, super_token_attention, settings)
    for i, (name, (c, h, w, settings, side)) in enumerate(BRA.items()):
        tensor_shapes = shapes.bi_level_routing_attention(c, settings.get("qk_dim", c), side)
        run = bi_level_routing_attention
        write_module(report, folder, name, 200 + i, (c, h, w), tensor_shapes, run, settings)
    write_forms(report, folder)
    for i, (name, (c, h, w, settings)) in enumerate(PSA.items()):
        tensor_shapes = shapes.polarized_self_attention(c)
        write_module(report, folder, name, 300 + i, (c, h, w), tensor_shapes, polarized_self_attention, settings)


def write_forms(report, folder):
    """Forms of the mechanisms beside those of forks."""
    constants = {"unfold.weights": (9, 1, 3, 3), "fold.weights": (9, 1, 3, 3)}
    cell = {"stoken_size": (3, 3), "n_iter": 2}
    forms = [
        ("sta_unrefined", (16, 7, 8), constants, super_token_attention, cell),
        ("sta_mixer", (16, 7, 8), constants | shapes.super_token_mixer(16), super_token_attention, cell),
        (
            "sta_scale", (16, 6, 9), shapes.super_token_attention(16), super_token_attention,
            cell | {"heads": 4, "qk_scale": 0.75},
        ),
        ("sta_layer", (16, 7, 8), shapes.stoken_layer(16, 32), blocks.stoken_layer, cell | {"heads": 2}),
    ]
    for name, (c, h, w, settings, changed) in BRA_FORMS.items():
        tensor_shapes = shapes.bi_level_routing_attention(c, c, 3) | changed
        tensor_shapes = {k: v for k, v in tensor_shapes.items() if v is not None}
        forms.append((name, (c, h, w), tensor_shapes, bi_level_routing_attention, settings))
    for name, (c, h, w, settings) in NCHW.items():
        forms.append((name, (c, h, w), shapes.routing_attention_nchw(c, 3), routing_attention_nchw, settings))
    for name, (settings, added) in BLOCKS.items():
        tensor_shapes = shapes.biformer_block(16, [0, 0, 0, 2, 5]) | added
        forms.append((name, (16, 7, 9), tensor_shapes, blocks.biformer_block, settings))
    for name, sequential in (("psa_p", False), ("psa_s", True)):
        tensor_shapes = shapes.polarized_original(32, sequential)
        forms.append((name, (32, 9, 7), tensor_shapes, polarized_original, {"sequential": sequential}))
    for i, (name, size, tensor_shapes, run, settings) in enumerate(forms):
        write_module(report, folder, name, 400 + i, size, tensor_shapes, run, settings)


def run_network(network, picture, tensors, knobs, dtype, skip=()):
    """Layer outputs, and traces, raw heads and detections under their stored names."""
    x = picture.astype(dtype) / dtype(255)
    outputs, traces, raw = network.forward(x, Weights(tensors, dtype), knobs)
    named, margins = {}, {}
    for row, trace in traces.items():
        kind = KINDS[network.rows[row].module]
        if kind in skip:
            continue
        named |= {f"L{row}.{kind}.{k}": v for k, v in pick(trace).items()}
        if kind == "bra":
            margins[f"L{row}.routing_gap"] = routing_gap(trace)
    for head, (boxes, scores) in raw.items():
        corners = network.decode(boxes, x)
        named |= {f"{head}.raw_boxes": boxes, f"{head}.raw_scores": scores, f"{head}.corners": corners}
        if head == "o2m":
            named["nms"], margins["nms"] = heads.nms(corners, scores, CONFIDENCE, OVERLAP)
        else:
            named["top300"], margins["top300_score_gap"] = heads.top_k(corners, scores)
    return outputs, named, margins


def sample_stride(shape, wanted=1250):
    """A prime step through the flattened map that shares no factor with its plane."""
    size, plane = int(np.prod(shape)), shape[1] * shape[2]
    step = max(size // wanted, 2)
    while plane % step == 0 or any(step % d == 0 for d in range(2, step)):
        step += 1
    return step


def layer_tensors(outputs, first, whole):
    """Outputs of layers >= `first`: whole up to `whole` numbers, else channel means and a sample."""
    tensors, steps = {}, {}
    for i, y in enumerate(outputs):
        if y is None or i < first:
            continue
        if y.size <= whole:
            tensors[f"L{i}.out"] = y
            continue
        steps[i] = sample_stride(y.shape, min(1250, whole))
        tensors[f"L{i}.sample"] = y.ravel()[:: steps[i]]
        tensors[f"L{i}.mean"] = y.mean(axis=(1, 2))
    return tensors, steps


def write_network(report, path, model, group, knobs_by_prefix, picture, whole, first):
    """One model on one picture at several settings; `whole` and `first` by prefix."""
    network = Network((model / "model.yaml").read_text())
    weights, _ = read_safetensors(model / "weights.safetensors")
    tensors = {"input_u8": picture[None]}
    metadata = {
        "made_by": MADE_BY, "model": model.name, "input": "input_u8 / 255, RGB, NCHW",
        "nms": f"confidence > {CONFIDENCE}, IoU {OVERLAP}, by class",
        "sample": "L<i>.sample = flattened [C, H, W] output of row i, every n-th value from 0; "
        "n in <setting>.sample_stride; L<i>.mean = channel means",
    }
    for prefix, knobs in knobs_by_prefix.items():
        # Position-sensitive attention has its numbers in families/.
        outputs, named, margins = run_network(network, picture, weights, knobs, np.float64, {"pos"})
        outputs32, named32, _ = run_network(network, picture, weights, knobs, np.float32, {"pos"})
        layers, steps = layer_tensors(outputs, first[prefix], whole[prefix])
        layers32, _ = layer_tensors(outputs32, first[prefix], whole[prefix])
        agree = [k for k in named if k not in ("nms", "top300")]  # rows may swap
        report.compare(group, layers, layers32)
        report.compare(group, {k: named[k] for k in agree}, named32)
        assert named["nms"].shape == named32["nms"].shape, "a detection hangs on rounding"
        report.compare(group, {"nms": named["nms"]}, named32)
        tensors |= {f"{prefix}.{k}": v for k, v in (layers | named).items()}
        metadata |= {f"{prefix}.settings": knobs, f"{prefix}.margins": finite(margins)}
        metadata[f"{prefix}.sample_stride"] = steps
    write(report, path, tensors, metadata)


def write_letterbox(report, path):
    """Back-mapping of boxes, by formula."""
    sizes = [
        ((640, 480), (640, 640)), ((1280, 720), (640, 640)), ((333, 500), (320, 320)),
        ((97, 61), (320, 256)), ((500, 375), (320, 320)), ((6000, 3), (320, 320)), ((320, 320), (320, 320)),
    ]
    cases = []
    for source, target in sizes:
        for rect in (False, True):
            geometry = letterbox(source, target, rect)
            w, h = geometry["input"]
            boxes = [[0, 0, w, h], [w * 0.25, h * 0.375, w * 0.75, h * 0.5], [-8, -8, w * 0.5, h + 8.5]]
            geometry["boxes"] = [{"input": b, "source": back(b, geometry)} for b in boxes]
            cases.append(geometry)
    text = {
        "made_by": "tests/golden/make_golden.py",
        "meaning": "sizes are [width, height]; `input` of a case is the size of the network input; "
        "boxes are x1 y1 x2 y2; rect pads to the next multiple of 32 only",
        "cases": cases,
    }
    path.write_text(json.dumps(text, indent=1) + "\n")
    report.sizes[path.name] = path.stat().st_size


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    report = Report()
    write_modules(report, out / "modules")
    picture = street(128, 160, PICTURE_SEED)
    # Layers 0 to 4 come before the first attention row: the same at every setting.
    limits = {"whole": {"a": 5120, "b": 2560, "c": 2560}, "first": {"a": 0, "b": 5, "c": 5}}
    write_network(report, out / "network_bundled.safetensors", MODEL, "network_bundled", KNOBS, picture, **limits)
    write_letterbox(report, out / "letterbox_boxes.json")
    report.show()


if __name__ == "__main__":
    main()
