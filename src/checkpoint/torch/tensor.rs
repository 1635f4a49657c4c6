//! Tensors in a pickle: how PyTorch describes them, and where their numbers lie.

use std::collections::HashMap;

use safetensors::Dtype;

use super::shown;
use super::value::{Arena, Id, Value};
use crate::checkpoint::tensors::{Numbers, Slot};

/// A parameter wraps a tensor, and a subclass may wrap once more.
const MAX_WRAPPERS: usize = 8;
/// Axes of a tensor; PyTorch allows 64.
const MAX_AXES: usize = 64;

/// Functions of PyTorch that only describe data; the reader understands them or passes them over.
pub(super) fn is_expected(module: &str, name: &str) -> bool {
    match module {
        "torch._utils" | "torch._tensor" => name.starts_with("_rebuild_"),
        "torch" => matches!(name, "device"),
        "copyreg" | "copy_reg" => name == "_reconstructor",
        "_codecs" => name == "encode",
        "pathlib" => name.ends_with("Path"),
        "datetime" => true,
        "argparse" => name == "Namespace",
        "types" => name == "SimpleNamespace",
        "numpy.core.multiarray" | "numpy._core.multiarray" => {
            matches!(name, "scalar" | "_reconstruct")
        }
        "numpy" => matches!(name, "dtype" | "ndarray"),
        // Its namespaces and metrics; never a function.
        _ => module.starts_with("ultralytics.") && name.starts_with(|c: char| c.is_uppercase()),
    }
}

/// The slot of a tensor. `None` if the value is none.
pub(super) fn slot(
    arena: &Arena<'_>,
    id: Id,
    storages: &HashMap<String, (u64, u64)>,
) -> Option<Result<Slot, String>> {
    let mut id = id;
    for _ in 0..MAX_WRAPPERS {
        let object = arena.object(id)?;
        let (module, name) = arena.global(object.callable)?;
        let args = arena.sequence(object.args)?;
        if !module.starts_with("torch") {
            return None;
        }
        match (name, args) {
            ("_rebuild_parameter" | "_rebuild_parameter_with_state", [tensor, ..]) => id = *tensor,
            ("_rebuild_from_type_v2", [how, _, args, ..]) => {
                let (_, name) = arena.global(*how)?;
                return rebuilt(arena, name, arena.sequence(*args)?, storages);
            }
            _ => return rebuilt(arena, name, args, storages),
        }
    }
    None
}

fn rebuilt(
    arena: &Arena<'_>,
    name: &str,
    args: &[Id],
    storages: &HashMap<String, (u64, u64)>,
) -> Option<Result<Slot, String>> {
    let number_type = match (name, args) {
        ("_rebuild_tensor" | "_rebuild_tensor_v2", _) => None,
        ("_rebuild_tensor_v3", [_, _, _, _, _, _, number_type, ..]) => Some(*number_type),
        _ if name.starts_with("_rebuild_") => {
            return Some(Err(format!("is stored as {}", shown(name))));
        }
        _ => return None,
    };
    let [storage, offset, shape, strides, ..] = args else {
        return Some(Err("is described by too few values".into()));
    };
    let place = Place {
        arena,
        storage: *storage,
        number_type,
        offset: *offset,
        shape: *shape,
        strides: *strides,
    };
    Some(place.slot(storages))
}

/// A tensor as its pickle describes it.
struct Place<'p, 'a> {
    arena: &'p Arena<'a>,
    storage: Id,
    number_type: Option<Id>,
    offset: Id,
    shape: Id,
    strides: Id,
}

