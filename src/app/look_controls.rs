//! How a map looks: colours and opacity in a row, the rest behind a button.

use egui::{
    Button, Checkbox, ComboBox, DragValue, Popup, PopupCloseBehavior, Response, Sense, Slider, Ui,
    WidgetInfo, accesskit::Role, vec2,
};

use super::color_bar::swatch;
use super::theme;
use crate::picture::{Coloring, Colormap, Contour, Look, Range, RangeRule, Sampling, range_words};

/// The controls of a look: colours, opacity, and a button for the rest. `shown` is how the map was
/// coloured last.
pub fn look_controls(ui: &mut Ui, look: &mut Look, shown: Option<&Coloring>) {
    first_controls(ui, look);
    let changed = Look {
        colormap: look.colormap,
        opacity: look.opacity,
        ..Look::default()
    } != *look;
    let button = ui.add(Button::new("…").selected(changed));
    button.widget_info(|| WidgetInfo::labeled(Role::Button, true, "More"));
    let button =
        button.on_hover_text("Range, clip, threshold, mass, contours, cells or smooth, border");
    Popup::from_toggle_button_response(&button)
        .close_behavior(PopupCloseBehavior::CloseOnClickOutside)
        .show(|ui| more_controls(ui, look, shown));
}

/// Colours and opacity.
pub fn first_controls(ui: &mut Ui, look: &mut Look) {
    let wide = ui.available_width() > 420.0;
    colormap_picker(ui, &mut look.colormap);
    ui.spacing_mut().slider_width = if wide { 90.0 } else { 52.0 };
    let opacity = Slider::new(&mut look.opacity, 0.0..=1.0)
        .show_value(wide)
        .fixed_decimals(2)
        .text("opacity");
    ui.add(opacity)
        .on_hover_text("0 shows the photograph alone, 1 the map alone");
}

/// Everything else.
pub fn more_controls(ui: &mut Ui, look: &mut Look, shown: Option<&Coloring>) {
    let raw = shown.map_or(Range::UNIT, |c| c.raw);
    ui.spacing_mut().slider_width = 120.0;
    ui.horizontal(|ui| {
        ui.checkbox(&mut look.invert, "invert")
            .on_hover_text("Run through the colours the other way");
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
        ui.checkbox(&mut look.border, "border").on_hover_text(
            "Also show what the layer sees around the photograph: the grey letterbox border and \
             the padding of the map",
        );
    });
    ui.separator();
    range_controls(ui, look, shown, raw);
    ui.separator();
    threshold_control(ui, look, raw);
    mass_control(ui, look);
    contour_controls(ui, look);
    ui.separator();
    if ui
        .button("Reset")
        .on_hover_text("Everything as it was at first")
        .clicked()
    {
        *look = Look::default();
    }
}

