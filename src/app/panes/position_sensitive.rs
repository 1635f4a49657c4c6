//! YOLO's own position-sensitive attention over the photograph.

use egui::{ComboBox, Rect, Ui};

use super::areas::{self, Side};
use super::layer::{self, Layer, Staleness};
use super::memo::{Memo, TraceKey};
use super::parts::{self, Room, beyond, cell_at, place_text};
use crate::app::canvas::{Canvas, HeatLayer, Pen, QUERY, Shown, frame};
use crate::app::color_bar::color_bar;
use crate::app::pane::{Context, Look, Pane, Selection};
use crate::attention::position_sensitive::{MECHANISM, PositionSensitiveTrace};
use crate::attention::view::Heat;
use crate::picture::numbers::value_label;

const ID: &str = "position_sensitive";

/// The map.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Mode {
    #[default]
    Token,
    Received,
}

const MODES: [(Mode, &str, &str); 2] = [
    (
        Mode::Token,
        "token attention",
        "Where the pressed position looks: a softmax over all positions, it sums to 1",
    ),
    (
        Mode::Received,
        "received",
        "How much each position is read, mean over all that read",
    ),
];

/// Mode, attention within the row, token, head.
type Chosen = (Mode, usize, usize, Option<usize>);

/// The pane.
#[derive(Default)]
pub struct PositionSensitive {
    mode: Mode,
    /// Attention within the row.
    attention: usize,
    head: Option<usize>,
    /// The token whose attention is wanted.
    token: Option<usize>,
    stale: Staleness,
    layer: HeatLayer,
    map: Memo<(TraceKey, Chosen), Option<Heat>>,
}

/// One frame's view of the layer.
#[derive(Clone, Copy)]
struct Seen<'a> {
    layer: Layer<'a>,
    trace: &'a PositionSensitiveTrace,
    /// What is shown.
    chosen: Chosen,
}

impl Pane for PositionSensitive {
    fn id(&self) -> &'static str {
        ID
    }
    fn title(&self) -> &'static str {
        "Position-sensitive attention"
    }
    fn help(&self) -> &'static str {
        "The attention that YOLOv10, YOLO11 and YOLO26 have themselves, in their rows PSA, C2PSA \
         and C3k2: every position of the map reads from every other, head by head. Press the \
         picture to see where that position looks. Scroll to zoom, drag to move, double click to \
         fit."
    }

    fn watch(&self, _selection: &Selection) -> Option<(&'static str, Vec<usize>)> {
        Some((MECHANISM.id, self.token.into_iter().collect()))
    }

    fn ui(&mut self, ui: &mut Ui, cx: &mut Context<'_>) {
        ui.push_id(ID, |ui| self.show(ui, cx));
    }
}

impl PositionSensitive {
    fn show(&mut self, ui: &mut Ui, cx: &mut Context<'_>) {
        let Some(layer) = Layer::find(ui, cx, &MECHANISM) else {
            return;
        };
        let Some(trace) = layer.of.trace.downcast::<PositionSensitiveTrace>() else {
            return;
        };
        self.attention = self.attention.min(trace.attentions.len().saturating_sub(1));
        self.controls(ui, cx, &layer, trace);
        let point = cx.selection.point.and_then(|p| cell_at(&layer, p));
        let token = point
            .and_then(|[y, x]| trace.token_at(y, x))
            .unwrap_or(trace.central_token());
        self.token = Some(token);
        let heads = trace.attentions.get(self.attention).map_or(0, |a| a.heads);
        let seen = Seen {
            layer,
            trace,
            chosen: (
                self.mode,
                self.attention,
                token,
                self.head.filter(|h| *h < heads),
            ),
        };
        let look = *parts::look_of(cx, ID, Look::default());
        let stale = self.stale.shows(ui, layer.of.wish, cx.newest);
        let canvas = Canvas {
            name: "Position-sensitive canvas",
            scene: layer.scene,
            beyond: look.border.then(|| beyond(&layer, trace.map)),
            dim: stale,
        };
        let areas = areas::divide(ui, true, Side::None, canvas.aspect());
        let shown = canvas.show(ui, areas.canvas, cx.camera);
        hand(cx, &seen, &shown);
        let (value, missing) = self.paint(ui, &seen, &shown, &look, areas.bar);
        parts::elsewhere(&shown, cx);
        if missing {
            layer::over_canvas(
                ui,
                areas.canvas,
                "asking for the attention of this position…",
            );
        }
        layer::notes(ui, areas.canvas, &layer.of.badges, stale);
        words(ui, &seen, &shown, value, areas.lines);
    }

