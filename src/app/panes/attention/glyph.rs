//! The few numbers under the pointer, in a corner of the picture.

use egui::{Align2, Color32, FontId, Rect, pos2, vec2};

use crate::app::canvas::{SMALL, Shown};
use crate::attention::view::{Body, View};

/// Largest matrix that is written over a picture.
const MOST: usize = 4;

/// The first small matrix of `views` in a corner of the picture, away from the pointer: for panes
/// that have no room beside it. Below each number stands what it belongs to.
pub fn in_corner(shown: &Shown, views: &[View]) {
    let small = views.iter().find_map(|view| match &view.body {
        Body::Matrix(m) if !m.labels.is_empty() && m.rows.max(m.cols) <= MOST => Some(m),
        _ => None,
    });
    let (Some(matrix), Some(pointer)) = (small, shown.response.hover_pos()) else {
        return;
    };
    let view = shown.painter.clip_rect();
    let cell = vec2(48.0, 2.0 * SMALL + 4.0);
    let size = vec2(matrix.cols as f32, matrix.rows as f32) * cell + vec2(4.0, 4.0);
    let left = match pointer.x > view.center().x {
        true => view.left() + 3.0,
        false => view.right() - size.x - 3.0,
    };
    let paper = Rect::from_min_size(pos2(left, view.bottom() - size.y - 3.0), size);
    let painter = &shown.painter;
    painter.rect_filled(paper, 3, Color32::from_black_alpha(200));
    let best = matrix.values.iter().copied().fold(f32::MIN, f32::max);
    for (i, (value, label)) in matrix.values.iter().zip(&matrix.labels).enumerate() {
        let step = vec2(
            (i % matrix.cols) as f32 + 0.5,
            (i / matrix.cols) as f32 + 0.5,
        );
        let middle = paper.min + vec2(2.0, 2.0) + step * cell;
        let ink = match *value == best {
            true => Color32::YELLOW,
            false => Color32::WHITE,
        };
        let number = FontId::proportional(SMALL);
        let above = middle - vec2(0.0, SMALL / 2.0);
        painter.text(
            above,
            Align2::CENTER_CENTER,
            format!("{value:.3}"),
            number,
            ink,
        );
        let name = FontId::proportional(SMALL - 2.0);
        let below = middle + vec2(0.0, SMALL / 2.0);
        painter.text(below, Align2::CENTER_CENTER, label, name, Color32::GRAY);
    }
}
