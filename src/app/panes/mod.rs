//! The panes, one file each. A new mechanism adds its pane here and nowhere else.

mod areas;
mod channel_bars;
mod detections;
mod layer;
mod memo;
mod parts;
mod polarized;
mod position_sensitive;
mod routed_regions;
mod super_tokens;

use super::pane::Pane;

/// Makes every pane, in the order of the default layout.
pub fn all() -> Vec<Box<dyn Pane>> {
    vec![
        Box::<detections::Detections>::default(),
        Box::<super_tokens::SuperTokens>::default(),
        Box::<routed_regions::RoutedRegions>::default(),
        Box::<polarized::Polarized>::default(),
        Box::<position_sensitive::PositionSensitive>::default(),
    ]
}
