//! The knobs of the chosen attention layer: hyperparameters that carry no weights and act while
//! they are dragged.

use egui::{Button, RichText, ScrollArea, Slider, Ui};

use super::command::{Ask, Can, Command};
use super::keep::Kept;
use super::{probe_panel, theme};
use crate::attention::{Attention, Clamp, Knob, KnobValue, Legal};
use crate::checkpoint::Model;
use crate::engine::Settings;

/// Draws the panel.
pub fn show(ui: &mut Ui, model: Option<&Model>, kept: &mut Kept, can: &Can, asks: &mut Vec<Ask>) {
    let Some(model) = model else {
        ui.weak("No model is open yet");
        return;
    };
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        ui.label(RichText::new("Attention layers").strong());
        layers(ui, model, kept, asks);
        ui.add_space(theme::GAP);
        ui.separator();
        if let Some((row, attention)) = chosen(model, kept) {
            knobs_of(ui, model, row, attention, kept);
            ui.separator();
            Command::ResetKnobs.button(ui, can, asks);
        } else {
            ui.label("This model has no attention layer. A probe can look at any layer.");
        }
        ui.separator();
        probe_panel::show(ui, model, kept);
    });
}

/// The chosen layer, or the first.
fn chosen<'m>(model: &'m Model, kept: &Kept) -> Option<(usize, &'m dyn Attention)> {
    let row = kept.layer;
    let at = row.and_then(|row| Some((row, model.network.attention_at(row)?)));
    at.or_else(|| model.network.attention().next())
}

fn layers(ui: &mut Ui, model: &Model, kept: &mut Kept, asks: &mut Vec<Ask>) {
    let current = chosen(model, kept).map(|(row, _)| row);
    for (row, attention) in model.network.attention() {
        let mechanism = attention.mechanism();
        let name = name_of(model, row);
        let button = Button::selectable(current == Some(row), format!("{row}  {name}"))
            .right_text(theme::quiet(mechanism.title))
            .truncate()
            .min_size(egui::vec2(ui.available_width(), 0.0));
        let response = ui
            .add(button)
            .on_hover_text(format!("Layer {row}: {name}. {}", mechanism.about));
        if response.clicked() {
            kept.layer = Some(row);
            kept.selection.rows.insert(mechanism.id.to_owned(), row);
            asks.push(Ask::Face(mechanism.id));
        }
    }
}

/// The module of a row; for a probe, what it looks at.
fn name_of(model: &Model, row: usize) -> String {
    match model.network.layers().get(row) {
        Some(layer) if layer.probe => {
            let on = layer.from.first().copied().flatten().unwrap_or(0);
            format!("probe on {on}")
        }
        Some(layer) => layer.name.clone(),
        None => String::new(),
    }
}

fn knobs_of(ui: &mut Ui, model: &Model, row: usize, attention: &dyn Attention, kept: &mut Kept) {
    let mechanism = attention.mechanism();
    ui.label(RichText::new(format!("{} in layer {row}", mechanism.title)).strong());
    ui.label(theme::quiet(mechanism.about));
    ui.add_space(theme::SMALL);
    let Some(legal) = kept.settings.legal(model, row) else {
        return;
    };
    if legal.knobs.is_empty() {
        ui.label("This layer has no knobs: what it weighs follows from the picture and the trained weights alone.");
        return;
    }
    for knob in &legal.knobs {
        ui.push_id((row, knob.name), |ui| {
            one_knob(ui, model, row, knob, &legal, kept)
        });
        ui.add_space(theme::GAP);
    }
}

fn one_knob(ui: &mut Ui, model: &Model, row: usize, knob: &Knob, legal: &Legal, kept: &mut Kept) {
    let used = legal.values.get(knob.name).copied().unwrap_or(knob.default);
    let mut value = used;
    match used {
        KnobValue::Int(_) => count(ui, knob, &mut value),
        KnobValue::Pair(_) => pair(ui, knob, &mut value, &mut kept.separate_sides),
    }
    if value != used {
        set(&mut kept.settings, row, knob, value);
    }
    ui.horizontal(|ui| {
        reset(ui, row, knob, &mut kept.settings);
        let trained = model.card.trained.get(knob.name);
        ui.label(theme::quiet(range_text(knob, trained)));
    });
    if let Some(clamp) = legal.clamps.iter().find(|c| c.knob == knob.name) {
        clamped(ui, clamp);
    }
    let only = [(knob.name.to_owned(), value)].into();
    for sentence in model.card.untrained(&only) {
        theme::badge(ui, "outside the trained range").on_hover_text(sentence);
    }
}

