//! The photograph with its detections.

use std::sync::Arc;

use egui::{Grid, RichText, ScrollArea, Sense, Ui, Vec2};

use super::areas::{self, Side};
use super::layer::{self, Staleness};
use super::parts::class_color;
use crate::app::canvas::{Canvas, Labels, Shown, cross, frame};
use crate::app::pane::{Context, Pane};
use crate::engine::{Detected, Scene};
use crate::picture::fonts;
use crate::picture::numbers::value_label;
use crate::yolo::{self, Detection};

const ID: &str = "detections";
/// Classes listed when a box is pointed at.
const TOP: usize = 5;

/// The pane.
#[derive(Default)]
pub struct Detections {
    stale: Staleness,
    /// The line of the list under the pointer, from the last frame.
    pointed: Option<usize>,
}

impl Pane for Detections {
    fn id(&self) -> &'static str {
        ID
    }
    fn title(&self) -> &'static str {
        "Detections"
    }
    fn help(&self) -> String {
        "What the detector found, with class and score. Point at a box to see the scores of the \
         best classes and its size; press it to select it. The selected box is outlined in the \
         other panes too. Scroll to zoom, drag to move, double click to fit."
            .to_owned()
    }

    fn ui(&mut self, ui: &mut Ui, cx: &mut Context<'_>) {
        ui.push_id(ID, |ui| self.show(ui, cx));
    }
}

impl Detections {
    fn show(&mut self, ui: &mut Ui, cx: &mut Context<'_>) {
        let Some(scene) = layer::scene(ui, cx) else {
            return;
        };
        let side = match cx.snapshot.detected {
            Some(_) => Side::Share(0.27, 0.3),
            None => Side::None,
        };
        let detected = cx.snapshot.detected.as_deref();
        let answered = detected.map_or(0, |d| d.wish);
        let stale = self.stale.shows(ui, answered, cx.newest);
        let canvas = Canvas {
            name: "Detections canvas",
            scene,
            beyond: None,
            dim: stale,
        };
        let areas = areas::divide(ui, false, side, canvas.aspect());
        let shown = canvas.show(ui, areas.canvas, cx.camera);
        let Some(detected) = detected else {
            layer::over_canvas(ui, areas.canvas, "analysing…");
            areas::lines(ui, areas.lines, "", "", &pointer_text(&shown));
            return;
        };
        let list = &detected.list;
        let under = shown.hover.and_then(|p| yolo::smallest_at(list, p));
        if let Some(point) = shown.pressed {
            cx.press(point);
        }
        let steps = shown.step[0] + shown.step[1];
        if steps != 0 && !list.is_empty() {
            let now = cx.selection.detection.map_or(-1, |i| i as i64);
            let next = (now + i64::from(steps)).clamp(0, list.len() as i64 - 1);
            cx.selection.detection = Some(next as usize);
        }
        let strong = under.or(self.pointed);
        paint(&shown, scene, list, strong, cx.selection.detection);
        if let Some(point) = cx.selection.point {
            cross(&shown.clipped(), shown.at.to_screen(point));
        }
        if list.is_empty() {
            layer::over_canvas(ui, areas.canvas, &nothing(scene, detected));
        }
        layer::notes(ui, areas.canvas, &detected.badges, stale);
        if let Some(detection) = under.and_then(|i| list.get(i)) {
            let tip = egui::Tooltip::for_widget(&shown.response).at_pointer();
            tip.gap(16.0).show(|ui| scores(ui, scene, detection));
        }
        if let Some(rect) = areas.side {
            self.pointed = areas::part(ui, rect, "list", |ui| {
                listing(ui, scene, detected, &mut cx.selection.detection)
            });
        }
        let chosen = cx.selection.detection.and_then(|i| list.get(i));
        let (selected, remark) = match chosen {
            Some(d) => (title(scene, d), size_text(d)),
            None => (String::new(), head_text(detected)),
        };
        let mut pointer = pointer_text(&shown);
        if let Some(d) = under.and_then(|i| list.get(i)) {
            pointer += &format!(" · {}", title(scene, d));
        }
        areas::lines(ui, areas.lines, &selected, &remark, &pointer);
    }
}

