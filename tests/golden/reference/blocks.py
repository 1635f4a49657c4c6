"""The YOLO blocks and the residual forms of the mechanisms, with the names of their checkpoints."""

import numpy as np

from .mechanisms import bi_level_routing_attention, linear, super_token_attention
from .ops import batch_norm, conv2d, gelu, layer_norm, max_pool_same, silu, softmax


def conv(x, w, stride=1, act=True):
    """Conv: convolution without bias, batch normalisation, SiLU unless `act` is off."""
    y = batch_norm(conv2d(x, w["conv.weight"], stride=stride), w / "bn")
    return silu(y) if act else y


def bottleneck(x, w, shortcut=True):
    y = conv(conv(x, w / "cv1"), w / "cv2")
    return x + y if shortcut and x.shape == y.shape else y


def c3k(x, w, n=2, shortcut=True):
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


def c3k2(x, w, n=1, use_c3k=False, attn=False, shortcut=True):
    def with_attention(y, v):
        return psa_block(bottleneck(y, v / "0", shortcut), v / "1", max(y.shape[0] // 64, 1))

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


def position_sensitive_attention(x, w, heads):
    """The attention of C2PSA: keys half as wide as values, a depthwise position term on v."""
    c, height, width = x.shape
    d = c // heads
    dk = d // 2
    qkv = conv(x, w / "qkv", act=False).reshape(heads, 2 * dk + d, height * width)
    q, k, v = np.split(qkv, [dk, 2 * dk], axis=1)
    weights = softmax(np.einsum("hdi,hdj->hij", q, k) * dk**-0.5, axis=2)
    out = np.einsum("hij,hdj->hdi", weights, v).reshape(c, height, width)
    position = conv(v.reshape(c, height, width), w / "pe", act=False)
    return conv(out + position, w / "proj", act=False)


def psa_block(x, w, heads):
    x = x + position_sensitive_attention(x, w / "attn", heads)
    return x + conv(conv(x, w / "ffn.0"), w / "ffn.1", act=False)


def c2psa(x, w, n=1):
    a, b = np.split(conv(x, w / "cv1"), 2)
    for i in range(n):
        b = psa_block(b, w / f"m.{i}", max(b.shape[0] // 64, 1))
    return conv(np.concatenate([a, b]), w / "cv2")


def stoken_block(x, w, **settings):
    """x + STA(LayerNorm over channels(x)); the trace is that of the attention."""
    y, trace = super_token_attention(layer_norm(x, w / "norm", 1e-6), w / "attn", **settings)
    return x + y, trace


def biformer_block(x, w, **settings):
    """x + dwconv3x3(x), then x + BRA(LN(x)), then x + MLP(LN(x)); the trace is BRA's."""
    x = x + conv2d(x, w["pos_embed.weight"], w["pos_embed.bias"])
    y, trace = bi_level_routing_attention(layer_norm(x, w / "norm1", 1e-6), w / "attn", **settings)
    x = x + y
    hidden = gelu(linear(layer_norm(x, w / "norm2", 1e-6).transpose(1, 2, 0), w / "mlp", "0"))
    return x + linear(hidden, w / "mlp", "3").transpose(2, 0, 1), trace
