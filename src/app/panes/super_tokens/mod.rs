//! Super tokens over the photograph.

mod maps;
mod nine;
mod words;

use egui::{Color32, Slider, Ui};

use self::maps::{Chosen, MODES, Mode, Owned, Partition, heat, owned, partition};
use self::nine::nine_in_corner;
use super::areas::{self, Areas, Side};
use super::layer::{self, Layer, Staleness};
use super::memo::{Anchor, Memo, TraceKey};
use super::parts::{self, Room, beyond, cell_at};
use crate::app::canvas::{Canvas, FAINT, HeatLayer, LINE, Labels, Pen, QUERY, Shown};
use crate::app::color_bar::color_bar;
use crate::app::pane::{Context, Look, Pane, Selection};
use crate::attention::super_token::{MECHANISM, SuperTokenTrace};
use crate::attention::view::Heat;

const ID: &str = "super_tokens";

/// The pane.
#[derive(Default)]
pub struct SuperTokens {
    mode: Mode,
    head: Option<usize>,
    stale: Staleness,
    layer: HeatLayer,
    partition: Memo<(TraceKey, usize), Partition>,
    map: Memo<(TraceKey, Chosen), Option<Heat>>,
    owned: Memo<(TraceKey, usize, usize), Owned>,
    anchor: Anchor<([usize; 2], [usize; 2])>,
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

    fn watch(&self, _selection: &Selection) -> Option<(&'static str, Vec<usize>)> {
        Some((MECHANISM.id, vec![]))
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
        let grid = (trace.grid, trace.stoken_size);
        let owner = |p| {
            let [y, x] = cell_at(layer, p)?;
            trace.owner(iteration, y, x)
        };
        let place = |t: usize| {
            let pressed = point.filter(|p| owner(*p) == Some(t));
            let [x0, y0, x1, y1] = trace.cell(t);
            pressed.unwrap_or_else(|| layer.place.to_photo((x0 + x1) / 2.0, (y0 + y1) / 2.0))
        };
        let selected = &mut cx.selection.super_token;
        let photo = layer.scene.photo.digest;
        self.anchor.follow(grid, photo, selected, place, owner);
        if selected.is_none() {
            // A point was pressed in another pane.
            let cell = point.and_then(|p| cell_at(layer, p));
            *selected = cell.and_then(|[y, x]| strongest(trace, iteration, y, x));
        }
    }

    fn controls(
        &mut self,
        ui: &mut Ui,
        cx: &mut Context<'_>,
        layer: &Layer<'_>,
        trace: &SuperTokenTrace,
    ) {
        let room = Room::of(ui);
        let chooser = |ui: &mut Ui| layer.chooser(ui, cx);
        parts::chooser_and_modes(ui, room, chooser, &mut self.mode, &MODES);
        ui.horizontal_wrapped(|ui| {
            let look = parts::look_of(cx, ID, Look::default());
            parts::looks(ui, room, look, self.layer.coloring());
            if room != Room::Narrow {
                iterations(ui, cx, trace);
                self.heads(ui, trace);
            }
        });
        let more = trace.affinity.len() > 1 || self.mode == Mode::Attention;
        if room == Room::Narrow && more {
            ui.horizontal_wrapped(|ui| {
                iterations(ui, cx, trace);
                self.heads(ui, trace);
            });
        }
    }

    /// Which head's token attention is shown.
    fn heads(&mut self, ui: &mut Ui, trace: &SuperTokenTrace) {
        if self.mode == Mode::Attention {
            let heads = trace
                .token_attention
                .as_ref()
                .and_then(|a| a.shape().first().copied())
                .unwrap_or(0);
            parts::head_chooser(ui, &mut self.head, heads);
        }
    }

    fn picture(&mut self, ui: &mut Ui, cx: &mut Context<'_>, seen: &Seen<'_>) {
        let Seen { layer, trace, .. } = *seen;
        let look = *parts::look_of(cx, ID, Look::default());
        let stale = self.stale.shows(ui, layer.of.wish, cx.newest);
        let canvas = Canvas {
            name: "Super tokens canvas",
            scene: layer.scene,
            beyond: look.border.then(|| beyond(&layer, trace.padded)),
            dim: stale,
        };
        // Room for the bar is always left: a press that shows a map must not move the picture.
        let areas = areas::divide(ui, true, Side::Column(196.0), canvas.aspect());
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
        self.words(ui, cx, seen, &shown, value, &areas);
    }

