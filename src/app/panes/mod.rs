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
mod selected;

use super::pane::Pane;
use crate::attention::MECHANISMS;

/// Makes every pane, in the order of the menu.
pub fn all() -> Vec<Box<dyn Pane>> {
    let mut panes: Vec<Box<dyn Pane>> = vec![
        Box::<detections::Detections>::default(),
        Box::<selected::Selected>::default(),
        Box::<evidence::Evidence>::default(),
        Box::<layers::Layers>::default(),
    ];
    for mechanism in MECHANISMS {
        panes.push(Box::new(attention::AttentionPane::new(mechanism)));
    }
    panes
}
