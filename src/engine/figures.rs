//! Views and detections as figures: from cells of a feature map to pixels of the photograph.

use std::sync::Arc;

use super::{Detected, LayerTrace, Placement, Scene};
use crate::attention::view::{self, MarkKind, View};
use crate::picture::{Bars, Body, Figure, Heat, LabelledBox, Link, Mark, Overlay, palette};

/// Colours of what was asked about and of what belongs to it: legible on dark and bright ground.
const QUERY: [u8; 3] = [255, 196, 0];
const RELATED: [u8; 3] = [0, 214, 214];

/// A view of a trace as a figure.
pub fn view_figure(scene: &Scene, layer: &LayerTrace, view: &View) -> Figure {
    let place = scene.place(layer.trace.map());
    let mut caption = view_caption(scene, layer, view);
    let body = match &view.body {
        view::Body::Overlay(o) => {
            let overlay = overlay(scene, place, o);
            caption += &match o.marks.len() - overlay.marks.len() {
                0 => String::new(),
                1 => " One marked place lies in the border around the photograph.".into(),
                n => format!(" {n} marked places lie in the border around the photograph."),
            };
            Body::Overlay(overlay)
        }
        view::Body::Bars(b) => Body::Bars(Bars::sorted(&b.values, "channel", b.quantity)),
        // No mechanism gives others yet.
        _ => Body::Overlay(Overlay::new(scene.photo.clone())),
    };
    Figure {
        title: view.title.clone(),
        caption,
        badge: (!layer.badges.is_empty()).then(|| layer.badges.join("; ")),
        body,
    }
}

/// What is seen, and the row, model and knobs that made it.
fn view_caption(scene: &Scene, layer: &LayerTrace, view: &View) -> String {
    let mut caption = format!(
        "{}. Row {} of {}, {}",
        view.caption,
        layer.row,
        scene.model.name,
        layer.trace.mechanism().title.to_lowercase()
    );
    for (name, value) in &layer.legal.values {
        caption += &format!(", {name} {value}");
    }
    caption + "."
}

/// The photograph with its detections as a figure.
pub fn detections_figure(scene: &Scene, detected: &Detected) -> Figure {
    let boxes = detected.list.iter().map(|d| LabelledBox {
        rect: d.rect,
        label: format!("{} {:.2}", class_name(scene, d.class), d.score),
        color: palette::distinct(d.class),
    });
    let n = detected.list.len();
    Figure {
        title: match n {
            0 => "No detections".into(),
            1 => "1 detection".into(),
            n => format!("{n} detections"),
        },
        caption: format!(
            "{}, {} head, score above {}.",
            scene.model.name,
            detected.head.name(),
            detected.thresholds.confidence
        ),
        badge: (!detected.badges.is_empty()).then(|| detected.badges.join("; ")),
        body: Body::Overlay(Overlay {
            boxes: boxes.collect(),
            ..Overlay::new(scene.photo.clone())
        }),
    }
}

/// Name of a class, or its number if the model has no name for it.
pub fn class_name(scene: &Scene, class: usize) -> String {
    let names = &scene.model.classes;
    names
        .get(class)
        .cloned()
        .unwrap_or_else(|| class.to_string())
}

/// The overlay in pixels of the photograph, without the marks that lie beside it: their labels
/// would seem to name places on it.
fn overlay(scene: &Scene, place: Placement, o: &view::Overlay) -> Overlay {
    let heat = o.heat.as_ref().map(|h| {
        let extent = place.rect_to_photo([0.0, 0.0, h.extent[0], h.extent[1]]);
        let mut heat = Heat::new(Arc::clone(&h.values), h.rows, h.cols, extent);
        heat.label = h.quantity.into();
        heat
    });
    let line = |l: &[f32; 4]| place.rect_to_photo(*l);
    let sides = [scene.photo.width as f32, scene.photo.height as f32];
    Overlay {
        heat,
        borders: o.borders.iter().map(line).collect(),
        links: o
            .links
            .iter()
            .map(|l| Link {
                from: place.to_photo(l.from[0], l.from[1]),
                to: place.to_photo(l.to[0], l.to[1]),
                weight: l.weight,
            })
            .collect(),
        marks: o
            .marks
            .iter()
            .map(|m| Mark {
                rect: place.rect_to_photo(m.rect),
                label: m.label.clone(),
                color: match m.kind {
                    MarkKind::Query => QUERY,
                    MarkKind::Related => RELATED,
                },
            })
            .filter(|mark| meets(mark.rect, sides))
            .collect(),
        ..Overlay::new(scene.photo.clone())
    }
}

/// Whether a rectangle shares more than a line with a photograph of this width and height.
fn meets([x0, y0, x1, y1]: [f32; 4], [width, height]: [f32; 2]) -> bool {
    // Rounding moves an edge by less; the smallest cell is larger.
    const LINE: f32 = 1e-3;
    x1.min(width) - x0.max(0.0) > LINE && y1.min(height) - y0.max(0.0) > LINE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_beside_the_photograph_do_not_meet_it() {
        let photo = [10.0, 4.0];
        assert!(meets([-5.0, -5.0, 0.5, 0.5], photo));
        assert!(meets([9.9, 3.0, 20.0, 9.0], photo));
        assert!(!meets([10.0, 0.0, 12.0, 4.0], photo));
        assert!(!meets([2.0, -3.0, 4.0, 0.0], photo));
        // A cell of a one-pixel photograph.
        assert!(meets([0.5, 0.5, 0.525, 0.525], [1.0, 1.0]));
    }
}
