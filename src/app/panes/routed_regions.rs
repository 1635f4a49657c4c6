//! Routed regions over the photograph.

use crate::app::pane::{Context, Pane};

/// The pane.
#[derive(Default)]
pub struct RoutedRegions {}

impl Pane for RoutedRegions {
    fn id(&self) -> &'static str {
        "routed_regions"
    }
    fn title(&self) -> &'static str {
        "Routed regions"
    }
    fn help(&self) -> &'static str {
        ""
    }
    fn ui(&mut self, ui: &mut egui::Ui, _cx: &mut Context<'_>) {
        ui.label(self.title());
    }
}
