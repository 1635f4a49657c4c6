//! Answers and detections as figures: from cells of a feature map to pixels of the photograph.

use std::sync::Arc;

use super::{Detected, FeatureMaps, LayerTrace, Placement, Scene};
use crate::attention::MapSize;
use crate::attention::view::{self, Answer, MarkKind, View};
use crate::picture::{
    Bars, Body, Coloring, Figure, Gallery, Heat, LabelledBox, Link, Look, Mark, Matrix, Overlay,
    Panel, Range, arrow, palette,
};
use crate::yolo::Detection;

/// An answer of a trace as a figure: the picture, what stands beside it, what is chosen.
///
/// The look is that of the picture; of what stands beside, maps of the same quantity share it, and
/// its colours hold for all. Under [`RangeRule::Shared`](crate::picture::RangeRule::Shared) the maps of the answer share their range;
/// to share that of other panes, lock the look to it.
pub fn answer_figure(
    scene: &Scene,
    about: impl Into<About>,
    answer: &Answer,
    look: &Look,
) -> Figure {
    let about = about.into();
    let painter = Painter::new(scene, about.map, answer, look);
    let mut caption = format!(
        "{}. Row {} of {}{}.",
        answer.view.caption, about.row, scene.model.name, about.words
    );
    let body = painter.body(&answer.view.body);
    if let (view::Body::Overlay(o), Body::Overlay(shown)) = (&answer.view.body, &body) {
        caption += &match o.marks.len() - shown.marks.len() {
            0 => String::new(),
            1 => " One marked place lies in the border around the photograph.".into(),
            n => format!(" {n} marked places lie in the border around the photograph."),
        };
    }
    let beside = answer.beside.iter().map(|view| Panel {
        title: view.title.clone(),
        body: painter.body(&view.body),
    });
    Figure {
        title: answer.view.title.clone(),
        chosen: answer.chosen.clone(),
        caption,
        badge: (!about.badges.is_empty()).then(|| about.badges.join("; ")),
        body,
        beside: beside.collect(),
    }
}

/// What an answer is about.
#[derive(Debug, Clone)]
pub struct About {
    /// Row of the network.
    row: usize,
    /// Its feature map.
    map: MapSize,
    /// Why it should be read with care.
    badges: Vec<String>,
    /// Mechanism and knobs.
    words: String,
}

impl From<&LayerTrace> for About {
    fn from(layer: &LayerTrace) -> Self {
        let title = layer.trace.mechanism().title.to_lowercase();
        let knobs = layer.legal.values.iter();
        let knobs = knobs.map(|(name, value)| format!(", {name} {value}"));
        Self {
            row: layer.row,
            map: layer.trace.map(),
            badges: layer.badges.clone(),
            words: format!(", {title}{}", knobs.collect::<String>()),
        }
    }
}

impl From<&FeatureMaps> for About {
    fn from(features: &FeatureMaps) -> Self {
        Self {
            row: features.row,
            map: features.maps.size(),
            badges: features.badges.clone(),
            words: format!(", {}", features.module),
        }
    }
}

/// Turns the bodies of one answer into those of a figure.
struct Painter<'a> {
    scene: &'a Scene,
    place: Placement,
    look: &'a Look,
    /// What the numbers of the main picture are.
    quantity: Option<&'static str>,
    /// Range of all maps of that quantity.
    shared: Option<Range>,
}

