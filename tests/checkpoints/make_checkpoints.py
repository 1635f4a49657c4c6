"""Make the checkpoints of this folder, with nothing but Python's standard library.

    python make_checkpoints.py

The network is the small sound model of `../golden/bad/weights/intact`. Its numbers are rounded to
seven bits of fraction, so that every float type holds them exactly. The classes that the pickles
name are made up here: only their names get into the files.

* `released.pt`: the whole module under `model`, half precision, a storage for each tensor.
* `training.pt`: `model` is None and the module is under `ema`; single precision, one storage for all;
  with an optimizer, a loss and a call of `os.system`, which are no part of the model.
* `tensors.pt` and `tensors.yaml`: bare tensors as a wrapped model saves them (`module.model.0…`), bfloat16
  and double precision, and transposed; pickle protocol 4.
* `fused.pt`: BatchNorm folded into the convolutions; pickle protocol 5.
* `segment.pt`, `unknown.pt`: another task; a module that nobody knows.
* `hostile/`: damaged and malicious files.
"""

import io
import json
import math
import os
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

HERE = Path(__file__).parent
INTACT = HERE.parent / "golden/bad/weights/intact"
EPS = 1e-3
ROWS = ["Conv", "Conv", "Conv", "StokenAttention", "Conv", "BiLevelRoutingAttention", "Conv"]
ROWS += ["PolarizedSelfAttention", "Upsample", "Concat", "Detect"]
PLACES = {
    "Conv": "ultralytics.nn.modules.conv",
    "Concat": "ultralytics.nn.modules.conv",
    "Detect": "ultralytics.nn.modules.head",
    "Upsample": "torch.nn.modules.upsampling",
    "StokenAttention": "ultralytics.nn.modules.StokenAttention",
    "BiLevelRoutingAttention": "ultralytics.nn.AddModules.BiFormer",
    "PolarizedSelfAttention": "ultralytics.nn.modules.attention",
}
# Hyperparameters as the modules carry them. Row 5 has no arguments in its definition: read without
# these it would have other regions.
ATTRIBUTES = {
    3: {"n_iter": 1, "stoken_size": [4, 4], "scale": 8**-0.5},
    5: {"n_win": 2, "num_heads": 2, "topk": 4, "qk_dim": 8, "auto_pad": True, "soft_routing": False},
}
DEFINITION = {
    "nc": 2,
    "reg_max": 1,
    "end2end": False,
    "scales": {"n": [0.5, 0.0625, 256]},
    "backbone": [
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "StokenAttention", [[4, 4], 1, 2]],
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 1, "BiLevelRoutingAttention", []],
        [-1, 1, "Conv", [128, 3, 2]],
    ],
    "head": [
        [3, 1, "PolarizedSelfAttention", []],
        [6, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 5], 1, "Concat", [1]],
        [[7, 9, 6], 1, "Detect", ["nc"]],
    ],
    "scale": "n",
    "yaml_file": "small.yaml",
    "channels": 3,
}
NAMES = {0: "left", 1: "right"}


# Names that get into pickles.


def place(module, name, value):
    """Make `module.name` importable, which is what the pickler checks."""
    parts = module.split(".")
    for i in range(len(parts)):
        path = ".".join(parts[: i + 1])
        if path not in sys.modules:
            sys.modules[path] = types.ModuleType(path)
    value.__module__, value.__qualname__, value.__name__ = module, name, name
    setattr(sys.modules[module], name, value)
    return value


CLASSES = {}


def a_class(module, name):
    if (module, name) not in CLASSES:
        CLASSES[module, name] = place(module, name, type(name, (), {}))
    return CLASSES[module, name]


def a_function(module, name):
    def never(*_):
        raise AssertionError

    return place(module, name, never)


REBUILD = a_function("torch._utils", "_rebuild_tensor_v2")
PARAMETER = a_function("torch._utils", "_rebuild_parameter")
STORAGES = {"e": "HalfStorage", "f": "FloatStorage", "d": "DoubleStorage", "B": "BFloat16Storage"}
SIZES = {"e": 2, "f": 4, "d": 8, "B": 2}


