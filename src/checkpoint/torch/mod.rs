//! Checkpoints of PyTorch (`.pt`, `.pth`): a zip archive with one pickle and the bytes of each
//! storage, as `torch.save` has written them since PyTorch 1.6.
//!
//! A detector is pickled as a whole module, so the pickle holds the model definition, the class
//! names and the hyperparameters beside the tensors. The readers on crates.io give the tensors of
//! such a module or plain data, but drop the attributes of its parts (`n_win`, `stoken_size`, which
//! activation) and the order of dictionaries; hence the small machine in [`machine`]. It runs
//! nothing: classes and functions that a pickle names stay names.

mod archive;
mod definition;
mod input;
mod json;
mod machine;
mod tensor;
mod tree;
mod value;

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::bytes::Bytes;
use super::tensors::{Slot, unwrap_names};
use archive::Archive;
use machine::Pickle;
use value::Id;

/// What a checkpoint holds.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    /// The model definition as the YAML file had it, with names and attributes; a file of bare
    /// tensors has none.
    pub(super) definition: Option<Map<String, Json>>,
    /// Hyperparameters by row, then by dotted path below the row.
    pub(super) attributes: BTreeMap<usize, Map<String, Json>>,
    /// Class names, if it has them.
    pub(super) names: Option<Vec<String>>,
    /// Side of the square input it was trained with.
    pub(super) trained_size: Option<u64>,
    pub(super) slots: BTreeMap<String, Slot>,
    /// Functions that the pickle asks to be called and that are no description of data.
    pub(super) skipped: Vec<String>,
    /// How the file was read where it leaves a choice.
    pub(super) notes: Vec<String>,
}

/// Reads everything but the numbers.
///
/// # Errors
/// One sentence on what is wrong with the file.
pub(super) fn read(bytes: &Bytes) -> Result<Checkpoint, String> {
    let archive = Archive::open(bytes)?;
    let pickle = machine::read(&archive.pickle)?;
    let mut checkpoint = match find(&pickle)? {
        Found::Module { id, note } => {
            let tree = tree::walk(&pickle.arena, id, &archive.storages)?;
            let mut checkpoint = definition::read(&pickle, id, tree)?;
            checkpoint.notes.extend(note);
            checkpoint
        }
        Found::StateDict(id) => Checkpoint {
            slots: state_dict(&pickle, id, &archive)?,
            ..Checkpoint::default()
        },
    };
    checkpoint.notes.extend(unwrap_names(&mut checkpoint.slots));
    let calls = pickle.calls.iter();
    let unexpected = calls.filter(|(module, name)| !tensor::is_expected(module, name));
    let named = unexpected.map(|(module, name)| shown(&format!("{module}.{name}")));
    checkpoint.skipped = named.take(MAX_SKIPPED).collect();
    Ok(checkpoint)
}

/// So many skipped calls are named.
const MAX_SKIPPED: usize = 100;

/// Where the model is in a checkpoint.
enum Found {
    Module { id: Id, note: Option<String> },
    StateDict(Id),
}

/// The model in a checkpoint: itself, or under one of the keys that training scripts use. The
/// averaged weights come first, and a module before bare tensors.
fn find(pickle: &Pickle<'_>) -> Result<Found, String> {
    let Pickle { arena, root, .. } = pickle;
    if tree::module(arena, *root).is_some() {
        let (id, note) = (*root, None);
        return Ok(Found::Module { id, note });
    }
    let dict = arena.dict(*root).unwrap_or_default();
    let keys = ["ema", "model"].map(|key| (key, arena.item(dict, key)));
    let modules: Vec<_> = keys
        .into_iter()
        .filter_map(|(key, id)| Some((key, id?)))
        .filter(|(_, id)| tree::module(arena, *id).is_some())
        .collect();
    match modules.as_slice() {
        [("ema", id), _, ..] => {
            let note = Some("it holds two models; the averaged one (ema) is used".into());
            return Ok(Found::Module { id: *id, note });
        }
        [(_, id)] => {
            let (id, note) = (*id, None);
            return Ok(Found::Module { id, note });
        }
        _ => {}
    }
    let nested = ["ema", "state_dict", "model_state_dict", "model"].map(|k| arena.item(dict, k));
    let candidates = nested.into_iter().flatten().chain([*root]);
    for id in candidates {
        let pairs = arena.dict(id).unwrap_or_default();
        let nothing = std::collections::HashMap::new();
        if pairs
            .iter()
            .any(|(_, value)| tensor::slot(arena, *value, &nothing).is_some())
        {
            return Ok(Found::StateDict(id));
        }
    }
    let what = match arena.class(*root) {
        Some((module, name)) => format!("a call of {}", shown(&format!("{module}.{name}"))),
        None if arena.dict(*root).is_some() => {
            let keys: Vec<_> = dict.iter().filter_map(|(k, _)| arena.text(*k)).collect();
            format!("a dictionary of {}", shown(&keys.join(", ")))
        }
        None => "other data".into(),
    };
    Err(format!("it holds {what}; expected a model or its tensors"))
}

/// The tensors of a dictionary by name.
fn state_dict(
    pickle: &Pickle<'_>,
    id: Id,
    archive: &Archive,
) -> Result<BTreeMap<String, Slot>, String> {
    let arena = &pickle.arena;
    let mut slots = BTreeMap::new();
    for (key, value) in arena.dict(id).unwrap_or_default() {
        let Some(name) = arena.text(*key) else {
            continue;
        };
        let Some(slot) = tensor::slot(arena, *value, &archive.storages) else {
            continue;
        };
        let name = shown(name);
        let slot = slot.map_err(|why| format!("{name} {why}"))?;
        slots.insert(name, slot);
        if slots.len() > tree::MAX_TENSORS {
            return Err(format!("it has more than {} tensors", tree::MAX_TENSORS));
        }
    }
    Ok(slots)
}

/// A name from a file, fit for a message: one line of at most 120 characters.
fn shown(name: &str) -> String {
    let mut text: String = name
        .chars()
        .take(121)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if let Some((end, _)) = text.char_indices().nth(120) {
        text.truncate(end);
        text.push('…');
    }
    text
}
