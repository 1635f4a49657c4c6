//! The panes, one file each. Every mechanism gets the same pane: it draws what the trace answers.

mod areas;
mod attention;
mod body;
mod detections;
mod evidence;
mod layer;
mod layers;
mod memo;
mod parts;

use super::pane::Pane;
use crate::attention::MECHANISMS;

/// Makes every pane, in the order of the default layout.
pub fn all() -> Vec<Box<dyn Pane>> {
    let detections: Box<dyn Pane> = Box::<detections::Detections>::default();
    let evidence: Box<dyn Pane> = Box::<evidence::Evidence>::default();
    let of = |mechanism| Box::new(attention::AttentionPane::new(mechanism)) as Box<dyn Pane>;
    std::iter::once(detections)
        .chain(MECHANISMS.iter().copied().map(of))
        .chain([Box::<layers::Layers>::default() as Box<dyn Pane>])
        .chain(std::iter::once(evidence))
        .collect()
}
