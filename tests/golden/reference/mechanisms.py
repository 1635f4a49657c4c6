"""The three attention mechanisms. Each returns its output and a trace of what it computed.

Super-token attention after STViT (Huang et al., 2022), bi-level routing attention after BiFormer
(Zhu et al., 2023), polarized self-attention after Liu et al. (2021) in the form that YOLO
derivatives use. Where a published code and its paper differ, the code decides, since it made the
weights that people have.
"""

import numpy as np

from .ops import conv1x1, conv2d, layer_norm, pad_bottom_right, sigmoid, softmax

# --- super-token attention (STA) -----------------------------------------------------------------

OFFSETS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]


def gather_neighbours(tokens):
    """[C, hh, ww] -> [C, 9, hh, ww]: the 3x3 neighbours of every cell, zeros outside the grid."""
    _, hh, ww = tokens.shape
    padded = np.pad(tokens, ((0, 0), (1, 1), (1, 1)))
    shifted = [padded[:, 1 + dy : 1 + dy + hh, 1 + dx : 1 + dx + ww] for dy, dx in OFFSETS]
    return np.stack(shifted, axis=1)


def scatter_neighbours(parts):
    """[C, 9, hh, ww] -> [C, hh, ww]: the adjoint of gathering; what leaves the grid is dropped."""
    c, _, hh, ww = parts.shape
    grid = np.zeros((c, hh + 2, ww + 2), parts.dtype)
    for k, (dy, dx) in enumerate(OFFSETS):
        grid[:, 1 + dy : 1 + dy + hh, 1 + dx : 1 + dx + ww] += parts[:, k]
    return grid[:, 1:-1, 1:-1]


def token_attention(tokens, w, heads, scale=None):
    """Multi-head attention over all positions of [C, hh, ww]: output, weights [heads, N, N].

    The qkv channels lie per head (q k v of head 0, then of head 1, ...); row = query. Without a
    scale it is that of one head.
    """
    c, hh, ww = tokens.shape
    d = c // heads
    q, k, v = conv1x1(tokens, w, "qkv").reshape(heads, 3, d, hh * ww).transpose(1, 0, 2, 3)
    logits = np.einsum("hdi,hdj->hij", q, k) * (scale or d**-0.5)
    weights = softmax(logits, axis=2)
    out = np.einsum("hij,hdj->hdi", weights, v).reshape(c, hh, ww)
    return conv1x1(out, w, "proj"), weights


def refine(tokens, w, heads, scale):
    """What super tokens do among each other, as the weights have it, and a trace of it: attention,
    three convolutions (1x1, depthwise 5x5, 1x1), or nothing."""
    if "qkv.weight" in w:
        y, weights = token_attention(tokens, w, heads, scale)
        return y, {"mhsa": weights}
    if "0.weight" in w:
        for i in range(3):
            tokens = conv2d(tokens, w[f"{i}.weight"], w[f"{i}.bias"])
    return tokens, {}


def super_token_attention(x, w, stoken_size=(8, 8), n_iter=1, heads=8, qk_scale=None):
    """Output [C, H, W] and trace.

    Trace, Hp x Wp the padded map: affinity_it<j> [9, Hp, Wp] (k = 3 (dy+1) + (dx+1), neighbours
    outside the grid included), stoken_in / stoken_out [C, hh, ww] before and after the attention
    among super tokens, mhsa [heads, N, N], lost_mass [Hp, Wp] (weights of the last iteration that
    fall outside the grid).
    """
    h, wd = stoken_size
    if (h, wd) == (1, 1):
        # Every pixel is a super token: plain attention over the whole map, no association.
        y, seen = refine(x, w / "stoken_refine", heads, qk_scale)
        return y, {"stoken_in": x, "stoken_out": y} | seen
    c, height, width = x.shape
    padded = pad_bottom_right(x, h, wd)
    _, hp, wp = padded.shape
    hh, ww = hp // h, wp // wd
    cells = padded.reshape(c, hh, h, ww, wd)  # pixel (i, j) of cell (y, x): [c, y, i, x, j]
    tokens = cells.mean(axis=(2, 4))
    trace = {}
    for iteration in range(n_iter):
        logits = np.einsum("cyixj,ckyx->kyixj", cells, gather_neighbours(tokens)) * c**-0.5
        affinity = softmax(logits, axis=0)
        trace[f"affinity_it{iteration}"] = affinity.reshape(9, hp, wp)
        mass = scatter_neighbours(affinity.sum(axis=(2, 4))[None])
        moved = np.einsum("cyixj,kyixj->ckyx", cells, affinity)
        tokens = scatter_neighbours(moved) / (mass + 1e-12)
    refined, seen = refine(tokens, w / "stoken_refine", heads, qk_scale)
    out = np.einsum("ckyx,kyixj->cyixj", gather_neighbours(refined), affinity).reshape(c, hp, wp)
    outside = 1 - gather_neighbours(np.ones((1, hh, ww), x.dtype))[0]
    lost = np.einsum("kyx,kyixj->yixj", outside, affinity).reshape(hp, wp)
    trace.update(stoken_in=tokens, stoken_out=refined, lost_mass=lost, **seen)
    return out[:, :height, :width], trace


