//! Super tokens over the photograph.

use egui::{Color32, Grid, RichText, Slider, Ui};

use super::areas::{self, Areas, Side};
use super::layer::{self, Layer, Staleness};
use super::memo::{Anchor, Memo, TraceKey};
use super::parts::{self, beyond, cell_at, place_text};
use crate::app::canvas::{
    Canvas, FAINT, HeatLayer, LINE, Labels, Pen, QUERY, Ranged, SMALL, Shown, number, shown_range,
};
use crate::app::color_bar::color_bar;
use crate::app::look_controls::look_controls;
use crate::app::pane::{Context, Look, Pane};
use crate::attention::super_token::{MECHANISM, SuperTokenTrace};
use crate::attention::view::{Heat, label_borders};

const ID: &str = "super_tokens";

/// What is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Mode {
    #[default]
    Partition,
    Affinity,
    Lost,
    Attention,
}

const MODES: [(Mode, &str, &str); 4] = [
    (
        Mode::Partition,
        "partition",
        "Borders between super tokens: each pixel belongs to the one with the largest affinity",
    ),
    (
        Mode::Affinity,
        "affinity",
        "How much of each pixel goes to the pressed super token",
    ),
    (
        Mode::Lost,
        "lost mass",
        "Affinity that border pixels give to neighbours off the grid: it is lost",
    ),
    (
        Mode::Attention,
        "token attention",
        "What the pressed super token reads from the others",
    ),
];

/// The hard partition at one iteration.
struct Partition {
    borders: Vec<[f32; 4]>,
    /// Super token of every cell of the padded map, −1 off the grid.
    owners: Vec<i32>,
    /// Mean over the map of the weight that is lost.
    mean_lost: f32,
}

type Chosen = (Mode, usize, Option<usize>, Option<usize>);

/// The pane.
#[derive(Default)]
pub struct SuperTokens {
    mode: Mode,
    head: Option<usize>,
    stale: Staleness,
    layer: HeatLayer,
    partition: Memo<(TraceKey, usize), Partition>,
    map: Memo<(TraceKey, Chosen), Option<Ranged>>,
    /// Outline of the cells that the selected super token owns, and how many they are.
    owned: Memo<(TraceKey, usize, usize), (Vec<[f32; 4]>, usize)>,
    anchor: Anchor<([usize; 2], [usize; 2], u64)>,
}

/// One frame's view of the layer.
struct Seen<'a> {
    layer: Layer<'a>,
    trace: &'a SuperTokenTrace,
    iteration: usize,
    /// The selected super token, or the middle one where a map needs one.
    token: Option<usize>,
}

impl Pane for SuperTokens {
    fn id(&self) -> &'static str {
        ID
    }
    fn title(&self) -> &'static str {
        "Super tokens"
    }
    fn help(&self) -> &'static str {
        "Super token attention groups the pixels of a feature map into super tokens, lets the \
         super tokens attend to each other and hands the result back. Press the picture to choose \
         a super token and see its soft affinity; the iteration slider shows how the grouping \
         sharpens. Scroll to zoom, drag to move, double click to fit."
    }

    fn ui(&mut self, ui: &mut Ui, cx: &mut Context<'_>) {
        ui.push_id(ID, |ui| self.show(ui, cx));
    }
}

impl SuperTokens {
    fn show(&mut self, ui: &mut Ui, cx: &mut Context<'_>) {
        let Some(layer) = Layer::find(ui, cx, &MECHANISM) else {
            return;
        };
        let Some(trace) = layer.of.trace.downcast::<SuperTokenTrace>() else {
            return;
        };
        let last = trace.last_iteration();
        let iteration = cx.selection.iteration.unwrap_or(last).min(last);
        self.follow(cx, &layer, trace, iteration);
        self.controls(ui, cx, &layer, trace);

        let iteration = cx.selection.iteration.unwrap_or(last).min(last);
        let chosen = cx
            .selection
            .super_token
            .filter(|t| *t < trace.tokens_count());
        let token = match self.mode {
            Mode::Affinity | Mode::Attention => Some(chosen.unwrap_or(trace.central_token())),
            _ => chosen,
        };
        let seen = Seen {
            layer,
            trace,
            iteration,
            token,
        };
        self.picture(ui, cx, &seen);
    }

