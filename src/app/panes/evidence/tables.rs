//! The numbers on a box as tables.

use egui::{Grid, RichText, ScrollArea, Ui};

use super::super::layer::row_name;
use super::numbers::{MapNumbers, Numbers};
use super::{Seen, caveat, selected_unit, title};
use crate::app::canvas::SMALL;
use crate::app::pane::Context;
use crate::engine::Scene;
use crate::measure::evidence::{ChannelShare, UnitsInside};
use crate::picture::numbers::value_label;

/// Units and channels that are listed.
const LISTED: usize = 6;

/// A share as a percentage.
fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn heads(ui: &mut Ui, all: &[(&str, &str)]) {
    for (head, help) in all {
        let label = ui.label(RichText::new(*head).size(SMALL).weak());
        if !help.is_empty() {
            label.on_hover_text(*help);
        }
    }
    ui.end_row();
}

/// How much of each map lies in the box; a press chooses a map.
pub fn maps(
    ui: &mut Ui,
    scene: &Scene,
    numbers: &Numbers,
    chosen: &mut Option<(usize, &'static str)>,
) {
    // In a narrow pane the last columns are reached by scrolling.
    ScrollArea::horizontal().show(ui, |ui| map_rows(ui, scene, numbers, chosen));
    if !numbers.is_whole() {
        ui.spinner();
    }
    caveat(
        ui,
        "Mass inside the box says where the map is large, not that the detector used it.",
    );
}

fn map_rows(
    ui: &mut Ui,
    scene: &Scene,
    numbers: &Numbers,
    chosen: &mut Option<(usize, &'static str)>,
) {
    let shown = numbers.map(*chosen).map(|m| (m.row, m.question.id));
    Grid::new("maps")
        .num_columns(7)
        .spacing([12.0, 4.0])
        .striped(true)
        .show(ui, |ui| {
            heads(
                ui,
                &[
                    ("row", ""),
                    (
                        "map",
                        "Asked about the middle of the box, where a map is about one place",
                    ),
                    ("inside", "Share of the sum of the map that lies in the box"),
                    (
                        "by chance",
                        "The same for the values of the map in random order: mean ± standard \
                     deviation, by the closed form over all orders",
                    ),
                    ("times", "Inside over chance: 1 is no more than by chance"),
                    ("z", "Standard deviations above chance"),
                    (
                        "of shifts",
                        "Share of all shifts of the map that have less in the box. A shifted map \
                     keeps its blobs, so this is the harder test",
                    ),
                ],
            );
            for map in numbers.maps() {
                ui.label(map.row.to_string())
                    .on_hover_text(row_name(scene, map.row));
                let key = (map.row, map.question.id);
                if ui
                    .selectable_label(shown == Some(key), map.question.title)
                    .clicked()
                {
                    *chosen = Some(key);
                }
                let mass = &map.mass;
                let or_none = |text: Option<String>| text.unwrap_or_else(|| "–".into());
                ui.label(or_none(mass.share.map(percent)));
                let spread = mass
                    .spread
                    .map(|s| format!("{} ± {:.1}", percent(mass.area), 100.0 * s));
                ui.label(spread.unwrap_or_else(|| percent(mass.area)));
                ui.label(or_none(mass.ratio().map(|r| format!("{r:.2}"))));
                ui.label(or_none(mass.z.map(|z| format!("{z:+.1}"))));
                ui.label(percent(mass.shifts.below));
                ui.end_row();
            }
        });
}

/// The largest cells of a map inside the box.
pub fn peaks(ui: &mut Ui, map: &MapNumbers) {
    let Some(first) = map.peaks.first() else {
        return;
    };
    let [inside, outside] = [Some(map.mass.inside), map.mass.outside]
        .map(|v| v.map_or("–".into(), |v| value_label(v as f32, 4)));
    let quantity = map.heat.quantity;
    ui.label(format!(
        "{quantity}: mean {inside} inside, {outside} outside"
    ));
    let all: Vec<String> = map
        .peaks
        .iter()
        .map(|p| format!("{}, {}: {}", p.cell[1], p.cell[0], value_label(p.value, 4)))
        .collect();
    ui.label(format!(
        "Largest cells inside: {}. The first is number {} of {} on the photograph.",
        all.join(" · "),
        first.rank,
        map.mass.cells
    ));
}

/// The units of the box, and where they read from.
pub fn units(ui: &mut Ui, cx: &mut Context<'_>, seen: &Seen<'_>, units: &UnitsInside) {
    let name = units.units.name;
    title(ui, &format!("{}s of the box", capital(name)));
    let row = seen.of.row;
    let chosen = selected_unit(cx.selection, row, seen.of.trace.as_ref(), seen.place);
    Grid::new("units")
        .num_columns(4)
        .striped(true)
        .show(ui, |ui| {
            heads(
                ui,
                &[
                    (name, ""),
                    (
                        "cells inside",
                        "Cells of the photograph that it owns, inside the box and in all",
                    ),
                    (
                        "reads inside",
                        "Share of what it reads that lies in the box",
                    ),
                    ("reads most", "What it reads most, with shares"),
                ],
            );
            for unit in units.list.iter().take(LISTED) {
                let label = format!("{name} {}", unit.unit);
                if ui
                    .selectable_label(chosen == Some(unit.unit), label)
                    .clicked()
                {
                    cx.selection.units.insert(row, unit.unit);
                }
                ui.label(format!("{} of {}", unit.inside, unit.cells));
                ui.label(unit.reads_inside.map_or("–".into(), percent));
                let reads = unit
                    .reads
                    .iter()
                    .map(|(u, s)| format!("{u}: {:.0} %", 100.0 * s));
                ui.label(reads.collect::<Vec<_>>().join(" · "));
                ui.end_row();
            }
        });
    let more = units.list.len().saturating_sub(LISTED);
    if more > 0 {
        ui.label(format!("and {more} more"));
    }
    if let Some(inside) = units.reads_inside {
        ui.label(format!(
            "Of what the box reads, {} lies inside it; {} if all were read alike.",
            percent(inside),
            percent(units.by_chance)
        ));
    }
    caveat(
        ui,
        "A cell counts for the unit that owns most of it; what is read is not yet what is used.",
    );
}

/// The channels that are more active inside the box than outside.
pub fn channels(ui: &mut Ui, cx: &mut Context<'_>, channels: &[ChannelShare]) {
    if channels.is_empty() {
        return;
    }
    title(ui, "Channels");
    Grid::new("channels")
        .num_columns(5)
        .striped(true)
        .show(ui, |ui| {
            heads(
                ui,
                &[
                    ("channel", ""),
                    (
                        "inside",
                        "Mean absolute value of what the layer reads, in the box",
                    ),
                    ("outside", "The same over the rest of the photograph"),
                    (
                        "weight",
                        "What the layer scales the channel with; 1 where it does not",
                    ),
                    ("contrast", "Weight times inside minus outside"),
                ],
            );
            for c in channels.iter().take(LISTED) {
                let is_it = cx.selection.channel == Some(c.channel);
                if ui
                    .selectable_label(is_it, format!("channel {}", c.channel))
                    .clicked()
                {
                    cx.selection.channel = Some(c.channel);
                }
                for v in [c.inside, c.outside, f64::from(c.weight), c.contrast()] {
                    ui.label(value_label(v as f32, 4));
                }
                ui.end_row();
            }
        });
    caveat(
        ui,
        "A channel that is active here may mean anything: only erasing tells.",
    );
}

/// A word with a capital letter.
fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
