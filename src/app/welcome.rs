//! The first thing a new user sees: what this is, and where to begin.

use egui::{Context, Id, Modal, RichText};

use super::command::{Ask, Can, Command};
use super::open::Wanted;
use super::theme;
use crate::view::EXAMPLES;

/// Draws the welcome over the window; `false` when it is to be closed.
pub fn show(ctx: &Context, can: &Can, asks: &mut Vec<Ask>) -> bool {
    let modal = Modal::new(Id::unique("welcome")).show(ctx, |ui| {
        ui.set_width((ctx.content_rect().width() - 80.0).clamp(280.0, 560.0));
        ui.heading("Welcome to attnscope");
        ui.add_space(theme::SMALL);
        ui.label(
            "It shows, live, why an attention-augmented YOLO detector looks where it looks. Turn a \
             knob on the left and watch the maps and the detections follow; press anything, and \
             what belongs to it is selected in every pane.",
        );
        ui.add_space(theme::GAP);
        ui.label(RichText::new("Begin with an example").strong());
        let before = asks.len();
        for example in &EXAMPLES {
            ui.horizontal_wrapped(|ui| {
                if ui.button(example.title).clicked() {
                    asks.push(Ask::Open(Wanted::Example(example)));
                }
                ui.label(theme::quiet(example.about));
            });
        }
        ui.add_space(theme::GAP);
        ui.label(RichText::new("Or with your own").strong());
        ui.horizontal_wrapped(|ui| {
            Command::OpenPicture.button(ui, can, asks);
            Command::OpenCheckpoint.button(ui, can, asks);
            ui.label(theme::quiet("or drop a file onto the window"));
        });
        ui.add_space(theme::GAP);
        let close = ui.button("Start with the cat").clicked();
        close || asks.len() > before
    });
    !(modal.inner || modal.should_close())
}
