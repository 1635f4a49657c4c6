"""The YOLO blocks and the residual forms of the mechanisms, with the names of their checkpoints."""

import numpy as np

from .mechanisms import bi_level_routing_attention, linear, super_token_attention
from .ops import batch_norm, conv1x1, conv2d, gelu, layer_norm, max_pool_same, silu, softmax


def conv(x, w, stride=1, act=True):
    """Conv: convolution without bias, batch normalisation, SiLU unless `act` is off."""
    y = batch_norm(conv2d(x, w["conv.weight"], stride=stride), w / "bn")
    return silu(y) if act else y


def bottleneck(x, w, shortcut=True):
    """Two convolutions; their kernels follow from the weights."""
    y = conv(conv(x, w / "cv1"), w / "cv2")
    return x + y if shortcut and x.shape == y.shape else y


def c3k(x, w, n=2, shortcut=True):
    """C3k, and C3, whose first kernels are 1x1."""
    a = conv(x, w / "cv1")
    for i in range(n):
        a = bottleneck(a, w / f"m.{i}", shortcut)
    return conv(np.concatenate([a, conv(x, w / "cv2")]), w / "cv3")


def split_and_collect(x, w, n, inner):
    """The wiring of C2f and C3k2: halve, run n inner blocks in a chain, join everything."""
    parts = np.split(conv(x, w / "cv1"), 2)
    for i in range(n):
        parts.append(inner(parts[-1], w / f"m.{i}"))
    return conv(np.concatenate(parts), w / "cv2")


def c2f(x, w, n=1, shortcut=False):
    return split_and_collect(x, w, n, lambda y, v: bottleneck(y, v, shortcut))


