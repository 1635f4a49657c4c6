//! Small maps side by side, over one range of values.

use std::sync::Arc;

use egui::accesskit::Role;
use egui::text::{LayoutJob, TextWrapping};
use egui::{FontId, Galley, Rect, Sense, Stroke, StrokeKind, Ui, WidgetInfo, vec2};

use super::Hand;
use crate::app::canvas::{HeatLayer, RELATED, SMALL};
use crate::app::pane::Look;
use crate::attention::view::Gallery;
use crate::picture::numbers::value_label;
use crate::picture::{Range, RangeRule};

const GAP: f32 = 4.0;
const LINE: f32 = SMALL + 4.0;

/// Draws the maps as large as they fit; a press chooses the channel.
pub fn show(
    ui: &mut Ui,
    gallery: &Gallery,
    look: &Look,
    heats: &mut [HeatLayer],
    chosen: Option<usize>,
) -> Hand {
    let mut hand = Hand::default();
    let room = ui.available_rect_before_wrap();
    ui.advance_cursor_after_rect(room);
    // All in the same colours, whatever is set for maps that stand alone.
    let opaque = Look {
        opacity: 1.0,
        rule: match look.rule {
            RangeRule::Own => RangeRule::Shared,
            rule => rule,
        },
        ..*look
    };
    let shared = shared(gallery, look);
    let aspect = gallery
        .maps
        .first()
        .map_or(1.0, |m| m.1.extent[0] / m.1.extent[1].max(1e-6));
    let cols = columns(gallery.maps.len(), room.size(), aspect);
    let width = (room.width() + GAP) / cols as f32 - GAP;
    let height = width / aspect;
    for (i, ((text, heat), painter)) in gallery.maps.iter().zip(heats).enumerate() {
        let step = vec2((i % cols) as f32, (i / cols) as f32);
        let at = room.min + step * vec2(width + GAP, height + LINE + GAP);
        let rect = Rect::from_min_size(at, vec2(width, height));
        let response = ui.interact(rect, ui.scope_id().with(("map", i)), Sense::click());
        let channel = gallery.channels.get(i).copied();
        // Under a small map there is room for the number alone.
        let name = match channel {
            Some(_) => format!("channel {text}"),
            None => text.clone(),
        };
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &name));
        painter.paint(&ui.painter_at(rect), heat, &opaque, shared, rect);
        if channel.is_some() && channel == chosen {
            let stroke = Stroke::new(2.0, RELATED);
            ui.painter()
                .rect_stroke(rect, 0, stroke, StrokeKind::Inside);
        }
        let below = rect.left_bottom() + vec2(0.0, 1.0);
        let ink = ui.visuals().text_color();
        let label = shortened(ui, text, width);
        ui.painter_at(room).galley(below, label, ink);
        if let Some(pointer) = response.hover_pos() {
            let part = (pointer - rect.min) / rect.size() * vec2(heat.extent[0], heat.extent[1]);
            let value = heat.value_at(part.x, part.y).unwrap_or(f32::NAN);
            hand.under = format!("{name} · {} {}", heat.quantity, value_label(value, 4));
        }
        if response.clicked() {
            hand.channel = channel;
        }
    }
    hand
}

/// A label that ends where its map ends.
fn shortened(ui: &Ui, text: &str, width: f32) -> Arc<Galley> {
    let (font, ink) = (FontId::proportional(SMALL), ui.visuals().text_color());
    let mut job = LayoutJob::simple_singleline(text.to_owned(), font, ink);
    job.wrap = TextWrapping::truncate_at_width(width);
    ui.painter().layout_job(job)
}

/// The range of all maps together.
fn shared(gallery: &Gallery, look: &Look) -> Option<Range> {
    let ranges = gallery
        .maps
        .iter()
        .map(|(_, heat)| look.own_range(&heat.values));
    ranges.reduce(Range::union)
}

/// The number of columns with which maps of this aspect (width by height) become largest.
fn columns(n: usize, room: egui::Vec2, aspect: f32) -> usize {
    let size = |cols: usize| {
        let rows = n.div_ceil(cols);
        let width = (room.x + GAP) / cols as f32 - GAP;
        let tall = (room.y + GAP) / rows as f32 - GAP - LINE;
        match tall * aspect >= width {
            true => width,
            // Too wide: the last rows would be cut.
            false => tall * aspect - width,
        }
    };
    let all = 1..=n.max(1);
    all.max_by(|a, b| size(*a).total_cmp(&size(*b)))
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_as_large_as_they_fit() {
        assert_eq!(columns(12, vec2(600.0, 200.0), 1.0), 7);
        assert_eq!(columns(12, vec2(200.0, 800.0), 1.0), 2);
        assert_eq!(columns(1, vec2(200.0, 800.0), 1.0), 1);
        assert_eq!(columns(0, vec2(200.0, 800.0), 1.0), 1);
    }
}
