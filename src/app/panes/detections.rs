//! The photograph with its detections.

use crate::app::pane::{Context, Pane};

/// The pane.
#[derive(Default)]
pub struct Detections {}

impl Pane for Detections {
    fn id(&self) -> &'static str {
        "detections"
    }
    fn title(&self) -> &'static str {
        "Detections"
    }
    fn help(&self) -> &'static str {
        ""
    }
    fn ui(&mut self, ui: &mut egui::Ui, _cx: &mut Context<'_>) {
        ui.label(self.title());
    }
}