def c3k2(x, w, n=1, use_c3k=False, attn=False, shortcut=True, seen=None):
    def with_attention(y, v):
        y = bottleneck(y, v / "0", shortcut)
        return psa_block(y, v / "1", max(y.shape[0] // 64, 1), seen)

    if attn:
        inner = with_attention
    elif use_c3k:
        inner = lambda y, v: c3k(y, v, 2, shortcut)
    else:
        inner = lambda y, v: bottleneck(y, v, shortcut)
    return split_and_collect(x, w, n, inner)


def sppf(x, w, k=5, n=3, shortcut=False, first_act=True):
    parts = [conv(x, w / "cv1", act=first_act)]
    for _ in range(n):
        parts.append(max_pool_same(parts[-1], k))
    y = conv(np.concatenate(parts), w / "cv2")
    return x + y if shortcut and x.shape == y.shape else y


def position_sensitive_attention(x, w, heads, seen):
    """The attention of C2PSA: keys half as wide as values, a depthwise position term on v.

    Appends to the list `seen` the weights [heads, N, N], row = query.
    """
    c, height, width = x.shape
    d = c // heads
    dk = d // 2
    qkv = conv(x, w / "qkv", act=False).reshape(heads, 2 * dk + d, height * width)
    q, k, v = np.split(qkv, [dk, 2 * dk], axis=1)
    weights = softmax(np.einsum("hdi,hdj->hij", q, k) * dk**-0.5, axis=2)
    seen.append(weights)
    out = np.einsum("hij,hdj->hdi", weights, v).reshape(c, height, width)
    position = conv(v.reshape(c, height, width), w / "pe", act=False)
    return conv(out + position, w / "proj", act=False)


def psa_block(x, w, heads, seen):
    x = x + position_sensitive_attention(x, w / "attn", heads, seen)
    return x + conv(conv(x, w / "ffn.0"), w / "ffn.1", act=False)


def c2psa(x, w, names, seen):
    """C2PSA, whose blocks are called m.0, m.1, ...; in YOLOv10's PSA the only one has no name."""
    a, b = np.split(conv(x, w / "cv1"), 2)
    for name in names:
        b = psa_block(b, w / name if name else w, max(b.shape[0] // 64, 1), seen)
    return conv(np.concatenate([a, b]), w / "cv2")


def received(seen, height, width):
    """The trace of position-sensitive attentions: `received<i>` [heads, H, W], the weight each
    position gets as a mean over queries, `tokens<i>` [N] and `attn<i>` [N, heads, N]."""
    trace = {}
    for i, weights in enumerate(seen):
        heads, n, _ = weights.shape
        trace[f"received{i}"] = weights.mean(axis=1).reshape(heads, height, width)
        trace[f"tokens{i}"] = np.arange(n)
        trace[f"attn{i}"] = weights.transpose(1, 0, 2)
    return trace or None


def sc_down(x, w, stride):
    return conv(conv(x, w / "cv1"), w / "cv2", stride=stride, act=False)


def rep_vgg_dw(x, w):
    return silu(conv(x, w / "conv", act=False) + conv(x, w / "conv1", act=False))


def cib(x, w, shortcut, large_kernel):
    y = conv(conv(x, w / "cv1.0"), w / "cv1.1")
    y = rep_vgg_dw(y, w / "cv1.2") if large_kernel else conv(y, w / "cv1.2")
    y = conv(conv(y, w / "cv1.3"), w / "cv1.4")
    return x + y if shortcut and x.shape == y.shape else y


def c2f_cib(x, w, n, shortcut, large_kernel):
    return split_and_collect(x, w, n, lambda y, v: cib(y, v, shortcut, large_kernel))


def stoken_block(x, w, **settings):
    """x + STA(LayerNorm over channels(x)); the trace is that of the attention."""
    y, trace = super_token_attention(layer_norm(x, w / "norm", 1e-6), w / "attn", **settings)
    return x + y, trace


def stoken_layer(x, w, **settings):
    """The layer of STViT: x + dwconv3x3(x), then x + STA(LN(x)), then x + MLP(BN(x)), the last two
    times a layer scale if the weights have one; the trace is that of the attention."""
    x = x + conv2d(x, w["pos_embed.conv.weight"], w["pos_embed.conv.bias"])
    y, trace = super_token_attention(layer_norm(x, w / "norm1" / "norm", 1e-6), w / "attn", **settings)
    x = x + scaled(y, w.get("gamma_1"))
    hidden = gelu(conv1x1(batch_norm(x, w / "norm2"), w / "mlp2", "fc1"))
    hidden = hidden + conv2d(hidden, w["mlp2.conv.conv.weight"], w["mlp2.conv.conv.bias"])
    return x + scaled(conv1x1(hidden, w / "mlp2", "fc2"), w.get("gamma_2")), trace


def scaled(y, gamma):
    """A branch [C, H, W] by its layer scale, if there is one."""
    return y if gamma is None else y * gamma.reshape(-1, 1, 1)


def biformer_block(x, w, pre_norm=True, **settings):
    """x + dwconv3x3(x), then x + BRA(LN(x)), then x + MLP(LN(x)); the trace is BRA's.

    Without `pre_norm` the norms stand behind: LN(x + BRA(x)), then LN(x + MLP(x)).
    """

    def norm(y, name, here):
        return layer_norm(y, w / name, 1e-6) if here else y

    x = x + conv2d(x, w["pos_embed.weight"], w["pos_embed.bias"])
    y, trace = bi_level_routing_attention(norm(x, "norm1", pre_norm), w / "attn", **settings)
    x = norm(x + scaled(y, w.get("gamma1")), "norm1", not pre_norm)
    hidden = linear(norm(x, "norm2", pre_norm).transpose(1, 2, 0), w / "mlp", "0")
    if "mlp.1.dwconv.weight" in w:
        convolved = conv2d(hidden.transpose(2, 0, 1), w["mlp.1.dwconv.weight"], w["mlp.1.dwconv.bias"])
        hidden = convolved.transpose(1, 2, 0)
    y = linear(gelu(hidden), w / "mlp", "3").transpose(2, 0, 1)
    return norm(x + scaled(y, w.get("gamma2")), "norm2", not pre_norm), trace