class Call:
    """Pickled as a call of `function`."""

    def __init__(self, function, *args):
        self.made = function, args

    def __reduce_ex__(self, _):
        return self.made


class Storage:
    """Numbers of one type, under a key of the archive."""

    def __init__(self, kind):
        self.kind, self.values, self.key = kind, [], None

    def bytes(self):
        if self.kind == "B":
            return b"".join(struct.pack("<f", v)[2:] for v in self.values)
        return struct.pack(f"<{len(self.values)}{self.kind}", *self.values)


class Pickler(pickle.Pickler):
    """With storages outside."""

    def __init__(self, file, protocol):
        super().__init__(file, protocol)
        self.storages = []

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        if value.key is None:
            value.key = str(len(self.storages))
            self.storages.append(value)
        kind = a_class("torch", STORAGES[value.kind])
        return "storage", kind, value.key, "cpu", len(value.values)


def strides_of(shape):
    strides, step = [], 1
    for side in reversed(shape):
        strides.insert(0, step)
        step *= side
    return tuple(strides)


def tensor(storage, shape, values, transposed=False):
    """A tensor at the end of a storage; transposed, its last axis lies outermost."""
    offset, strides = len(storage.values), strides_of(shape)
    if transposed:
        rows, columns = math.prod(shape[:-1]), shape[-1]
        values = [values[r * columns + c] for c in range(columns) for r in range(rows)]
        strides = strides_of(shape[:-1]) + (rows,)
    storage.values.extend(values)
    return Call(REBUILD, storage, offset, tuple(shape), strides, False, OrderedDict())


