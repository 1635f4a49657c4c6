//! Colours of classes.

use egui::Color32;

/// A colour per class: equally light, hues a golden angle apart so that neighbours in the list
/// differ most. Three rounds of lightness keep apart what the hue no longer does.
pub fn class_color(class: usize) -> Color32 {
    let hue = (25.0 + 137.507_77 * (class % 100_000) as f32).to_radians();
    let lightness = [0.76, 0.86, 0.68][class / 12 % 3];
    oklch(lightness, 0.16, hue)
}

/// OKLCH to sRGB (Ottosson 2020), clipped to what a screen shows.
fn oklch(lightness: f32, chroma: f32, hue: f32) -> Color32 {
    let (a, b) = (chroma * hue.cos(), chroma * hue.sin());
    let l = (lightness + 0.396_337_78 * a + 0.215_803_76 * b).powi(3);
    let m = (lightness - 0.105_561_346 * a - 0.063_854_17 * b).powi(3);
    let s = (lightness - 0.089_484_18 * a - 1.291_485_5 * b).powi(3);
    let linear = [
        4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
        -1.268_438 * l + 2.609_757_4 * m - 0.341_319_4 * s,
        -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
    ];
    let [r, g, b] = linear.map(|v| v.clamp(0.0, 1.0));
    Color32::from(egui::Rgba::from_rgb(r, g, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_classes_are_far_apart() {
        let colors: Vec<[i32; 3]> = (0..10)
            .map(|c| {
                let [r, g, b, _] = class_color(c).to_array();
                [r, g, b].map(i32::from)
            })
            .collect();
        for (i, a) in colors.iter().enumerate() {
            for b in &colors[i + 1..] {
                let d: i32 = a.iter().zip(b).map(|(x, y)| (x - y).abs()).sum();
                assert!(d > 45, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn grey_of_the_colour_space_is_grey() {
        let [r, g, b, _] = oklch(0.6, 0.0, 0.0).to_array();
        assert!(r.abs_diff(g) <= 1 && g.abs_diff(b) <= 1 && (120..=135).contains(&r));
    }
}
