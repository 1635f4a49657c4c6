//! An answer over the photograph.

use egui::Color32;

use super::Seen;
use crate::app::canvas::{FAINT, HeatLayer, LINE, Labels, Pen, QUERY, RELATED, Shown};
use crate::attention::view::{Mark, MarkKind, Overlay};
use crate::picture::Range;

/// Draws everything over the photograph; returns the map's value under the pointer.
pub fn paint(
    heat: &mut HeatLayer,
    seen: &Seen<'_>,
    shown: &Shown,
    overlay: &Overlay,
    shared: Option<Range>,
) -> Option<f32> {
    let painter = shown.clipped();
    let pen = Pen::new(&painter, shown.at, seen.layer.place);
    let mut value = None;
    if let Some(map) = &overlay.heat {
        let [w, h] = map.extent;
        let target = pen.rect([0.0, 0.0, w, h]);
        heat.paint(&painter, map, &seen.look, shared, target);
        value = shown.hover.and_then(|[x, y]| {
            let [x, y] = seen.layer.place.to_map(x, y);
            map.value_at(x, y)
        });
    }
    pen.greyed(&overlay.greyed);
    // Under a map the borders step back.
    let line = if overlay.heat.is_some() { FAINT } else { LINE };
    pen.borders(&overlay.borders, line, 1.0);
    pen.borders(&overlay.outline, QUERY, 3.0);
    for mark in &overlay.marks {
        match mark.kind {
            // What is outlined needs no frame around it.
            MarkKind::Query if !overlay.outline.is_empty() => {}
            MarkKind::Query => pen.frame(mark.rect, QUERY, 3.0),
            MarkKind::Related => pen.frame(mark.rect, RELATED, 2.5),
        }
    }
    let area = overlay
        .marks
        .first()
        .map_or([1.0; 2], |m| [m.rect[3] - m.rect[1], m.rect[2] - m.rect[0]]);
    pen.links(&overlay.links, area);
    labels(&pen, &painter, &overlay.marks);
    value
}

/// What marks are called: beside what was asked about, within what belongs to it.
fn labels(pen: &Pen<'_>, painter: &egui::Painter, marks: &[Mark]) {
    let query = marks.iter().find(|m| m.kind == MarkKind::Query);
    let mut labels = Labels::new(painter);
    if let Some(mark) = query.filter(|m| !m.label.is_empty()) {
        labels.beside(pen.rect(mark.rect), &mark.label, Color32::WHITE);
    }
    let source = query.map_or(egui::Pos2::ZERO, |m| pen.rect(m.rect).center());
    for mark in marks {
        if mark.kind == MarkKind::Related && !mark.label.is_empty() {
            let two_lines = mark.label.replace(" · ", "\n");
            let short = mark.label.split(" · ").next().unwrap_or_default();
            let rect = pen.rect(mark.rect).shrink(1.0);
            labels.inside(rect, source, &[&mark.label, &two_lines, short]);
        }
    }
}