fn count(ui: &mut Ui, knob: &Knob, value: &mut KnobValue) {
    let mut v = value.int();
    if side(ui, &mut v, knob, knob.name.to_owned(), 0) {
        *value = KnobValue::Int(v);
    }
}

/// One slider for both sides, or one for each.
fn pair(ui: &mut Ui, knob: &Knob, value: &mut KnobValue, separate: &mut bool) {
    let [mut h, mut w] = value.pair();
    // A rectangle has two values to show, whatever the switch says.
    let mut apart = *separate || h != w;
    if apart {
        let changed = side(ui, &mut h, knob, format!("{} height", knob.name), 0)
            | side(ui, &mut w, knob, format!("{} width", knob.name), 1);
        if changed {
            *value = KnobValue::Pair([h, w]);
        }
    } else if side(ui, &mut h, knob, knob.name.to_owned(), 0) {
        *value = KnobValue::Pair([h, h]);
    }
    let switch = ui.checkbox(&mut apart, "separate height and width");
    if switch
        .on_hover_text("Set both sides apart; off makes a square of the height")
        .changed()
    {
        *separate = apart;
        if !apart {
            *value = KnobValue::Pair([h, h]);
        }
    }
}

/// A slider for one number of a knob; `true` if it was moved.
fn side(ui: &mut Ui, value: &mut usize, knob: &Knob, text: String, axis: usize) -> bool {
    let (low, high) = (knob.min.pair()[axis], knob.max.pair()[axis]);
    let slider = Slider::new(value, low..=high.max(low))
        .text(text)
        .update_while_editing(false);
    let help = format!(
        "{}.\nNot below {low}: {}.\nNot above {high}: {}.",
        knob.help, knob.why_min, knob.why_max
    );
    ui.add(slider).on_hover_text(help).changed()
}

/// Writes a wanted value; the default needs no entry.
fn set(settings: &mut Settings, row: usize, knob: &Knob, value: KnobValue) {
    let knobs = settings.knobs.entry(row).or_default();
    if value == knob.default {
        knobs.remove(knob.name);
    } else {
        knobs.insert(knob.name.to_owned(), value);
    }
    if knobs.is_empty() {
        settings.knobs.remove(&row);
    }
}

fn reset(ui: &mut Ui, row: usize, knob: &Knob, settings: &mut Settings) {
    let wanted = settings.knobs.get(&row).and_then(|k| k.get(knob.name));
    let away = wanted.is_some_and(|v| *v != knob.default);
    let button = ui
        .add_enabled(away, Button::new("Back to default").small())
        .on_hover_text(format!("Back to {}", knob.default))
        .on_disabled_hover_text(format!("{} is at its default {}", knob.name, knob.default));
    if button.clicked() {
        set(settings, row, knob, knob.default);
    }
}

fn range_text(knob: &Knob, trained: Option<&[KnobValue; 2]>) -> String {
    let range = match (knob.min, knob.max) {
        (KnobValue::Pair([a, b]), KnobValue::Pair([c, d])) if a == b && c == d => {
            format!("{a} to {c}")
        }
        (low, high) => format!("{low} to {high}"),
    };
    match trained {
        Some([low, high]) => format!("{range}, trained {low} to {high}"),
        None => range,
    }
}

fn clamped(ui: &mut Ui, clamp: &Clamp) {
    let color = ui.visuals().warn_fg_color;
    let text = format!(
        "{} is wanted, {} is used: {}",
        clamp.asked, clamp.used, clamp.reason
    );
    ui.add(egui::Label::new(RichText::new(text).small().color(color)).wrap());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topk() -> Knob {
        Knob {
            name: "topk",
            help: "",
            default: KnobValue::Int(4),
            min: KnobValue::Int(1),
            max: KnobValue::Int(64),
            why_min: String::new(),
            why_max: String::new(),
        }
    }

    #[test]
    fn the_default_leaves_no_entry() {
        let mut settings = Settings::default();
        set(&mut settings, 8, &topk(), KnobValue::Int(9));
        assert_eq!(settings.knobs[&8]["topk"], KnobValue::Int(9));
        set(&mut settings, 8, &topk(), KnobValue::Int(4));
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn ranges_are_said_in_short() {
        let trained = [KnobValue::Int(1), KnobValue::Int(16)];
        assert_eq!(
            range_text(&topk(), Some(&trained)),
            "1 to 64, trained 1 to 16"
        );
        let mut size = topk();
        (size.min, size.max) = (KnobValue::Pair([1, 1]), KnobValue::Pair([40, 40]));
        assert_eq!(range_text(&size, None), "1 to 40");
        size.max = KnobValue::Pair([40, 20]);
        assert_eq!(range_text(&size, None), "1x1 to 40x20");
    }
}