# --- bi-level routing attention (BRA) ------------------------------------------------------------


def to_regions(x, side):
    """[C, H, W] -> [side^2, T, C]; regions and the tokens inside them row-major."""
    c, height, width = x.shape
    h, w = height // side, width // side
    return x.reshape(c, side, h, side, w).transpose(1, 3, 2, 4, 0).reshape(side * side, h * w, c)


def from_regions(regions, side, height, width):
    """The inverse of `to_regions`."""
    h, w = height // side, width // side
    grid = regions.reshape(side, side, h, w, -1).transpose(4, 0, 2, 1, 3)
    return grid.reshape(-1, height, width)


def linear(x, w, name):
    """[..., in] -> [..., out]"""
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def pool_windows(side, mode, keys, ratio):
    """The tokens start..end along a side of a region that each key stands for."""
    if mode.startswith("ada_"):
        return [(i * side // keys, -(-(i + 1) * side // keys)) for i in range(keys)]
    return [(i * ratio, (i + 1) * ratio) for i in range(side // ratio)]


def pooled(regions, region, mode, keys, ratio):
    """Fewer keys or values: [S^2, T, C] -> [S^2, K, C], windows row-major."""
    if mode == "identity":
        return regions
    take = np.max if mode.endswith("maxpool") else np.mean
    h, w = region
    grid = regions.reshape(len(regions), h, w, -1)
    return np.stack(
        [
            take(grid[:, y0:y1, x0:x1], axis=(1, 2))
            for y0, y1 in pool_windows(h, mode, keys, ratio)
            for x0, x1 in pool_windows(w, mode, keys, ratio)
        ],
        axis=1,
    )


def rank_regions(q, k, topk):
    """Routing logits [S^2, S^2], the best regions [S^2, topk] and the softmax over their logits."""
    # Sums instead of a matrix product: equal keys give equal bits, so that ties stay ties.
    affinity = (q[:, None] * k[None]).sum(axis=2)
    order = np.argsort(-affinity, axis=1, kind="stable")[:, :topk]
    return affinity, order, softmax(np.take_along_axis(affinity, order, axis=1), axis=1)


def bi_level_routing_attention(
    x, w, n_win=7, heads=8, topk=4, qk_dim=None, soft=False, qk_scale=None,
    kv_downsample_mode="identity", kv_per_win=4, kv_downsample_ratio=4,
):
    """Output [C, H, W] and trace. The map is zero-padded to multiples of n_win (auto_pad).

    Trace, S = n_win: affinity_r [S^2, S^2] (scaled), r_idx and r_weight [S^2, topk] by descending
    affinity (equal ones by index), attn [S^2, heads, T, topk T] with key = place * T + token.
    """
    c, height, width = x.shape
    qk = qk_dim or c
    scale = qk_scale or qk**-0.5  # of the whole width, not of one head: kept for the published weights
    padded = pad_bottom_right(x, n_win, n_win)
    _, hp, wp = padded.shape
    # Padded tokens are zero before the projection, so they take part with the bias as q, k and v.
    q, k, v = np.split(linear(to_regions(padded, n_win), w / "qkv", "qkv"), [qk, 2 * qk], axis=2)
    regions, tokens = q.shape[:2]
    q_mean, k_mean = q.mean(axis=1), k.mean(axis=1)
    if "router.emb.weight" in w:
        q_mean, k_mean = (linear(mean, w / "router", "emb") for mean in (q_mean, k_mean))
    affinity, order, weight = rank_regions(q_mean * scale, k_mean, topk)
    pooling = (hp // n_win, wp // n_win), kv_downsample_mode, kv_per_win, kv_downsample_ratio
    # [regions, topk, K, channels]
    keys, values = pooled(k, *pooling)[order], pooled(v, *pooling)[order]
    if soft:
        keys, values = (kv * weight[:, :, None, None] for kv in (keys, values))

    def split_heads(t):
        return t.reshape(regions, -1, heads, t.shape[-1] // heads).transpose(0, 2, 1, 3)

    logits = split_heads(q * scale) @ split_heads(keys).transpose(0, 1, 3, 2)
    attn = softmax(logits, axis=3)
    out = (attn @ split_heads(values)).transpose(0, 2, 1, 3).reshape(regions, tokens, c)
    y = from_regions(out, n_win, hp, wp)
    if "lepe.weight" in w:
        y = y + conv2d(from_regions(v, n_win, hp, wp), w["lepe.weight"], w["lepe.bias"])
    if "wo.weight" in w:
        y = linear(y.transpose(1, 2, 0), w, "wo").transpose(2, 0, 1)
    trace = {"affinity_r": affinity, "r_idx": order.astype(np.int64), "r_weight": weight, "attn": attn}
    return y[:, :height, :width], trace


def routing_attention_nchw(x, w, n_win=7, heads=8, topk=4):
    """The variant on NCHW maps: regions of H // n_win x W // n_win cells, as many as it takes. What
    was projected is padded with zeros, which count neither in the means nor for the position term."""
    c, height, width = x.shape
    h, wd = height // n_win, width // n_win
    scale = c**-0.5
    qkv = conv1x1(x, w, "qkv_linear")
    padded = pad_bottom_right(qkv, h, wd)
    _, hp, wp = padded.shape
    rows, cols = hp // h, wp // wd
    cells = padded.reshape(3 * c, rows, h, cols, wd)
    tokens = cells.transpose(1, 3, 2, 4, 0).reshape(rows * cols, h * wd, 3 * c)
    q, k, v = np.split(tokens, 3, axis=2)
    real = pad_bottom_right(np.ones((1, height, width), x.dtype), h, wd)
    count = real.reshape(rows, h, cols, wd).sum(axis=(1, 3)).reshape(-1, 1)
    # The module ranks unscaled logits; the order is the same.
    affinity, order, weight = rank_regions(q.sum(axis=1) / count * scale, k.sum(axis=1) / count, topk)

    def split_heads(t):
        return t.reshape(rows * cols, -1, heads, c // heads).transpose(0, 2, 1, 3)

    attn = softmax(split_heads(q * scale) @ split_heads(k[order]).transpose(0, 1, 3, 2), axis=3)
    out = (attn @ split_heads(v[order])).transpose(0, 2, 1, 3).reshape(rows, cols, h, wd, c)
    y = out.transpose(4, 0, 2, 1, 3).reshape(c, hp, wp)[:, :height, :width]
    y = conv1x1(y + conv2d(qkv[2 * c :], w["lepe.weight"], w["lepe.bias"]), w, "output_linear")
    return y, {"affinity_r": affinity, "r_idx": order.astype(np.int64), "r_weight": weight, "attn": attn}


# --- polarized self-attention (PSA) --------------------------------------------------------------


def polarized_self_attention(x, w, sequential=False):
    """Output [C, H, W] and trace: cw [C], sw [H, W], q_map [H, W], qs [C/2]."""
    c, height, width = x.shape
    q_map = softmax(conv1x1(x, w, "ch_wq").reshape(-1), axis=0)
    z = conv1x1(x, w, "ch_wv").reshape(c // 2, -1) @ q_map
    u = conv1x1(z[:, None, None], w, "ch_wz").reshape(c)
    cw = sigmoid(layer_norm(u, w / "ln", 1e-5))
    by_channel = x * cw[:, None, None]
    source = by_channel if sequential else x
    qs = softmax(conv1x1(source, w, "sp_wq").mean(axis=(1, 2)), axis=0)
    sw = sigmoid(np.einsum("c,chw->hw", qs, conv1x1(source, w, "sp_wv")))
    y = by_channel * sw if sequential else x * sw + by_channel
    trace = {"cw": cw, "sw": sw, "q_map": q_map.reshape(height, width), "qs": qs}
    return y, trace


def polarized_original(x, w, sequential=False):
    """The modules of the paper's authors, PSA_p and (sequential) PSA_s; the trace as above, with
    the plain mean of the query as qs."""
    c, height, width = x.shape
    q_map = softmax(conv1x1(x, w, "conv_q_right").reshape(-1), axis=0)
    z = (conv1x1(x, w, "conv_v_right").reshape(c // 2, -1) @ q_map)[:, None, None]
    if sequential:
        hidden = layer_norm(conv1x1(z, w, "conv_up.0"), w / "conv_up.1", 1e-5)
        u = conv1x1(np.maximum(hidden, 0), w, "conv_up.3")
    else:
        u = conv1x1(z, w, "conv_up")
    cw = sigmoid(u.reshape(c))
    by_channel = x * cw[:, None, None]
    source = by_channel if sequential else x
    qs = conv1x1(source, w, "conv_q_left").mean(axis=(1, 2))
    values = conv1x1(source, w, "conv_v_left").reshape(c // 2, -1)
    # One softmaxes the values over the positions, the other their product with the query.
    logits = qs @ softmax(values, axis=1) if sequential else softmax(qs @ values, axis=0)
    sw = sigmoid(logits).reshape(height, width)
    y = by_channel * sw if sequential else x * sw + by_channel
    return y, {"cw": cw, "sw": sw, "q_map": q_map.reshape(height, width), "qs": qs}