impl<'a> Painter<'a> {
    fn new(scene: &'a Scene, map: MapSize, answer: &Answer, look: &'a Look) -> Self {
        let numbers = |view: &'_ View| -> Option<(&'static str, Range)> {
            let (quantity, values) = match &view.body {
                view::Body::Overlay(o) => o.heat.as_ref().map(|h| (h.quantity, &h.values))?,
                view::Body::Matrix(m) => (m.quantity, &m.values),
                _ => return None,
            };
            Some((quantity, look.own_range(values)))
        };
        let main = numbers(&answer.view);
        let all = std::iter::once(&answer.view).chain(&answer.beside);
        let alike = all.filter_map(numbers).filter(|(q, _)| match main {
            Some((quantity, _)) => *q == quantity,
            None => false,
        });
        Self {
            scene,
            place: scene.place(map),
            look,
            quantity: main.map(|(quantity, _)| quantity),
            shared: alike.map(|(_, range)| range).reduce(Range::union),
        }
    }

    /// The colours of some numbers: ranges and thresholds that were set for one quantity mean
    /// nothing for another.
    fn coloring(&self, quantity: &str, values: &[f32]) -> Coloring {
        if self.quantity == Some(quantity) {
            return self.look.coloring(values, self.shared);
        }
        let plain = Look {
            colormap: self.look.colormap,
            invert: self.look.invert,
            sampling: self.look.sampling,
            opacity: self.look.opacity,
            ..Look::default()
        };
        plain.coloring(values, None)
    }

    fn body(&self, body: &view::Body) -> Body {
        match body {
            view::Body::Overlay(o) => Body::Overlay(self.overlay(o)),
            view::Body::Bars(b) => Body::Bars(Bars::sorted(&b.values, "channel", b.quantity)),
            view::Body::Matrix(m) => {
                let coloring = self.coloring(m.quantity, &m.values);
                Body::Matrix(Matrix::new(m.clone(), coloring))
            }
            view::Body::Curves(c) => Body::Curves(c.clone()),
            view::Body::Table(t) => Body::Table(t.clone()),
            view::Body::Gallery(g) => Body::Gallery(Gallery::new(g.maps.clone(), self.look)),
        }
    }

    /// Arrows that end at the edge of the area they point to, as on the screen.
    fn links(&self, o: &view::Overlay) -> Vec<Link> {
        let half = o.marks.first().map_or([0.0; 2], |m| {
            let [x0, y0, x1, y1] = self.place.rect_to_photo(m.rect);
            [0.85 / 2.0 * (x1 - x0), 0.85 / 2.0 * (y1 - y0)]
        });
        let point = |p: [f32; 2]| self.place.to_photo(p[0], p[1]);
        let link = |l: &view::Link| {
            let (from, to) = (point(l.from), point(l.to));
            let to = if from == to {
                to
            } else {
                arrow::entry(from, to, half)
            };
            Link {
                from,
                to,
                weight: l.weight,
            }
        };
        o.links.iter().map(link).collect()
    }

    /// The overlay in pixels of the photograph, without the marks that lie beside it: their labels
    /// would seem to name places on it.
    fn overlay(&self, o: &view::Overlay) -> Overlay {
        let (scene, place) = (self.scene, self.place);
        let heat = o.heat.as_ref().map(|h| Heat {
            values: Arc::clone(&h.values),
            rows: h.rows,
            cols: h.cols,
            extent: place.rect_to_photo([0.0, 0.0, h.extent[0], h.extent[1]]),
            coloring: self.coloring(h.quantity, &h.values),
            label: h.quantity.into(),
        });
        let rects = |rects: &[[f32; 4]]| rects.iter().map(|r| place.rect_to_photo(*r)).collect();
        let sides = [scene.photo.width as f32, scene.photo.height as f32];
        let mut seen = [0.0, 0.0, sides[0], sides[1]];
        if self.look.border {
            seen = union(seen, scene.letterbox.extent());
            seen = heat.as_ref().map_or(seen, |heat| union(seen, heat.extent));
        }
        let marks = o.marks.iter().map(|m| Mark {
            rect: place.rect_to_photo(m.rect),
            label: m.label.clone(),
            color: match m.kind {
                MarkKind::Query => palette::QUERY,
                MarkKind::Related => palette::RELATED,
            },
        });
        Overlay {
            heat,
            beyond: self.look.border.then_some(seen),
            border: self.look.border.then(|| scene.letterbox.extent()),
            borders: rects(&o.borders),
            outline: rects(&o.outline),
            greyed: rects(&o.greyed),
            links: self.links(o),
            marks: marks.filter(|mark| meets(mark.rect, seen)).collect(),
            ..Overlay::new(scene.photo.clone())
        }
    }
}

/// The photograph with its detections as a figure; the selected one, by its place in the list, is
/// drawn stronger.
pub fn detections_figure(scene: &Scene, detected: &Detected, selected: Option<usize>) -> Figure {
    let name = |d: &Detection| {
        let class = class_name(scene, d.class);
        // Behind letters that run to the left, the score would come before them.
        let mark = if class.is_ascii() { "" } else { "\u{200E}" };
        format!("{class}{mark} {:.2}", d.score)
    };
    let boxes = detected.list.iter().enumerate().map(|(i, d)| LabelledBox {
        rect: d.rect,
        label: name(d),
        color: palette::distinct(d.class),
        selected: selected == Some(i),
    });
    let chosen = selected.and_then(|i| detected.list.get(i)).map(|d| {
        let [x0, y0, x1, y1] = d.rect.map(|v| v.round());
        format!("Chosen: {}, from {x0}, {y0} to {x1}, {y1}", name(d))
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
        chosen: chosen.unwrap_or_default(),
        beside: Vec::new(),
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

/// The smallest rectangle that holds both.
fn union(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
    [
        a[0].min(b[0]),
        a[1].min(b[1]),
        a[2].max(b[2]),
        a[3].max(b[3]),
    ]
}

/// Whether two rectangles share more than a line.
fn meets([x0, y0, x1, y1]: [f32; 4], [left, top, right, bottom]: [f32; 4]) -> bool {
    // Rounding moves an edge by less; the smallest cell is larger.
    const LINE: f32 = 1e-3;
    x1.min(right) - x0.max(left) > LINE && y1.min(bottom) - y0.max(top) > LINE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_beside_the_photograph_do_not_meet_it() {
        let photo = [0.0, 0.0, 10.0, 4.0];
        assert!(meets([-5.0, -5.0, 0.5, 0.5], photo));
        assert!(meets([9.9, 3.0, 20.0, 9.0], photo));
        assert!(!meets([10.0, 0.0, 12.0, 4.0], photo));
        assert!(!meets([2.0, -3.0, 4.0, 0.0], photo));
        // A cell of a one-pixel photograph.
        assert!(meets([0.5, 0.5, 0.525, 0.525], [0.0, 0.0, 1.0, 1.0]));
    }
}
