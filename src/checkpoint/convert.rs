//! Writes a model as a folder: `model.yaml`, `weights.safetensors`, `card.json`.

use std::borrow::Cow;
use std::cell::RefCell;
use std::path::{Path, PathBuf};

use candle_core::Device;
use safetensors::Dtype;
use safetensors::tensor::View;
use serde_json::json;

use super::locate::{CARD, WEIGHTS, YAML};
use super::parts::{Definition, Parts};
use super::tensors::{Numbers, Slot, Tensors};
use super::{Model, yaml};
use crate::files::{FileSet, check_folder};
use crate::{Error, Result};

/// Writes the model at `path` to the folder `out`, all files or none. Tensors keep their type and
/// their numbers: the folder opens as the same model. Returns the folder.
///
/// # Errors
/// What is wrong with the model, or why the folder cannot be written.
pub fn convert(path: &Path, out: &Path) -> Result<PathBuf> {
    check_folder(out)?;
    let same = |a: &Path, b: &Path| {
        let whole = |p: &Path| p.canonicalize().ok();
        whole(a).is_some_and(|a| whole(b) == Some(a))
    };
    if same(path, out) || path.parent().is_some_and(|parent| same(parent, out)) {
        let problem = "the model to be converted lies in it";
        return Err(Error::path(out, problem, "another folder"));
    }
    // A model that cannot be opened is refused with the same words as everywhere.
    let model = Model::open(path, &Device::Cpu)?;
    let parts = Parts::open(path)?;
    let Some(tensors) = &parts.tensors else {
        let problem = "there are no weights beside it";
        return Err(Error::path(path, problem, "a model with weights"));
    };
    let mut files = FileSet::new(out.to_owned())?;
    let definition = match &parts.definition {
        Definition::File(_, text) => Cow::Borrowed(text),
        Definition::Inside(_, map) => Cow::Owned(yaml::write(map)),
    };
    files.write(YAML, definition.as_bytes())?;
    let weights = files.path(WEIGHTS);
    write(tensors, &weights).map_err(|problem| {
        let expected = "a folder that may be written to, and weights that stay as they are";
        Error::path(&out.join(WEIGHTS), problem, expected)
    })?;
    let card = parts.card_text.unwrap_or_else(|| card(&model, path));
    files.write(CARD, card.as_bytes())?;
    files.publish()
}

fn card(model: &Model, path: &Path) -> String {
    let size = model.best_size();
    let card = json!({
        "name": model.name,
        "classes": model.classes,
        "input": { "recommended": [size, size] },
        "converted_from": path.file_name().map(|n| n.to_string_lossy()),
    });
    format!("{card:#}\n")
}

/// Writes all tensors, one after the other, as a safetensors file.
fn write(tensors: &Tensors, path: &Path) -> std::result::Result<(), String> {
    let failed = RefCell::new(None);
    let stored = tensors.slots.iter().filter_map(|(name, slot)| {
        let Numbers::Plain(dtype) = slot.numbers else {
            return None;
        };
        let stored = Stored {
            tensors,
            slot,
            dtype,
            failed: &failed,
        };
        Some((name.as_str(), stored))
    });
    let written = safetensors::serialize_to_file(stored, None, path);
    written.map_err(|e| format!("it cannot be written ({e})"))?;
    failed.into_inner().map_or(Ok(()), Err)
}

/// A tensor that is read when it is written.
struct Stored<'a> {
    tensors: &'a Tensors,
    slot: &'a Slot,
    dtype: Dtype,
    /// The first tensor that could not be read.
    failed: &'a RefCell<Option<String>>,
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.slot.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let read = self.tensors.raw(self.slot);
        Cow::Owned(read.map(|(_, raw)| raw).unwrap_or_else(|why| {
            self.failed
                .borrow_mut()
                .get_or_insert(format!("a tensor {why}"));
            Vec::new()
        }))
    }

    fn data_len(&self) -> usize {
        let count = self.slot.count().unwrap_or(0);
        usize::try_from(count).unwrap_or(0) * self.dtype.bitsize() / 8
    }
}
