"""The tensors that a complete weights file of a model holds: name -> shape.

Counters (`num_batches_tracked`) are left out: they take no part in inference.
"""


from .network import REPEATING


def under(prefix, tensors):
    return {f"{prefix}.{name}": shape for name, shape in tensors.items()}


def affine(name, weight):
    """A layer with a bias."""
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}


def conv(c1, c2, k, depthwise=False):
    bn = {f"bn.{n}": (c2,) for n in ("weight", "bias", "running_mean", "running_var")}
    return {"conv.weight": (c2, 1 if depthwise else c1, k, k), **bn}


def bottleneck(c, hidden, k=(3, 3), c2=None):
    return under("cv1", conv(c, hidden, k[0])) | under("cv2", conv(hidden, c2 or c, k[1]))


def c3(c1, c2, n, first=3):
    half = c2 // 2
    out = under("cv1", conv(c1, half, 1)) | under("cv2", conv(c1, half, 1)) | under("cv3", conv(2 * half, c2, 1))
    for i in range(n):
        out |= under(f"m.{i}", bottleneck(half, half, (first, 3)))
    return out


def rep_vgg_dw(c):
    return under("conv", conv(c, c, 7, depthwise=True)) | under("conv1", conv(c, c, 3, depthwise=True))


def cib(c1, c2, wide, large_kernel):
    return {
        **under("cv1.0", conv(c1, c1, 3, depthwise=True)), **under("cv1.1", conv(c1, wide, 1)),
        **under("cv1.2", rep_vgg_dw(wide) if large_kernel else conv(wide, wide, 3, depthwise=True)),
        **under("cv1.3", conv(wide, c2, 1)), **under("cv1.4", conv(c2, c2, 3, depthwise=True)),
    }


