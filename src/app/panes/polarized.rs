//! Spatial and channel weights.

use crate::app::pane::{Context, Pane};

/// The pane.
#[derive(Default)]
pub struct Polarized {}

impl Pane for Polarized {
    fn id(&self) -> &'static str {
        "polarized"
    }
    fn title(&self) -> &'static str {
        "Polarized weights"
    }
    fn help(&self) -> &'static str {
        ""
    }
    fn ui(&mut self, ui: &mut egui::Ui, _cx: &mut Context<'_>) {
        ui.label(self.title());
    }
}
