//! What the pane says: beside the picture and in the lines below it.

use egui::{RichText, Ui};

use super::super::body::{Bodies, Chosen, Hand};
use super::super::parts::place_text;
use super::Seen;
use crate::app::canvas::{SMALL, Shown};
use crate::app::pane::Look;
use crate::attention::view::{Answer, Body, Heat, View};
use crate::picture::numbers::value_label;

/// What is under the pointer, with the value of the map there.
pub fn pointer(seen: &Seen<'_>, shown: &Shown, value: Option<(f32, &str)>) -> String {
    let Some(point) = shown.hover else {
        return String::new();
    };
    let mut text = place_text(seen.layer.place, point);
    let cell = seen.layer.place.cell(point);
    let unit = cell.and_then(|c| seen.trace.unit_at(c, seen.asked.iteration));
    if let (Some(unit), Some(units)) = (unit, seen.trace.units()) {
        text += &format!(" · {} {unit}", units.name);
    }
    if let Some((value, quantity)) = value {
        text += &format!(" · {quantity} {}", value_label(value, 4));
    }
    text
}

/// Small views one below the other, sharing the height.
pub fn beside(
    ui: &mut Ui,
    views: &[View],
    bodies: &mut [Bodies],
    look: &Look,
    chosen: Chosen,
) -> Hand {
    let mut all = Hand::default();
    let whole = ui.available_rect_before_wrap();
    let n = views.len().max(1) as f32;
    for (i, (view, body)) in views.iter().zip(bodies).enumerate() {
        let mut room = whole;
        room.set_top(whole.top() + i as f32 / n * whole.height());
        room.set_height(whole.height() / n - 4.0);
        let hand = super::super::areas::part(ui, room, &format!("beside {i}"), |ui| {
            let title = RichText::new(&view.title).strong();
            ui.add(egui::Label::new(title).truncate())
                .on_hover_text(&view.caption);
            let hand = body.show(ui, &view.body, look, chosen);
            if !view.caption.is_empty() && ui.available_height() > 3.0 * SMALL {
                ui.add_space(2.0);
                ui.label(RichText::new(&view.caption).size(SMALL).weak());
            }
            hand
        });
        all.unit = all.unit.or(hand.unit);
        all.channel = all.channel.or(hand.channel);
        all.turn = all.turn.or(hand.turn);
        if !hand.under.is_empty() {
            all.under = hand.under;
        }
    }
    all
}

/// The map over the photograph, if there is one.
pub fn map_of(body: &Body) -> Option<&Heat> {
    match body {
        Body::Overlay(overlay) => overlay.heat.as_ref(),
        _ => None,
    }
}

/// Whether the look can matter: any part is coloured, or lies over the photograph, where the next
/// press brings a map and must not move the picture.
pub fn has_look(answer: &Answer) -> bool {
    let views = std::iter::once(&answer.view).chain(&answer.beside);
    views
        .into_iter()
        .any(|view| matches!(view.body, Body::Overlay(_)) || colored(&view.body).is_some())
}

/// What the colours of a body stand for, if it has colours.
pub fn colored(body: &Body) -> Option<&'static str> {
    match body {
        Body::Overlay(overlay) => overlay.heat.as_ref().map(|h| h.quantity),
        Body::Matrix(m) if m.labels.is_empty() => Some(m.quantity),
        Body::Gallery(gallery) => gallery.maps.first().map(|m| m.1.quantity),
        _ => None,
    }
}