def archive(path, root, protocol=2, byteorder=b"little", short=None, missing=None):
    """Write what `torch.save(root)` would. A storage may be cut short or left out."""
    file = io.BytesIO()
    pickler = Pickler(file, protocol)
    pickler.dump(root)
    entries = [("data.pkl", file.getvalue()), ("byteorder", byteorder)]
    for storage in pickler.storages:
        data = storage.bytes()
        if storage.key == short:
            data = data[: len(data) // 3]
        if storage.key != missing:
            entries.append((f"data/{storage.key}", data))
    write(path, entries + [("version", b"3\n")])


def write(path, entries):
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as out:
        for name, data in entries:
            out.writestr(zipfile.ZipInfo(f"{path.stem}/{name}"), data)


# The network.


def rounded(value):
    """To seven bits of fraction; below the normal range of half precision to zero."""
    if abs(value) < 2**-14:
        return 0.0
    step = 2.0 ** (math.frexp(value)[1] - 8)
    return round(value / step) * step


def weights():
    data = (INTACT / "weights.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, data = json.loads(data[8 : 8 + length]), data[8 + length :]
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        values = struct.unpack(f"<{(end - start) // 2}e", data[start:end])
        tensors[name] = entry["shape"], [rounded(v) for v in values]
    return tensors


def fused(tensors):
    """The convolutions with their BatchNorm folded in."""
    out = {}
    for name, (shape, values) in tensors.items():
        norm = name.removesuffix("conv.weight") + "bn."
        if ".bn." in name:
            continue
        if norm + "weight" in tensors:
            get = [tensors[norm + k][1] for k in ("weight", "bias", "running_mean", "running_var")]
            factor = [w / math.sqrt(v + EPS) for w, v in zip(get[0], get[3], strict=True)]
            bias = [b - m * f for b, m, f in zip(get[1], get[2], factor, strict=True)]
            per = len(values) // shape[0]
            out[name] = shape, [v * factor[i // per] for i, v in enumerate(values)]
            out[name.replace("weight", "bias")] = [shape[0]], bias
        else:
            out[name] = shape, values
    return out


def module(place, name, **attributes):
    """An instance with the tables that every module has."""
    made = a_class(place, name)()
    tables = {"training": False, "_parameters": {}, "_buffers": {}}
    tables |= {"_non_persistent_buffers_set": set(), "_forward_hooks": OrderedDict(), "_modules": {}}
    vars(made).update(tables | attributes)
    return made


def child(parent, name, row):
    """The part `name` of a module; its class follows from its name."""
    if name not in parent._modules:
        known = {
            "conv": ("torch.nn.modules.conv", "Conv2d"),
            "bn": ("torch.nn.modules.batchnorm", "BatchNorm2d"),
            "stoken_refine": ("ultralytics.nn.modules.StokenAttention", "StAttention"),
        }
        where, kind = known.get(name, ("torch.nn.modules.container", "ModuleList"))
        parent._modules[name] = module(where, kind)
        if name == "conv" and "act" not in parent._modules and row != 10:
            parent._modules["act"] = module("torch.nn.modules.activation", "SiLU")
    return parent._modules[name]


def detector(tensors, kind="f", together=False, rows=ROWS, name="DetectionModel", **attributes):
    """The module; `together` puts all numbers in one storage."""
    common = Storage(kind)
    stack = module("torch.nn.modules.container", "Sequential")
    for i, row in enumerate(rows):
        where = PLACES.get(row, f"ultralytics.nn.modules.{row}")
        own = ATTRIBUTES.get(i, {}) | {"i": i, "f": -1, "type": f"{where}.{row}", "np": 0}
        stack._modules[str(i)] = module(where, row, **own)
    for path, (shape, values) in sorted(tensors.items()):
        _, row, *parts, last = path.split(".")
        part = stack._modules[row]
        for name_of_part in parts:
            part = child(part, name_of_part, int(row))
        made = tensor(common if together else Storage(kind), shape, values)
        if last.startswith("running_"):
            part._buffers[last] = made
        else:
            part._parameters[last] = Call(PARAMETER, made, False, OrderedDict())
    if rows is ROWS:
        stack._modules["3"]._modules["stoken_refine"].num_heads = 2
    whole = module("ultralytics.nn.tasks", name, yaml=DEFINITION, names=NAMES, task="detect")
    whole._modules["model"] = stack
    # An anchor cache, which is no part of the state dict.
    whole._buffers["cache"] = tensor(Storage("f"), [1], [0.0])
    whole._non_persistent_buffers_set.add("cache")
    whole.stride = tensor(Storage("f"), [3], [8.0, 16.0, 32.0])
    vars(whole).update(attributes)
    return whole


def forms(tensors):
    release = {"date": "2026-01-01", "version": "8.4.0", "epoch": -1, "ema": None, "optimizer": None}
    train_args = {"task": "detect", "imgsz": 96, "model": "small.yaml"}
    model = detector(tensors, "e")
    archive(HERE / "released.pt", release | {"model": model, "train_args": train_args})

    namespace = a_class("ultralytics.utils", "IterableSimpleNamespace")()
    namespace.imgsz = 96
    loss = a_class("ultralytics.utils.loss", "v8DetectionLoss")()
    loss.weights = tensor(Storage("f"), [2], [1.0, 2.0])
    ema = detector(tensors, "f", together=True, args=namespace, criterion=loss)
    steps = {"state": {0: {"exp_avg": tensor(Storage("f"), [2], [0.0, 0.0])}}, "param_groups": []}
    system = Call(os.system, "echo this must not run")
    root = {"epoch": 3, "model": None, "ema": ema, "optimizer": steps, "git": system}
    archive(HERE / "training.pt", root)

    stores = [Storage("B"), Storage("d")]
    bare = OrderedDict()
    for i, (name, (shape, values)) in enumerate(tensors.items()):
        made = tensor(stores[i % 2], shape, values, transposed=len(shape) > 1 and i % 3 == 0)
        bare["module." + name] = made
    root = {"state_dict": bare, "epoch": 3, "seen": frozenset([1, 2**70, -5]), "key": b"\x00\xff"}
    archive(HERE / "tensors.pt", root, protocol=4)
    (HERE / "tensors.yaml").write_text((INTACT / "model.yaml").read_text())

    root = {"model": detector(fused(tensors), "f"), "ema": None, "key": bytearray(b"\x00")}
    archive(HERE / "fused.pt", root, protocol=5)


def others(tensors):
    rows = [*ROWS[:-1], "Segment"]
    few = {name: t for name, t in tensors.items() if name.startswith("model.0.")}
    other = detector(few, rows=rows, name="SegmentationModel", task="segment")
    archive(HERE / "segment.pt", {"model": other})
    definition = json.loads(json.dumps(DEFINITION))
    definition["backbone"][4] = [-1, 1, "MysteryAttention", [128]]
    rows = [*ROWS[:4], "MysteryAttention", *ROWS[5:]]
    few = {name: t for name, t in tensors.items() if int(name.split(".")[1]) < 5}
    whole = detector(few, "e", rows=rows, yaml=definition)
    archive(HERE / "unknown.pt", {"model": whole})


# Hostile files.


def raw(name, data):
    """An archive around bytes that are no sound pickle."""
    entries = [("data.pkl", b"\x80\x02" + data), ("version", b"3\n")]
    write(HERE / f"hostile/{name}.pt", entries)


def described(shape, offset, strides):
    storage = Storage("e")
    storage.values = [0.0] * 4
    return {"model.0.w": Call(REBUILD, storage, offset, shape, strides, False, OrderedDict())}


def hostile():
    path = HERE / "hostile"
    plain = {"model.0.w": tensor(Storage("e"), [8], [1.0] * 8)}
    archive(path / "missing_storage.pt", plain, missing="0")
    plain = {"model.0.w": tensor(Storage("e"), [8], [1.0] * 8)}
    archive(path / "short_storage.pt", plain, short="0")
    plain = {"model.0.w": tensor(Storage("e"), [8], [1.0] * 8)}
    archive(path / "big_endian.pt", plain, byteorder=b"big")
    for name, shape, offset, strides in [
        ("shape_overflow", (2**40, 2**40), 0, (1, 1)),
        ("shape_beyond_64_bits", (2**80,), 0, (1,)),
        ("negative_shape", (-4,), 0, (1,)),
        ("offset_beyond_storage", (4,), 2**40, (1,)),
        ("stride_beyond_storage", (4,), 0, (2**62,)),
        ("axes_without_strides", (2, 2), 0, (1,)),
    ]:
        archive(path / f"{name}.pt", described(shape, offset, strides))
    archive(path / "system.pt", Call(os.system, "echo this must not run"))
    evil = Call(eval, "print('this must not run')")
    archive(path / "tensors_and_eval.pt", {"w": tensor(Storage("e"), [1], [1.0]), "x": evil})
    loop = module("torch.nn.modules.container", "Sequential")
    loop._modules["0"] = loop
    archive(path / "module_in_itself.pt", {"model": loop})
    wide = module("torch.nn.modules.container", "Sequential")
    for _ in range(40):
        parent = module("torch.nn.modules.container", "Sequential")
        parent._modules = {"a": wide, "b": wide}
        wide = parent
    archive(path / "doubling_modules.pt", {"model": wide})

    # Forty tuples, each twice the one before: 2^40 leaves if references were copied.
    doubling = b"]q\x00" + b"".join(b"h%ch%c\x86q%c0" % (i, i, i + 1) for i in range(40)) + b"h\x28"
    raw("doubling_tuples", doubling + b".")
    raw("nesting", b"]" * 10_000 + b"a" * 9_999 + b".")
    raw("memo_missing", b"hc.")
    raw("stack_underflow", b"aaaa.")
    raw("string_of_2_gib", b"X\xff\xff\xff\x7fabcd.")
    raw("bytes_of_16_eib", b"\x8e" + b"\xff" * 8 + b".")
    raw("no_end", b"}")
    raw("extension_code", b"\x82\x01.")
    raw("self_append", b"]q\x00h\x00a.")
    raw("key_without_value", b"}(Nu.")

    sound = (HERE / "released.pt").read_bytes()[:4000]
    (path / "truncated.pt").write_bytes(sound)
    (path / "empty.pt").write_bytes(b"")
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
    (path / "legacy.pt").write_bytes(magic + pickle.dumps(1001, protocol=2))
    (path / "text.pt").write_text("no checkpoint")
    write(path / "torchscript.pt", [("code/model.py", b""), ("data.pkl", b"\x80\x02N.")])
    write(path / "no_pickle.pt", [("other", b"")])
    flipped = bytearray((path / "system.pt").read_bytes())
    flipped[flipped.index(b"echo")] ^= 1
    (path / "bit_flip.pt").write_bytes(flipped)


if __name__ == "__main__":
    small = weights()
    forms(small)
    others(small)
    hostile()