fn nothing(scene: &Scene, detected: &Detected) -> String {
    if let Some(stop) = scene.model.network.stopped() {
        return format!("No detections: {stop}");
    }
    format!(
        "Nothing scored above {}. Lowering the confidence shows more.",
        value_label(detected.thresholds.confidence, 3)
    )
}

fn head_text(detected: &Detected) -> String {
    format!(
        "{} head · score above {}",
        detected.head.name(),
        value_label(detected.thresholds.confidence, 3)
    )
}

fn pointer_text(shown: &Shown) -> String {
    shown
        .hover
        .map(|[x, y]| format!("px {}, {}", x.floor(), y.floor()))
        .unwrap_or_default()
}

fn class_name(scene: &Scene, class: usize) -> String {
    match scene.model.classes.get(class) {
        Some(name) => fonts::legible(name).into_owned(),
        None => format!("class {class}"),
    }
}

fn title(scene: &Scene, d: &Detection) -> String {
    format!("{} {:.2}", class_name(scene, d.class), d.score)
}

fn size_text(d: &Detection) -> String {
    let [x0, y0, x1, y1] = d.rect;
    format!("{:.0} × {:.0} px at {x0:.0}, {y0:.0}", x1 - x0, y1 - y0)
}

fn paint(
    shown: &Shown,
    scene: &Arc<Scene>,
    list: &[Detection],
    strong: Option<usize>,
    selected: Option<usize>,
) {
    let painter = &shown.painter;
    // The weakest first: better ones lie on top, and what is pointed at or selected on all.
    let is_strong = |i: usize| Some(i) == selected || Some(i) == strong;
    let weak = (0..list.len()).rev().filter(|i| !is_strong(*i));
    for i in weak.chain(selected).chain(strong) {
        let Some(d) = list.get(i) else { continue };
        let width = if is_strong(i) { 4.0 } else { 2.0 };
        frame(
            painter,
            shown.at.rect_to_screen(d.rect),
            class_color(d.class),
            width,
        );
    }
    let mut labels = Labels::new(painter);
    // What is pointed at and selected gets its label before all others.
    let first = strong.into_iter().chain(selected);
    let order = first.chain(0..list.len());
    let mut done = vec![false; list.len()];
    for i in order {
        let Some(d) = list.get(i) else { continue };
        if !std::mem::replace(&mut done[i], true) {
            let rect = shown.at.rect_to_screen(d.rect).expand(1.5);
            labels.beside(rect, &title(scene, d), class_color(d.class));
        }
    }
}

/// The best classes of a box and its size.
fn scores(ui: &mut Ui, scene: &Scene, d: &Detection) {
    ui.label(RichText::new(title(scene, d)).strong());
    let mut order: Vec<usize> = (0..d.scores.len()).collect();
    order.sort_by(|&a, &b| d.scores[b].total_cmp(&d.scores[a]));
    Grid::new("scores").num_columns(2).show(ui, |ui| {
        for class in order.into_iter().take(TOP) {
            ui.label(class_name(scene, class));
            ui.label(value_label(d.scores[class], 3));
            ui.end_row();
        }
    });
    ui.label(RichText::new(size_text(d)).weak());
}

/// The list beside the picture; returns the line under the pointer.
fn listing(
    ui: &mut Ui,
    scene: &Scene,
    detected: &Detected,
    selected: &mut Option<usize>,
) -> Option<usize> {
    let n = detected.list.len();
    let heading = match n {
        1 => "1 detection".to_owned(),
        n => format!("{n} detections"),
    };
    ui.label(RichText::new(heading).strong())
        .on_hover_text(head_text(detected));
    let mut pointed = None;
    let height = ui.spacing().interact_size.y;
    ScrollArea::vertical()
        .auto_shrink([false, false])
        .show_rows(ui, height, n, |ui, rows| {
            for i in rows {
                let Some(d) = detected.list.get(i) else {
                    continue;
                };
                let chosen = *selected == Some(i);
                let response = ui
                    .horizontal(|ui| {
                        let (spot, _) = ui.allocate_exact_size(Vec2::splat(10.0), Sense::hover());
                        ui.painter().rect_filled(spot, 2, class_color(d.class));
                        ui.selectable_label(chosen, title(scene, d))
                    })
                    .inner;
                if response.clicked() {
                    *selected = (!chosen).then_some(i);
                }
                if response.hovered() {
                    pointed = Some(i);
                }
            }
        });
    pointed
}
