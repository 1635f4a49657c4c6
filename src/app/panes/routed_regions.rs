//! Routed regions over the photograph.

use egui::{Color32, Grid, RichText, Ui};

use super::areas::{self, Areas, Side};
use super::layer::{self, Layer, Staleness};
use super::memo::{Anchor, Memo, TraceKey};
use super::parts::{self, beyond, cell_at, place_text};
use crate::app::canvas::{
    Canvas, HeatLayer, LINE, Labels, Pen, QUERY, RELATED, Ranged, SMALL, Shown, number, shown_range,
};
use crate::app::color_bar::color_bar;
use crate::app::look_controls::look_controls;
use crate::app::pane::{Context, Look, Pane};
use crate::attention::routing::{MECHANISM, RoutingTrace};
use crate::attention::view::{Heat, MarkKind, grid_lines};

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
    map: Memo<(TraceKey, Chosen), Option<Ranged>>,
    in_degree: Memo<TraceKey, Heat>,
    anchor: Anchor<([usize; 2], usize, u64)>,
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
        let areas = areas::divide(ui, true, Side::Column(196.0));
        let stale = self.stale.shows(ui, layer.of.wish, cx.newest);
        let canvas = Canvas {
            name: "Routed regions canvas",
            scene: layer.scene,
            beyond: look.border.then(|| beyond(&layer, trace.padded)),
            dim: stale,
        };
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
        let grid = (trace.region, trace.n_win, layer.scene.photo.digest);
        let place = |r: usize| {
            let [x0, y0, x1, y1] = trace.rect(r);
            Some(layer.place.to_photo((x0 + x1) / 2.0, (y0 + y1) / 2.0))
        };
        let find = |p| region_at(layer, trace, p);
        self.anchor
            .follow(grid, &mut cx.selection.region, place, find);
    }

    fn controls(
        &mut self,
        ui: &mut Ui,
        cx: &mut Context<'_>,
        layer: &Layer<'_>,
        trace: &RoutingTrace,
    ) {
        let wide = ui.available_width() >= areas::WIDE;
        let before = self.mode;
        ui.horizontal(|ui| {
            layer.chooser(ui, cx);
            if wide {
                ui.separator();
                parts::modes(ui, &mut self.mode, &MODES);
            }
        });
        if !wide {
            ui.horizontal(|ui| parts::modes(ui, &mut self.mode, &MODES));
        }
        if self.mode != before && self.mode == Mode::Attention && cx.selection.region.is_none() {
            // Token attention is kept only for regions that are asked for.
            cx.selection.region = Some(trace.central_region());
        }
        let heads = trace.token_attention.values().next();
        let heads = heads.map_or(0, |a| a.shape().first().copied().unwrap_or(0));
        let look = parts::look_of(cx, ID, first_look());
        ui.horizontal(|ui| {
            look_controls(ui, look);
            parts::border_switch(ui, look);
            if wide && self.mode == Mode::Attention {
                parts::head_chooser(ui, &mut self.head, heads);
            }
        });
        if !wide && self.mode == Mode::Attention {
            ui.horizontal(|ui| parts::head_chooser(ui, &mut self.head, heads));
        }
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
        let map = self
            .map
            .get((key, chosen), || heat(seen.trace, chosen).map(Ranged::from));
        let mut value = None;
        if let Some(map) = map {
            let [w, h] = map.heat.extent;
            let target = pen.rect([0.0, 0.0, w, h]);
            self.layer.paint(&painter, map, look, target);
            value = shown.hover.and_then(|[x, y]| {
                let [x, y] = seen.layer.place.to_map(x, y);
                map.heat.value_at(x, y)
            });
            if let Some(rect) = areas.bar {
                let range = shown_range(map.range, look.colormap);
                color_bar(ui, rect, look.colormap, range, map.heat.quantity, value);
            }
        }
        pen.greyed(&seen.trace.padding_rects());
        pen.borders(&grid_lines(seen.trace.padded, seen.trace.region), LINE, 1.0);
        routes(&pen, &painter, seen);
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
            areas::part(ui, rect, "beside", |ui| beside(ui, cx, seen, readers));
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
                text += &format!(" · {} {}", self.quantity(), number(v, 4));
            }
            text
        });
        areas::lines(ui, areas.lines, &selected, remark, &pointer);
    }

    fn quantity(&self) -> &'static str {
        match self.mode {
            Mode::Affinity => "affinity",
            Mode::InDegree => "in-degree",
            Mode::Attention => "token attention",
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
        cx.selection.region = region_at(layer, trace, point);
        cx.selection.point = Some(point);
    }
    if shown.step != [0, 0] {
        let n = trace.n_win.max(1);
        let now = cx.selection.region.unwrap_or(trace.central_region());
        let moved = |at: usize, by: i32| at.saturating_add_signed(by as isize).min(n - 1);
        let (row, col) = (moved(now / n, shown.step[1]), moved(now % n, shown.step[0]));
        cx.selection.region = Some(row * n + col);
    }
}

/// The shown region, the ones it reads from, and arrows between.
fn routes(pen: &Pen<'_>, painter: &egui::Painter, seen: &Seen<'_>) {
    let (marks, links) = seen.trace.route_overlay(seen.region);
    for mark in &marks {
        match mark.kind {
            MarkKind::Query => pen.frame(mark.rect, QUERY, 3.0),
            MarkKind::Related => pen.frame(mark.rect, RELATED, 2.5),
        }
    }
    pen.links(&links);
    let mut labels = Labels::new(painter);
    for (rank, mark) in marks.iter().enumerate() {
        if mark.kind == MarkKind::Related {
            let short = (rank + 1).to_string();
            let rect = pen.rect(mark.rect).shrink(1.0);
            labels.inside(rect, &[&mark.label, &short], RELATED);
        }
    }
    if let Some(pinned) = seen.pinned.filter(|p| *p != seen.region) {
        pen.frame(seen.trace.rect(pinned), Color32::LIGHT_GRAY, 1.5);
    }
}

/// The routes in numbers, and what grey regions are.
fn beside(ui: &mut Ui, cx: &mut Context<'_>, seen: &Seen<'_>, readers: f32) {
    let trace = seen.trace;
    let region = seen.region;
    ui.label(RichText::new(format!("region {region}")).strong());
    ui.label(format!("read by {readers:.0} regions"));
    let rows = trace.routes(region);
    let grid = Grid::new("routes").num_columns(4).spacing([8.0, 2.0]);
    egui::ScrollArea::vertical().show(ui, |ui| {
        grid.show(ui, |ui| {
            for title in ["", "region", "weight", "affinity"] {
                ui.label(RichText::new(title).size(SMALL).weak());
            }
            ui.end_row();
            for (rank, (routed, weight)) in rows.iter().enumerate() {
                ui.label(format!("{}", rank + 1));
                let link = ui.link(routed.to_string());
                if link.on_hover_text("Pin this region").clicked() {
                    cx.selection.region = Some(*routed);
                }
                ui.label(format!("{weight:.3}"));
                let affinity = trace.affinity.at(&[region, *routed]);
                ui.label(match trace.is_padding(*routed) {
                    true => "padding".to_owned(),
                    false => number(affinity, 3),
                });
                ui.end_row();
            }
        });
        ui.add_space(6.0);
        let padding = (0..trace.regions())
            .filter(|r| trace.is_padding(*r))
            .count();
        if padding > 0 {
            let text = format!(
                "{padding} of {} regions are grey: they hold only padding. They tie exactly, so \
                 their order among each other means nothing.",
                trace.regions()
            );
            ui.label(RichText::new(text).size(SMALL).weak());
        }
    });
}