    /// Keeps the selection in place when the grid changes.
    fn follow(
        &mut self,
        cx: &mut Context<'_>,
        layer: &Layer<'_>,
        trace: &SuperTokenTrace,
        iteration: usize,
    ) {
        let point = cx.selection.point;
        let grid = (trace.grid, trace.stoken_size, layer.scene.photo.digest);
        let owner = |p| {
            let [y, x] = cell_at(layer, p)?;
            trace.owner(iteration, y, x)
        };
        let place = |t: usize| {
            let pressed = point.filter(|p| owner(*p) == Some(t));
            let [x0, y0, x1, y1] = trace.cell(t);
            Some(pressed.unwrap_or(layer.place.to_photo((x0 + x1) / 2.0, (y0 + y1) / 2.0)))
        };
        let selected = &mut cx.selection.super_token;
        self.anchor.follow(grid, selected, place, owner);
    }

    fn controls(
        &mut self,
        ui: &mut Ui,
        cx: &mut Context<'_>,
        layer: &Layer<'_>,
        trace: &SuperTokenTrace,
    ) {
        let wide = ui.available_width() >= areas::WIDE;
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
        ui.horizontal(|ui| {
            let look = parts::look_of(cx, ID, Look::default());
            look_controls(ui, look);
            parts::border_switch(ui, look);
            if wide {
                self.more_controls(ui, cx, trace);
            }
        });
        let more = trace.affinity.len() > 1 || self.mode == Mode::Attention;
        if !wide && more {
            ui.horizontal(|ui| self.more_controls(ui, cx, trace));
        }
    }

    /// Iteration and head, where there is a choice.
    fn more_controls(&mut self, ui: &mut Ui, cx: &mut Context<'_>, trace: &SuperTokenTrace) {
        let n = trace.affinity.len();
        if n > 1 {
            let mut shown = cx.selection.iteration.map_or(n, |i| i + 1).min(n);
            let slider = Slider::new(&mut shown, 1..=n).text("iteration");
            let help = "Iteration of the association; the last one is what the layer uses";
            if ui.add(slider).on_hover_text(help).changed() {
                cx.selection.iteration = (shown < n).then(|| shown - 1);
            }
        }
        if self.mode == Mode::Attention {
            let heads = trace.token_attention.shape().first().copied().unwrap_or(0);
            parts::head_chooser(ui, &mut self.head, heads);
        }
    }

    fn picture(&mut self, ui: &mut Ui, cx: &mut Context<'_>, seen: &Seen<'_>) {
        let Seen { layer, trace, .. } = *seen;
        let look = *parts::look_of(cx, ID, Look::default());
        let has_map = self.mode != Mode::Partition;
        let areas = areas::divide(ui, has_map, Side::Column(196.0));
        let stale = self.stale.shows(ui, layer.of.wish, cx.newest);
        let canvas = Canvas {
            name: "Super tokens canvas",
            scene: layer.scene,
            beyond: look.border.then(|| beyond(&layer, trace.padded)),
            dim: stale,
        };
        let shown = canvas.show(ui, areas.canvas, cx.camera);
        self.hand(cx, seen, &shown);

        let value = self.paint(ui, cx, seen, &shown, &look, &areas);
        let mut notes = layer.of.badges.clone();
        if trace.affinity.is_empty() {
            notes.push(
                "Cells of one pixel: every pixel is its own super token. There is no affinity \
                 and nothing is lost; the pixels attend to each other directly."
                    .into(),
            );
        }
        layer::notes(ui, areas.canvas, &notes, stale);
        self.words(ui, seen, &shown, value, &areas);
    }

