//! What the pane says: the column beside the picture and the two lines below it.

use egui::{RichText, Ui};

use super::Seen;
use super::maps::Mode;
use super::nine::nine;
use crate::app::canvas::SMALL;
use crate::app::panes::parts::{cell_at, place_text};
use crate::picture::numbers::value_label;

/// The selected super token, of which `count` cells are owned, and a remark.
pub fn caption(seen: &Seen<'_>, mean_lost: f32, count: Option<usize>) -> (String, String) {
    let lost = format!("mean lost share {}", value_label(mean_lost, 3));
    match (seen.token, count) {
        (Some(token), Some(count)) => (
            format!("super token {token}"),
            format!("owns {} · {lost}", cells(count)),
        ),
        _ => {
            let [h, w] = seen.trace.stoken_size;
            (
                format!("{} super tokens", seen.trace.tokens_count()),
                format!("of {w} × {h} cells · {lost} · press one"),
            )
        }
    }
}

/// What is under the pointer, with the value of the map there.
pub fn pointer(seen: &Seen<'_>, hover: Option<[f32; 2]>, value: Option<(Mode, f32)>) -> String {
    let Some(point) = hover else {
        return String::new();
    };
    let mut text = place_text(&seen.layer, point);
    if let Some([y, x]) = cell_at(&seen.layer, point)
        && y < seen.trace.padded[0]
        && x < seen.trace.padded[1]
    {
        let owner = seen.trace.owner(seen.iteration, y, x);
        let owner = owner.map_or("off the grid".into(), |t| t.to_string());
        text += &format!(" · owner {owner}");
    }
    if let Some((mode, value)) = value {
        text += &format!(" · {} {}", quantity(mode), value_label(value, 4));
    }
    text
}

fn cells(count: usize) -> String {
    match count {
        1 => "1 cell".into(),
        n => format!("{n} cells"),
    }
}

fn quantity(mode: Mode) -> &'static str {
    match mode {
        Mode::Partition => "",
        Mode::Affinity => "affinity",
        Mode::Lost => "lost",
        Mode::Attention => "attention",
    }
}

/// What stands beside the picture: the layer in numbers and the nine weights of a cell.
pub fn beside(ui: &mut Ui, seen: &Seen<'_>, mean_lost: f32, cell: Option<[usize; 2]>) {
    let trace = seen.trace;
    let [h, w] = trace.stoken_size;
    let [rows, cols] = trace.grid;
    ui.label(format!("{cols} × {rows} super tokens"));
    ui.label(format!("of {w} × {h} cells"));
    let help = "Mean over the map of the affinity that goes to neighbours off the grid";
    ui.label(format!("mean lost share {}", value_label(mean_lost, 3)))
        .on_hover_text(help);
    ui.separator();
    let Some([y, x]) = cell else {
        ui.label(RichText::new("Point at a cell to see the nine weights it spreads.").weak());
        return;
    };
    let weights = trace.weights_at(seen.iteration, y, x);
    if weights.is_empty() {
        return;
    }
    ui.label(format!("weights of cell {x}, {y}"));
    ui.add_space(2.0);
    nine(ui, &weights);
    ui.add_space(2.0);
    ui.label(RichText::new("small: the super token").size(SMALL).weak());
}
