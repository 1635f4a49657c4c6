//! Small things that several panes share.

use egui::{Color32, ComboBox, Ui};

use super::areas;
use crate::app::canvas::{Shown, cross, frame};
use crate::app::look_controls::{first_controls, look_controls, more_controls};
use crate::app::pane::{Context, Look};
use crate::engine::Placement;
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

/// One of `n`, or none of them where that means something.
pub fn chooser(ui: &mut Ui, what: &str, none: &str, chosen: &mut Option<usize>, n: usize) {
    if n < 2 {
        return;
    }
    let name = |i: Option<usize>| match i {
        Some(i) => format!("{what} {i}"),
        None if none.is_empty() => format!("{what} 0"),
        None => none.to_owned(),
    };
    let shown = chosen.filter(|i| *i < n);
    let combo = ComboBox::from_id_salt(what)
        .selected_text(name(shown))
        .width(84.0)
        .show_ui(ui, |ui| {
            let least = usize::from(none.is_empty());
            for choice in std::iter::once(None).chain((least..n).map(Some)) {
                ui.selectable_value(chosen, choice, name(choice));
            }
        });
    combo.response.accessible_name(what);
}

/// How the maps of a pane look; `first` before anyone has changed it.
pub fn look_of<'c>(cx: &'c mut Context<'_>, pane: &str, first: Look) -> &'c mut Look {
    if !cx.looks.contains_key(pane) {
        cx.looks.insert(pane.to_owned(), first);
    }
    cx.looks.entry(pane.to_owned()).or_insert(first)
}

/// A place in words, for the line at the bottom.
pub fn place_text(place: Placement, [x, y]: [f32; 2]) -> String {
    let [cx, cy] = place.to_map(x, y);
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
