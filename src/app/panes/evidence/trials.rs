//! Taking something out: a unit, a route, all but one, every unit in turn, the picture itself.

use std::sync::Arc;

use egui::Ui;

use super::numbers::MapNumbers;
use super::slot::{Asked, Slot, Whole};
use super::{Seen, caveat, selected_unit, title};
use crate::app::pane::Context;
use crate::app::panes::body::Bodies;
use crate::attention::{Erasable, Erasure};
use crate::engine::Settings;
use crate::engine::causal::{Experiment, Fill, Found, Target, Trial};
use crate::picture::numbers::value_label;

/// Routes that can be closed by a button.
const ROUTES: usize = 8;

pub(super) const UNTRAINED: &str = "The network never saw inputs like this in training.";

/// All experiments on the box.
#[derive(Default)]
pub struct Trials {
    erased: Slot,
    pub(super) sweep: Slot,
    pub(super) curves: Slot,
    pub(super) fill: Fill,
    pub(super) whole: Whole,
    pub(super) map: Bodies,
    pub(super) plot: Bodies,
}

impl Trials {
    /// Cancels everything that runs.
    pub fn stop(&mut self) {
        self.erased = Slot::default();
        self.sweep = Slot::default();
        self.curves = Slot::default();
    }

    /// Draws all experiments.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        cx: &mut Context<'_>,
        seen: &Seen<'_>,
        target: Target,
        map: &MapNumbers,
    ) {
        self.whole.follow(cx);
        title(ui, "Erase and see");
        let row = seen.of.row;
        let what = cx.settings.erasable(&seen.scene.model, row);
        let probe = seen
            .scene
            .model
            .network
            .layers()
            .get(row)
            .is_some_and(|l| l.probe);
        match &what {
            _ if probe => {
                ui.label("A probe computes beside the network: no box depends on it.");
            }
            Some(what) => erase_buttons(ui, cx, seen, what),
            None => {
                ui.label("This layer has no units that could be erased. Choose a map of another.");
            }
        }
        self.after_erasing(ui, cx, seen, target);
        if let Some(what) = what.filter(|_| !probe) {
            ui.separator();
            self.sweep(ui, cx, seen, target, &what);
        }
        ui.separator();
        self.curves(ui, cx, seen, target, map);
    }

    /// The score of the box before and after what is erased now.
    fn after_erasing(
        &mut self,
        ui: &mut Ui,
        cx: &mut Context<'_>,
        seen: &Seen<'_>,
        target: Target,
    ) {
        let model = &seen.scene.model;
        let rows: Vec<usize> = cx.settings.erased.keys().copied().collect();
        let acting = |row: &usize| cx.settings.erasure(model, *row).is_some();
        let asked = asked(cx.settings, seen, target, String::new());
        self.erased.follow(&asked, cx);
        if rows.is_empty() {
            self.erased = Slot::default();
            return;
        }
        if ui
            .button("Restore")
            .on_hover_text("Put everything back that was erased, in all layers")
            .clicked()
        {
            cx.settings.erased.clear();
            return;
        }
        for row in rows.iter().filter(|row| !acting(row)) {
            ui.label(format!(
                "What was erased in layer {row} belongs to another grid: nothing is erased there now."
            ));
        }
        if !rows.iter().any(acting) {
            return;
        }
        // While a hand is on a slider every frame would start another one.
        let rests = cx.newest <= cx.snapshot.fulfilled && !ui.input(|i| i.pointer.any_down());
        if !self.erased.is_asked() && rests {
            let trial = Trial::Erased(cx.settings.erased.clone());
            let experiment = experiment(cx, seen, target, trial);
            self.erased.start(ui, asked, experiment);
        }
        self.erased.progress(ui);
        if let Some(finding) = self.erased.finding()
            && let Found::Erased(scores) = &finding.found
        {
            for (words, score) in scores {
                let [before, after] = [finding.before, *score].map(|v| value_label(v, 3));
                ui.label(format!(
                    "score of this box {before} before, {after} after · {words}"
                ));
            }
        }
        caveat(ui, UNTRAINED);
        caveat(
            ui,
            "The score is the largest overlap × probability of the class over all detections.",
        );
    }
}

/// What is set, as far as an experiment depends on it.
pub(super) fn asked(settings: &Settings, seen: &Seen<'_>, target: Target, what: String) -> Asked {
    let mut settings = settings.clone();
    settings.watch.clear();
    settings.features = None;
    settings.thresholds.confidence = 0.0;
    let (photo, model) = (seen.scene.photo.digest, seen.scene.model.digest);
    Asked {
        settings,
        what: format!("{what} {photo} {model} {target:?}"),
    }
}

pub(super) fn experiment(
    cx: &Context<'_>,
    seen: &Seen<'_>,
    target: Target,
    trial: Trial,
) -> Experiment {
    Experiment {
        photo: seen.scene.photo.clone(),
        model: Arc::clone(&seen.scene.model),
        settings: cx.settings.clone(),
        target,
        trial,
    }
}

/// Buttons that erase and keep the selected unit and close its routes.
fn erase_buttons(ui: &mut Ui, cx: &mut Context<'_>, seen: &Seen<'_>, what: &Erasable) {
    let (row, name, grid) = (seen.of.row, what.units.name, what.units.grid);
    let trace = seen.of.trace.as_ref();
    let Some(unit) = selected_unit(cx.selection, row, trace, seen.place) else {
        ui.label(format!("Press a place or a {name} above to erase it."));
        return;
    };
    let now = cx.settings.erasure(&seen.scene.model, row).cloned();
    let mut next = now.unwrap_or_else(|| Erasure::of_units(grid, []));
    let before = next.clone();
    ui.horizontal_wrapped(|ui| {
        let gone = next.units.contains(&unit);
        let erase = egui::Button::new(format!("Erase {name} {unit}"));
        if ui.add_enabled(!gone, erase).clicked() {
            next.units.insert(unit);
        }
        if ui.button(format!("Keep only {name} {unit}")).clicked() {
            next = Erasure::all_but(grid, unit);
        }
    });
    if what.routes {
        ui.horizontal_wrapped(|ui| {
            let reads = trace.reads(unit).unwrap_or_default();
            for (to, _) in reads.into_iter().take(ROUTES) {
                if ui
                    .small_button(format!("Close route {unit} to {to}"))
                    .clicked()
                {
                    next.routes.insert([unit, to]);
                }
            }
        });
    }
    if next != before {
        cx.settings.erased.insert(row, next);
    }
}
