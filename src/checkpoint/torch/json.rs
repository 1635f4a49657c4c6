//! Plain values of a pickle as JSON: a model definition, class names, hyperparameters.

use serde_json::{Map, Value as Json};

use super::value::{Arena, Id, Value};

/// Lists in lists; definitions have four levels.
const MAX_DEPTH: usize = 8;
/// Values of one definition; large ones have a thousand.
const MAX_VALUES: usize = 20_000;
/// Bytes of a text.
pub(super) const MAX_TEXT: usize = 256;
/// Items of a list of hyperparameters.
const MAX_LIST: usize = 64;

/// A value with all it contains; `None` if that is not plain data, or too much of it.
pub(super) fn deep(arena: &Arena<'_>, id: Id) -> Option<Json> {
    let mut left = MAX_VALUES;
    convert(arena, id, MAX_DEPTH, &mut left)
}

/// A number, a switch, a word, nothing, or a short list of these.
pub(super) fn plain(arena: &Arena<'_>, id: Id) -> Option<Json> {
    if arena.dict(id).is_some() {
        return None;
    }
    let mut left = MAX_LIST;
    convert(arena, id, 1, &mut left)
}

fn convert(arena: &Arena<'_>, id: Id, depth: usize, left: &mut usize) -> Option<Json> {
    *left = left.checked_sub(1)?;
    Some(match arena.get(id) {
        Value::None => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(i) => Json::from(*i),
        // Infinities have no number in JSON; a reader of definitions expects them as words.
        Value::Float(f) => match serde_json::Number::from_f64(*f) {
            Some(number) => Json::Number(number),
            None => Json::from(f.to_string()),
        },
        Value::Text(_) => match arena.text(id) {
            Some(text) if text.len() <= MAX_TEXT => Json::from(text),
            _ => return None,
        },
        Value::Sequence(items) if depth > 0 => {
            let items = items.iter();
            let list: Option<Vec<Json>> =
                items.map(|i| convert(arena, *i, depth - 1, left)).collect();
            Json::Array(list?)
        }
        Value::Dict(pairs) if depth > 0 => {
            let mut map = Map::new();
            for (key, value) in pairs {
                let key = match arena.get(*key) {
                    Value::Text(_) => arena.text(*key)?.to_owned(),
                    Value::Int(i) => i.to_string(),
                    _ => return None,
                };
                if key.len() > MAX_TEXT {
                    return None;
                }
                // What is not plain is of no use to a definition.
                let value = convert(arena, *value, depth - 1, left);
                if *left == 0 {
                    return None;
                }
                map.insert(key, value.unwrap_or(Json::Null));
            }
            Json::Object(map)
        }
        _ => return None,
    })
}
