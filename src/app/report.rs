//! What was found in the model's file: the load report, to be read and copied.

use egui::{Context, Id, Label, Modal, RichText, ScrollArea};

use super::theme;
use crate::checkpoint::Model;

/// Draws the report over the window; `false` when it is to be closed.
pub fn show(ctx: &Context, model: &Model) -> bool {
    let text = model.report.to_string();
    let modal = Modal::new(Id::unique("load report")).show(ctx, |ui| {
        let room = ui.ctx().content_rect().size();
        ui.set_width((room.x - 120.0).clamp(280.0, 720.0));
        ui.heading("Load report");
        ui.label(theme::quiet(format!(
            "{}, from {}",
            model.name, model.weights_file
        )));
        ui.add_space(theme::GAP);
        ScrollArea::vertical()
            .max_height((room.y - 220.0).max(120.0))
            .auto_shrink([false, true])
            .show(ui, |ui| {
                ui.add(Label::new(RichText::new(&text).monospace()).wrap());
            });
        ui.add_space(theme::GAP);
        let mut close = false;
        ui.horizontal(|ui| {
            let copy = ui.button("Copy report");
            if copy
                .on_hover_text("Copy the whole text to the clipboard")
                .clicked()
            {
                ui.ctx().copy_text(text.clone());
            }
            close = ui.button("Close").clicked();
        });
        close
    });
    !(modal.inner || modal.should_close())
}
