//! Routed regions over the photograph.

mod routes;

use egui::Ui;

use super::areas::{self, Areas, Side};
use super::layer::{self, Layer, Staleness};
use super::memo::{Anchor, Memo, TraceKey};
use super::parts::{self, Room, beyond, cell_at, place_text};
use crate::app::canvas::{Canvas, HeatLayer, LINE, Pen, Shown};
use crate::app::color_bar::color_bar;
use crate::app::pane::{Context, Look, Pane, Selection};
use crate::attention::routing::{MECHANISM, RoutingTrace};
use crate::attention::view::{Heat, grid_lines};
use crate::picture::numbers::value_label;

const ID: &str = "routed_regions";

/// The map behind the regions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Mode {
    #[default]
    Affinity,
    InDegree,
    Attention,
}

const MODES: [(Mode, &str, &str); 3] = [
    (
        Mode::Affinity,
        "region affinity",
        "How well each region fits the query of the shown one; the best few are read",
    ),
    (
        Mode::InDegree,
        "in-degree",
        "How many regions read from each region",
    ),
    (
        Mode::Attention,
        "token attention",
        "Where the pressed token looks within the regions that its region reads from",
    ),
];

/// Mode, region, token within the region, head.
type Chosen = (Mode, usize, usize, Option<usize>);

/// The pane.
#[derive(Default)]
pub struct RoutedRegions {
    mode: Mode,
    head: Option<usize>,
    stale: Staleness,
    layer: HeatLayer,
    map: Memo<(TraceKey, Chosen), Option<Heat>>,
    in_degree: Memo<TraceKey, Heat>,
    anchor: Anchor<([usize; 2], [usize; 2])>,
}

/// One frame's view of the layer.
#[derive(Clone, Copy)]
struct Seen<'a> {
    layer: Layer<'a>,
    trace: &'a RoutingTrace,
    /// The region whose routes are shown: under the pointer, or pinned.
    region: usize,
    /// The pinned region.
    pinned: Option<usize>,
}

impl Pane for RoutedRegions {
    fn id(&self) -> &'static str {
        ID
    }
    fn title(&self) -> &'static str {
        "Routed regions"
    }
    fn help(&self) -> &'static str {
        "Bi-level routing attention lets every region read from the few regions that fit it best. \
         Point at a region to see where it reads from, press to pin it: arrows lead to its routed \
         regions, with rank and weight. Grey regions hold only padding. Scroll to zoom, drag to \
         move, double click to fit."
    }

    fn watch(&self, selection: &Selection) -> Option<(&'static str, Vec<usize>)> {
        Some((MECHANISM.id, selection.region.into_iter().collect()))
    }

    fn ui(&mut self, ui: &mut Ui, cx: &mut Context<'_>) {
        ui.push_id(ID, |ui| self.show(ui, cx));
    }
}

fn first_look() -> Look {
    Look {
        // Regions of padding lie outside of the photograph.
        border: true,
        ..Look::default()
    }
}

impl RoutedRegions {
    fn show(&mut self, ui: &mut Ui, cx: &mut Context<'_>) {
        let Some(layer) = Layer::find(ui, cx, &MECHANISM) else {
            return;
        };
        let Some(trace) = layer.of.trace.downcast::<RoutingTrace>() else {
            return;
        };
        self.follow(cx, &layer, trace);
        self.controls(ui, cx, &layer, trace);
        let look = *parts::look_of(cx, ID, first_look());
        let stale = self.stale.shows(ui, layer.of.wish, cx.newest);
        let canvas = Canvas {
            name: "Routed regions canvas",
            scene: layer.scene,
            beyond: look.border.then(|| beyond(&layer, trace.padded)),
            dim: stale,
        };
        let areas = areas::divide(ui, true, Side::Column(196.0), canvas.aspect());
        let shown = canvas.show(ui, areas.canvas, cx.camera);
        hand(cx, &layer, trace, &shown);

        let pinned = cx.selection.region.filter(|r| *r < trace.regions());
        let under = shown.hover.and_then(|p| region_at(&layer, trace, p));
        let seen = Seen {
            layer,
            trace,
            region: under.or(pinned).unwrap_or_else(|| trace.central_region()),
            pinned,
        };
        let value = self.paint(ui, cx, &seen, &shown, &look, &areas);
        layer::notes(ui, areas.canvas, &layer.of.badges, stale);
        self.words(ui, cx, &seen, &shown, value, &areas);
    }

