//! The rows of the network as a list.

use std::cmp::Ordering;
use std::time::Duration;

use egui::accesskit::Role;
use egui::{
    Align2, Color32, EventFilter, FontId, Id, Key, Rect, ScrollArea, Sense, Ui, WidgetInfo, pos2,
    vec2,
};

use crate::app::canvas::SMALL;
use crate::engine::{RowInfo, Snapshot};

/// What stands in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Row,
    Module,
    From,
    Output,
    Time,
    Parameters,
    Size,
}

/// Each column with its width in points, in the order in which they stand.
const COLUMNS: [(Column, f32); 7] = [
    (Column::Row, 30.0),
    (Column::Module, 112.0),
    (Column::From, 52.0),
    (Column::Output, 78.0),
    (Column::Time, 62.0),
    (Column::Parameters, 66.0),
    (Column::Size, 54.0),
];
/// Columns that go first where there is little room.
const SPARE: [Column; 5] = [
    Column::From,
    Column::Parameters,
    Column::Size,
    Column::Time,
    Column::Output,
];

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::Row => "row",
            Self::Module => "module",
            Self::From => "from",
            Self::Output => "output",
            Self::Time => "time",
            Self::Parameters => "params",
            Self::Size => "size",
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::Row => "Row of the definition; probes follow after the last one",
            Self::Module => "Module of the row; attention rows are marked",
            Self::From => "Rows that feed it; -1 is the picture",
            Self::Output => "Channels × height × width of the map that it puts out",
            Self::Time => "Time of the last run; pale where the last run reused what was there",
            Self::Parameters => "Numbers in its weights",
            Self::Size => "Memory of its map",
        }
    }

    /// Words are read from the left, numbers compared from the right.
    fn is_left(self) -> bool {
        matches!(self, Self::Module)
    }
}

/// The list with its order.
pub struct List {
    by: Column,
    largest_first: bool,
    /// The row to bring into sight.
    reveal: Option<usize>,
}

impl Default for List {
    fn default() -> Self {
        Self {
            by: Column::Row,
            largest_first: false,
            reveal: None,
        }
    }
}

/// How long a row took when it last ran, and whether that was in the last run.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Time {
    took: Option<Duration>,
    ran: bool,
}

impl Time {
    fn of(snapshot: &Snapshot, row: usize) -> Self {
        let timing = snapshot.timing.as_ref();
        Self {
            took: snapshot.row_times.get(&row).copied(),
            ran: timing.is_some_and(|t| t.by_row.contains_key(&row)),
        }
    }

    fn short(self) -> String {
        match self.took {
            Some(took) => milliseconds(took),
            None => "reused".into(),
        }
    }

    fn long(self) -> String {
        match (self.took, self.ran) {
            (Some(took), true) => format!("{} in the last run", milliseconds(took)),
            (Some(took), false) => format!(
                "reused in the last run; {} when it ran before",
                milliseconds(took)
            ),
            (None, _) => "reused in the last run".into(),
        }
    }
}

fn milliseconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        _ if ms < 10.0 => format!("{ms:.2} ms"),
        _ if ms < 100.0 => format!("{ms:.1} ms"),
        _ => format!("{ms:.0} ms"),
    }
}