    /// Press and arrow keys select.
    fn hand(&mut self, cx: &mut Context<'_>, seen: &Seen<'_>, shown: &Shown) {
        let trace = seen.trace;
        if let Some(point) = shown.pressed
            && let Some([y, x]) = cell_at(&seen.layer, point)
        {
            cx.selection.point = Some(point);
            cx.selection.super_token = trace.owner(seen.iteration, y, x);
            if self.mode == Mode::Partition {
                self.mode = Mode::Affinity;
            }
        }
        if shown.step != [0, 0] {
            let [rows, cols] = trace.grid;
            let now = seen.token.unwrap_or(trace.central_token());
            let moved = |at: usize, by: i32, n: usize| {
                at.saturating_add_signed(by as isize)
                    .min(n.saturating_sub(1))
            };
            let col = moved(now % cols.max(1), shown.step[0], cols);
            let row = moved(now / cols.max(1), shown.step[1], rows);
            cx.selection.super_token = Some(row * cols + col);
            cx.selection.point = None;
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
        let mut value = None;
        let value_shown = self.mode != Mode::Partition;
        let chosen = (self.mode, seen.iteration, seen.token, self.head);
        let key = TraceKey::of(&seen.layer.of.trace);
        let map = self.map.get((key.clone(), chosen), || {
            heat(seen.trace, chosen).map(Ranged::from)
        });
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
        let partition = self
            .partition
            .get((key.clone(), seen.iteration), || partition(seen));
        // Under a map the borders step back.
        let line = if value_shown { FAINT } else { LINE };
        pen.borders(&partition.borders, line, 1.0);
        if let Some(token) = seen.token {
            let (outline, _) = self.owned.get((key, seen.iteration, token), || {
                owned(seen, &partition.owners, token)
            });
            pen.borders(outline, QUERY, 3.0);
            let rect = pen.rect(seen.trace.cell(token));
            let mut labels = Labels::new(&painter);
            labels.beside(rect, &token.to_string(), Color32::WHITE);
        }
        parts::elsewhere(shown, cx);
        value
    }

    /// The column beside the picture and the lines below it.
    fn words(
        &mut self,
        ui: &mut Ui,
        seen: &Seen<'_>,
        shown: &Shown,
        value: Option<f32>,
        areas: &Areas,
    ) {
        let Seen { layer, trace, .. } = seen;
        let key = TraceKey::of(&layer.of.trace);
        let partition = self
            .partition
            .get((key.clone(), seen.iteration), || partition(seen));
        let cell = shown.hover.and_then(|p| cell_at(layer, p));
        if let Some(rect) = areas.side {
            areas::part(ui, rect, "beside", |ui| {
                beside(ui, seen, partition.mean_lost, cell);
            });
        } else if let Some([y, x]) = cell {
            let weights = trace.weights_at(seen.iteration, y, x);
            if !weights.is_empty() {
                let tip = egui::Tooltip::for_widget(&shown.response).at_pointer();
                tip.gap(16.0).show(|ui| nine(ui, &weights));
            }
        }
        let lost = format!("mean lost share {}", number(partition.mean_lost, 3));
        let (selected, remark) = match seen.token {
            Some(token) => {
                let make = || owned(seen, &partition.owners, token);
                let (_, count) = self.owned.get((key, seen.iteration, token), make);
                (
                    format!("super token {token}"),
                    format!("owns {count} cells · {lost}"),
                )
            }
            None => {
                let [h, w] = trace.stoken_size;
                let n = trace.tokens_count();
                (
                    format!("{n} super tokens"),
                    format!("of {w} × {h} cells · {lost} · press one"),
                )
            }
        };
        let pointer = match (shown.hover, cell) {
            (Some(point), Some([y, x])) => {
                let mut text = place_text(layer, point);
                if y < trace.padded[0] && x < trace.padded[1] {
                    let owner = trace.owner(seen.iteration, y, x);
                    let owner = owner.map_or("off the grid".into(), |t| t.to_string());
                    text += &format!(" · owner {owner}");
                }
                if let Some(v) = value {
                    let quantity = quantity(self.mode);
                    text += &format!(" · {quantity} {}", number(v, 4));
                }
                text
            }
            _ => String::new(),
        };
        areas::lines(ui, areas.lines, &selected, &remark, &pointer);
    }
}

fn quantity(mode: Mode) -> &'static str {
    match mode {
        Mode::Partition => "",
        Mode::Affinity => "affinity",
        Mode::Lost => "lost mass",
        Mode::Attention => "token attention",
    }
}

