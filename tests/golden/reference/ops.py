"""Convolution, normalisation, activations and pooling of one map [C, H, W]."""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

BATCH_NORM_EPS = 1e-3  # YOLO's value; PyTorch's own default is 1e-5


def pad_bottom_right(x, row_multiple, column_multiple):
    """Zero-pad [C, H, W] at the bottom and the right to multiples."""
    _, h, w = x.shape
    return np.pad(x, ((0, 0), (0, -h % row_multiple), (0, -w % column_multiple)))


def windows(x, kernel, stride, fill):
    """All kernel windows of a map padded by kernel // 2: [C, H', W', k, k]."""
    kh, kw = kernel
    padded = np.pad(x, ((0, 0), (kh // 2,) * 2, (kw // 2,) * 2), constant_values=fill)
    return sliding_window_view(padded, kernel, axis=(1, 2))[:, ::stride, ::stride]


def conv2d(x, weight, bias=None, stride=1):
    """Correlation with padding k // 2: dense [O, C, k, k] or depthwise [C, 1, k, k]."""
    out, per_group, kh, kw = weight.shape
    patches = windows(x, (kh, kw), stride, 0.0)
    c, h, w = patches.shape[:3]
    if per_group == c:
        columns = patches.transpose(0, 3, 4, 1, 2).reshape(c * kh * kw, h * w)
        y = (weight.reshape(out, -1) @ columns).reshape(out, h, w)
    elif per_group == 1 and out == c:
        y = np.einsum("chwij,cij->chw", patches, weight[:, 0])
    else:
        raise ValueError(f"groups other than 1 or C: weight {weight.shape}, input {x.shape}")
    return y if bias is None else y + bias[:, None, None]


def conv1x1(x, w, name):
    """Bare 1x1 convolution with the parameters `name`.weight and, if there, `name`.bias."""
    return conv2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def batch_norm(x, w):
    """Batch normalisation with running statistics, not folded."""
    mean, variance = w.statistics(x)
    scale = w["weight"] / np.sqrt(variance + BATCH_NORM_EPS)
    return (x - mean[:, None, None]) * scale[:, None, None] + w["bias"][:, None, None]


def layer_norm(x, w, eps):
    """Layer normalisation over the channels (axis 0) of [C, ...]: one mean per position."""
    shape = (-1,) + (1,) * (x.ndim - 1)
    mean = x.mean(axis=0, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=0, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * w["weight"].reshape(shape) + w["bias"].reshape(shape)


def sigmoid(x):
    """1 / (1 + e^-x), accurate and without overflow at both ends."""
    return np.exp(-np.logaddexp(0, -x))


def silu(x):
    return x * sigmoid(x)


def gelu(x):
    """The exact form with erf, not the tanh approximation."""
    erf = np.vectorize(math.erf, otypes=[x.dtype])
    return x * (1 + erf(x / np.sqrt(x.dtype.type(2)))) / 2


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def max_pool_same(x, k):
    """Max pooling with stride 1 and -inf padding k // 2."""
    return windows(x, (k, k), 1, -np.inf).max(axis=(3, 4))


def upsample_nearest(x, factor):
    return x.repeat(factor, axis=1).repeat(factor, axis=2)
