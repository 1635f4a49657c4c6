//! The nine weights that a cell spreads over the super tokens around it.

use egui::{Align2, Color32, FontId, Grid, Rect, RichText, Ui, pos2, vec2};

use crate::app::canvas::{SMALL, Shown};

/// Nine weights as they lie around their cell.
pub fn nine(ui: &mut Ui, weights: &[(Option<usize>, f32)]) {
    let best = weights.iter().map(|w| w.1).fold(0.0, f32::max);
    let grid = Grid::new("nine").num_columns(3).spacing([8.0, 4.0]);
    grid.min_col_width(44.0).show(ui, |ui| {
        for (k, (token, weight)) in weights.iter().enumerate() {
            ui.vertical(|ui| {
                ui.spacing_mut().item_spacing.y = 0.0;
                let text = RichText::new(format!("{weight:.3}"));
                ui.label(match (token, *weight == best) {
                    (None, _) => text.weak(),
                    (_, true) => text.strong().underline(),
                    _ => text,
                });
                let name = token.map_or("off grid".into(), |t| t.to_string());
                ui.label(RichText::new(name).size(SMALL).weak());
            });
            if k % 3 == 2 {
                ui.end_row();
            }
        }
    });
}

/// The nine weights in a corner of the picture, away from the pointer: for panes that have no
/// room beside it. Those off the grid stand in brackets.
pub fn nine_in_corner(shown: &Shown, weights: &[(Option<usize>, f32)]) {
    let view = shown.painter.clip_rect();
    let pointer = shown.response.hover_pos();
    let (Some(pointer), false) = (pointer, weights.is_empty()) else {
        return;
    };
    let cell = vec2(40.0, SMALL + 4.0);
    let size = vec2(3.0 * cell.x, 3.0 * cell.y) + vec2(4.0, 4.0);
    let left = match pointer.x > view.center().x {
        true => view.left() + 3.0,
        false => view.right() - size.x - 3.0,
    };
    let paper = Rect::from_min_size(pos2(left, view.bottom() - size.y - 3.0), size);
    shown
        .painter
        .rect_filled(paper, 3, Color32::from_black_alpha(200));
    let best = weights.iter().map(|w| w.1).fold(0.0, f32::max);
    for (k, (token, weight)) in weights.iter().enumerate() {
        let step = vec2((k % 3) as f32 + 0.5, (k / 3) as f32 + 0.5);
        let (text, ink) = match token {
            None => (format!("({weight:.2})"), Color32::GRAY),
            Some(_) if *weight == best => (format!("{weight:.2}"), Color32::YELLOW),
            Some(_) => (format!("{weight:.2}"), Color32::WHITE),
        };
        let at = paper.min + vec2(2.0, 2.0) + step * cell;
        let font = FontId::proportional(SMALL);
        shown
            .painter
            .text(at, Align2::CENTER_CENTER, text, font, ink);
    }
}
