"""Safetensors in and out, and a view of a state dict by prefix.

The writer sorts tensors and metadata, so that the same numbers give the same bytes.
"""

import json
import struct

import numpy as np

DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "|u1",
}
NAMES = {np.dtype(code): name for name, code in DTYPES.items()}


def read_safetensors(path):
    """All tensors of a file by name, and its metadata."""
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        flat = np.frombuffer(data[8 + length + begin : 8 + length + end], DTYPES[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"])
    return tensors, metadata


def safetensors_parts(tensors, metadata):
    """Header (a dict, without its length) and body (bytes) of a file; the writer joins them."""
    header, body, offset = {"__metadata__": dict(sorted(metadata.items()))}, [], 0
    for name, array in sorted(tensors.items()):
        array = np.asarray(array)
        # ascontiguousarray would turn a scalar into a vector.
        raw = array.tobytes(order="C")
        header[name] = {
            "dtype": NAMES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(raw)],
        }
        body.append(raw)
        offset += len(raw)
    return header, b"".join(body)


def join_safetensors(header, body):
    """File bytes of a header (dict or ready bytes) and a body; the header is padded to 8 bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def write_safetensors(path, tensors, metadata):
    """Write a file; values of `metadata` that are not text are stored as JSON. Returns its size."""
    text = {k: v if isinstance(v, str) else json.dumps(v, allow_nan=False) for k, v in metadata.items()}
    data = join_safetensors(*safetensors_parts(tensors, text))
    path.write_bytes(data)
    return len(data)


class Weights:
    """A state dict seen from a prefix: `w / "attn"` descends, `w["wo.weight"]` reads.

    Floating-point tensors come out as `dtype`, so the dtype of the weights is the dtype of the
    computation.
    """

    def __init__(self, tensors, dtype=np.float64, prefix=""):
        self.tensors, self.dtype, self.prefix = tensors, dtype, prefix

    def __truediv__(self, name):
        return type(self)(self.tensors, self.dtype, f"{self.prefix}{name}.")

    def __contains__(self, name):
        return self.prefix + name in self.tensors

    def __getitem__(self, name):
        return self.tensors[self.prefix + name].astype(self.dtype)

    def get(self, name):
        """The tensor, or None where the file has none (optional biases)."""
        return self[name] if name in self else None

    def statistics(self, _map):
        """Mean and variance [C] that batch normalisation uses: the running ones of the file."""
        return self["running_mean"], self["running_var"]
