//! What is pressed, in words: what every layer says of that place.

use egui::{Grid, RichText, ScrollArea, Ui};

use super::layer::{self, row_name};
use crate::app::pane::{Context, Pane};
use crate::attention::view::Asked;
use crate::attention::{MECHANISMS, Mechanism};
use crate::engine::{self, LayerTrace, Scene};
use crate::view;
use crate::yolo;

/// The pane.
#[derive(Default)]
pub struct Selected;

impl Pane for Selected {
    fn id(&self) -> &'static str {
        "selected"
    }
    fn title(&self) -> &'static str {
        "Selection"
    }
    fn help(&self) -> String {
        "What is pressed, in words: the pixel, the box it lies in, and what every attention layer \
         says of that place. Press a number of a super token or region in another pane, or step \
         with the arrow keys there, and it follows."
            .to_owned()
    }

    fn mechanisms(&self) -> Vec<&'static Mechanism> {
        MECHANISMS.to_vec()
    }

    fn ui(&mut self, ui: &mut Ui, cx: &mut Context<'_>) {
        ui.push_id(self.id(), |ui| show(ui, cx));
    }
}

fn show(ui: &mut Ui, cx: &mut Context<'_>) {
    let Some(scene) = layer::scene(ui, cx) else {
        return;
    };
    if cx.selection.point.is_none() && cx.selection.units.is_empty() {
        layer::say(ui, "Press a point in any pane to read what lies there.");
        return;
    }
    ScrollArea::vertical()
        .auto_shrink([false, false])
        .show(ui, |ui| {
            if let Some([x, y]) = cx.selection.point {
                pixel(ui, scene, [x, y]);
            }
            detection(ui, cx, scene);
            for layer in cx.snapshot.traces.values() {
                ui.add_space(6.0);
                let title = layer.trace.mechanism().title.to_lowercase();
                let name = format!("{} · {title}", row_name(scene, layer.row));
                ui.label(RichText::new(name).strong());
                facts(ui, cx, scene, layer);
            }
        });
}

/// The pressed pixel with its colour.
fn pixel(ui: &mut Ui, scene: &Scene, [x, y]: [f32; 2]) {
    let photo = &scene.photo;
    let at = (y.max(0.0) as usize) * photo.width + x.max(0.0) as usize;
    let inside = x >= 0.0 && y >= 0.0 && (x as usize) < photo.width && (y as usize) < photo.height;
    let color = photo.rgb.get(3 * at..3 * at + 3).filter(|_| inside);
    let text = match color {
        Some([r, g, b]) => format!(
            "px {}, {} · red {r}, green {g}, blue {b}",
            x.floor(),
            y.floor()
        ),
        _ => format!(
            "px {}, {} · in the border around the photograph",
            x.floor(),
            y.floor()
        ),
    };
    ui.label(RichText::new(text).strong());
}

/// The box that is selected, or the smallest one round the pressed point.
fn detection(ui: &mut Ui, cx: &Context<'_>, scene: &Scene) {
    let detected = cx.snapshot.detected.as_ref();
    let chosen = detected.and_then(|d| {
        let round = || yolo::smallest_at(&d.list, cx.selection.point?);
        d.list.get(cx.selection.detection.or_else(round)?)
    });
    match chosen {
        Some(d) => {
            let [x0, y0, x1, y1] = d.rect;
            ui.label(format!(
                "in the box of {} {:.2}, {:.0} × {:.0} px",
                engine::class_name(scene, d.class),
                d.score,
                x1 - x0,
                y1 - y0
            ));
        }
        None => {
            ui.weak("in no box");
        }
    }
    if let Some(channel) = cx.selection.channel {
        ui.label(format!("channel {channel}"));
    }
}

/// What a layer says of the place.
fn facts(ui: &mut Ui, cx: &Context<'_>, scene: &Scene, layer: &LayerTrace) {
    let trace = layer.trace.as_ref();
    let place = scene.place(trace.map());
    let asked = Asked {
        cell: cx.selection.point.and_then(|p| place.cell(p)),
        unit: view::unit(cx.selection, layer.row, trace, place),
        iteration: cx.selection.iteration,
        channel: cx.selection.channel,
        ..Asked::default()
    };
    let grid = Grid::new(("facts", layer.row))
        .num_columns(2)
        .spacing([10.0, 2.0]);
    grid.show(ui, |ui| {
        if let Some([y, x]) = asked.cell {
            ui.weak("cell");
            let [h, w] = trace.map();
            match y < h && x < w {
                true => ui.label(format!("{x}, {y} of {w} × {h}")),
                false => ui.label(format!("{x}, {y}, in the padding of {w} × {h}")),
            };
            ui.end_row();
        }
        for fact in trace.facts(&asked) {
            ui.weak(fact.name);
            ui.label(fact.value);
            ui.end_row();
        }
        for (name, value) in &layer.legal.values {
            ui.weak(name);
            ui.label(value.to_string());
            ui.end_row();
        }
    });
}
