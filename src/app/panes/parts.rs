//! Small things that several panes share.

use egui::{Color32, ComboBox, Ui};

use super::areas;
use super::layer::Layer;
use crate::app::canvas::{Shown, cross, frame};
use crate::app::look_controls::{first_controls, look_controls, more_controls};
use crate::app::pane::{Context, Look};
use crate::picture::Coloring;
use crate::picture::palette::distinct;

/// The colour of a class, the same as in exported figures.
pub fn class_color(class: usize) -> Color32 {
    let [r, g, b] = distinct(class);
    Color32::from_rgb(r, g, b)
}

/// How much room a pane has for its controls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Room {
    /// All in two rows.
    Wide,
    /// In as many rows as they need.
    Narrow,
    /// Folded up, so that the picture keeps most of the pane.
    Little,
}

impl Room {
    /// Lower panes than this fold their controls up.
    const LOW: f32 = 330.0;

    /// The room of a pane that has not drawn anything yet.
    pub fn of(ui: &Ui) -> Self {
        if ui.available_width() >= areas::WIDE {
            Self::Wide
        } else if ui.available_height() >= Self::LOW {
            Self::Narrow
        } else {
            Self::Little
        }
    }
}

/// The controls that every map pane has: its layer, its modes and its look.
pub fn chooser_and_modes<M: Copy + PartialEq>(
    ui: &mut Ui,
    room: Room,
    chooser: impl FnOnce(&mut Ui),
    mode: &mut M,
    all: &[(M, &str, &str)],
) {
    ui.horizontal_wrapped(|ui| {
        chooser(ui);
        match room {
            Room::Wide => {
                ui.separator();
                modes(ui, mode, all);
            }
            Room::Narrow => {}
            Room::Little => folded_modes(ui, mode, all),
        }
    });
    if room == Room::Narrow {
        ui.horizontal_wrapped(|ui| modes(ui, mode, all));
    }
}

/// Modes of a pane as one list.
fn folded_modes<M: Copy + PartialEq>(ui: &mut Ui, mode: &mut M, all: &[(M, &str, &str)]) {
    let name = all.iter().find(|m| m.0 == *mode).map_or("", |m| m.1);
    let combo = ComboBox::from_id_salt("mode")
        .selected_text(name)
        .width(96.0)
        .show_ui(ui, |ui| modes(ui, mode, all));
    combo.response.accessible_name("map");
}

/// How the map looks; folded up where there is little room. `shown` is how it was coloured last.
pub fn looks(ui: &mut Ui, room: Room, look: &mut Look, shown: Option<&Coloring>) {
    if room != Room::Little {
        look_controls(ui, look, shown);
        return;
    }
    let button = ui
        .button("Look")
        .on_hover_text("Colours, opacity, range, threshold, contours, border");
    egui::Popup::from_toggle_button_response(&button)
        .close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside)
        .show(|ui| {
            ui.horizontal(|ui| first_controls(ui, look));
            more_controls(ui, look, shown);
        });
}

/// Modes of a pane side by side.
pub fn modes<M: Copy + PartialEq>(ui: &mut Ui, mode: &mut M, all: &[(M, &str, &str)]) {
    for (value, name, help) in all {
        ui.selectable_value(mode, *value, *name)
            .on_hover_text(*help);
    }
}

/// One head or the mean of all.
pub fn head_chooser(ui: &mut Ui, head: &mut Option<usize>, heads: usize) {
    if heads < 2 {
        return;
    }
    let name = |h: Option<usize>| h.map_or("mean of heads".to_owned(), |h| format!("head {h}"));
    let shown = head.filter(|h| *h < heads);
    let combo = ComboBox::from_id_salt("head")
        .selected_text(name(shown))
        .width(84.0)
        .show_ui(ui, |ui| {
            for choice in std::iter::once(None).chain((0..heads).map(Some)) {
                ui.selectable_value(head, choice, name(choice));
            }
        });
    combo.response.accessible_name("head");
}

/// How the maps of a pane look; `first` before anyone has changed it.
pub fn look_of<'c>(cx: &'c mut Context<'_>, pane: &str, first: Look) -> &'c mut Look {
    if !cx.looks.contains_key(pane) {
        cx.looks.insert(pane.to_owned(), first);
    }
    cx.looks.entry(pane.to_owned()).or_insert(first)
}

/// Everything that a layer sees, in pixels of the photograph: the network input and a map of
/// `padded` (height, width) cells.
pub fn beyond(layer: &Layer<'_>, padded: [usize; 2]) -> [f32; 4] {
    let [x0, y0, x1, y1] = layer.scene.letterbox.extent();
    let [h, w] = padded.map(|v| v as f32);
    let map = layer.place.rect_to_photo([0.0, 0.0, w, h]);
    [
        x0.min(map[0]),
        y0.min(map[1]),
        x1.max(map[2]),
        y1.max(map[3]),
    ]
}

/// The cell of a map under a point of the photograph: `[row, column]`.
pub fn cell_at(layer: &Layer<'_>, [x, y]: [f32; 2]) -> Option<[usize; 2]> {
    let [x, y] = layer.place.to_map(x, y);
    (x >= 0.0 && y >= 0.0).then_some([y as usize, x as usize])
}

/// A place in words, for the line at the bottom.
pub fn place_text(layer: &Layer<'_>, [x, y]: [f32; 2]) -> String {
    let [cx, cy] = layer.place.to_map(x, y);
    format!(
        "px {}, {} · cell {}, {}",
        x.floor(),
        y.floor(),
        cx.floor(),
        cy.floor()
    )
}

/// What was pressed elsewhere: the point and the detection.
pub fn elsewhere(shown: &Shown, cx: &Context<'_>) {
    let painter = shown.clipped();
    if let (Some(index), Some(detected)) = (cx.selection.detection, &cx.snapshot.detected)
        && let Some(detection) = detected.list.get(index)
    {
        let rect = shown.at.rect_to_screen(detection.rect);
        frame(&painter, rect, class_color(detection.class), 1.0);
    }
    if let Some(point) = cx.selection.point {
        cross(&painter, shown.at.to_screen(point));
    }
}
