"""Weights by formula: every value follows from its tensor's name and its place in it.

`tests/common/drawn.rs` computes the same numbers, so a network of any size needs no weights file.
"""

import numpy as np

U = np.uint32


def values(name, shape):
    """The numbers of a tensor, float32."""
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x01000193) & 0xFFFFFFFF
    x = U(seed) ^ np.arange(int(np.prod(shape)), dtype=U) * U(0x9E3779B9)
    x = (x ^ x >> U(16)) * U(0x85EBCA6B)
    x = (x ^ x >> U(13)) * U(0xC2B2AE35)
    x = x ^ x >> U(16)
    unit = (x >> U(8)).astype(np.float64) / 2.0**23 - 1.0
    mean, spread = kind(name, shape)
    return (mean + spread * unit).astype(np.float32).reshape(shape)


def kind(name, shape):
    """Middle and half width of the values: signals keep their size through the layers."""
    last = name.rsplit(".", 1)[-1]
    if last == "running_mean":
        return 0.0, 0.2
    if last == "running_var":
        return 0.75, 0.25
    if last == "bias":
        return 0.0, 0.3
    if len(shape) == 1:
        return 1.0, 0.3
    wide = 2.5 if "qkv" in name else 1.0  # else every token would read from all alike
    return 0.0, wide * 1.7 / float(np.prod(shape[1:])) ** 0.5


def state_dict(tensor_shapes):
    """A complete state dict; constants that nothing reads are left out."""
    return {name: values(name, shape) for name, shape in tensor_shapes.items()}
