//! Why a map should be read with care: the badges that stand on it.

use super::Settings;
use crate::attention::Knobs;
use crate::checkpoint::Model;

/// The badges of a row whose knobs stand at `knobs`.
pub(super) fn of_row(model: &Model, row: usize, knobs: &Knobs, settings: &Settings) -> Vec<String> {
    let probe = model.network.layers().get(row).is_some_and(|l| l.probe);
    let mut badges: Vec<String> = random(model, row).into_iter().collect();
    match probe {
        true => badges.push("probe: computed beside the network, not in it".into()),
        false => badges.extend(model.card.untrained(knobs)),
    }
    badges.extend(settings.erased_words(model, row));
    badges
}

/// The badges of the detections.
pub(super) fn of_detections(model: &Model, settings: &Settings) -> Vec<String> {
    let head = model.network.head_row();
    let mut badges: Vec<String> = head
        .and_then(|row| random(model, row))
        .into_iter()
        .collect();
    for row in settings.erased.keys().copied() {
        // What a probe leaves out never reaches the boxes.
        if !model.network.layers().get(row).is_some_and(|l| l.probe) {
            let words = settings.erased_words(model, row);
            badges.extend(words.iter().map(|w| format!("layer {row}: {w}")));
        }
    }
    badges
}

/// Whether a row runs on random numbers, its own or those of rows before it.
pub(super) fn random(model: &Model, row: usize) -> Option<String> {
    let random = model.random_rows();
    if model.card.random || model.report.found == 0 {
        return Some("random weights".into());
    }
    if let Some(own) = random.iter().find(|r| r.row == row) {
        let tensors = match own.tensors {
            1 => "1 tensor of this layer is".to_owned(),
            n => format!("{n} tensors of this layer are"),
        };
        return Some(format!("random weights: {tensors} not in the file"));
    }
    let before = ancestors(model, row);
    let first = random.iter().find(|r| before.contains(&r.row))?;
    Some(format!(
        "reads layer {}, which has random weights",
        first.row
    ))
}

/// All rows that a row depends on.
fn ancestors(model: &Model, row: usize) -> Vec<usize> {
    let layers = model.network.layers();
    let mut open = vec![row];
    let mut seen = Vec::new();
    while let Some(row) = open.pop() {
        let sources = layers.get(row).map_or(&[][..], |l| &l.from);
        for source in sources.iter().flatten() {
            if !seen.contains(source) {
                seen.push(*source);
                open.push(*source);
            }
        }
    }
    seen
}
