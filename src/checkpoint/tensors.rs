//! The tensors of a weights file: a directory first, each tensor's numbers when they are asked for.

use std::collections::BTreeMap;

use safetensors::Dtype;

use super::bytes::Bytes;

/// A view may span this many times the bytes of its numbers (a slice of every other channel, say);
/// beyond that, reading it would mostly read something else.
const MAX_SPREAD: u64 = 16;
/// Spans below this are read however thin the view is.
const SMALL_SPAN: u64 = 1 << 16;

/// How the numbers of a tensor are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Numbers {
    /// A type that safetensors files have too.
    Plain(Dtype),
    /// Any other, by name.
    Other(String),
}

/// Where the numbers of a tensor lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) numbers: Numbers,
    pub(super) shape: Vec<usize>,
    /// Numbers from one index to the next, per axis; `None` is row-major without gaps.
    pub(super) strides: Option<Vec<usize>>,
    /// Byte of the first number in the file.
    pub(super) at: u64,
}

/// A weights file: its bytes, and what lies where.
#[derive(Debug)]
pub(super) struct Tensors {
    pub(super) bytes: Bytes,
    pub(super) slots: BTreeMap<String, Slot>,
}

impl Slot {
    /// A row-major tensor without gaps has no need of strides.
    pub(super) fn with_strides(mut self, strides: Vec<usize>) -> Self {
        let mut expected = 1usize;
        let plain = self.shape.iter().zip(&strides).rev().all(|(&side, &by)| {
            let fits = side == 1 || by == expected;
            expected = expected.saturating_mul(side);
            fits
        });
        self.strides = (!plain).then_some(strides);
        self
    }

    /// How many numbers it has; `None` if no memory can hold them.
    pub(super) fn count(&self) -> Option<u64> {
        let mut sides = self.shape.iter();
        sides.try_fold(1u64, |n, &side| n.checked_mul(side as u64))
    }

    /// Numbers from the first to the last, with those in between that belong to others.
    pub(super) fn span(&self) -> Option<u64> {
        let count = self.count()?;
        let Some(strides) = self.strides.as_ref().filter(|_| count > 0) else {
            return Some(count);
        };
        let axes = self.shape.iter().zip(strides);
        let last = axes.into_iter().try_fold(0u64, |last, (&side, &by)| {
            last.checked_add((by as u64).checked_mul(side as u64 - 1)?)
        })?;
        last.checked_add(1)
    }
}

impl Tensors {
    /// An upper bound on the distinct numbers that the file can hold.
    pub(super) fn numbers(&self) -> usize {
        let spans = self.slots.values().filter_map(Slot::span);
        let sum = spans.fold(0u64, u64::saturating_add).min(self.bytes.len());
        usize::try_from(sum).unwrap_or(usize::MAX)
    }

    /// The bytes of a tensor's numbers, row-major, as they are stored.
    ///
    /// # Errors
    /// One clause that goes on from the tensor's name.
    pub(super) fn raw(&self, slot: &Slot) -> Result<(Dtype, Vec<u8>), String> {
        let dtype = match &slot.numbers {
            Numbers::Plain(dtype) => *dtype,
            Numbers::Other(name) => return Err(format!("holds {name} numbers")),
        };
        let size = (dtype.bitsize() / 8).max(1);
        let bytes = |numbers: Option<u64>| numbers.and_then(|n| n.checked_mul(size as u64));
        let (Some(span), Some(own)) = (bytes(slot.span()), bytes(slot.count())) else {
            return Err(format!("has the shape {:?}", slot.shape));
        };
        let read = |length| {
            let data = self.bytes.read(slot.at, length);
            data.map_err(|e| format!("cannot be read ({e})"))
        };
        let Some(strides) = &slot.strides else {
            return Ok((dtype, read(own)?));
        };
        // A stride of 0 repeats numbers: the file does not bound what comes of it.
        if own > self.bytes.len() {
            return Err(format!("repeats its numbers to the shape {:?}", slot.shape));
        }
        if span > SMALL_SPAN && span / MAX_SPREAD > own {
            return Err(format!("is spread thinly over {span} bytes"));
        }
        Ok((dtype, gather(&read(span)?, &slot.shape, strides, size)))
    }

    /// The numbers of a tensor as f32, and their bytes as stored.
    ///
    /// # Errors
    /// One clause that goes on from the tensor's name.
    pub(super) fn floats(&self, slot: &Slot) -> Result<(Vec<f32>, Vec<u8>), String> {
        use half::{bf16, f16};
        let floating = [Dtype::F32, Dtype::F64, Dtype::F16, Dtype::BF16];
        match &slot.numbers {
            Numbers::Plain(dtype) if floating.contains(dtype) => {}
            Numbers::Plain(dtype) => return Err(unusable(&format!("{dtype:?}"))),
            Numbers::Other(name) => return Err(unusable(name)),
        }
        let (dtype, raw) = self.raw(slot)?;
        let values = match dtype {
            Dtype::F64 => chunks(&raw, |b| f64::from_le_bytes(b) as f32),
            Dtype::F16 => chunks(&raw, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => chunks(&raw, |b| bf16::from_le_bytes(b).to_f32()),
            _ => chunks(&raw, f32::from_le_bytes),
        };
        Ok((values, raw))
    }
}

fn unusable(name: &str) -> String {
    format!("holds {name} numbers instead of F32, F64, F16 or BF16")
}

fn chunks<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (whole, _) = data.as_chunks::<N>();
    whole.iter().map(|c| read(*c)).collect()
}

