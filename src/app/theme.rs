//! The look of the window: distances and colours in one place, for both themes.

use std::sync::Arc;

use egui::epaint::text::{
    FallbackRequest, FontInsert, FontPriority, FontProvider, InsertFontFamily,
};
use egui::{Color32, CornerRadius, FontData, Margin, RichText, Stroke, Theme, Visuals, vec2};

use crate::picture::fonts::{self, Finder};

/// Between parts of one thing.
pub const SMALL: f32 = 4.0;
/// Between things.
pub const GAP: f32 = 8.0;
/// Between groups.
pub const WIDE: f32 = 16.0;
/// Inside panels, in whole points as egui wants margins.
pub const MARGIN: i8 = 8;
const ROUND: u8 = 4;

struct Palette {
    panel: Color32,
    /// Behind text fields and in the gaps between panes.
    deep: Color32,
    line: Color32,
    text: Color32,
    strong: Color32,
    control: Color32,
    control_hovered: Color32,
    accent: Color32,
    selected: Color32,
    warn: Color32,
    error: Color32,
}

const DARK: Palette = Palette {
    panel: Color32::from_rgb(30, 32, 36),
    deep: Color32::from_rgb(20, 21, 24),
    line: Color32::from_rgb(56, 59, 66),
    text: Color32::from_rgb(206, 209, 215),
    strong: Color32::from_rgb(255, 255, 255),
    control: Color32::from_rgb(52, 55, 62),
    control_hovered: Color32::from_rgb(66, 70, 79),
    accent: Color32::from_rgb(92, 165, 255),
    selected: Color32::from_rgb(30, 74, 128),
    warn: Color32::from_rgb(240, 180, 80),
    error: Color32::from_rgb(255, 120, 110),
};

const LIGHT: Palette = Palette {
    panel: Color32::from_rgb(247, 247, 248),
    deep: Color32::from_rgb(255, 255, 255),
    line: Color32::from_rgb(208, 211, 217),
    text: Color32::from_rgb(48, 51, 58),
    strong: Color32::from_rgb(0, 0, 0),
    control: Color32::from_rgb(228, 230, 235),
    control_hovered: Color32::from_rgb(214, 218, 226),
    accent: Color32::from_rgb(20, 98, 190),
    selected: Color32::from_rgb(174, 208, 248),
    warn: Color32::from_rgb(150, 88, 0),
    error: Color32::from_rgb(186, 32, 32),
};

/// Sets both themes, and where letters come from that the fonts of the window lack.
pub fn apply(ctx: &egui::Context) {
    ctx.add_font_provider(Arc::new(provider(fonts::system())));
    for (theme, palette) in [(Theme::Dark, &DARK), (Theme::Light, &LIGHT)] {
        ctx.style_mut_of(theme, |style| {
            style.spacing.item_spacing = vec2(GAP, 6.0);
            style.spacing.button_padding = vec2(8.0, 3.0);
            style.spacing.menu_margin = Margin::same(6);
            style.spacing.slider_width = 110.0;
            style.spacing.combo_width = 84.0;
            style.spacing.tooltip_width = 380.0;
            // Numbers beside sliders must not jump while they are dragged.
            style.spacing.interact_size = vec2(38.0, 22.0);
            style.interaction.selectable_labels = false;
            let small = egui::FontId::proportional(11.0);
            style.text_styles.insert(egui::TextStyle::Small, small);
            paint(&mut style.visuals, palette);
        });
    }
}

/// Gives the window a font for a letter that no other has: asked once for every letter, and only
/// when it is about to be drawn.
fn provider(finder: &'static Finder) -> impl FontProvider {
    move |request: &FallbackRequest<'_>| {
        let found = finder.covering(request.cluster).fonts.into_iter().next()?;
        let data = FontData {
            index: found.index,
            ..FontData::from_static(found.data)
        };
        let family = InsertFontFamily {
            family: request.family.clone(),
            priority: FontPriority::Lowest,
        };
        Some(FontInsert::new(&found.name, data, vec![family]))
    }
}

