//! What a person can set, and what becomes of it on a model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Probe;
use crate::attention::{Clamp, Erasable, Erasure, KnobValue, Knobs, Legal, Watch};
use crate::checkpoint::Model;
use crate::yolo::{Head, Thresholds};

/// Largest input side: 1280² runs in seconds on two cores and a few hundred megabytes.
pub const MAX_SIZE: usize = 1280;

/// Everything that decides an outcome beside picture, model and device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Side of the square network input; `None` is the model's best.
    pub size: Option<usize>,
    /// Which head is read; `None` is the model's best.
    pub head: Option<Head>,
    /// Thresholds of the last step.
    pub thresholds: Thresholds,
    /// Wanted knob values by row. They may be illegal; see [`Settings::legal`].
    pub knobs: BTreeMap<usize, Knobs>,
    /// What is taken out of attention rows, to see what depends on it. It may not act; see
    /// [`Settings::erasure`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub erased: BTreeMap<usize, Erasure>,
    /// Mechanisms attached to layers; they take the rows after the model's own. See
    /// [`super::attach`].
    #[serde(default)]
    pub probes: Vec<Probe>,
    /// What to keep of each attention row for looking at.
    #[serde(skip)]
    pub watch: BTreeMap<usize, Watch>,
    /// The row whose feature maps are wanted.
    #[serde(skip)]
    pub features: Option<usize>,
}

impl Settings {
    /// Watches every attention row of a model in the same way.
    pub fn watch_all(&mut self, model: &Model, watch: &Watch) {
        let rows = model.network.attention().map(|(row, _)| row);
        self.watch = rows.map(|row| (row, watch.clone())).collect();
    }

    /// The input side in use: a multiple of the model's stride between it and [`MAX_SIZE`], and
    /// what had to be moved for that.
    pub fn size_on(&self, model: &Model) -> (usize, Option<Clamp>) {
        let stride = model.network.stride().max(1);
        let asked = self.size.unwrap_or_else(|| model.best_size());
        let largest = (MAX_SIZE / stride).max(1) * stride;
        let used = (asked.saturating_add(stride / 2) / stride * stride).clamp(stride, largest);
        let clamp = (used != asked).then(|| Clamp {
            knob: "input size".into(),
            asked: KnobValue::Int(asked),
            used: KnobValue::Int(used),
            reason: format!("it must be a multiple of {stride} from {stride} to {largest}"),
        });
        (used, clamp)
    }

    /// The knobs of a row in their legal ranges on this model; `None` if the row has none.
    pub fn legal(&self, model: &Model, row: usize) -> Option<Legal> {
        let (size, _) = self.size_on(model);
        let attention = model.network.attention_at(row)?;
        let map = model.network.map_size(row, [size, size]);
        let none = Knobs::new();
        Some(attention.legal(map, self.knobs.get(&row).unwrap_or(&none)))
    }

    /// What can be taken out of a row at the knobs in use; `None` if nothing can.
    pub fn erasable(&self, model: &Model, row: usize) -> Option<Erasable> {
        let (size, _) = self.size_on(model);
        let attention = model.network.attention_at(row)?;
        let map = model.network.map_size(row, [size, size]);
        attention.erasable(map, &self.legal(model, row)?.values)
    }

    /// What is taken out of a row, if that acts at the knobs in use.
    pub fn erasure(&self, model: &Model, row: usize) -> Option<&Erasure> {
        let erasure = self.erased.get(&row)?;
        let what = self.erasable(model, row)?;
        erasure.acts_on(&what).then_some(erasure)
    }

    /// What taking something out changes in a row, each in a few words.
    pub fn erased_words(&self, model: &Model, row: usize) -> Vec<String> {
        let words = || {
            let erasure = self.erased.get(&row)?;
            let (size, _) = self.size_on(model);
            let attention = model.network.attention_at(row)?;
            let map = model.network.map_size(row, [size, size]);
            Some(attention.erased(map, &self.legal(model, row)?.values, erasure))
        };
        words().unwrap_or_default()
    }

    /// The head in use: the wanted one if the model has it.
    pub fn head_on(&self, model: &Model) -> Head {
        let heads = model.network.heads();
        let wanted = self.head.filter(|h| heads.contains(h));
        wanted.unwrap_or_else(|| model.best_head())
    }
}
