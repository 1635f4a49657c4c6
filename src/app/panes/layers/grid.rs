//! All feature maps of a row, small. Only those in sight are coloured.

use egui::accesskit::Role;
use egui::{
    Align2, FontId, Rect, ScrollArea, Sense, Stroke, StrokeKind, Ui, Vec2, WidgetInfo, pos2, vec2,
};

use super::{Seen, describe};
use crate::app::canvas::{HeatLayer, RELATED, SMALL};
use crate::app::pane::Look;
use crate::app::panes::memo::Same;
use crate::attention::view::Heat;
use crate::engine::Channels;
use crate::picture::numbers::value_label;
use crate::picture::{Contour, Range, Sampling};

/// Width of a map, in points; it grows to fill the row.
const TILE: f32 = 76.0;
const GAP: f32 = 5.0;
const LINE: f32 = SMALL + 3.0;
/// Cells that are coloured in one frame at most, beside one map: more would be felt.
const CELLS_PER_FRAME: usize = 1 << 18;

/// Draws the maps; keeps their textures as long as the numbers stay.
#[derive(Default)]
pub struct Grid {
    of: Option<Same<Channels>>,
    tiles: Vec<Option<Tile>>,
}

struct Tile {
    heat: Heat,
    layer: HeatLayer,
    /// How it was coloured last.
    drawn: Option<(Look, Option<Range>)>,
}

/// What the hand does with the maps.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Hand {
    /// Channel under the pointer.
    pub hover: Option<usize>,
    /// Channel that was pressed.
    pub pressed: Option<usize>,
}

/// One frame's way through the maps.
struct Pass<'a> {
    seen: &'a Seen<'a>,
    frame: Frame,
    selected: Option<usize>,
    /// Cells that may still be coloured.
    budget: usize,
    hand: Hand,
}

/// How the maps lie.
#[derive(Clone, Copy)]
struct Frame {
    /// Size of a map on the screen.
    size: egui::Vec2,
    /// What is seen of each, in cells: all of it, or where the photograph lies.
    seen: [f32; 4],
    cols: usize,
}

impl Grid {
    /// Draws what is in sight.
    pub(super) fn show(&mut self, ui: &mut Ui, seen: &Seen<'_>, selected: Option<usize>) -> Hand {
        let maps = Same::of(&seen.features.maps);
        if self.of.as_ref() != Some(&maps) {
            self.tiles.clear();
            self.tiles.resize_with(seen.features.maps.count(), || None);
            self.of = Some(maps);
        }
        let mut pass = Pass {
            seen,
            frame: frame(ui, seen),
            selected,
            budget: CELLS_PER_FRAME,
            hand: Hand::default(),
        };
        let Frame { size, cols, .. } = pass.frame;
        let lines = seen.order.len().div_ceil(cols);
        ui.spacing_mut().item_spacing = vec2(GAP, GAP);
        ScrollArea::vertical()
            .auto_shrink([false, false])
            .show_rows(ui, size.y + LINE, lines, |ui, shown| {
                for line in seen.order.chunks(cols).skip(shown.start).take(shown.len()) {
                    ui.horizontal(|ui| {
                        for channel in line {
                            self.tile(ui, &mut pass, *channel);
                        }
                    });
                }
            });
        pass.hand
    }

