//! What is wrong with the header of a safetensors file, in words. The reader itself only says that
//! something is; this goes through the header again and names the tensor.

use std::ops::Range;

use safetensors::Dtype;
use serde_json::{Map, Value};

/// The first fault of a header that is followed by `numbers` bytes; `None` if none of the known
/// ones is found.
pub(super) fn describe(text: &[u8], numbers: usize) -> Option<String> {
    let map: Map<String, Value> = match serde_json::from_slice(text) {
        Ok(map) => map,
        Err(e) => return Some(format!("its header is not JSON ({e})")),
    };
    let mut places = Vec::new();
    for (name, entry) in map.iter().filter(|(name, _)| *name != "__metadata__") {
        match place(entry) {
            Ok(place) => places.push((name, place)),
            Err(problem) => return Some(format!("{name} {problem}")),
        }
    }
    places.sort_by_key(|(_, place)| (place.start, place.end));
    let pairs = places.iter().zip(places.iter().skip(1));
    for ((first, a), (second, b)) in pairs {
        if b.start < a.end {
            return Some(format!(
                "{first} at bytes {} to {} overlaps {second} at bytes {} to {}",
                a.start, a.end, b.start, b.end
            ));
        }
    }
    let (name, place) = places.iter().find(|(_, p)| p.end > numbers)?;
    Some(format!(
        "it is shorter than its header says: {name} lies at bytes {} to {} of {numbers}",
        place.start, place.end
    ))
}

/// Where a tensor lies among the numbers, checked against its type and shape.
fn place(entry: &Value) -> Result<Range<usize>, String> {
    let field = |key: &str| entry.get(key).unwrap_or(&Value::Null);
    let dtype: Dtype = serde_json::from_value(field("dtype").clone())
        .map_err(|_| format!("has the type {}, which is not known", field("dtype")))?;
    let shape: Vec<usize> = serde_json::from_value(field("shape").clone())
        .map_err(|_| format!("has the shape {}", field("shape")))?;
    let [start, end]: [usize; 2] = serde_json::from_value(field("data_offsets").clone())
        .map_err(|_| format!("has the offsets {}", field("data_offsets")))?;
    if start > end {
        return Err(format!("has the offsets {start} to {end}"));
    }
    let bits = shape
        .iter()
        .try_fold(dtype.bitsize(), |bits, &side| bits.checked_mul(side));
    match bits {
        Some(bits) if bits.is_multiple_of(8) && bits / 8 == end - start => Ok(start..end),
        Some(bits) => Err(format!(
            "has the shape {shape:?} of {dtype}, which is {} bytes, but the offsets {start} to {end}",
            bits.div_ceil(8)
        )),
        None => Err(format!("has the shape {shape:?}, which no memory can hold")),
    }
}