impl List {
    /// Draws the list; a press or an arrow key chooses a row.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        rows: &[RowInfo],
        snapshot: &Snapshot,
        chosen: &mut Option<usize>,
    ) {
        let columns = fitting(ui.available_width() - 12.0);
        self.heads(ui, &columns);
        let order = self.order(rows, snapshot);
        let id = ui.scope_id().with("layer");
        self.keys(ui, id, &order, chosen);
        ui.spacing_mut().item_spacing.y = 0.0;
        ScrollArea::vertical()
            .auto_shrink([false, false])
            .show(ui, |ui| {
                for info in order.iter().filter_map(|row| rows.get(*row)) {
                    let time = Time::of(snapshot, info.row);
                    let is = *chosen == Some(info.row);
                    let response = line(ui, id, &columns, info, time, is);
                    if response.clicked() {
                        *chosen = Some(info.row);
                        response.request_focus();
                    }
                    if self.reveal == Some(info.row) {
                        response.scroll_to_me(None);
                        self.reveal = None;
                    }
                    response.on_hover_ui(|ui| hover(ui, info, time));
                }
            });
    }

    /// The names of the columns; a press sorts by one, another one turns the order round.
    fn heads(&mut self, ui: &mut Ui, columns: &[(Column, f32)]) {
        let height = SMALL + 8.0;
        let width = columns.iter().map(|c| c.1).sum();
        let (rect, _) = ui.allocate_exact_size(vec2(width, height), Sense::hover());
        let mut left = rect.left();
        for (column, width) in columns {
            let cell = Rect::from_min_size(pos2(left, rect.top()), vec2(*width, height));
            left += width;
            let id = ui.scope_id().with(("head", column.name()));
            let response = ui.interact(cell, id, Sense::click());
            let name = format!("sort by {}", column.name());
            let is = self.by == *column;
            response.widget_info(|| WidgetInfo::selected(Role::Button, true, is, &name));
            let visuals = ui.visuals();
            let ink = match is || response.hovered() || response.has_focus() {
                true => visuals.strong_text_color(),
                false => visuals.weak_text_color(),
            };
            text(ui, cell, column.is_left(), column.name(), ink);
            if response.clicked() {
                self.largest_first = match is {
                    true => !self.largest_first,
                    // Of numbers the large ones are looked for.
                    false => matches!(column, Column::Time | Column::Parameters | Column::Size),
                };
                self.by = *column;
            }
            response.on_hover_text(format!("{}. Press to sort.", column.help()));
        }
    }

    /// Rows in the order in which they stand; equal ones in that of the network.
    fn order(&self, rows: &[RowInfo], snapshot: &Snapshot) -> Vec<usize> {
        let took = |row| snapshot.row_times.get(&row);
        let cells = |info: &RowInfo| info.shape.map(|[_, h, w]| h * w);
        let compare = |a: &RowInfo, b: &RowInfo| -> Ordering {
            match self.by {
                Column::Row => a.row.cmp(&b.row),
                Column::Module => a.module.cmp(&b.module),
                Column::From => a.from.cmp(&b.from),
                Column::Output => cells(a).cmp(&cells(b)),
                Column::Time => took(a.row).cmp(&took(b.row)),
                Column::Parameters => a.parameters.cmp(&b.parameters),
                Column::Size => a.bytes().cmp(&b.bytes()),
            }
        };
        let mut order: Vec<&RowInfo> = rows.iter().collect();
        order.sort_by(|a, b| match self.largest_first {
            true => compare(b, a),
            false => compare(a, b),
        });
        order.into_iter().map(|info| info.row).collect()
    }

    /// Arrow keys step through the rows while one of them has the keyboard.
    fn keys(&mut self, ui: &Ui, id: Id, order: &[usize], chosen: &mut Option<usize>) {
        let focused = ui.memory(|m| m.focused());
        let at = order.iter().position(|row| Some(id.with(row)) == focused);
        let (Some(at), Some(focused)) = (at, focused) else {
            return;
        };
        let filter = EventFilter {
            vertical_arrows: true,
            ..EventFilter::default()
        };
        ui.memory_mut(|m| m.set_focus_lock_filter(focused, filter));
        let by = ui.input(|i| {
            let times = |key| i.num_presses(key) as isize;
            times(Key::ArrowDown) - times(Key::ArrowUp)
        });
        let last = order.len().saturating_sub(1);
        let next = order.get(at.saturating_add_signed(by).min(last)).copied();
        if let (Some(next), true) = (next, by != 0) {
            ui.memory_mut(|m| m.request_focus(id.with(next)));
            *chosen = Some(next);
            self.reveal = Some(next);
        }
    }
}

/// The columns that fit into a width; what is left goes to the module.
fn fitting(width: f32) -> Vec<(Column, f32)> {
    let mut columns = COLUMNS.to_vec();
    let all = |columns: &[(Column, f32)]| columns.iter().map(|c| c.1).sum::<f32>();
    for spare in SPARE {
        if all(&columns) > width {
            columns.retain(|c| c.0 != spare);
        }
    }
    let left = width - all(&columns);
    for (column, room) in &mut columns {
        if *column == Column::Module {
            *room = (*room + left).clamp(40.0, 190.0);
        }
    }
    columns
}

