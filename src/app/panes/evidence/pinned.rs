//! The detection that is asked about. The list of detections changes with every run, and erasing
//! something may take it off the list: the box stays.

use std::sync::Arc;

use egui::Ui;

use super::title;
use crate::app::pane::Context;
use crate::checkpoint::Model;
use crate::engine::causal::Target;
use crate::engine::{Detected, Scene, class_name};
use crate::picture::numbers::value_label;

/// A detection of a new list that overlaps less than this with the box, times its probability, is
/// another one.
const SAME: f32 = 0.1;

/// The box.
#[derive(Default)]
pub struct Pinned {
    held: Option<Held>,
    /// Whether other boxes may be pressed without taking its place.
    stays: bool,
}

struct Held {
    target: Target,
    photo: u64,
    model: Arc<Model>,
    /// Its place in the list it was last found in.
    place: Option<usize>,
    list: Arc<Detected>,
}

impl Pinned {
    /// The box.
    pub fn target(&self) -> Option<Target> {
        self.held.as_ref().map(|h| h.target)
    }

    /// Follows what is pressed, and finds the box again in a new list.
    pub fn follow(&mut self, cx: &mut Context<'_>, scene: &Scene) {
        let Some(detected) = &cx.snapshot.detected else {
            return;
        };
        let is_of = |h: &Held| h.photo == scene.photo.digest && Arc::ptr_eq(&h.model, &scene.model);
        if !self.held.as_ref().is_some_and(is_of) {
            self.held = None;
        }
        let pressed = cx.selection.detection;
        if let Some(held) = &mut self.held {
            let was_here = pressed == held.place;
            if !Arc::ptr_eq(&held.list, detected) {
                let found = held.target.find(&detected.list);
                let found = found.filter(|&i| held.target.score(&detected.list[i..=i]) > SAME);
                held.list = detected.clone();
                held.place = found;
                if was_here {
                    cx.selection.detection = found;
                    return;
                }
            }
            if was_here || pressed.is_none() || self.stays {
                return;
            }
        }
        if let Some(d) = pressed.and_then(|i| detected.list.get(i)) {
            self.held = Some(Held {
                target: Target {
                    rect: d.rect,
                    class: d.class,
                },
                photo: scene.photo.digest,
                model: scene.model.clone(),
                place: pressed,
                list: detected.clone(),
            });
        }
    }

    /// Names the box, and says where it is gone.
    pub fn heading(&mut self, ui: &mut Ui, cx: &mut Context<'_>, scene: &Scene) {
        let Some(held) = &self.held else {
            return;
        };
        let Target { rect, class } = held.target;
        let score = held.place.and_then(|i| held.list.list.get(i));
        let [x, y, x1, y1] = rect;
        let mut let_go = false;
        ui.horizontal_wrapped(|ui| {
            let score = score.map_or("not found now".to_owned(), |d| value_label(d.score, 3));
            title(ui, &format!("{} {score}", class_name(scene, class)));
            ui.label(format!(
                "{:.0} × {:.0} px at {x:.0}, {y:.0}",
                x1 - x,
                y1 - y
            ));
            ui.checkbox(&mut self.stays, "pinned")
                .on_hover_text("Stay with this box while other boxes are pressed");
            let_go = ui
                .small_button("Let go")
                .on_hover_text("Ask about no box any more")
                .clicked();
        });
        if let_go {
            self.held = None;
            cx.selection.detection = None;
        }
    }
}
