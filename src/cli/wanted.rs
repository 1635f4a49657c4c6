//! What `--set`, `--head` and `--imgsz` ask for, checked against a model.

use super::args::Setting;
use super::report::{INPUT, clamps};
use crate::checkpoint::Model;
use crate::engine::Settings;
use crate::yolo::Head;
use crate::{Error, Result};

/// A head that the model has.
///
/// # Errors
/// If it does not have it.
pub(super) fn head(head: Head, model: &Model) -> Result<Head> {
    match model.network.heads().contains(&head) {
        true => Ok(head),
        false => Err(Error::Setting(format!(
            "{} has no {} head",
            model.name,
            head.name()
        ))),
    }
}

/// Turns the knobs of `settings`.
///
/// # Errors
/// If a layer is no attention layer of the model, or has no such knob.
pub(super) fn knobs(settings: &mut Settings, wanted: &[Setting], model: &Model) -> Result<()> {
    for set in wanted {
        let Some(legal) = settings.legal(model, set.row) else {
            let rows: Vec<String> = model
                .network
                .attention()
                .map(|(r, _)| r.to_string())
                .collect();
            return Err(Error::Setting(format!(
                "layer {} is no attention layer of {}; expected one of {}",
                set.row,
                model.name,
                rows.join(", ")
            )));
        };
        let known: Vec<&str> = legal.knobs.iter().map(|k| k.name).collect();
        if !known.contains(&set.knob.as_str()) {
            let expected = match known.is_empty() {
                true => "it has no knobs".into(),
                false => format!("expected one of {}", known.join(", ")),
            };
            return Err(Error::Setting(format!(
                "layer {} has no knob {}; {expected}",
                set.row, set.knob
            )));
        }
        let knobs = settings.knobs.entry(set.row).or_default();
        knobs.insert(set.knob.clone(), set.value);
    }
    Ok(())
}

/// Says on stderr which values had to be moved into their legal range.
pub(super) fn say_clamps(settings: &Settings, model: &Model) {
    for (place, clamps) in clamps(settings, model) {
        for clamp in clamps {
            match place.as_str() {
                INPUT => eprintln!("attnscope: {clamp}"),
                row => eprintln!("attnscope: layer {row}: {clamp}"),
            }
        }
    }
}
