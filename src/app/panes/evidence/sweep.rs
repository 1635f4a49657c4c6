//! Which unit of a layer matters most: every one is erased in turn.

use egui::{Sense, Ui, vec2};

use super::slot::cost;
use super::trials::{Trials, UNTRAINED, asked, experiment};
use super::{Seen, caveat};
use crate::app::color_bar::{self, color_bar};
use crate::app::pane::{Context, Look};
use crate::app::panes::body::{Bodies, Chosen};
use crate::attention::Erasable;
use crate::attention::view::{Body, Matrix};
use crate::engine::causal::{Finding, Found, Target, Trial};
use crate::picture::numbers::value_label;

const LOST: &str = "score lost";
/// Units that are listed.
const LISTED: usize = 5;
/// Side of the small map.
const SIDE: f32 = 190.0;

impl Trials {
    /// Which unit matters most.
    pub(super) fn sweep(
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
            ui.label(cost(runs, self.whole.after(row)));
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
        quantity: LOST,
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
        ui.allocate_ui(vec2(SIDE, SIDE), |ui| {
            ui.set_max_size(vec2(SIDE, SIDE));
            map.show(
                ui,
                &Body::Matrix(matrix),
                &Look::default(),
                Chosen::default(),
            )
        });
        if let Some(coloring) = map.coloring() {
            let (rect, _) = ui.allocate_exact_size(vec2(color_bar::WIDTH, SIDE), Sense::hover());
            color_bar(ui, rect, coloring, LOST, None);
        }
        ui.vertical(|ui| {
            for unit in order.into_iter().take(LISTED) {
                let after = finding.before - drop(unit);
                let [before, after] = [finding.before, after].map(|v| value_label(v, 3));
                let text = format!("without {name} {unit}: {after} ({before} before)");
                if ui.link(text).on_hover_text("Select this one").clicked() {
                    pressed = Some(unit);
                }
            }
        });
    });
    pressed
}
