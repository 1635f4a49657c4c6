//! The layer that a pane shows: finding it, choosing it, and what stands there without one.

use std::sync::Arc;

use egui::{Align2, Color32, ComboBox, Label, Rect, RichText, Ui, UiBuilder, vec2};

use crate::app::canvas::SMALL;
use crate::app::pane::Context;
use crate::attention::Mechanism;
use crate::engine::{LayerTrace, Placement, Scene};

/// Seconds that something may be out of date before the window says so: less would flicker.
const PATIENCE: f64 = 0.15;

/// Warnings on dark paper, in both themes.
const WARNING: Color32 = Color32::from_rgb(255, 190, 90);

/// A layer with what it belongs to.
#[derive(Clone, Copy)]
pub struct Layer<'a> {
    /// Photograph and model.
    pub scene: &'a Arc<Scene>,
    /// What was computed.
    pub of: &'a LayerTrace,
    /// Where its map lies on the photograph.
    pub place: Placement,
    mechanism: &'static Mechanism,
}

impl<'a> Layer<'a> {
    /// The chosen layer of a mechanism. Without one it says why, and what would help.
    pub fn find(ui: &mut Ui, cx: &Context<'a>, mechanism: &'static Mechanism) -> Option<Self> {
        let scene = scene(ui, cx)?;
        let rows = rows(scene, mechanism);
        if rows.is_empty() {
            say(ui, &absent(mechanism));
            return None;
        }
        let Some(of) = cx.trace_of(mechanism.id) else {
            wait(ui, cx);
            return None;
        };
        Some(Self {
            scene,
            of,
            place: scene.place(of.trace.map()),
            mechanism,
        })
    }

    /// Names the layer; offers the others where there are several.
    pub fn chooser(&self, ui: &mut Ui, cx: &mut Context<'_>) {
        let rows = rows(self.scene, self.mechanism);
        let [h, w] = self.of.trace.map();
        let about = format!("{}\nFeature map of {w} × {h} cells", self.mechanism.about);
        if rows.len() < 2 {
            ui.label(RichText::new(self.name(self.of.row)).strong())
                .on_hover_text(about);
            return;
        }
        let combo = ComboBox::from_id_salt("layer")
            .selected_text(self.name(self.of.row))
            .show_ui(ui, |ui| {
                for row in rows {
                    let label = ui.selectable_label(row == self.of.row, self.name(row));
                    if label.clicked() {
                        cx.selection.rows.insert(self.mechanism.id.to_owned(), row);
                    }
                }
            });
        combo.response.accessible_name("layer").on_hover_text(about);
    }

    fn name(&self, row: usize) -> String {
        row_name(self.scene, row)
    }
}

/// A row of the network in words.
pub fn row_name(scene: &Scene, row: usize) -> String {
    match scene.model.network.layers().get(row) {
        Some(layer) if layer.probe => {
            let on = layer.from.first().copied().flatten().unwrap_or(0);
            format!("row {row} probe on {on}")
        }
        Some(layer) => format!("row {row} {}", layer.name),
        None => format!("row {row}"),
    }
}

/// The scene, or a sentence in its place.
pub fn scene<'a>(ui: &mut Ui, cx: &Context<'a>) -> Option<&'a Arc<Scene>> {
    let scene = cx.snapshot.scene.as_ref();
    if scene.is_none() {
        wait(ui, cx);
    }
    scene
}

/// What stands where nothing was computed yet.
pub fn wait(ui: &mut Ui, cx: &Context<'_>) {
    if cx.newest == 0 {
        say(ui, "Open a photograph to see it here.");
    } else if cx.snapshot.failure.is_some() {
        say(ui, "Nothing to show: the last analysis failed.");
    } else {
        ui.vertical_centered(|ui| {
            ui.add_space((ui.available_height() / 2.0 - 30.0).max(4.0));
            ui.spinner();
            ui.label("analysing…");
        });
    }
}

/// A sentence where nothing can be shown.
pub fn say(ui: &mut Ui, text: &str) {
    ui.vertical_centered(|ui| {
        ui.set_max_width((ui.available_width() - 16.0).clamp(60.0, 380.0));
        ui.add_space((ui.available_height() / 2.0 - 30.0).max(4.0));
        ui.label(RichText::new(text).weak());
    });
}

fn rows(scene: &Scene, mechanism: &Mechanism) -> Vec<usize> {
    let attention = scene.model.network.attention();
    attention
        .filter(|(_, a)| a.mechanism().id == mechanism.id)
        .map(|(row, _)| row)
        .collect()
}

fn absent(mechanism: &Mechanism) -> String {
    let mut text = format!(
        "This model has no layer for “{}”. A model has one where its YAML has a row {}.",
        mechanism.title,
        mechanism.modules.join(", ")
    );
    if mechanism.probe.is_some() {
        text += " A probe, on the left, looks at any other layer.";
    }
    text
}

/// Since when something is out of date.
#[derive(Default)]
pub struct Staleness {
    since: Option<f64>,
}

impl Staleness {
    /// Whether a result for wish `answered` is to be shown as stale now.
    pub fn shows(&mut self, ui: &Ui, answered: u64, newest: u64) -> bool {
        if answered >= newest {
            self.since = None;
            return false;
        }
        let now = ui.input(|i| i.time);
        let age = now - *self.since.get_or_insert(now);
        if age < PATIENCE {
            let rest = std::time::Duration::from_secs_f64(PATIENCE - age);
            ui.ctx().request_repaint_after(rest);
        }
        age >= PATIENCE
    }
}

/// Notes over the top of the canvas: why to read it with care, and whether it is stale. They lie
/// on the picture, so that nothing moves when one appears.
pub fn notes(ui: &mut Ui, canvas: Rect, notes: &[String], stale: bool) {
    let mut top = canvas.top() + 4.0;
    let inner = canvas.shrink(4.0);
    let mut chip = |text: &str, color: Color32| {
        let place = Rect::from_min_max(egui::pos2(inner.left(), top), inner.max);
        if place.height() < 12.0 {
            return;
        }
        let builder = UiBuilder::new()
            .max_rect(place)
            .id_salt(("note", text))
            .layout(egui::Layout::left_to_right(egui::Align::Min));
        let shown = ui.scope_builder(builder, |ui| {
            egui::Frame::new()
                .fill(Color32::from_black_alpha(190))
                .corner_radius(3)
                .inner_margin(vec2(5.0, 1.0))
                .show(ui, |ui| {
                    let text = RichText::new(text).size(SMALL).color(color);
                    ui.add(Label::new(text).wrap().selectable(false));
                });
        });
        top = shown.response.rect.bottom() + 3.0;
    };
    if stale {
        chip("stale", Color32::LIGHT_GRAY);
    }
    for note in notes {
        chip(note, WARNING);
    }
}

/// A centred sentence over the canvas.
pub fn over_canvas(ui: &mut Ui, canvas: Rect, text: &str) {
    let room = canvas.shrink2(vec2(20.0, 4.0));
    let font = egui::TextStyle::Body.resolve(ui.style());
    let width = room.width().max(60.0);
    let painter = ui.painter_at(canvas);
    let galley = painter.layout(text.to_owned(), font, Color32::WHITE, width);
    let rect = Align2::CENTER_CENTER.anchor_size(canvas.center(), galley.size());
    let paper = Color32::from_black_alpha(200);
    painter.rect_filled(rect.expand2(vec2(8.0, 4.0)), 4, paper);
    let label = Label::new(RichText::new(text).color(Color32::WHITE)).selectable(false);
    ui.put(rect.expand2(vec2(1.0, 0.0)), label.wrap());
}
