//! Spatial and channel weights.

use egui::{Rect, Ui};

use super::areas::{self, Side};
use super::channel_bars::{Ordered, Pointed};
use super::layer::{self, Layer, Staleness};
use super::memo::{Memo, TraceKey};
use super::parts::{self, Room, place_text};
use crate::app::canvas::{Canvas, HeatLayer, Pen, Shown};
use crate::app::color_bar::color_bar;
use crate::app::pane::{Context, Look, Pane, Selection};
use crate::attention::polarized::{Form, MECHANISM, PolarizedTrace};
use crate::attention::view::Heat;
use crate::picture::Range;
use crate::picture::numbers::value_label;

const ID: &str = "polarized";

/// The map.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Mode {
    #[default]
    Spatial,
    Query,
}

const MODES: [(Mode, &str, &str); 2] = [
    (
        Mode::Spatial,
        "spatial weight",
        "How strongly each position is kept, between 0 and 1",
    ),
    (
        Mode::Query,
        "where the channel branch looks",
        "Softmax over all positions: it sums to 1, so single values are small",
    ),
];

/// The bars.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Channels {
    #[default]
    Weight,
    Query,
}

const CHANNELS: [(Channels, &str, &str); 2] = [
    (
        Channels::Weight,
        "channel weight",
        "How strongly each channel is kept, between 0 and 1",
    ),
    (
        Channels::Query,
        "spatial query",
        "Which of the inner channels the spatial branch asks: a softmax, it sums to 1",
    ),
];

/// The pane.
pub struct Polarized {
    mode: Mode,
    channels: Channels,
    sorted: bool,
    stale: Staleness,
    layer: HeatLayer,
    map: Memo<(TraceKey, Mode), Heat>,
    bars: Memo<(TraceKey, Channels, bool), Ordered>,
    factor: Memo<TraceKey, String>,
}

impl Default for Polarized {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            channels: Channels::default(),
            sorted: true,
            stale: Staleness::default(),
            layer: HeatLayer::default(),
            map: Memo::default(),
            bars: Memo::default(),
            factor: Memo::default(),
        }
    }
}

impl Pane for Polarized {
    fn id(&self) -> &'static str {
        ID
    }
    fn title(&self) -> &'static str {
        "Polarized weights"
    }
    fn help(&self) -> &'static str {
        "Polarized self-attention scales the feature map by one weight per position, shown over \
         the photograph, and one per channel, shown as bars. Point at a bar to see its channel \
         and exact weight, press to select it. Scroll to zoom, drag to move, double click to fit."
    }

    fn watch(&self, _selection: &Selection) -> Option<(&'static str, Vec<usize>)> {
        Some((MECHANISM.id, vec![]))
    }

    fn ui(&mut self, ui: &mut Ui, cx: &mut Context<'_>) {
        ui.push_id(ID, |ui| self.show(ui, cx));
    }
}

/// One frame's view of the layer.
#[derive(Clone, Copy)]
struct Seen<'a> {
    layer: Layer<'a>,
    trace: &'a PolarizedTrace,
}

impl Polarized {
    fn show(&mut self, ui: &mut Ui, cx: &mut Context<'_>) {
        let Some(layer) = Layer::find(ui, cx, &MECHANISM) else {
            return;
        };
        let Some(trace) = layer.of.trace.downcast::<PolarizedTrace>() else {
            return;
        };
        let seen = Seen { layer, trace };
        self.controls(ui, cx, &layer);
        let look = *parts::look_of(cx, ID, Look::default());
        let stale = self.stale.shows(ui, layer.of.wish, cx.newest);
        let canvas = Canvas {
            name: "Spatial weight canvas",
            scene: layer.scene,
            beyond: look.border.then(|| parts::beyond(&layer, trace.map)),
            dim: stale,
        };
        let areas = areas::divide(ui, true, Side::Share(0.42, 0.44), canvas.aspect());
        let shown = canvas.show(ui, areas.canvas, cx.camera);
        if let Some(point) = shown.pressed {
            cx.selection.press(point);
        }
        let value = self.paint(ui, &seen, &shown, &look, areas.bar);
        parts::elsewhere(&shown, cx);
        layer::notes(ui, areas.canvas, &layer.of.badges, stale);
        let mut pointed = Pointed::default();
        if let Some(rect) = areas.side {
            pointed = areas::part(ui, rect, "channels", |ui| self.channels(ui, cx, &seen));
        }
        let selected = self.selected(cx, &seen);
        let factor = self
            .factor
            .get(TraceKey::of(&layer.of.trace), || factor(trace))
            .clone();
        let pointer = match (pointed.hover, shown.hover) {
            (Some(channel), _) => self.ordered(&seen).describe(channel).unwrap_or_default(),
            (None, Some(point)) => {
                let value = value.map_or(String::new(), |(quantity, v)| {
                    format!(" · {quantity} {}", value_label(v, 4))
                });
                place_text(&layer, point) + &value
            }
            _ => String::new(),
        };
        areas::lines(ui, areas.lines, &selected, &factor, &pointer);
    }

