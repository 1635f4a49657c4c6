//! Super tokens over the photograph.

use crate::app::pane::{Context, Pane};

/// The pane.
#[derive(Default)]
pub struct SuperTokens {}

impl Pane for SuperTokens {
    fn id(&self) -> &'static str {
        "super_tokens"
    }
    fn title(&self) -> &'static str {
        "Super tokens"
    }
    fn help(&self) -> &'static str {
        ""
    }
    fn ui(&mut self, ui: &mut egui::Ui, _cx: &mut Context<'_>) {
        ui.label(self.title());
    }
}