impl Place<'_, '_> {
    /// Checked against the storage, before anything is allocated for it.
    fn slot(&self, storages: &HashMap<String, (u64, u64)>) -> Result<Slot, String> {
        let (key, kind, held) = self.storage().ok_or("names no storage")?;
        let (numbers, size) = match self.number_type {
            None => numbers(kind),
            Some(id) => self
                .arena
                .global(id)
                .map_or(numbers(""), |(_, n)| numbers(n)),
        };
        let shape = self
            .sides(self.shape)
            .ok_or("has a shape that no memory can hold")?;
        let strides = self
            .sides(self.strides)
            .ok_or("has strides that no memory can hold")?;
        let offset = self.arena.int(self.offset).map(u64::try_from);
        let Some(Ok(offset)) = offset else {
            return Err("begins beyond any storage".into());
        };
        if shape.len() != strides.len() {
            let (n, m) = (shape.len(), strides.len());
            return Err(format!("has {n} axes and {m} strides"));
        }
        let Some(&(start, length)) = storages.get(key) else {
            return Err(format!(
                "needs the entry data/{}, which is missing",
                shown(key)
            ));
        };
        let slot = Slot {
            numbers,
            shape,
            strides: None,
            at: 0,
        }
        .with_strides(strides);
        let Some(span) = slot.span() else {
            return Err(format!(
                "has the shape {:?}, which no memory can hold",
                slot.shape
            ));
        };
        let bytes = |n: u64| n.checked_mul(size);
        let first = bytes(offset);
        let end = offset.checked_add(span).and_then(bytes);
        let inside = end.is_some_and(|end| end <= length);
        // An untyped storage counts bytes, which its length says already.
        let claimed = held.filter(|_| self.number_type.is_none()).map(bytes);
        if !inside || claimed.is_some_and(|c| c.is_none_or(|c| c > length)) {
            let shape = &slot.shape;
            return Err(format!(
                "has the shape {shape:?} from number {offset} on, but its storage has {length} bytes"
            ));
        }
        let at = start.checked_add(first.unwrap_or(0)).unwrap_or(start);
        Ok(Slot { at, ..slot })
    }

    /// `("storage", class, key, device, count)` as key, class and count.
    fn storage(&self) -> Option<(&str, &str, Option<u64>)> {
        let Value::Outside(id) = self.arena.get(self.storage) else {
            return None;
        };
        let [tag, class, key, rest @ ..] = self.arena.sequence(*id)? else {
            return None;
        };
        (self.arena.text(*tag)? == "storage").then_some(())?;
        let (_, class) = self.arena.global(*class)?;
        let count = rest.get(1).and_then(|n| self.arena.int(*n));
        let count = count.and_then(|n| u64::try_from(n).ok());
        Some((self.arena.text(*key)?, class, count))
    }

    fn sides(&self, id: Id) -> Option<Vec<usize>> {
        let sides = self.arena.sequence(id).filter(|s| s.len() <= MAX_AXES)?;
        sides
            .iter()
            .map(|s| usize::try_from(self.arena.int(*s)?).ok())
            .collect()
    }
}

/// What a storage class or a `torch.dtype` holds, and the bytes of one number.
fn numbers(name: &str) -> (Numbers, u64) {
    let dtype = match name {
        "HalfStorage" | "float16" | "half" => Dtype::F16,
        "BFloat16Storage" | "bfloat16" => Dtype::BF16,
        "FloatStorage" | "float32" | "float" => Dtype::F32,
        "DoubleStorage" | "float64" | "double" => Dtype::F64,
        "LongStorage" | "int64" => Dtype::I64,
        "IntStorage" | "int32" => Dtype::I32,
        "ShortStorage" | "int16" => Dtype::I16,
        "CharStorage" | "int8" => Dtype::I8,
        "ByteStorage" | "uint8" => Dtype::U8,
        "BoolStorage" | "bool" => Dtype::BOOL,
        "uint16" => Dtype::U16,
        "uint32" => Dtype::U32,
        "uint64" => Dtype::U64,
        "float8_e4m3fn" => Dtype::F8_E4M3,
        "float8_e5m2" => Dtype::F8_E5M2,
        other => return (Numbers::Other(shown(other)), 1),
    };
    (Numbers::Plain(dtype), (dtype.bitsize() / 8) as u64)
}