    /// Keeps the pinned region in place when the grid changes.
    fn follow(&mut self, cx: &mut Context<'_>, layer: &Layer<'_>, trace: &RoutingTrace) {
        let grid = (trace.region, trace.grid);
        let place = |r: usize| {
            let [x0, y0, x1, y1] = trace.rect(r);
            layer.place.to_photo((x0 + x1) / 2.0, (y0 + y1) / 2.0)
        };
        let find = |p| region_at(layer, trace, p);
        let photo = layer.scene.photo.digest;
        self.anchor
            .follow(grid, photo, &mut cx.selection.region, place, find);
        if cx.selection.region.is_none() {
            // A point was pressed in another pane.
            cx.selection.region = cx.selection.point.and_then(find);
        }
    }

    fn controls(
        &mut self,
        ui: &mut Ui,
        cx: &mut Context<'_>,
        layer: &Layer<'_>,
        trace: &RoutingTrace,
    ) {
        let room = Room::of(ui);
        let before = self.mode;
        let heads = trace.token_attention.values().next();
        let heads = heads.map_or(0, |a| a.shape().first().copied().unwrap_or(0));
        let chooser = |ui: &mut Ui| layer.chooser(ui, cx);
        parts::chooser_and_modes(ui, room, chooser, &mut self.mode, &MODES);
        if self.mode != before && self.mode == Mode::Attention && cx.selection.region.is_none() {
            // Token attention is kept only for regions that are asked for.
            cx.selection.region = Some(trace.central_region());
        }
        let look = parts::look_of(cx, ID, first_look());
        ui.horizontal_wrapped(|ui| {
            parts::looks(ui, room, look, self.layer.coloring());
            if self.mode == Mode::Attention {
                parts::head_chooser(ui, &mut self.head, heads);
            }
        });
    }

    /// Draws everything over the photograph; returns the map's value under the pointer.
    fn paint(
        &mut self,
        ui: &mut Ui,
        cx: &Context<'_>,
        seen: &Seen<'_>,
        shown: &Shown,
        look: &Look,
        areas: &Areas,
    ) -> Option<f32> {
        let painter = shown.clipped();
        let pen = Pen::new(&painter, shown.at, seen.layer.place);
        let chosen = self.chosen(cx, seen);
        let key = TraceKey::of(&seen.layer.of.trace);
        let map = self.map.get((key, chosen), || heat(seen.trace, chosen));
        let mut value = None;
        if let Some(map) = map {
            let [w, h] = map.extent;
            let target = pen.rect([0.0, 0.0, w, h]);
            let coloring = self.layer.paint(&painter, map, look, None, target);
            value = shown.hover.and_then(|[x, y]| {
                let [x, y] = seen.layer.place.to_map(x, y);
                map.value_at(x, y)
            });
            if let (Some(rect), Some(coloring)) = (areas.bar, coloring) {
                color_bar(ui, rect, coloring, map.quantity, value);
            }
        }
        pen.greyed(&seen.trace.padding_rects());
        pen.borders(&grid_lines(seen.trace.padded, seen.trace.region), LINE, 1.0);
        routes::paint(&pen, &painter, seen);
        if self.mode == Mode::Attention && map_missing(seen, chosen) {
            let text = format!("asking for the token attention of region {}…", chosen.1);
            layer::over_canvas(ui, areas.canvas, &text);
        }
        parts::elsewhere(shown, cx);
        value
    }

    fn chosen(&self, cx: &Context<'_>, seen: &Seen<'_>) -> Chosen {
        let trace = seen.trace;
        match self.mode {
            Mode::Affinity => (self.mode, seen.region, 0, None),
            Mode::InDegree => (self.mode, 0, 0, None),
            // The pinned one: the attention of others is not there.
            Mode::Attention => {
                let region = seen.pinned.unwrap_or(seen.region);
                let cell = cx.selection.point.and_then(|p| cell_at(&seen.layer, p));
                (self.mode, region, token_at(trace, region, cell), self.head)
            }
        }
    }