fn heat(trace: &SuperTokenTrace, (mode, iteration, token, head): Chosen) -> Option<Heat> {
    match (mode, token) {
        (Mode::Affinity, Some(token)) => Some(trace.soft_map(iteration, token)),
        (Mode::Attention, Some(token)) => Some(trace.reads_from(token, head)),
        (Mode::Lost, _) => Some(trace.lost_mass(iteration)),
        _ => None,
    }
}

fn partition(seen: &Seen<'_>) -> Partition {
    let trace = seen.trace;
    let lost = trace.lost_mass(seen.iteration);
    let [h, w] = trace.map;
    let sum: f32 = lost
        .values
        .chunks(trace.padded[1].max(1))
        .take(h)
        .map(|row| row.iter().take(w).sum::<f32>())
        .sum();
    let owners = trace.labels(seen.iteration);
    let [rows, cols] = trace.padded;
    Partition {
        borders: label_borders(&owners, rows, cols),
        owners,
        mean_lost: sum / (h * w).max(1) as f32,
    }
}

/// Outline of the cells that `token` owns, and how many of the map they are.
fn owned(seen: &Seen<'_>, owners: &[i32], token: usize) -> (Vec<[f32; 4]>, usize) {
    let [rows, cols] = seen.trace.padded;
    let [h, w] = seen.trace.map;
    // A rim of cells that nobody owns closes the outline at the edge of the map.
    let (wide, tall) = (cols + 2, rows + 2);
    let mut mask = vec![0; wide * tall];
    let mut count = 0;
    for (i, owner) in owners.iter().enumerate() {
        if *owner == token as i32 {
            let (y, x) = (i / cols, i % cols);
            mask[(y + 1) * wide + x + 1] = 1;
            count += usize::from(y < h && x < w);
        }
    }
    let lines = label_borders(&mask, tall, wide);
    (
        lines.into_iter().map(|l| l.map(|v| v - 1.0)).collect(),
        count,
    )
}

/// What stands beside the picture: the layer in numbers and the nine weights of a cell.
fn beside(ui: &mut Ui, seen: &Seen<'_>, mean_lost: f32, cell: Option<[usize; 2]>) {
    let trace = seen.trace;
    let [h, w] = trace.stoken_size;
    let [rows, cols] = trace.grid;
    ui.label(format!("{cols} × {rows} super tokens"));
    ui.label(format!("of {w} × {h} cells"));
    let help = "Mean over the map of the affinity that goes to neighbours off the grid";
    ui.label(format!("mean lost share {}", number(mean_lost, 3)))
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
    ui.label(format!("weights of map {x}, {y}"));
    ui.add_space(2.0);
    nine(ui, &weights);
    ui.add_space(2.0);
    ui.label(RichText::new("small: the super token").size(SMALL).weak());
}

/// Nine weights as they lie around their cell.
fn nine(ui: &mut Ui, weights: &[(Option<usize>, f32)]) {
    let best = weights.iter().map(|w| w.1).fold(0.0, f32::max);
    let grid = Grid::new("nine").num_columns(3).spacing([8.0, 4.0]);
    grid.min_col_width(44.0).show(ui, |ui| {
        for (k, (token, weight)) in weights.iter().enumerate() {
            ui.vertical(|ui| {
                ui.spacing_mut().item_spacing.y = 0.0;
                let text = RichText::new(format!("{weight:.3}"));
                ui.label(match (token, *weight == best) {
                    (None, _) => text.weak(),
                    (_, true) => text.strong().underline(),
                    _ => text,
                });
                let name = token.map_or("off grid".into(), |t| t.to_string());
                ui.label(RichText::new(name).size(SMALL).weak());
            });
            if k % 3 == 2 {
                ui.end_row();
            }
        }
    });
}
