//! Attaching a mechanism to a layer that has none, to look at its features through it.

use egui::{Button, ComboBox, RichText, Ui};

use super::keep::Kept;
use super::theme;
use crate::checkpoint::Model;
use crate::engine::{MAX_PROBES, Probe};
use crate::yolo::{Module, Network};

/// Draws the choice of layer and mechanism, and the probes that are attached.
pub fn show(ui: &mut Ui, model: &Model, kept: &mut Kept) {
    let network = &model.network;
    let choice = &mut kept.probe;
    if !can_probe(network, choice.on) {
        choice.on = network
            .layers()
            .iter()
            .enumerate()
            .map(|(row, _)| row)
            .find(|row| can_probe(network, *row))
            .unwrap_or(0);
    }
    ui.label(RichText::new("Probe").strong());
    ui.label(theme::quiet(
        "Looks at any layer through a mechanism, beside the network.",
    ));
    ui.horizontal_wrapped(|ui| {
        layer(ui, network, &mut kept.probe.on);
        mechanism(ui, &mut kept.probe.mechanism);
        attach(ui, kept);
    });
    list(ui, network, kept);
}

/// Whether a row puts out a map that can be looked at.
fn can_probe(network: &Network, row: usize) -> bool {
    let layer = network.layers().get(row);
    layer.is_some_and(|l| !l.probe && !matches!(l.module, Module::Detect(_)))
}

fn layer(ui: &mut Ui, network: &Network, on: &mut usize) {
    let text = |row: usize| {
        let layer = network.layers().get(row);
        layer.map_or(String::new(), |l| format!("{row}  {}", l.name))
    };
    let combo = ComboBox::from_id_salt("probed layer")
        .selected_text(text(*on))
        .width(110.0)
        .height(340.0)
        .show_ui(ui, |ui| {
            for row in (0..network.layers().len()).filter(|row| can_probe(network, *row)) {
                ui.selectable_value(on, row, text(row));
            }
        });
    combo
        .response
        .accessible_name("probed layer")
        .on_hover_text("The layer whose output the probe looks at");
}

fn mechanism(ui: &mut Ui, id: &mut String) {
    let title = |id: &str| Probe::mechanisms().find(|m| m.id == id).map(|m| m.title);
    if title(id).is_none() {
        *id = Probe::mechanisms().next().map_or("", |m| m.id).to_owned();
    }
    let combo = ComboBox::from_id_salt("probe mechanism")
        .selected_text(title(id).unwrap_or(""))
        .width(110.0)
        .show_ui(ui, |ui| {
            for m in Probe::mechanisms() {
                ui.selectable_value(id, m.id.to_owned(), m.title)
                    .on_hover_text(m.about);
            }
        });
    combo
        .response
        .accessible_name("probe mechanism")
        .on_hover_text(
            "What the probe computes from the features as they are, without any weights",
        );
}

fn attach(ui: &mut Ui, kept: &mut Kept) {
    let probes = &mut kept.settings.probes;
    let why_not = if probes.contains(&kept.probe) {
        Some("This probe is attached already")
    } else if probes.len() >= MAX_PROBES {
        Some("No more probes: each one runs with every change")
    } else {
        None
    };
    let button = ui
        .add_enabled(why_not.is_none(), Button::new("Attach probe"))
        .on_hover_text(
            "Look at a layer without attention through a mechanism. It computes beside the network: the detections stay as they are.",
        )
        .on_disabled_hover_text(why_not.unwrap_or_default());
    if button.clicked() {
        probes.push(kept.probe.clone());
    }
}

fn list(ui: &mut Ui, network: &Network, kept: &mut Kept) {
    let mut gone = None;
    for (i, probe) in kept.settings.probes.iter().enumerate() {
        let title = Probe::mechanisms().find(|m| m.id == probe.mechanism);
        let title = title.map_or(probe.mechanism.as_str(), |m| m.title);
        ui.horizontal(|ui| {
            let remove = ui.add(Button::new("Remove").small());
            if remove.clicked() {
                gone = Some(i);
            }
            remove.accessible_name(format!("Remove the probe of layer {}", probe.on));
            ui.label(theme::quiet(format!("{title} on layer {}", probe.on)));
        });
    }
    if let Some(i) = gone {
        let rows = network.without_probes().layers().len();
        kept.settings.remove_probe(i, rows);
        kept.layer = None;
    }
}