    /// The column beside the picture and the lines below it.
    fn words(
        &mut self,
        ui: &mut Ui,
        cx: &mut Context<'_>,
        seen: &Seen<'_>,
        shown: &Shown,
        value: Option<f32>,
        areas: &Areas,
    ) {
        let Seen { layer, trace, .. } = seen;
        let key = TraceKey::of(&layer.of.trace);
        let in_degree = self.in_degree.get(key, || trace.in_degree());
        if let Some(rect) = areas.side {
            let readers = in_degree.values.get(seen.region).copied().unwrap_or(0.0);
            areas::part(ui, rect, "beside", |ui| {
                routes::list(ui, &mut cx.selection.region, seen, readers);
            });
        }
        let list: Vec<String> = trace
            .routes(seen.region)
            .iter()
            .map(|(r, _)| r.to_string())
            .collect();
        let selected = format!("region {} reads from {}", seen.region, list.join(", "));
        let remark = match seen.pinned {
            Some(pinned) if pinned == seen.region => "pinned",
            Some(_) => "",
            None => "press to pin",
        };
        let pointer = shown.hover.map_or(String::new(), |point| {
            let mut text = place_text(layer, point);
            if let Some(region) = region_at(layer, trace, point) {
                text += &format!(" · region {region}");
                if trace.is_padding(region) {
                    text += ", padding only";
                }
            }
            if let Some(v) = value {
                text += &format!(" · {} {}", self.quantity(), value_label(v, 4));
            }
            text
        });
        areas::lines(ui, areas.lines, &selected, remark, &pointer);
    }

    fn quantity(&self) -> &'static str {
        match self.mode {
            Mode::Affinity => "affinity",
            Mode::InDegree => "in-degree",
            Mode::Attention => "attention",
        }
    }
}

fn region_at(layer: &Layer<'_>, trace: &RoutingTrace, point: [f32; 2]) -> Option<usize> {
    let [y, x] = cell_at(layer, point)?;
    trace.region_at(y, x)
}

/// The token of `region` at a cell of the map, or its middle one.
fn token_at(trace: &RoutingTrace, region: usize, cell: Option<[usize; 2]>) -> usize {
    let [h, w] = trace.region;
    let [y, x] = match cell {
        Some([y, x]) if trace.region_at(y, x) == Some(region) => [y % h.max(1), x % w.max(1)],
        _ => [h / 2, w / 2],
    };
    y * w + x
}

fn heat(trace: &RoutingTrace, (mode, region, token, head): Chosen) -> Option<Heat> {
    match mode {
        Mode::Affinity => Some(trace.affinity_row(region)),
        Mode::InDegree => Some(trace.in_degree()),
        Mode::Attention => trace.token_map(region, token, head),
    }
}

fn map_missing(seen: &Seen<'_>, chosen: Chosen) -> bool {
    !seen.trace.token_attention.contains_key(&chosen.1)
}

/// Press and arrow keys pin a region.
fn hand(cx: &mut Context<'_>, layer: &Layer<'_>, trace: &RoutingTrace, shown: &Shown) {
    if let Some(point) = shown.pressed {
        cx.selection.press(point);
        cx.selection.region = region_at(layer, trace, point);
    }
    if shown.step != [0, 0] {
        let [rows, cols] = trace.grid.map(|n| n.max(1));
        let now = cx.selection.region.unwrap_or(trace.central_region());
        let moved = |at: usize, by: i32, n: usize| at.saturating_add_signed(by as isize).min(n - 1);
        let row = moved(now / cols, shown.step[1], rows);
        let region = row * cols + moved(now % cols, shown.step[0], cols);
        let [x0, y0, x1, y1] = trace.rect(region);
        let middle = layer.place.to_photo((x0 + x1) / 2.0, (y0 + y1) / 2.0);
        cx.selection.press(middle);
        cx.selection.region = Some(region);
    }
}
