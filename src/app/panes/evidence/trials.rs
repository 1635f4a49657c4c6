//! Taking something out: a unit, a route, all but one, every unit in turn, the picture itself.

use std::sync::Arc;

use egui::{ComboBox, Ui, vec2};

use super::numbers::MapNumbers;
use super::slot::{Asked, Slot, Whole, cost};
use super::{Seen, caveat, selected_unit, title};
use crate::app::pane::{Context, Look};
use crate::app::panes::body::{Bodies, Chosen};
use crate::attention::view::{self, Body, Matrix};
use crate::attention::{Erasable, Erasure};
use crate::engine::Settings;
use crate::engine::causal::{Curves, Experiment, Fill, Finding, Found, Target, Trial};
use crate::picture::numbers::value_label;

/// Steps of the curves.
const STEPS: usize = 16;
/// Seed of their random order.
const SEED: u64 = 1;
/// Routes that can be closed by a button.
const ROUTES: usize = 8;
/// Units that are listed after a sweep.
const LISTED: usize = 5;
/// Height of the curves and of the small map.
const CURVES: f32 = 190.0;

const UNTRAINED: &str = "The network never saw inputs like this in training.";

/// All experiments on the box.
#[derive(Default)]
pub struct Trials {
    erased: Slot,
    sweep: Slot,
    curves: Slot,
    fill: Fill,
    whole: Whole,
    map: Bodies,
    plot: Bodies,
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
        if !self.erased.is_asked() {
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
                ui.label(format!("score of this box {before} → {after} · {words}"));
            }
        }
        caveat(ui, UNTRAINED);
        caveat(
            ui,
            "The score is the largest overlap × probability of the class over all detections.",
        );
    }

    /// Which unit matters most.
    fn sweep(
        &mut self,
        ui: &mut Ui,
        cx: &mut Context<'_>,
        seen: &Seen<'_>,
        target: Target,
        what: &Erasable,
    ) {
        let (row, name) = (seen.of.row, what.units.name);
        let mut bare = cx.settings.clone();
        bare.erased.clear();
        let asked = asked(&bare, seen, target, format!("row {row}"));
        self.sweep.follow(&asked, cx);
        let experiment = || experiment(cx, seen, target, Trial::Sweep { row });
        ui.horizontal_wrapped(|ui| {
            let text = format!("Which {name} matters most");
            let button = ui.button(text).on_hover_text(format!(
                "Erases every {name} of the layer, one at a time, and reads the score of the box"
            ));
            if button.clicked() {
                self.sweep.start(ui, asked, experiment());
            }
            let runs = experiment().runs();
            ui.label(cost(runs, self.whole.from_row(row)));
        });
        self.sweep.progress(ui);
        let Some(finding) = self.sweep.finding() else {
            return;
        };
        if let Some(unit) = swept(ui, &finding, &mut self.map) {
            cx.selection.units.insert(row, unit);
        }
        caveat(ui, UNTRAINED);
    }

    /// Deletion and insertion of the picture along the chosen map.
    fn curves(
        &mut self,
        ui: &mut Ui,
        cx: &mut Context<'_>,
        seen: &Seen<'_>,
        target: Target,
        map: &MapNumbers,
    ) {
        title(ui, "Deletion and insertion");
        let what = format!("row {} {} {:?}", map.row, map.question.id, self.fill);
        let asked = asked(cx.settings, seen, target, what);
        self.curves.follow(&asked, cx);
        let trial = Trial::Curves {
            heat: map.heat.clone(),
            map: map.map,
            fill: self.fill,
            steps: STEPS,
            seed: SEED,
        };
        let experiment = experiment(cx, seen, target, trial);
        ui.horizontal_wrapped(|ui| {
            let button = ui
                .button("Deletion and insertion curve")
                .on_hover_text(format!(
                    "Takes the picture away in {STEPS} steps, the largest cells of the chosen map \
                     first, and gives it back in the same order; and both in a random order of the \
                     same cells"
                ));
            let runs = experiment.runs();
            if button.clicked() {
                self.curves.start(ui, asked, experiment);
            }
            fill_chooser(ui, &mut self.fill);
            ui.label(cost(runs, self.whole.run()));
        });
        ui.label(format!(
            "Ranked by {}, layer {}.",
            map.question.title, map.row
        ));
        self.curves.progress(ui);
        if let Some(finding) = self.curves.finding()
            && let Found::Curves(curves) = &finding.found
        {
            let body = Body::Curves(figure(curves));
            let size = vec2(ui.available_width().min(520.0), CURVES);
            ui.allocate_ui(size, |ui| {
                ui.set_max_height(CURVES);
                self.plot
                    .show(ui, &body, &Look::default(), Chosen::default())
            });
            ui.label(areas(curves));
        }
        caveat(ui, UNTRAINED);
        caveat(
            ui,
            "A good ranking falls sooner and comes back sooner than the random one; a single \
             random order varies.",
        );
    }
}

