//! The layer, the question and its choices, and the look.

use egui::{ComboBox, RichText, Slider, Ui};

use super::super::layer::Layer;
use super::super::parts::{self, Room};
use crate::app::pane::{Asking, Context, Look};
use crate::attention::Trace;
use crate::attention::view::{Question, Turn};
use crate::picture::Coloring;

/// Draws all controls; those of the look only where something is coloured, `shown`.
pub fn show(
    ui: &mut Ui,
    cx: &mut Context<'_>,
    layer: &Layer<'_>,
    question: &'static Question,
    shown: Option<Option<&Coloring>>,
) {
    let trace = layer.of.trace.as_ref();
    let id = trace.mechanism().id;
    let room = Room::of(ui);
    ui.horizontal_wrapped(|ui| {
        layer.chooser(ui, cx);
        let asking = cx.asking.entry(id.to_owned()).or_default();
        questions(ui, asking, trace, question);
        if room != Room::Narrow {
            turns(ui, cx, trace, question);
        }
    });
    if let Some(shown) = shown {
        ui.horizontal_wrapped(|ui| {
            let look = parts::look_of(cx, id, Look::default());
            parts::looks(ui, room, look, shown);
        });
    }
    if room == Room::Narrow {
        ui.horizontal_wrapped(|ui| turns(ui, cx, trace, question));
    }
}

/// The questions, with what each shows.
fn questions(ui: &mut Ui, asking: &mut Asking, trace: &dyn Trace, now: &'static Question) {
    let combo = ComboBox::from_id_salt("question")
        .selected_text(RichText::new(now.title).strong())
        .width(132.0)
        .height(420.0)
        .show_ui(ui, |ui| {
            for question in trace.questions() {
                let chosen = question.id == now.id;
                let entry = ui
                    .selectable_label(chosen, question.title)
                    .on_hover_text(question.help);
                if entry.clicked() {
                    asking.question = Some(question.id.to_owned());
                }
            }
        });
    combo
        .response
        .accessible_name("question")
        .on_hover_text(now.help);
}

/// What can be chosen for a question.
fn turns(ui: &mut Ui, cx: &mut Context<'_>, trace: &dyn Trace, question: &Question) {
    for turn in question.turns {
        let n = trace.choices(*turn);
        let asking = cx.asking.entry(trace.mechanism().id.to_owned());
        let asking = asking.or_default();
        match turn {
            Turn::Unit => {}
            Turn::Head => parts::chooser(ui, "head", "mean of heads", &mut asking.head, n),
            Turn::Part => parts::chooser(ui, "attention", "", &mut asking.part, n),
            Turn::Iteration => iterations(ui, &mut cx.selection.iteration, n),
            Turn::Against => against(ui, &mut asking.against, n, trace.usual(*turn)),
        }
    }
}

/// The slider through the iterations, where there are several.
fn iterations(ui: &mut Ui, chosen: &mut Option<usize>, n: usize) {
    if n < 2 {
        return;
    }
    ui.spacing_mut().slider_width = 70.0;
    if ui.available_size_before_wrap().x < 190.0 {
        // A slider does not go to the next row by itself.
        ui.end_row();
    }
    let mut shown = chosen.map_or(n, |i| i + 1).min(n);
    let slider = Slider::new(&mut shown, 1..=n).text("iteration");
    let help = "Iteration of the association; the last one is what the layer uses";
    if ui.add(slider).on_hover_text(help).changed() {
        *chosen = (shown < n).then(|| shown - 1);
    }
}

/// The other `topk`, where there is one; `usual` where none is chosen.
fn against(ui: &mut Ui, chosen: &mut Option<usize>, n: usize, usual: usize) {
    if n < 2 {
        return;
    }
    ui.spacing_mut().slider_width = 70.0;
    if ui.available_size_before_wrap().x < 190.0 {
        ui.end_row();
    }
    let mut shown = chosen.unwrap_or(usual).clamp(1, n);
    let slider = Slider::new(&mut shown, 1..=n).text("other topk");
    let help = "The routing is compared with what it would be at this topk";
    if ui.add(slider).on_hover_text(help).changed() {
        *chosen = Some(shown);
    }
}
