//! The directory of a safetensors file.

use safetensors::tensor::Metadata;

use super::bytes::Bytes;
use super::damage;
use super::tensors::{Numbers, Slot, Tensors};

/// Longer headers are not of this family: x-scale detectors have 200 KB.
const MAX_HEADER: u64 = 16 << 20;

/// Reads the directory; the numbers stay where they are.
///
/// # Errors
/// One sentence on what is wrong with the file.
pub(super) fn read(bytes: Bytes) -> Result<Tensors, String> {
    let total = bytes.len();
    if total == 0 {
        return Err("the file is empty".into());
    }
    let unreadable = |e| format!("it cannot be read ({e})");
    let Some(rest) = total.checked_sub(8) else {
        return Err(format!("it has only {total} bytes"));
    };
    let length = bytes.read(0, 8).map_err(unreadable)?;
    let length = length.first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
    if length > rest {
        return Err(format!(
            "its header should have {length} bytes, but {rest} follow"
        ));
    }
    if length > MAX_HEADER {
        return Err(format!(
            "its header has {length} bytes; expected at most {MAX_HEADER}"
        ));
    }
    let text = bytes.read(8, length).map_err(unreadable)?;
    let numbers = usize::try_from(rest - length).unwrap_or(usize::MAX);
    let damaged =
        |e: String| damage::describe(&text, numbers).unwrap_or(format!("it is damaged ({e})"));
    let metadata: Metadata = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
    if metadata.data_len() != numbers {
        return Err(damaged("its length does not fit its header".into()));
    }
    let slots = metadata.tensors().into_iter().map(|(name, info)| {
        let slot = Slot {
            numbers: Numbers::Plain(info.dtype),
            shape: info.shape.clone(),
            strides: None,
            at: 8 + length + info.data_offsets.0 as u64,
        };
        (name, slot)
    });
    let slots = slots.collect();
    Ok(Tensors { bytes, slots })
}
