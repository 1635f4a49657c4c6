//! How a map looks: colours, opacity, cells or smooth.

use egui::{ComboBox, Sense, Slider, Ui, WidgetInfo, accesskit::Role, vec2};

use super::color_bar::swatch;
use super::pane::Look;
use crate::picture::{Colormap, Sampling};

/// The controls of a look in one row.
pub fn look_controls(ui: &mut Ui, look: &mut Look) {
    let wide = ui.available_width() > 420.0;
    colormap_picker(ui, &mut look.colormap);
    ui.spacing_mut().slider_width = if wide { 90.0 } else { 52.0 };
    let opacity = Slider::new(&mut look.opacity, 0.0..=1.0)
        .show_value(wide)
        .fixed_decimals(2)
        .text("opacity");
    ui.add(opacity)
        .on_hover_text("0 shows the photograph alone, 1 the map alone");
    let mut smooth = look.sampling == Sampling::Smooth;
    let hover = "Off: every cell is a flat rectangle, as the network has it. \
                 On: values are interpolated between cell centres.";
    if ui
        .checkbox(&mut smooth, "smooth")
        .on_hover_text(hover)
        .changed()
    {
        look.sampling = match smooth {
            true => Sampling::Smooth,
            false => Sampling::Nearest,
        };
    }
}

fn colormap_picker(ui: &mut Ui, chosen: &mut Colormap) {
    let combo = ComboBox::from_id_salt("colormap")
        .selected_text(chosen.name())
        .width(if ui.available_width() > 420.0 {
            94.0
        } else {
            76.0
        })
        .height(320.0)
        .show_ui(ui, |ui| {
            for colormap in Colormap::ALL {
                if row(ui, colormap, colormap == *chosen) {
                    *chosen = colormap;
                }
            }
        });
    let rect = combo.response.rect;
    let strip = egui::Rect::from_min_max(
        egui::pos2(rect.left() + 2.0, rect.bottom() - 3.0),
        egui::pos2(rect.right() - 2.0, rect.bottom() - 1.0),
    );
    swatch(ui.painter(), strip, *chosen);
    combo
        .response
        .accessible_name("colormap")
        .on_hover_text("colormap");
}

/// One line of the list: the gradient and the name. Returns whether it was clicked.
fn row(ui: &mut Ui, colormap: Colormap, selected: bool) -> bool {
    let (rect, response) = ui.allocate_exact_size(vec2(170.0, 20.0), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, selected, colormap.name()));
    let visuals = ui.style().interact_selectable(&response, selected);
    if selected || response.hovered() || response.has_focus() {
        ui.painter().rect_filled(rect, 2, visuals.weak_bg_fill);
    }
    let mut bar = rect.shrink(3.0);
    bar.set_width(80.0);
    swatch(ui.painter(), bar, colormap);
    ui.painter().text(
        egui::pos2(bar.right() + 8.0, rect.center().y),
        egui::Align2::LEFT_CENTER,
        colormap.name(),
        egui::TextStyle::Button.resolve(ui.style()),
        visuals.text_color(),
    );
    response.clicked()
}
