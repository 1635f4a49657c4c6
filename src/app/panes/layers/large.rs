//! One feature map over the photograph.

use egui::Ui;

use super::{QUANTITY, Seen, describe};
use crate::app::canvas::{Canvas, HeatLayer, Pen};
use crate::app::color_bar::color_bar;
use crate::app::pane::Context;
use crate::app::panes::areas::{self, Side};
use crate::app::panes::memo::{Memo, Same};
use crate::app::panes::{layer, parts};
use crate::attention::view::Heat;
use crate::engine::Channels;
use crate::picture::Coloring;
use crate::picture::numbers::value_label;

/// Draws the map; keeps its texture.
#[derive(Default)]
pub struct Large {
    heat: Memo<(Same<Channels>, usize), Option<Heat>>,
    layer: HeatLayer,
}

impl Large {
    /// How the last map was coloured.
    pub fn coloring(&self) -> Option<&Coloring> {
        self.layer.coloring()
    }

    /// Draws a channel. Returns whether the map was pressed, which goes back to all of them.
    pub(super) fn show(
        &mut self,
        ui: &mut Ui,
        cx: &mut Context<'_>,
        seen: &Seen<'_>,
        channel: usize,
    ) -> bool {
        let maps = &seen.features.maps;
        let key = (Same::of(maps), channel);
        let heat = self.heat.get(key, || maps.heat(channel));
        let Some(heat) = heat else {
            return true;
        };
        let canvas = Canvas {
            name: "Feature map canvas",
            scene: seen.scene,
            beyond: seen.look.border.then(|| seen.scene.letterbox.extent()),
            dim: seen.stale,
        };
        let areas = areas::divide(ui, true, Side::None, canvas.aspect());
        let shown = canvas.show(ui, areas.canvas, cx.camera);
        let place = seen.scene.place(maps.size());
        let painter = shown.clipped();
        let [w, h] = heat.extent;
        let target = Pen::new(&painter, shown.at, place).rect([0.0, 0.0, w, h]);
        let coloring = self
            .layer
            .paint(&painter, heat, &seen.look, seen.shared, target);
        let value = shown.hover.and_then(|[x, y]| {
            let [x, y] = place.to_map(x, y);
            heat.value_at(x, y)
        });
        if let (Some(rect), Some(coloring)) = (areas.bar, coloring) {
            color_bar(ui, rect, coloring, QUANTITY, value);
        }
        parts::elsewhere(&shown, cx);
        layer::notes(ui, areas.canvas, &seen.features.badges, seen.stale);
        let pointer = shown.hover.map_or(String::new(), |point| {
            let value = value.map_or(String::new(), |v| {
                format!(" · {QUANTITY} {}", value_label(v, 4))
            });
            parts::place_text(place, point) + &value
        });
        let text = describe(seen, channel);
        let (title, remark) = text.split_once(" · ").unwrap_or((&text, ""));
        areas::lines(ui, areas.lines, title, remark, &pointer);
        step(cx, seen, channel, shown.step[0] + shown.step[1]);
        shown.pressed.is_some()
    }
}

/// Arrow keys go on to the next channel in the order.
fn step(cx: &mut Context<'_>, seen: &Seen<'_>, channel: usize, by: i32) {
    let place = seen.order.iter().position(|c| *c == channel);
    if let (Some(place), true) = (place, by != 0) {
        let last = seen.order.len().saturating_sub(1);
        let next = place.saturating_add_signed(by as isize).min(last);
        cx.selection.channel = seen.order.get(next).copied();
    }
}