fn paint(visuals: &mut Visuals, p: &Palette) {
    visuals.panel_fill = p.panel;
    visuals.window_fill = p.panel;
    visuals.window_stroke = Stroke::new(1.0, p.line);
    visuals.extreme_bg_color = p.deep;
    visuals.faint_bg_color = p.panel.lerp_to_gamma(p.control, 0.35);
    visuals.code_bg_color = p.control;
    visuals.hyperlink_color = p.accent;
    visuals.warn_fg_color = p.warn;
    visuals.error_fg_color = p.error;
    visuals.weak_text_color = Some(p.text.lerp_to_gamma(p.panel, 0.38));
    visuals.selection.bg_fill = p.selected;
    visuals.selection.stroke = Stroke::new(1.0, p.accent);
    visuals.slider_trailing_fill = true;
    visuals.window_corner_radius = CornerRadius::same(ROUND + 2);
    visuals.menu_corner_radius = CornerRadius::same(ROUND + 2);
    let w = &mut visuals.widgets;
    for (state, fill, line) in [
        (&mut w.noninteractive, p.panel, p.line),
        (&mut w.inactive, p.control, p.control),
        (&mut w.hovered, p.control_hovered, p.accent),
        (&mut w.active, p.control_hovered, p.accent),
        (&mut w.open, p.control_hovered, p.line),
    ] {
        state.bg_fill = fill;
        state.weak_bg_fill = fill;
        state.bg_stroke = Stroke::new(1.0, line);
        state.fg_stroke = Stroke::new(1.0, p.text);
        state.corner_radius = CornerRadius::same(ROUND);
        state.expansion = 0.0;
    }
    visuals.widgets.active.fg_stroke.color = p.strong;
}

/// Text that warns, in a frame: this is to be read with care.
pub fn badge(ui: &mut egui::Ui, text: &str) -> egui::Response {
    let color = ui.visuals().warn_fg_color;
    egui::Frame::new()
        .stroke(Stroke::new(1.0, color))
        .corner_radius(CornerRadius::same(ROUND))
        .inner_margin(Margin::symmetric(6, 1))
        .show(ui, |ui| {
            ui.add(egui::Label::new(RichText::new(text).color(color).small()).wrap())
        })
        .inner
}

/// Small quiet text.
pub fn quiet(text: impl Into<String>) -> RichText {
    RichText::new(text).small().weak()
}

/// The symbol of the window: routed regions, 64 × 64.
pub fn icon() -> egui::IconData {
    const SIDE: usize = 64;
    let cell = |x: usize, y: usize| match ((x - 4) / 19, (y - 4) / 19) {
        (1, 1) => [255, 196, 80],
        (0, 1) | (2, 0) | (1, 2) => [92, 165, 255],
        _ => [66, 72, 84],
    };
    let mut rgba = Vec::with_capacity(SIDE * SIDE * 4);
    for y in 0..SIDE {
        for x in 0..SIDE {
            let inside = |v: usize| (4..60).contains(&v) && (v - 4) % 19 < 17;
            match inside(x) && inside(y) {
                true => rgba.extend(cell(x, y).into_iter().chain([255])),
                false => rgba.extend([30, 32, 36, 255]),
            }
        }
    }
    egui::IconData {
        rgba,
        width: SIDE as u32,
        height: SIDE as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_gets_a_font_for_letters_it_lacks() {
        let ctx = egui::Context::default();
        let finder = Box::leak(Box::new(Finder::new(Some("tests/fonts".into()))));
        ctx.add_font_provider(Arc::new(provider(finder)));
        let mut found = Vec::new();
        let mut output = ctx.run_ui(egui::RawInput::default(), |ui| {
            ui.label("cat кот");
            ui.label("猫");
            ui.label("قطة");
            found = ui.fonts(|f| {
                f.discovered_fonts()
                    .iter()
                    .map(|i| i.name.clone())
                    .collect()
            });
        });
        output.textures_delta.clear();
        assert_eq!(found, ["NotoSansCJKsc-Regular", "NotoSansArabic-Regular"]);
    }
}
