//! From the hand to the selection, and from the selection to the layer.

use super::super::body::Hand;
use super::super::layer::Layer;
use super::super::memo::Anchor;
use super::Seen;
use crate::app::canvas::Shown;
use crate::app::pane::Context;
use crate::attention::MapSize;
use crate::attention::view::{Turn, Units};
use crate::view;

/// Keeps the selected unit in place when the grid changes, and takes over a point that was pressed
/// in another pane.
pub fn selection(
    anchor: &mut Anchor<(usize, Option<Units>, MapSize)>,
    cx: &mut Context<'_>,
    layer: &Layer<'_>,
) {
    let trace = layer.of.trace.as_ref();
    let row = layer.of.row;
    let iteration = cx.selection.iteration;
    let find = |p| trace.unit_at(layer.place.cell(p)?, iteration);
    let point = cx.selection.point;
    let place = |unit: usize| {
        let pressed = point.filter(|p| find(*p) == Some(unit));
        pressed.or_else(|| middle(layer, unit)).unwrap_or_default()
    };
    let mut selected = cx.selection.units.get(&row).copied();
    let grid = (row, trace.units(), trace.map());
    let photo = layer.scene.photo.digest;
    anchor.follow(grid, photo, &mut selected, place, find);
    // What is not there any more is let go.
    let selected = selected
        .filter(|unit| trace.unit_rect(*unit).is_some())
        .or_else(|| view::unit(cx.selection, row, trace, layer.place));
    match selected {
        Some(unit) => cx.selection.units.insert(row, unit),
        None => cx.selection.units.remove(&row),
    };
}

/// The attention of a unit is kept only where it is asked for: of the middle one, if none is
/// pressed.
pub fn ask_for(cx: &mut Context<'_>, seen: &Seen<'_>) {
    if seen.asked.unit.is_none() {
        let middle = view::middle_unit(seen.trace);
        let row = seen.layer.of.row;
        cx.selection.units.extend(middle.map(|unit| (row, unit)));
    }
}

/// What stands there while an answer is on its way.
pub fn asking_text(seen: &Seen<'_>) -> String {
    let name = seen.trace.units().map_or("place", |u| u.name);
    let title = seen.question.title;
    match seen.asked.unit {
        Some(unit) => format!("asking for the {title} of {name} {unit}…"),
        None => format!("asking for the {title}…"),
    }
}

/// Press and arrow keys on the canvas.
pub fn hand(cx: &mut Context<'_>, seen: &Seen<'_>, shown: &Shown) {
    let row = seen.layer.of.row;
    if let Some(point) = shown.pressed {
        cx.press(point);
        let cell = seen.layer.place.cell(point);
        let unit = cell.and_then(|c| seen.trace.unit_at(c, seen.asked.iteration));
        cx.selection.units.extend(unit.map(|unit| (row, unit)));
    }
    let Some(Units { grid, .. }) = seen.trace.units() else {
        return;
    };
    if shown.step != [0, 0] {
        let [rows, cols] = grid.map(|n| n.max(1));
        let now = seen.asked.unit.or_else(|| view::middle_unit(seen.trace));
        let now = now.unwrap_or(0);
        let moved = |at: usize, by: i32, n: usize| at.saturating_add_signed(by as isize).min(n - 1);
        let next =
            moved(now / cols, shown.step[1], rows) * cols + moved(now % cols, shown.step[0], cols);
        press(cx, seen, next);
    }
}

/// What was pressed in a body.
pub fn take(cx: &mut Context<'_>, seen: &Seen<'_>, hand: &Hand) {
    if let Some(unit) = hand.unit {
        press(cx, seen, unit);
    }
    if let Some(channel) = hand.channel {
        let again = cx.selection.channel == Some(channel);
        cx.selection.channel = (!again).then_some(channel);
    }
    match hand.turn {
        Some((Turn::Iteration, i)) => cx.selection.iteration = Some(i),
        Some((Turn::Head, head)) => {
            let asking = cx.asking.entry(seen.trace.mechanism().id.to_owned());
            asking.or_default().head = Some(head);
        }
        _ => {}
    }
}

fn press(cx: &mut Context<'_>, seen: &Seen<'_>, unit: usize) {
    if let Some(point) = middle(&seen.layer, unit) {
        cx.press(point);
        cx.selection.units.insert(seen.layer.of.row, unit);
    }
}

/// The middle of a unit on the photograph.
fn middle(layer: &Layer<'_>, unit: usize) -> Option<[f32; 2]> {
    let [x0, y0, x1, y1] = layer.of.trace.unit_rect(unit)?;
    Some(layer.place.to_photo((x0 + x1) / 2.0, (y0 + y1) / 2.0))
}

/// Everything that a layer sees, in pixels of the photograph: the network input, the map, and
/// what pads it to whole units.
pub fn beyond(seen: &Seen<'_>, extent: Option<[f32; 2]>) -> [f32; 4] {
    let [h, w] = seen.trace.map().map(|v| v as f32);
    let [right, bottom] = extent.unwrap_or([w, h]);
    let last = seen.trace.units().map(|u| u.grid[0] * u.grid[1] - 1);
    let last = last.and_then(|unit| seen.trace.unit_rect(unit));
    let [_, _, x, y] = last.unwrap_or([0.0; 4]);
    let map = [0.0, 0.0, right.max(x), bottom.max(y)];
    let map = seen.layer.place.rect_to_photo(map);
    let input = seen.layer.scene.letterbox.extent();
    [
        input[0].min(map[0]),
        input[1].min(map[1]),
        input[2].max(map[2]),
        input[3].max(map[3]),
    ]
}
