//! Deletion and insertion of the picture along a map.

use egui::{ComboBox, Ui, vec2};

use super::numbers::MapNumbers;
use super::slot::cost;
use super::trials::{Trials, UNTRAINED, asked, experiment};
use super::{Seen, caveat, title};
use crate::app::pane::{Context, Look};
use crate::app::panes::body::Chosen;
use crate::attention::view::{self, Body};
use crate::engine::causal::{Curves, Fill, Found, Target, Trial};
use crate::picture::numbers::value_label;

/// Steps of the curves.
const STEPS: usize = 16;
/// Seed of their random order.
const SEED: u64 = 1;
/// Height of the plot.
const HEIGHT: f32 = 190.0;

impl Trials {
    /// Deletion and insertion of the picture along the chosen map.
    pub(super) fn curves(
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
            let size = vec2(ui.available_width().min(520.0), HEIGHT);
            ui.allocate_ui(size, |ui| {
                ui.set_max_height(HEIGHT);
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
