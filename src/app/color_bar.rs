//! The colour bar: which colour stands for which value.

use egui::accesskit::Role;
use egui::epaint::{Mesh, TextShape};
use egui::{
    Align2, Color32, FontId, Painter, Pos2, Rect, Sense, Shape, Stroke, StrokeKind, Ui, WidgetInfo,
    pos2, vec2,
};

use super::canvas::SMALL;
use crate::picture::numbers::{tick_labels, value_label};
use crate::picture::{Coloring, Colormap, Range};

/// Width that a colour bar needs, in points.
pub const WIDTH: f32 = 82.0;
const BAR: f32 = 14.0;
/// Share of the width that the colours of hidden values keep.
const HIDDEN: f32 = 0.25;

/// A vertical colour bar in `rect`, largest value at the top. `marker` is the value under the
/// pointer. Where other values than the map's own are shown, the range of the map stands below.
pub fn color_bar(
    ui: &mut Ui,
    rect: Rect,
    coloring: &Coloring,
    quantity: &str,
    marker: Option<f32>,
) {
    let range = coloring.range;
    let text = match coloring.hidden_words() {
        Some(hidden) => format!("{}; {hidden}", coloring.words(quantity)),
        None => coloring.words(quantity),
    };
    let id = ui.scope_id().with("colour bar");
    let response = ui.interact(rect, id, Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &text));
    let painter = ui.painter_at(rect);
    let font = FontId::proportional(SMALL);
    let line = SMALL + 3.0;
    let rect = match coloring.is_cut() {
        true => raw_range(
            &painter,
            rect,
            coloring.raw,
            line,
            ui.visuals().weak_text_color(),
        ),
        false => rect,
    };
    // The ticks at both ends stick out by half a line.
    let bar = Rect::from_min_max(
        rect.min + vec2(8.0, line / 2.0 + 1.0),
        pos2(rect.left() + 8.0 + BAR, rect.bottom() - line / 2.0 - 1.0),
    );
    if bar.height() < 8.0 {
        return;
    }
    gradient(&painter, bar, coloring);
    let visuals = ui.visuals();
    let outline = Stroke::new(1.0, visuals.weak_text_color());
    painter.rect_stroke(bar, 0, outline, StrokeKind::Outside);
    let ink = visuals.text_color();
    let right = bar.right() + 4.0;
    let tick = |t: f32, text: &str| {
        let y = bar.bottom() - t * bar.height();
        painter.hline(bar.right()..=right, y, outline);
        painter.text(
            pos2(right + 2.0, y),
            Align2::LEFT_CENTER,
            text,
            font.clone(),
            ink,
        );
    };
    let width = |text: &str| {
        let galley = painter.layout_no_wrap(text.to_owned(), font.clone(), ink);
        galley.size().x
    };
    let column = rect.right() - line - (right + 2.0);
    let mut room = rect.height();
    if range.is_flat() {
        tick(0.5, &value_label(range.middle(), 4));
    } else {
        let [low, middle, high] = tick_labels(range);
        // Long numbers reach into the column of the title: then it stands between the two ends.
        let long = [&low, &middle, &high].iter().any(|t| width(t) > column);
        tick(0.0, &low);
        if bar.height() > 4.0 * line && !long {
            tick(0.5, &middle);
        }
        tick(1.0, &high);
        if long {
            room = bar.height() - 2.0 * line;
        }
    }
    let title = match range.is_flat() {
        true => format!("{quantity}, flat"),
        false => quantity.to_owned(),
    };
    if width(&title) <= room {
        upright(&painter, rect, &title, font, ink);
    }
    if let Some(value) = marker.filter(|v| v.is_finite()) {
        let y = bar.bottom() - range.position(value) * bar.height();
        pointer(&painter, bar, y, visuals.strong_text_color());
    }
    response.on_hover_text(text);
}

/// Writes the range of the map at the bottom; returns what is left above it.
fn raw_range(painter: &Painter, rect: Rect, raw: Range, line: f32, ink: Color32) -> Rect {
    let font = FontId::proportional(SMALL);
    let [low, high] = [raw.min, raw.max].map(|v| value_label(v, 3));
    for (i, text) in [format!("map {low}"), format!("to {high}")]
        .iter()
        .enumerate()
    {
        let at = pos2(rect.left() + 2.0, rect.bottom() - (1.0 - i as f32) * line);
        painter.text(at, Align2::LEFT_BOTTOM, text, font.clone(), ink);
    }
    let top = rect.bottom() - 2.0 * line - 2.0;
    Rect::from_min_max(rect.min, pos2(rect.right(), top.max(rect.top())))
}

/// The colours from bottom to top; one colour where the map is flat. Where values are hidden, the
/// ground is seen in a part of the width.
fn gradient(painter: &Painter, bar: Rect, coloring: &Coloring) {
    const STEPS: u32 = 64;
    let flat = coloring.range.is_flat();
    let mut mesh = Mesh::default();
    for i in 0..=STEPS {
        let t = i as f32 / STEPS as f32;
        let [r, g, b] = coloring.sample(if flat { 0.5 } else { t });
        let y = bar.bottom() - t * bar.height();
        let value = coloring.range.min + t * (coloring.range.max - coloring.range.min);
        let right = match coloring.hides(value) {
            true => bar.left() + HIDDEN * bar.width(),
            false => bar.right(),
        };
        for x in [bar.left(), right] {
            mesh.colored_vertex(pos2(x, y), Color32::from_rgb(r, g, b));
        }
        if i > 0 {
            let v = 2 * i;
            mesh.add_triangle(v - 2, v - 1, v);
            mesh.add_triangle(v - 1, v, v + 1);
        }
    }
    painter.add(Shape::mesh(mesh));
}

/// The quantity along the right side, read from bottom to top.
fn upright(painter: &Painter, rect: Rect, title: &str, font: FontId, ink: Color32) {
    let galley = painter.layout_no_wrap(title.to_owned(), font, ink);
    let at = pos2(
        rect.right() - galley.size().y - 1.0,
        rect.center().y + galley.size().x / 2.0,
    );
    let text = TextShape::new(at, galley, ink).with_angle(-std::f32::consts::FRAC_PI_2);
    painter.add(text);
}

/// A triangle on the left that points at a value.
fn pointer(painter: &Painter, bar: Rect, y: f32, color: Color32) {
    let tip = Pos2::new(bar.left() - 1.0, y);
    let points = vec![tip, tip + vec2(-6.0, -4.0), tip + vec2(-6.0, 4.0)];
    painter.add(Shape::convex_polygon(points, color, Stroke::NONE));
    painter.hline(bar.x_range(), y, Stroke::new(3.0, Color32::BLACK));
    painter.hline(bar.x_range(), y, Stroke::new(1.0, Color32::WHITE));
}

/// The colours of a map from left to right, for pickers.
pub fn swatch(painter: &Painter, rect: Rect, colormap: Colormap) {
    const STEPS: u32 = 32;
    let mut mesh = Mesh::default();
    for i in 0..=STEPS {
        let t = i as f32 / STEPS as f32;
        let [r, g, b] = colormap.sample(t);
        let x = rect.left() + t * rect.width();
        for y in [rect.top(), rect.bottom()] {
            mesh.colored_vertex(pos2(x, y), Color32::from_rgb(r, g, b));
        }
        if i > 0 {
            let v = 2 * i;
            mesh.add_triangle(v - 2, v - 1, v);
            mesh.add_triangle(v - 1, v, v + 1);
        }
    }
    painter.add(Shape::mesh(mesh));
}