    /// One map with its line of text.
    fn tile(&mut self, ui: &mut Ui, pass: &mut Pass<'_>, channel: usize) {
        let Pass { seen, frame, .. } = *pass;
        let selected = pass.selected == Some(channel);
        let size = frame.size + vec2(0.0, LINE);
        let (all, response) = ui.allocate_exact_size(size, Sense::click());
        let name = format!("channel {channel}");
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, selected, &name));
        let rect = Rect::from_min_size(all.min, frame.size);
        self.map(ui, pass, channel, rect);
        let visuals = ui.visuals();
        let edge = match (selected, response.hovered() || response.has_focus()) {
            (true, _) => Some(Stroke::new(2.0, RELATED)),
            (false, true) => Some(visuals.widgets.hovered.bg_stroke),
            (false, false) => None,
        };
        if let Some(stroke) = edge {
            ui.painter()
                .rect_stroke(rect, 0, stroke, StrokeKind::Outside);
        }
        let text = match seen.shared {
            Some(_) => channel.to_string(),
            // Without a bar for all, each map says what its colours stand for.
            None => {
                let range = seen.features.maps.range(channel);
                let [low, high] = [range.min, range.max].map(|v| value_label(v, 2));
                format!("{channel}: {low} to {high}")
            }
        };
        ui.painter_at(all).text(
            pos2(all.left(), all.bottom()),
            Align2::LEFT_BOTTOM,
            text,
            FontId::proportional(SMALL),
            visuals.text_color(),
        );
        if response.hovered() {
            pass.hand.hover = Some(channel);
        }
        if response.clicked() {
            pass.hand.pressed = Some(channel);
        }
        response.on_hover_ui(|ui| {
            for line in describe(seen, channel).split(" · ") {
                ui.label(line);
            }
        });
    }

    /// The colours of one map. What the frame has no time for follows in the next one.
    fn map(&mut self, ui: &Ui, pass: &mut Pass<'_>, channel: usize, rect: Rect) {
        let Pass { seen, frame, .. } = *pass;
        let Some(slot) = self.tiles.get_mut(channel) else {
            return;
        };
        if slot.is_none() {
            let heat = seen.features.maps.heat(channel);
            *slot = heat.map(|heat| Tile {
                heat,
                layer: HeatLayer::default(),
                drawn: None,
            });
        }
        let Some(tile) = slot else {
            return;
        };
        // Small maps are seen as they are: cell by cell, without the photograph.
        let look = Look {
            opacity: 1.0,
            border: false,
            sampling: Sampling::Nearest,
            contour: Contour::Off,
            ..seen.look
        };
        let wanted = Some((look, seen.shared));
        let mut painter = ui.painter_at(rect);
        painter.rect_filled(rect, 0, ui.visuals().extreme_bg_color);
        if tile.drawn != wanted {
            if pass.budget == 0 {
                ui.ctx().request_repaint();
                return;
            }
            pass.budget = pass.budget.saturating_sub(tile.heat.values.len());
            tile.drawn = wanted;
        }
        let [x0, y0, x1, y1] = frame.seen;
        let cell = rect.size() / vec2((x1 - x0).max(1e-6), (y1 - y0).max(1e-6));
        let whole = Rect::from_min_size(
            rect.min - vec2(x0, y0) * cell,
            cell * vec2(tile.heat.cols as f32, tile.heat.rows as f32),
        );
        if seen.stale {
            painter.multiply_opacity(0.55);
        }
        tile.layer
            .paint(&painter, &tile.heat, &look, seen.shared, whole);
    }
}

/// As many maps in a row as fit, with what is seen of each.
fn frame(ui: &Ui, seen: &Seen<'_>) -> Frame {
    let [h, w] = seen.features.maps.size();
    let place = seen.scene.place([h, w]);
    let photo = &seen.scene.photo;
    let part = match seen.look.border {
        true => [0.0, 0.0, w as f32, h as f32],
        false => {
            let [x0, y0] = place.to_map(0.0, 0.0);
            let [x1, y1] = place.to_map(photo.width as f32, photo.height as f32);
            [x0, y0, x1, y1]
        }
    };
    let aspect = ((part[2] - part[0]) / (part[3] - part[1]).max(1e-6)).clamp(0.2, 5.0);
    // The bar of the scroll area takes some of the width.
    let room = vec2(ui.available_width() - 14.0, ui.available_height());
    let (size, cols) = fit(room, aspect);
    let seen = part;
    Frame { size, seen, cols }
}

/// Size of a map of this width to height, and how many lie in a row: as many as fill it, and a whole one in sight.
fn fit(room: Vec2, aspect: f32) -> (Vec2, usize) {
    let width = room.x.max(TILE / 2.0) + GAP;
    let fill = width / (width / (TILE + GAP)).floor().max(1.0) - GAP;
    let high = ((room.y - LINE) * aspect).max(TILE / 2.0);
    let side = fill.min(high);
    // The number whose quotient `fill` is must not be rounded down.
    let cols = ((width / (side + GAP) + 1e-3) as usize).max(1);
    (vec2(side, side / aspect), cols)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_fill_the_row_or_one_of_them_the_height() {
        for (room, aspect) in [
            ([300.0, 400.0], 1.5),
            ([320.0, 80.0], 1.5),
            ([90.0, 90.0], 0.7),
        ] {
            let (size, cols) = fit(room.into(), aspect);
            let across = cols as f32 * (size.x + GAP) - GAP;
            assert!(across <= room[0] + 0.5, "{room:?}: {across}");
            assert!(size.y + LINE <= room[1] + 0.1, "{room:?}: {size}");
            assert!((size.x / size.y - aspect).abs() < 1e-3);
        }
        let (size, cols) = fit(vec2(300.0, 400.0), 1.5);
        assert!((cols as f32 * (size.x + GAP) - GAP - 300.0).abs() < 0.1);
    }
}
