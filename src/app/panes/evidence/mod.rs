//! What a detection rests on: how much of each map lies in its box, and how its score moves when
//! something is taken out.

mod curves;
mod numbers;
mod pinned;
mod slot;
mod sweep;
mod tables;
mod trials;

use egui::{RichText, ScrollArea, Ui};

use super::layer;
use crate::app::pane::{Context, Pane, Selection};
use crate::app::theme;
use crate::attention::{MECHANISMS, Mechanism, Trace};
use crate::engine::{LayerTrace, Placement, Scene};
use crate::view;

use numbers::Numbers;
use pinned::Pinned;
use trials::Trials;

const ID: &str = "evidence";

/// The pane.
#[derive(Default)]
pub struct Evidence {
    pinned: Pinned,
    numbers: Numbers,
    trials: Trials,
    /// The map that is looked at closer: row and question.
    chosen: Option<(usize, &'static str)>,
}

impl Pane for Evidence {
    fn id(&self) -> &'static str {
        ID
    }
    fn title(&self) -> &'static str {
        "Evidence"
    }
    fn help(&self) -> String {
        "What the selected detection rests on. The first table says how much of each map lies \
         inside its box, against maps that know nothing of the box. Below, super tokens, regions \
         and routes can be erased, and parts of the picture taken away: the score of the box \
         before and after says whether the detector used them."
            .into()
    }

    fn mechanisms(&self) -> Vec<&'static Mechanism> {
        MECHANISMS.to_vec()
    }

    fn ui(&mut self, ui: &mut Ui, cx: &mut Context<'_>) {
        ui.push_id(ID, |ui| self.show(ui, cx));
    }
}

impl Evidence {
    fn show(&mut self, ui: &mut Ui, cx: &mut Context<'_>) {
        let Some(scene) = layer::scene(ui, cx) else {
            return;
        };
        self.pinned.follow(cx, scene);
        let Some(target) = self.pinned.target() else {
            self.trials.stop();
            layer::say(
                ui,
                "Press a detection to see what it rests on: how much of each map lies in its box, \
                 and what its score depends on.",
            );
            return;
        };
        self.numbers.follow(ui, cx, scene, target);
        ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            self.pinned.heading(ui, cx, scene);
            ui.separator();
            title(ui, "Maps");
            tables::maps(ui, scene, &self.numbers, &mut self.chosen);
            let Some(map) = self.numbers.map(self.chosen) else {
                return;
            };
            let Some(of) = cx.snapshot.traces.get(&map.row) else {
                return;
            };
            let seen = Seen {
                scene,
                of,
                place: scene.place(of.trace.map()),
            };
            ui.separator();
            tables::peaks(ui, map);
            if let Some(units) = self.numbers.units(map.row) {
                tables::units(ui, cx, &seen, units);
            }
            tables::channels(ui, cx, self.numbers.channels(map.row));
            ui.separator();
            self.trials.show(ui, cx, &seen, target, map);
        });
    }
}

/// The layer that is looked at closer.
struct Seen<'a> {
    scene: &'a Scene,
    of: &'a LayerTrace,
    place: Placement,
}

/// The unit that is selected in a row.
fn selected_unit(
    selection: &Selection,
    row: usize,
    trace: &dyn Trace,
    place: Placement,
) -> Option<usize> {
    view::unit(selection, row, trace, place)
}

/// Title of a part.
fn title(ui: &mut Ui, text: &str) {
    ui.label(RichText::new(text).strong());
}

/// A sentence on how a number is to be read, beside it.
fn caveat(ui: &mut Ui, text: &str) {
    ui.label(theme::quiet(text));
}