def c2psa(c, names):
    out = under("cv1", conv(c, c, 1)) | under("cv2", conv(c, c, 1))
    for name in names:
        out |= under(name, psa_block(c // 2)) if name else psa_block(c // 2)
    return out


def psa_block(c, heads=None):
    heads = heads or max(c // 64, 1)
    qkv = c + 2 * heads * (c // heads // 2)
    return {
        **under("attn.qkv", conv(c, qkv, 1)),
        **under("attn.proj", conv(c, c, 1)),
        **under("attn.pe", conv(c, c, 3, depthwise=True)),
        **under("ffn.0", conv(c, 2 * c, 1)),
        **under("ffn.1", conv(2 * c, c, 1)),
    }


def split_and_collect(c1, c2, c, n, inner):
    out = under("cv1", conv(c1, 2 * c, 1)) | under("cv2", conv((2 + n) * c, c2, 1))
    for i in range(n):
        out |= under(f"m.{i}", inner)
    return out


def c3k2(row, scale):
    use_c3k, e, attn = row.args[1:] + [False, 0.5, False][len(row.args) - 1 :]
    c = int(row.c2 * e)
    if attn:
        inner = under("0", bottleneck(c, c // 2)) | under("1", psa_block(c))
    elif use_c3k or scale in "mlx":
        inner = c3(c, c, 2)
    else:
        inner = bottleneck(c, c // 2)
    return split_and_collect(row.c1[0], row.c2, c, row.repeats, inner)


def super_token_attention(c):
    constants = {"unfold.weights": (9, 1, 3, 3), "fold.weights": (9, 1, 3, 3)}
    qkv = {"stoken_refine.qkv.weight": (3 * c, c, 1, 1)}
    return constants | qkv | affine("stoken_refine.proj", (c, c, 1, 1))


def super_token_mixer(c):
    refine = affine("0", (c, c, 1, 1)) | affine("1", (c, 1, 5, 5)) | affine("2", (c, c, 1, 1))
    return under("stoken_refine", refine)


def stoken_layer(c, width):
    bn = under("norm2", {n: (c,) for n in ("weight", "bias", "running_mean", "running_var")})
    return {
        **affine("pos_embed.conv", (c, 1, 3, 3)), **norm("norm1.norm", c), **bn,
        **under("attn", super_token_attention(c)), **affine("mlp2.fc1", (width, c, 1, 1)),
        **affine("mlp2.conv.conv", (width, 1, 3, 3)), **affine("mlp2.fc2", (c, width, 1, 1)),
        "gamma_1": (1, c, 1, 1), "gamma_2": (1, c, 1, 1),
    }


def routing_attention_nchw(c, side):
    linear = affine("qkv_linear", (3 * c, c, 1, 1)) | affine("output_linear", (c, c, 1, 1))
    return linear | affine("lepe", (c, 1, side, side))


def bi_level_routing_attention(c, qk, side):
    return {
        **affine("qkv.qkv", (2 * qk + c, c)), **affine("wo", (c, c)), **affine("lepe", (c, 1, side, side)),
    }


def norm(name, c):
    return {f"{name}.weight": (c,), f"{name}.bias": (c,)}


def biformer_block(c, args):
    ratio, side = (args[3:] + [2, 5][len(args) - 3 :])[:2]
    return {
        **affine("pos_embed", (c, 1, 3, 3)), **norm("norm1", c), **norm("norm2", c),
        **under("attn", bi_level_routing_attention(c, c, side)),
        **affine("mlp.0", (ratio * c, c)), **affine("mlp.3", (c, ratio * c)),
    }


def polarized_self_attention(c):
    half = c // 2
    return {
        **affine("ch_wv", (half, c, 1, 1)), **affine("ch_wq", (1, c, 1, 1)),
        **affine("ch_wz", (c, half, 1, 1)), **norm("ln", c),
        **affine("sp_wv", (half, c, 1, 1)), **affine("sp_wq", (half, c, 1, 1)),
    }


def polarized_original(c, sequential):
    half, inner = c // 2, c // 8
    names = {"conv_q_right": 1, "conv_v_right": half, "conv_q_left": half, "conv_v_left": half}
    out = {f"{name}.weight": (to, c, 1, 1) for name, to in names.items()}
    if not sequential:
        return out | {"conv_up.weight": (c, half, 1, 1)}
    norm_shape = {f"conv_up.1.{n}": (inner, 1, 1) for n in ("weight", "bias")}
    return out | norm_shape | affine("conv_up.0", (inner, half, 1, 1)) | affine("conv_up.3", (c, inner, 1, 1))


def detect(channels, nc, reg_max, end2end, legacy):
    box_width, class_width = max(16, channels[0] // 4, 4 * reg_max), max(channels[0], min(nc, 100))
    out = {}
    for prefix in ("", "one2one_") if end2end else ("",):
        for i, c in enumerate(channels):
            box = under("0", conv(c, box_width, 3)) | under("1", conv(box_width, box_width, 3))
            out |= under(f"{prefix}cv2.{i}", box | affine("2", (4 * reg_max, box_width, 1, 1)))
            label = {
                **under("0.0", conv(c, c, 3, depthwise=True)), **under("0.1", conv(c, class_width, 1)),
                **under("1.0", conv(class_width, class_width, 3, depthwise=True)),
                **under("1.1", conv(class_width, class_width, 1)),
            }
            if legacy:
                label = under("0", conv(c, class_width, 3)) | under("1", conv(class_width, class_width, 3))
            out |= under(f"{prefix}cv3.{i}", label | affine("2", (nc, class_width, 1, 1)))
    return out | ({"dfl.conv.weight": (1, reg_max, 1, 1)} if reg_max > 1 else {})


def of_row(row, network):
    """Tensors of one row, without the prefix `model.<row>`."""
    c1, c2, args, settings = row.c1[0], row.c2, row.args, row.settings
    match row.module:
        case "Conv":
            return conv(c1, c2, args[1])
        case "C3k2":
            return c3k2(row, network.scale)
        case "SPPF":
            pools = args[2] if len(args) > 2 else 3
            return under("cv1", conv(c1, c1 // 2, 1)) | under("cv2", conv((pools + 1) * (c1 // 2), c2, 1))
        case "DWConv":
            return conv(c1, c2, args[1], depthwise=True)
        case "Bottleneck":
            e = args[4] if len(args) > 4 else 0.5
            return bottleneck(c1, int(c2 * e), args[3] if len(args) > 3 else (3, 3), c2)
        case "C3":
            return c3(c1, c2, row.repeats, first=1)
        case "C3k":
            return c3(c1, c2, args[1] if len(args) > 1 else 1)
        case "C2f":
            return split_and_collect(c1, c2, c2 // 2, row.repeats, bottleneck(c2 // 2, c2 // 2))
        case "SCDown":
            return under("cv1", conv(c1, c2, 1)) | under("cv2", conv(c2, c2, args[1], depthwise=True))
        case "RepVGGDW":
            return rep_vgg_dw(c1)
        case "CIB":
            e, large = (args[2:] + [0.5, False][len(args) - 2 :])[:2]
            return cib(c1, c2, 2 * int(c2 * e), large)
        case "C2fCIB":
            half, large = c2 // 2, bool(args[2:] and args[2])
            return split_and_collect(c1, c2, half, row.repeats, cib(half, half, 2 * half, large))
        case "C2PSA":
            return c2psa(c1, [f"m.{i}" for i in range(row.repeats)])
        case "PSA":
            return c2psa(c1, [""])
        case "PSABlock":
            return psa_block(c1, args[2] if len(args) > 2 else 4)
        case "StokenAttention":
            return super_token_attention(c1)
        case "StokenBlock":
            return norm("norm", c1) | under("attn", super_token_attention(c1))
        case "BiLevelRoutingAttention":
            side = args[13] if len(args) > 13 else 3
            return bi_level_routing_attention(c1, settings["qk_dim"] or c1, side)
        case "BiFormerBlock":
            return biformer_block(c1, args)
        case "PolarizedSelfAttention":
            return polarized_self_attention(c1)
        case "Detect" | "v10Detect":
            return detect(row.c1, network.nc, network.reg_max, network.end2end, network.legacy)
        case "nn.Upsample" | "Concat":
            return {}
    raise ValueError(f"row {row.index}: no shapes for {row.module}")


def of_network(network):
    """Every tensor of the model."""
    out = {}
    for row in network.rows:
        tensors = of_row(row, network)
        if row.repeats > 1 and row.module not in REPEATING:
            # Copies one after the other. Only rows that keep their channels are repeated here.
            assert row.c1 == [row.c2]
            tensors = {f"{i}.{name}": shape for i in range(row.repeats) for name, shape in tensors.items()}
        out |= under(f"model.{row.index}", tensors)
    return out