/// What is set, as far as an experiment depends on it.
fn asked(settings: &Settings, seen: &Seen<'_>, target: Target, what: String) -> Asked {
    let mut settings = settings.clone();
    settings.watch.clear();
    settings.thresholds.confidence = 0.0;
    let (photo, model) = (seen.scene.photo.digest, seen.scene.model.digest);
    Asked {
        settings,
        what: format!("{what} {photo} {model} {target:?}"),
    }
}

fn experiment(cx: &Context<'_>, seen: &Seen<'_>, target: Target, trial: Trial) -> Experiment {
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

fn fill_chooser(ui: &mut Ui, fill: &mut Fill) {
    let name = |fill: Fill| match fill {
        Fill::Grey => "grey",
        Fill::Blur => "blurred",
    };
    let combo = ComboBox::from_id_salt("fill")
        .selected_text(name(*fill))
        .width(72.0)
        .show_ui(ui, |ui| {
            for choice in [Fill::Grey, Fill::Blur] {
                ui.selectable_value(fill, choice, name(choice));
            }
        });
    combo
        .response
        .on_hover_text("What stands in the place of what is taken away")
        .accessible_name("fill");
}

/// The result of a sweep; returns a unit that was pressed.
fn swept(ui: &mut Ui, finding: &Finding, map: &mut Bodies) -> Option<usize> {
    let Found::Sweep {
        name, grid, scores, ..
    } = &finding.found
    else {
        return None;
    };
    let drop = |unit: usize| finding.before - scores.get(unit).copied().unwrap_or(finding.before);
    let n = grid[0] * grid[1];
    let matrix = Matrix {
        quantity: "score lost",
        values: (0..n).map(drop).collect(),
        rows: grid[0],
        cols: grid[1],
        row_label: "row",
        col_label: "column",
        labels: Vec::new(),
        row: None,
        step: 1,
    };
    let mut order: Vec<usize> = (0..scores.len().min(n)).collect();
    order.sort_by(|&a, &b| drop(b).total_cmp(&drop(a)).then(a.cmp(&b)));
    let mut pressed = None;
    ui.horizontal_top(|ui| {
        ui.allocate_ui(vec2(CURVES, CURVES), |ui| {
            ui.set_max_size(vec2(CURVES, CURVES));
            map.show(
                ui,
                &Body::Matrix(matrix),
                &Look::default(),
                Chosen::default(),
            )
        });
        ui.vertical(|ui| {
            for unit in order.into_iter().take(LISTED) {
                let after = finding.before - drop(unit);
                let [before, after] = [finding.before, after].map(|v| value_label(v, 3));
                let text = format!("without {name} {unit} {before} → {after}");
                if ui.link(text).on_hover_text("Select this one").clicked() {
                    pressed = Some(unit);
                }
            }
        });
    });
    pressed
}

/// The four curves.
fn figure(curves: &Curves) -> view::Curves {
    let series = [
        ("deletion", &curves.deletion),
        ("insertion", &curves.insertion),
        ("deletion, random", &curves.random_deletion),
        ("insertion, random", &curves.random_insertion),
    ];
    view::Curves {
        x_label: "share of cells",
        y_label: "score",
        series: series
            .map(|(n, points)| (n.to_owned(), points.clone()))
            .to_vec(),
    }
}

/// The areas under the curves, in words.
fn areas(curves: &Curves) -> String {
    let area = |curve: &[[f32; 2]]| value_label(Curves::area(curve), 3);
    format!(
        "Area under deletion {} (random {}), under insertion {} (random {}); {} cells",
        area(&curves.deletion),
        area(&curves.random_deletion),
        area(&curves.insertion),
        area(&curves.random_insertion),
        curves.cells
    )
}