    fn controls(&mut self, ui: &mut Ui, cx: &mut Context<'_>, layer: &Layer<'_>) {
        let room = Room::of(ui);
        let chooser = |ui: &mut Ui| layer.chooser(ui, cx);
        parts::chooser_and_modes(ui, room, chooser, &mut self.mode, &MODES);
        let look = parts::look_of(cx, ID, Look::default());
        ui.horizontal_wrapped(|ui| {
            parts::looks(ui, room, look, self.layer.coloring());
        });
    }

    /// Draws the map; returns its quantity and value under the pointer.
    fn paint(
        &mut self,
        ui: &mut Ui,
        seen: &Seen<'_>,
        shown: &Shown,
        look: &Look,
        bar: Option<Rect>,
    ) -> Option<(&'static str, f32)> {
        let key = TraceKey::of(&seen.layer.of.trace);
        let map = self.map.get((key, self.mode), || match self.mode {
            Mode::Spatial => seen.trace.spatial_map(),
            Mode::Query => seen.trace.query_map(),
        });
        let painter = shown.clipped();
        let pen = Pen::new(&painter, shown.at, seen.layer.place);
        let [w, h] = map.extent;
        let target = pen.rect([0.0, 0.0, w, h]);
        let coloring = self.layer.paint(&painter, map, look, None, target);
        let value = shown.hover.and_then(|[x, y]| {
            let [x, y] = seen.layer.place.to_map(x, y);
            map.value_at(x, y)
        });
        let quantity = map.quantity;
        if let (Some(rect), Some(coloring)) = (bar, coloring) {
            color_bar(ui, rect, coloring, quantity, value);
        }
        value.map(|v| (quantity, v))
    }

    /// The bars with their switches.
    fn channels(&mut self, ui: &mut Ui, cx: &mut Context<'_>, seen: &Seen<'_>) -> Pointed {
        ui.horizontal_wrapped(|ui| {
            parts::modes(ui, &mut self.channels, &CHANNELS);
            ui.checkbox(&mut self.sorted, "sorted")
                .on_hover_text("Largest first; otherwise in the order of the channels");
        });
        // Half of the topmost number of the axis sticks out.
        ui.add_space(3.0);
        let weights = self.channels == Channels::Weight;
        let selected = cx.selection.channel.filter(|_| weights);
        let pointed = self.ordered(seen).show(ui, selected);
        if let Some(channel) = pointed.pressed.filter(|_| weights) {
            cx.selection.channel = Some(channel);
        }
        pointed
    }

    fn ordered(&mut self, seen: &Seen<'_>) -> &Ordered {
        let key = TraceKey::of(&seen.layer.of.trace);
        let (channels, sorted) = (self.channels, self.sorted);
        self.bars.get((key, channels, sorted), || {
            let bars = match channels {
                Channels::Weight => seen.trace.channel_bars(),
                Channels::Query => seen.trace.query_bars(),
            };
            Ordered::new(bars, sorted)
        })
    }

    /// The selected channel in words.
    fn selected(&self, cx: &Context<'_>, seen: &Seen<'_>) -> String {
        let channel = cx.selection.channel;
        let weight = channel.and_then(|c| seen.trace.channel_weight.data().get(c));
        match (channel, weight) {
            (Some(c), Some(w)) => format!("channel {c} weighs {}", value_label(*w, 4)),
            _ => String::new(),
        }
    }
}

/// How the two weights are put together, and the range of the factor that comes out.
fn factor(trace: &PolarizedTrace) -> String {
    let spatial = Range::of(trace.spatial_weight.data());
    let channel = Range::of(trace.channel_weight.data());
    let (form, how, low, high, most) = match trace.form {
        Form::Parallel => (
            "parallel",
            "spatial + channel weight",
            spatial.min + channel.min,
            spatial.max + channel.max,
            2,
        ),
        Form::Sequential => (
            "sequential",
            "spatial × channel weight",
            spatial.min * channel.min,
            spatial.max * channel.max,
            1,
        ),
    };
    format!(
        "{form}: factor {} to {} of 0 to {most} ({how})",
        value_label(low, 3),
        value_label(high, 3)
    )
}