    /// Press and arrow keys select.
    fn hand(&mut self, cx: &mut Context<'_>, seen: &Seen<'_>, shown: &Shown) {
        let trace = seen.trace;
        if let Some(point) = shown.pressed
            && let Some([y, x]) = cell_at(&seen.layer, point)
        {
            cx.selection.press(point);
            cx.selection.super_token = strongest(trace, seen.iteration, y, x);
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
            let token = row * cols + col;
            let [x0, y0, x1, y1] = trace.cell(token);
            let middle = seen.layer.place.to_photo((x0 + x1) / 2.0, (y0 + y1) / 2.0);
            cx.selection.press(middle);
            cx.selection.super_token = Some(token);
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
        let map = self
            .map
            .get((key.clone(), chosen), || heat(seen.trace, chosen));
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
        let partition = self.partition.get((key.clone(), seen.iteration), || {
            partition(seen.trace, seen.iteration)
        });
        // Under a map the borders step back.
        let line = if value_shown { FAINT } else { LINE };
        // Where every cell is its own super token, borders would only hide the map.
        if !(value_shown && seen.trace.affinity.is_empty()) {
            pen.borders(&partition.borders, line, 1.0);
        }
        if let Some(token) = seen.token {
            let owned = self.owned.get((key, seen.iteration, token), || {
                owned(seen.trace, &partition.owners, token)
            });
            pen.borders(&owned.outline, QUERY, 3.0);
        }
        parts::elsewhere(shown, cx);
        if let Some(token) = seen.token {
            let rect = pen.rect(seen.trace.cell(token));
            let mut labels = Labels::new(&painter);
            labels.beside(rect, &token.to_string(), Color32::WHITE);
        }
        value
    }

    /// The column beside the picture and the lines below it.
    fn words(
        &mut self,
        ui: &mut Ui,
        cx: &Context<'_>,
        seen: &Seen<'_>,
        shown: &Shown,
        value: Option<f32>,
        areas: &Areas,
    ) {
        let Seen { layer, trace, .. } = seen;
        let key = TraceKey::of(&layer.of.trace);
        let partition = self.partition.get((key.clone(), seen.iteration), || {
            partition(trace, seen.iteration)
        });
        let cell = shown.hover.and_then(|p| cell_at(layer, p));
        if let Some(rect) = areas.side {
            let pressed = cx.selection.point.and_then(|p| cell_at(layer, p));
            areas::part(ui, rect, "beside", |ui| {
                words::beside(ui, seen, partition.mean_lost, cell.or(pressed));
            });
        } else if let Some([y, x]) = cell {
            let weights = trace.weights_at(seen.iteration, y, x);
            nine_in_corner(shown, &weights);
        }
        let count = seen.token.map(|token| {
            let make = || owned(trace, &partition.owners, token);
            self.owned.get((key, seen.iteration, token), make).count
        });
        let (selected, remark) = words::caption(seen, partition.mean_lost, count);
        let pointer = words::pointer(seen, shown.hover, value.map(|v| (self.mode, v)));
        areas::lines(ui, areas.lines, &selected, &remark, &pointer);
    }
}

/// The super token that owns a cell; where the largest weight is lost off the grid, the largest of
/// the others.
fn strongest(trace: &SuperTokenTrace, iteration: usize, y: usize, x: usize) -> Option<usize> {
    trace.owner(iteration, y, x).or_else(|| {
        let weights = trace.weights_at(iteration, y, x).into_iter();
        let on_grid = weights.filter_map(|(token, weight)| Some((token?, weight)));
        on_grid.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(t, _)| t)
    })
}

/// The slider through the iterations, where there are several.
fn iterations(ui: &mut Ui, cx: &mut Context<'_>, trace: &SuperTokenTrace) {
    let n = trace.affinity.len();
    if n < 2 {
        return;
    }
    ui.spacing_mut().slider_width = 70.0;
    if ui.available_size_before_wrap().x < 190.0 {
        // A slider does not go to the next row by itself.
        ui.end_row();
    }
    let mut shown = cx.selection.iteration.map_or(n, |i| i + 1).min(n);
    let slider = Slider::new(&mut shown, 1..=n).text("iteration");
    let help = "Iteration of the association; the last one is what the layer uses";
    if ui.add(slider).on_hover_text(help).changed() {
        cx.selection.iteration = (shown < n).then(|| shown - 1);
    }
}