/// One row.
fn line(
    ui: &mut Ui,
    id: Id,
    columns: &[(Column, f32)],
    info: &RowInfo,
    time: Time,
    chosen: bool,
) -> egui::Response {
    let height = ui.spacing().interact_size.y - 1.0;
    let width = columns.iter().map(|c| c.1).sum();
    let (_, rect) = ui.allocate_space(vec2(width, height));
    let response = ui.interact(rect, id.with(info.row), Sense::click());
    let attention = info.mechanism.map_or("", |_| ", attention");
    let name = format!("layer {} {}{attention}", info.row, info.module);
    response.widget_info(|| WidgetInfo::selected(Role::ListBoxOption, true, chosen, &name));
    if !ui.is_rect_visible(rect) {
        return response;
    }
    let visuals = ui.visuals();
    if chosen || response.hovered() || response.has_focus() {
        let fill = match chosen {
            true => visuals.selection.bg_fill,
            false => visuals.widgets.hovered.weak_bg_fill,
        };
        ui.painter().rect_filled(rect, 3, fill);
    }
    if response.has_focus() {
        let stroke = visuals.selection.stroke;
        let inside = egui::StrokeKind::Inside;
        ui.painter().rect_stroke(rect, 3, stroke, inside);
    }
    let mut left = rect.left();
    for (column, width) in columns {
        let cell = Rect::from_min_size(pos2(left, rect.top()), vec2(*width, height));
        left += width;
        let mut ink = visuals.text_color();
        let words = match column {
            Column::Row => info.row.to_string(),
            Column::Module => {
                if info.mechanism.is_some() {
                    ink = visuals.hyperlink_color;
                    let at = pos2(cell.left() + 4.0, cell.center().y);
                    ui.painter().circle_filled(at, 2.5, ink);
                }
                info.module.clone()
            }
            Column::From => info.sources_text(),
            Column::Output => info.shape_text(),
            Column::Time => {
                if !time.ran {
                    ink = visuals.weak_text_color();
                }
                time.short()
            }
            Column::Parameters => match info.parameters {
                0 => String::new(),
                n => n.to_string(),
            },
            Column::Size => info.size_text(),
        };
        text(ui, cell, column.is_left(), &words, ink);
    }
    response
}

/// Text in a cell, cut off where it does not fit.
fn text(ui: &Ui, cell: Rect, left: bool, words: &str, ink: Color32) {
    let font = FontId::proportional(SMALL + 0.5);
    let (at, align) = match left {
        true => (cell.left_center() + vec2(10.0, 0.0), Align2::LEFT_CENTER),
        false => (cell.right_center() - vec2(6.0, 0.0), Align2::RIGHT_CENTER),
    };
    ui.painter_at(cell).text(at, align, words, font, ink);
}

/// Everything about a row: what there is no column for, too.
fn hover(ui: &mut Ui, info: &RowInfo, time: Time) {
    ui.strong(format!("row {} {}", info.row, info.module));
    if let Some(mechanism) = info.mechanism {
        let probe = if info.probe { ", a probe" } else { "" };
        ui.label(format!("{}{probe}", mechanism.title));
    }
    ui.label(format!("reads {}", info.sources_text()));
    match info.shape {
        Some(_) => ui.label(format!("{}, {}", info.shape_text(), info.size_text())),
        None => ui.label("puts out boxes and scores"),
    };
    ui.label(format!("{} parameters", info.parameters));
    ui.label(time.long());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(width: f32) -> Vec<&'static str> {
        fitting(width).iter().map(|c| c.0.name()).collect()
    }

    #[test]
    fn columns_go_where_there_is_no_room_but_row_and_module_stay() {
        assert_eq!(names(500.0).len(), 7);
        assert_eq!(
            names(410.0),
            ["row", "module", "output", "time", "params", "size"]
        );
        assert_eq!(names(230.0), ["row", "module", "output"]);
        assert_eq!(names(20.0), ["row", "module"]);
        for width in [150.0, 260.0, 400.0, 480.0] {
            let all: f32 = fitting(width).iter().map(|c| c.1).sum();
            assert!(all <= width + 0.01, "{all} of {width}");
        }
    }

    #[test]
    fn times_have_three_digits_and_say_when() {
        let time = |micros: Option<u64>, ran| Time {
            took: micros.map(Duration::from_micros),
            ran,
        };
        assert_eq!(time(Some(1234), true).short(), "1.23 ms");
        assert_eq!(time(Some(12_345), true).short(), "12.3 ms");
        assert_eq!(time(Some(123_456), false).short(), "123 ms");
        assert_eq!(time(None, false).short(), "reused");
        assert_eq!(time(Some(1234), true).long(), "1.23 ms in the last run");
        assert!(time(Some(1234), false).long().starts_with("reused"));
    }
}
