//! A matrix of numbers: coloured, or written out where it is small.

use egui::accesskit::Role;
use egui::{
    Align2, Color32, FontId, Rect, Response, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2,
};

use super::Hand;
use crate::app::canvas::{HeatLayer, RELATED, SMALL};
use crate::app::pane::Look;
use crate::attention::view::{Heat, Matrix};
use crate::picture::numbers::value_label;

/// Room for the words at the axes.
const AXIS: f32 = SMALL + 5.0;
/// Largest cell with a number in it.
const WRITTEN: [f32; 2] = [58.0, 34.0];

/// Draws a matrix in all the room there is; a press chooses a row.
pub fn show(ui: &mut Ui, matrix: &Matrix, look: &Look, heat: &mut HeatLayer) -> Hand {
    let room = ui.available_rect_before_wrap();
    let [rows, cols] = [matrix.rows, matrix.cols].map(|n| n.max(1) as f32);
    let written = !matrix.labels.is_empty();
    let inner = room.size() - vec2(AXIS, AXIS);
    let cell = match written {
        true => vec2(
            (inner.x / cols).min(WRITTEN[0]),
            (inner.y / rows).min(WRITTEN[1]),
        ),
        false => egui::Vec2::splat((inner.x / cols).min(inner.y / rows)),
    };
    if cell.min_elem() <= 0.0 {
        return Hand::default();
    }
    let at = Rect::from_min_size(room.min + vec2(AXIS, AXIS), cell * vec2(cols, rows));
    ui.advance_cursor_after_rect(Rect::from_min_max(room.min, at.max));
    let response = ui.interact(at, ui.scope_id().with("matrix"), Sense::click());
    let name = format!("{} matrix", matrix.quantity);
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &name));
    let painter = ui.painter_at(room);
    axes(ui, matrix, at);
    if written {
        numbers(ui, matrix, at, cell);
    } else {
        let map = Heat {
            quantity: matrix.quantity,
            values: matrix.values.clone(),
            rows: matrix.rows,
            cols: matrix.cols,
            extent: [cols, rows],
        };
        let opaque = Look {
            opacity: 1.0,
            ..*look
        };
        heat.paint(&painter, &map, &opaque, None, at);
    }
    let outline = Stroke::new(1.0, ui.visuals().weak_text_color());
    painter.rect_stroke(at, 0, outline, StrokeKind::Outside);
    if let Some(row) = matrix.row.filter(|r| *r < matrix.rows) {
        let top = at.top() + row as f32 * cell.y;
        let line = Rect::from_min_max(pos2(at.left(), top), pos2(at.right(), top + cell.y));
        painter.rect_stroke(line, 0, Stroke::new(1.5, RELATED), StrokeKind::Outside);
    }
    hand(matrix, at, cell, &response)
}

fn hand(matrix: &Matrix, at: Rect, cell: egui::Vec2, response: &Response) -> Hand {
    let Some(pointer) = response.hover_pos() else {
        return Hand::default();
    };
    let steps = (pointer - at.min) / cell;
    let (row, col) = (steps.y as usize, steps.x as usize);
    let value = matrix.values.get(row * matrix.cols + col);
    let Some(value) = value.filter(|_| row < matrix.rows && col < matrix.cols) else {
        return Hand::default();
    };
    let number = value_label(*value, 4);
    let under = match matrix.labels.get(row * matrix.cols + col) {
        Some(label) => format!("{} {number} · {label}", matrix.quantity),
        None => format!(
            "{} {} · {} {} · {} {number}",
            matrix.row_label,
            row * matrix.step,
            matrix.col_label,
            col * matrix.step,
            matrix.quantity
        ),
    };
    Hand {
        unit: (response.clicked() && matrix.labels.is_empty()).then_some(row * matrix.step),
        under,
        ..Hand::default()
    }
}

/// The words at the left and on top.
fn axes(ui: &Ui, matrix: &Matrix, at: Rect) {
    let ink = ui.visuals().weak_text_color();
    let font = FontId::proportional(SMALL);
    let painter = ui.painter();
    let top = pos2(at.left(), at.top() - 2.0);
    painter.text(
        top,
        Align2::LEFT_BOTTOM,
        matrix.col_label,
        font.clone(),
        ink,
    );
    let galley = painter.layout_no_wrap(matrix.row_label.to_owned(), font, ink);
    let start = pos2(
        at.left() - galley.size().y - 2.0,
        at.top() + galley.size().x,
    );
    let text = egui::epaint::TextShape::new(start, galley, ink);
    painter.add(text.with_angle(-std::f32::consts::FRAC_PI_2));
}

/// Every number in its cell, with its small text below; the largest stands out.
fn numbers(ui: &mut Ui, matrix: &Matrix, at: Rect, cell: egui::Vec2) {
    let best = matrix
        .values
        .iter()
        .copied()
        .fold(f32::NEG_INFINITY, f32::max);
    let [strong, plain, weak] = {
        let v = ui.visuals();
        [v.strong_text_color(), v.text_color(), v.weak_text_color()]
    };
    for (i, value) in matrix.values.iter().enumerate() {
        let step = vec2((i % matrix.cols) as f32, (i / matrix.cols) as f32);
        let rect = Rect::from_min_size(at.min + step * cell, cell);
        if *value == best {
            let fill = ui.visuals().selection.bg_fill.gamma_multiply(0.5);
            ui.painter().rect_filled(rect.shrink(1.0), 2, fill);
        }
        let ink = if *value == best { strong } else { plain };
        let half = vec2(cell.x, cell.y / 2.0);
        let upper = Rect::from_min_size(rect.min, half);
        put(ui, upper, &format!("{value:.3}"), SMALL + 1.0, ink);
        if let Some(label) = matrix.labels.get(i) {
            let lower = upper.translate(vec2(0.0, half.y));
            put(ui, lower, label, SMALL - 1.5, weak);
        }
    }
}

/// A word in the middle of a rectangle, which a screen reader finds too.
fn put(ui: &mut Ui, rect: Rect, text: &str, size: f32, ink: Color32) {
    let text = egui::RichText::new(text).size(size).color(ink);
    ui.put(rect, egui::Label::new(text).selectable(false).extend());
}