    fn controls(
        &mut self,
        ui: &mut Ui,
        cx: &mut Context<'_>,
        layer: &Layer<'_>,
        trace: &PositionSensitiveTrace,
    ) {
        let room = Room::of(ui);
        let chooser = |ui: &mut Ui| layer.chooser(ui, cx);
        parts::chooser_and_modes(ui, room, chooser, &mut self.mode, &MODES);
        ui.horizontal_wrapped(|ui| {
            let look = parts::look_of(cx, ID, Look::default());
            parts::looks(ui, room, look, self.layer.coloring());
            attention_chooser(ui, &mut self.attention, trace.attentions.len());
            let heads = trace.attentions.get(self.attention).map_or(0, |a| a.heads);
            parts::head_chooser(ui, &mut self.head, heads);
        });
    }

    /// Draws the map; returns its value under the pointer, and whether it is still to come.
    fn paint(
        &mut self,
        ui: &mut Ui,
        seen: &Seen<'_>,
        shown: &Shown,
        look: &Look,
        bar: Option<Rect>,
    ) -> (Option<f32>, bool) {
        let (mode, attention, token, head) = seen.chosen;
        let trace = seen.trace;
        let key = TraceKey::of(&seen.layer.of.trace);
        let map = self.map.get((key, seen.chosen), || match mode {
            Mode::Token => trace.token_map(attention, token, head),
            Mode::Received => trace.received_map(attention, head),
        });
        let painter = shown.clipped();
        let pen = Pen::new(&painter, shown.at, seen.layer.place);
        let mut value = None;
        if let Some(map) = map {
            let [w, h] = map.extent;
            let target = pen.rect([0.0, 0.0, w, h]);
            let coloring = self.layer.paint(&painter, map, look, None, target);
            value = shown.hover.and_then(|[x, y]| {
                let [x, y] = seen.layer.place.to_map(x, y);
                map.value_at(x, y)
            });
            if let (Some(rect), Some(coloring)) = (bar, coloring) {
                color_bar(ui, rect, coloring, map.quantity, value);
            }
        }
        if mode == Mode::Token {
            frame(&painter, pen.rect(trace.cell(token)), QUERY, 2.0);
        }
        (value, map.is_none())
    }
}

/// Which of the attentions inside the row is shown.
fn attention_chooser(ui: &mut Ui, chosen: &mut usize, count: usize) {
    if count < 2 {
        return;
    }
    let name = |i: usize| format!("attention {} of {count}", i + 1);
    let combo = ComboBox::from_id_salt("attention")
        .selected_text(name(*chosen))
        .width(110.0)
        .show_ui(ui, |ui| {
            for i in 0..count {
                ui.selectable_value(chosen, i, name(i));
            }
        });
    combo
        .response
        .accessible_name("attention")
        .on_hover_text("The row holds several attentions, one after the other");
}

/// Press and arrow keys select a position.
fn hand(cx: &mut Context<'_>, seen: &Seen<'_>, shown: &Shown) {
    if let Some(point) = shown.pressed {
        cx.selection.press(point);
    }
    if shown.step != [0, 0] {
        let [rows, cols] = seen.trace.map;
        let token = seen.chosen.2;
        let moved = |at: usize, by: i32, n: usize| {
            at.saturating_add_signed(by as isize)
                .min(n.saturating_sub(1))
        };
        let x = moved(token % cols.max(1), shown.step[0], cols);
        let y = moved(token / cols.max(1), shown.step[1], rows);
        let place = &seen.layer.place;
        cx.selection
            .press(place.to_photo(x as f32 + 0.5, y as f32 + 0.5));
    }
}

/// The lines below the picture.
fn words(ui: &mut Ui, seen: &Seen<'_>, shown: &Shown, value: Option<f32>, rect: Rect) {
    let (mode, attention, token, _) = seen.chosen;
    let trace = seen.trace;
    let width = trace.map[1].max(1);
    let selected = format!("position {}, {}", token % width, token / width);
    let remark = trace.attentions.get(attention).map_or(String::new(), |a| {
        let heads = if a.heads == 1 { "head" } else { "heads" };
        let n = trace.map[0] * trace.map[1];
        format!("{} {heads}, {n} positions", a.heads)
    });
    let pointer = shown.hover.map_or(String::new(), |point| {
        let name = match mode {
            Mode::Token => "attention",
            Mode::Received => "received",
        };
        let value = value.map_or(String::new(), |v| {
            format!(" · {name} {}", value_label(v, 4))
        });
        place_text(&seen.layer, point) + &value
    });
    areas::lines(ui, rect, &selected, &remark, &pointer);
}
