//! Files dragged onto the window.

use std::path::PathBuf;

use egui::{Align2, Color32, FontId, Id, LayerId, Order, Stroke, StrokeKind};

use super::theme;

/// Says what may be dropped while files hover over the window.
pub fn overlay(ctx: &egui::Context) {
    if ctx.input(|i| i.raw.hovered_files.is_empty()) {
        return;
    }
    let painter = ctx.layer_painter(LayerId::new(Order::Foreground, Id::unique("drop")));
    let rect = ctx.content_rect();
    let visuals = ctx.global_style().visuals.clone();
    painter.rect_filled(rect, 0.0, Color32::from_black_alpha(150));
    let frame = Stroke::new(2.0, visuals.selection.stroke.color);
    painter.rect_stroke(rect.shrink(theme::WIDE), 6.0, frame, StrokeKind::Inside);
    painter.text(
        rect.center(),
        Align2::CENTER_CENTER,
        "Drop a picture or a model folder",
        FontId::proportional(26.0),
        Color32::WHITE,
    );
}

/// The first file that was dropped in this frame, and how many more there were.
pub fn dropped(ctx: &egui::Context) -> Option<(PathBuf, usize)> {
    ctx.input(|i| {
        let files = &i.raw.dropped_files;
        let first = files.first()?.path().to_owned();
        Some((first, files.len() - 1))
    })
}