/// Numbers of `size` bytes, taken from `data` by strides into row-major order.
fn gather(data: &[u8], shape: &[usize], strides: &[usize], size: usize) -> Vec<u8> {
    let count: usize = shape.iter().product();
    let mut out = Vec::with_capacity(count * size);
    let mut index = vec![0usize; shape.len()];
    for _ in 0..count {
        let place: usize = index.iter().zip(strides).map(|(i, by)| i * by).sum();
        out.extend(data.iter().skip(place * size).take(size));
        for (i, side) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *side {
                break;
            }
            *i = 0;
        }
    }
    out
}

/// Wrappers that training puts around a model, and so in front of its tensors' names.
const WRAPPERS: [&str; 4] = ["module", "model", "ema", "_orig_mod"];

/// Gives the tensors the names `model.<row>.…`, if what stands before the row is only wrappers, the
/// same ones everywhere. Says what was taken off.
pub(super) fn unwrap_names(slots: &mut BTreeMap<String, Slot>) -> Option<String> {
    let mut names = slots.keys();
    let wrapper = |name: &str| -> Option<usize> {
        let mut length = 0;
        for part in name.split('.') {
            if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
                return Some(length);
            }
            if !WRAPPERS.contains(&part) {
                return None;
            }
            length += part.len() + 1;
        }
        None
    };
    let (first, length) = names.find_map(|name| Some((name, wrapper(name)?)))?;
    let prefix = first.get(..length)?.to_owned();
    let same = |name: &String| name.starts_with(&prefix) && wrapper(name) == Some(length);
    if prefix == "model." || !names.all(|name| same(name) || wrapper(name).is_none()) {
        return None;
    }
    let renamed = std::mem::take(slots).into_iter().map(|(name, slot)| {
        let rest = same(&name).then(|| name.get(length..)).flatten();
        (
            rest.map_or(name.clone(), |rest| format!("model.{rest}")),
            slot,
        )
    });
    slots.extend(renamed);
    Some(match prefix.as_str() {
        "" => "tensor names begin with the row and not with model.; it was put before".into(),
        _ => format!("tensor names begin with {prefix}; read as model."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(shape: &[usize], strides: &[usize]) -> Slot {
        Slot {
            numbers: Numbers::Plain(Dtype::F32),
            shape: shape.to_vec(),
            strides: None,
            at: 4,
        }
        .with_strides(strides.to_vec())
    }

    /// Bytes with the numbers −1, 0, 1, 2, … .
    fn counting(slot: &Slot) -> Result<Vec<f32>, String> {
        let bytes: Vec<u8> = (-1..24).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let tensors = Tensors {
            bytes: Bytes::Memory(bytes.into()),
            slots: BTreeMap::new(),
        };
        tensors.floats(slot).map(|(values, _)| values)
    }

    #[test]
    fn strides_are_followed() {
        let plain = slot(&[2, 1, 3], &[3, 99, 1]);
        assert_eq!(plain.strides, None);
        assert_eq!(counting(&plain).unwrap(), [0., 1., 2., 3., 4., 5.]);
        let transposed = slot(&[3, 2], &[1, 3]);
        assert_eq!(transposed.span(), Some(6));
        assert_eq!(counting(&transposed).unwrap(), [0., 3., 1., 4., 2., 5.]);
        let every_other = slot(&[2, 2], &[8, 2]);
        assert_eq!(counting(&every_other).unwrap(), [0., 2., 8., 10.]);
        let repeated = slot(&[3, 2], &[0, 1]);
        assert_eq!(counting(&repeated).unwrap(), [0., 1., 0., 1., 0., 1.]);
        assert_eq!(counting(&slot(&[0, 2], &[2, 1])).unwrap(), [0.0; 0]);
    }

    #[test]
    fn what_the_file_does_not_hold_is_not_allocated() {
        for (shape, strides) in [
            (vec![1 << 40], vec![0]),
            (vec![1 << 40, 1 << 40], vec![0, 0]),
            (vec![2], vec![usize::MAX]),
            (vec![1 << 40], vec![1]),
            (vec![25], vec![1]),
        ] {
            assert!(counting(&slot(&shape, &strides)).is_err(), "{shape:?}");
        }
    }

    #[test]
    fn wrappers_come_off_the_names() {
        let renamed = |names: &[&str]| {
            let slots = names.iter().map(|n| (n.to_string(), slot(&[1], &[1])));
            let mut slots: BTreeMap<_, _> = slots.collect();
            let note = unwrap_names(&mut slots);
            (slots.into_keys().collect::<Vec<_>>(), note.is_some())
        };
        let plain = ["model.0.conv.weight", "model.11.bn.bias"];
        assert_eq!(renamed(&plain), (plain.map(String::from).to_vec(), false));
        for before in [
            "model.model.",
            "module.model.",
            "module.",
            "",
            "_orig_mod.module.",
        ] {
            let names = plain.map(|n| n.replace("model.", before));
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            assert_eq!(renamed(&names), (plain.map(String::from).to_vec(), true));
        }
        for other in [
            ["model.0.a", "model.model.1.b"],
            ["backbone.0.a", "model.0.a"],
        ] {
            assert!(!renamed(&other).1, "{other:?}");
        }
        let (names, _) = renamed(&["module.0.a", "updates"]);
        assert_eq!(names, ["model.0.a", "updates"]);
    }
}