/// Over which values the colours are stretched.
fn range_controls(ui: &mut Ui, look: &mut Look, shown: Option<&Coloring>, raw: Range) {
    let locked = match look.rule {
        RangeRule::Locked(range) => range,
        _ => shown.map_or(Range::UNIT, |c| c.range),
    };
    ui.horizontal(|ui| {
        ui.label("range");
        for (rule, name, hover) in [
            (RangeRule::Own, "per map", "Each map over its own values"),
            (
                RangeRule::Locked(locked),
                "locked",
                "Always over these values, whatever the map holds: maps can be compared by colour",
            ),
            (
                RangeRule::Shared,
                "shared",
                "Over the values of all maps of this quantity that are shown together",
            ),
        ] {
            ui.selectable_value(&mut look.rule, rule, name)
                .on_hover_text(hover);
        }
    });
    if let RangeRule::Locked(range) = &mut look.rule {
        ui.horizontal(|ui| {
            let speed = f64::from((raw.max - raw.min).abs().max(range.max - range.min)) / 200.0;
            let speed = if speed.is_finite() && speed > 0.0 {
                speed
            } else {
                0.01
            };
            let bound = |ui: &mut Ui, value: &mut f32, least: f32, most: f32, name: &str| {
                let drag = DragValue::new(value)
                    .speed(speed)
                    .range(least..=most)
                    .max_decimals(6);
                named(ui.add(drag), name).on_hover_text(format!("{name}: drag, or click to type"));
            };
            let Range { min, max } = *range;
            bound(ui, &mut range.min, -f32::MAX, max, "lowest");
            ui.label("to");
            bound(ui, &mut range.max, min, f32::MAX, "highest");
            if ui
                .button("as now")
                .on_hover_text("Lock to the range of the map as it is now")
                .clicked()
            {
                *range = raw;
            }
        });
    }
    let clip = Slider::new(&mut look.clip, 0.0..=Look::MOST_CLIP)
        .fixed_decimals(1)
        .suffix(" %")
        .text("clip");
    let unlocked = !matches!(look.rule, RangeRule::Locked(_));
    ui.add_enabled(unlocked, clip)
        .on_hover_text("Cut this share of the values off each end of the range: a few extreme cells no longer take all the contrast")
        .on_disabled_hover_text("A locked range is not clipped");
    if let Some(coloring) = shown {
        ui.label(theme::quiet(format!("map {}", range_words(coloring.raw))));
    }
}

/// Hides what lies below a value.
fn threshold_control(ui: &mut Ui, look: &mut Look, raw: Range) {
    let start = raw.middle();
    optional(
        ui,
        &mut look.threshold,
        start,
        ["threshold", "Hide every cell below a value"],
        |ui, value| {
            let (low, high) = (raw.min.min(*value), raw.max.max(*value));
            let slider = Slider::new(value, low..=high).max_decimals(6);
            ui.add(slider)
        },
    );
}

/// Shows only the cells that hold most of the map's mass.
fn mass_control(ui: &mut Ui, look: &mut Look) {
    let hover = "Show only the largest cells that together hold this share of the sum of the map";
    optional(
        ui,
        &mut look.mass,
        90.0,
        ["top mass", hover],
        |ui, value| {
            ui.add(
                Slider::new(value, 1.0..=100.0)
                    .fixed_decimals(0)
                    .suffix(" %"),
            )
        },
    );
}

/// A value that may be switched off, with its slider.
fn optional(
    ui: &mut Ui,
    value: &mut Option<f32>,
    start: f32,
    [name, hover]: [&str; 2],
    slider: impl FnOnce(&mut Ui, &mut f32) -> Response,
) {
    ui.horizontal(|ui| {
        let mut on = value.is_some();
        let switch = ui.add(Checkbox::new(&mut on, name)).on_hover_text(hover);
        if switch.changed() {
            *value = on.then_some(start);
        }
        if let Some(value) = value {
            named(slider(ui, value), &format!("{name} value")).on_hover_text(hover);
        }
    });
}

/// Lines of equal value.
fn contour_controls(ui: &mut Ui, look: &mut Look) {
    let levels = match look.contour {
        Contour::Levels(n) => n,
        _ => 5,
    };
    ui.horizontal(|ui| {
        ui.label("contours");
        for (contour, name, hover) in [
            (Contour::Off, "none", "No lines"),
            (
                Contour::Threshold,
                "at threshold",
                "Around what the threshold and the top mass leave",
            ),
            (
                Contour::Levels(levels),
                "levels",
                "Lines at evenly spaced values of the range",
            ),
        ] {
            ui.selectable_value(&mut look.contour, contour, name)
                .on_hover_text(hover);
        }
    });
    if let Contour::Levels(n) = &mut look.contour {
        ui.add(Slider::new(n, 1..=Contour::MOST).text("lines"))
            .on_hover_text("How many lines");
    }
}

/// Gives a control that shows only a number its name.
fn named(response: Response, name: &str) -> Response {
    response.accessible_name(name)
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
