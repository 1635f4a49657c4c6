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


def token_attention(tokens, w, heads):
    """Multi-head attention over all positions of [C, hh, ww]: output, weights [heads, N, N].

    The qkv channels lie per head (q k v of head 0, then of head 1, ...); row = query.
    """
    c, hh, ww = tokens.shape
    d = c // heads
    q, k, v = conv1x1(tokens, w, "qkv").reshape(heads, 3, d, hh * ww).transpose(1, 0, 2, 3)
    logits = np.einsum("hdi,hdj->hij", q, k) * d**-0.5
    weights = softmax(logits, axis=2)
    out = np.einsum("hij,hdj->hdi", weights, v).reshape(c, hh, ww)
    return conv1x1(out, w, "proj"), weights


def super_token_attention(x, w, stoken_size=(8, 8), n_iter=1, heads=8):
    """Output [C, H, W] and trace.

    Trace, Hp x Wp the padded map: affinity_it<j> [9, Hp, Wp] (k = 3 (dy+1) + (dx+1), neighbours
    outside the grid included), stoken_in / stoken_out [C, hh, ww] before and after the attention
    among super tokens, mhsa [heads, N, N], lost_mass [Hp, Wp] (weights of the last iteration that
    fall outside the grid).
    """
    h, wd = stoken_size
    refine = w / "stoken_refine"
    if (h, wd) == (1, 1):
        # Every pixel is a super token: plain attention over the whole map, no association.
        y, weights = token_attention(x, refine, heads)
        return y, {"stoken_in": x, "stoken_out": y, "mhsa": weights}
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
    refined, weights = token_attention(tokens, refine, heads)
    out = np.einsum("ckyx,kyixj->cyixj", gather_neighbours(refined), affinity).reshape(c, hp, wp)
    outside = 1 - gather_neighbours(np.ones((1, hh, ww), x.dtype))[0]
    lost = np.einsum("kyx,kyixj->yixj", outside, affinity).reshape(hp, wp)
    trace.update(stoken_in=tokens, stoken_out=refined, mhsa=weights, lost_mass=lost)
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


def bi_level_routing_attention(x, w, n_win=7, heads=8, topk=4, qk_dim=None, soft=False):
    """Output [C, H, W] and trace. The map is zero-padded to multiples of n_win (auto_pad).

    Trace, S = n_win: affinity_r [S^2, S^2] (scaled), r_idx and r_weight [S^2, topk] by descending
    affinity (equal ones by index), attn [S^2, heads, T, topk T] with key = place * T + token.
    """
    c, height, width = x.shape
    qk = qk_dim or c
    scale = qk**-0.5  # of the whole width, not of one head: kept for the published weights
    padded = pad_bottom_right(x, n_win, n_win)
    _, hp, wp = padded.shape
    # Padded tokens are zero before the projection, so they take part with the bias as q, k and v.
    q, k, v = np.split(linear(to_regions(padded, n_win), w / "qkv", "qkv"), [qk, 2 * qk], axis=2)
    regions, tokens = q.shape[:2]
    # Sums instead of a matrix product: equal keys give equal bits, so that ties stay ties.
    affinity = (q.mean(axis=1)[:, None] * scale * k.mean(axis=1)[None]).sum(axis=2)
    order = np.argsort(-affinity, axis=1, kind="stable")[:, :topk]
    weight = softmax(np.take_along_axis(affinity, order, axis=1), axis=1)
    keys, values = k[order], v[order]  # [regions, topk, T, channels]
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
