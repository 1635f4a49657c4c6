//! Colours of things that are told apart: classes, super tokens, marks.

use std::sync::OnceLock;

/// The first colours: Okabe and Ito's set, made to be told apart with any kind of colour vision,
/// without its black (<https://jfly.uni-koeln.de/color/>), bright ones first.
const FIRST: [[u8; 3]; 7] = [
    [230, 159, 0],
    [86, 180, 233],
    [0, 158, 115],
    [240, 228, 66],
    [213, 94, 0],
    [204, 121, 167],
    [0, 114, 178],
];

/// What was asked about, on a photograph.
pub const QUERY: [u8; 3] = [255, 255, 255];
/// What belongs to it: seen on every colour map and on the grey ones.
pub const RELATED: [u8; 3] = [255, 138, 48];

/// How many different colours there are; [`distinct`] begins again after them.
pub const COLORS: usize = 96;

/// Colour of a class or group by its number, the same on every run.
///
/// The first seven suit colour-blind eyes. Each one after them is, among even steps of hue,
/// lightness and strength, the farthest from all before it: the first ones differ the most.
pub fn distinct(id: usize) -> [u8; 3] {
    static TABLE: OnceLock<Vec<[u8; 3]>> = OnceLock::new();
    let table = TABLE.get_or_init(farthest_first);
    table[id % table.len()]
}

fn farthest_first() -> Vec<[u8; 3]> {
    let mut candidates = Vec::new();
    for lightness in [0.5, 0.6, 0.7, 0.8, 0.88] {
        for chroma in [0.09, 0.16] {
            for hue in 0..24 {
                let angle = f64::from(hue) / 24.0 * std::f64::consts::TAU;
                candidates.push(oklch_to_srgb(lightness, chroma, angle));
            }
        }
    }
    let mut chosen = FIRST.to_vec();
    while chosen.len() < COLORS {
        let room = |color: &[u8; 3]| chosen.iter().map(|&other| distance(*color, other)).min();
        // The last of equals, always the same one; the candidates are never empty.
        let farthest = candidates.iter().max_by_key(|&color| room(color));
        chosen.extend(farthest);
    }
    chosen
}

/// Square of the distance in RGB: coarse, but the candidates are even already.
fn distance(a: [u8; 3], b: [u8; 3]) -> u32 {
    let squares = a
        .iter()
        .zip(b)
        .map(|(&a, b)| u32::from(a.abs_diff(b)).pow(2));
    squares.sum()
}

/// Black or white, whichever reads better on `background`.
pub fn ink_on(background: [u8; 3]) -> [u8; 3] {
    // Contrast with black is (l + .05)/.05 and with white 1.05/(l + .05): equal at l = .179.
    if luminance(background) > 0.179 {
        [0; 3]
    } else {
        [255; 3]
    }
}

/// Relative luminance, 0 … 1 (WCAG 2).
fn luminance(color: [u8; 3]) -> f64 {
    let [r, g, b] = color.map(|c| {
        let c = f64::from(c) / 255.0;
        if c <= 0.04045 {
            c / 12.92
        } else {
            ((c + 0.055) / 1.055).powf(2.4)
        }
    });
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

/// Björn Ottosson's Oklab in polar form, <https://bottosson.github.io/posts/oklab/>. Colours
/// outside of sRGB are clipped.
fn oklch_to_srgb(lightness: f64, chroma: f64, hue: f64) -> [u8; 3] {
    let (a, b) = (chroma * hue.cos(), chroma * hue.sin());
    let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
    let linear = [
        4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s,
        -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s,
        -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s,
    ];
    linear.map(|c| {
        let c = c.clamp(0.0, 1.0);
        let c = if c <= 0.003_130_8 {
            12.92 * c
        } else {
            1.055 * c.powf(1.0 / 2.4) - 0.055
        };
        (c * 255.0).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Smallest distance between any two of the first `count` colours.
    fn closest(count: usize) -> f64 {
        let pairs = (0..count).flat_map(|a| (0..a).map(move |b| (a, b)));
        let squares = pairs.map(|(a, b)| distance(distinct(a), distinct(b)));
        f64::from(squares.min().unwrap()).sqrt()
    }

    #[test]
    fn colours_are_far_apart() {
        assert!(closest(10) > 65.0, "{}", closest(10));
        assert!(closest(20) > 60.0, "{}", closest(20));
        assert!(closest(80) > 20.0, "{}", closest(80));
        assert_eq!(distinct(COLORS + 3), distinct(3));
    }

    #[test]
    fn oklab_reference_points() {
        // Without chroma a lightness of 1 is white; red has lightness .628, chroma .2577, hue 29.23°.
        assert_eq!(oklch_to_srgb(1.0, 0.0, 0.0), [255, 255, 255]);
        let red = oklch_to_srgb(0.627_96, 0.257_68, 29.234f64.to_radians());
        assert!(distance(red, [255, 0, 0]) < 4, "{red:?}");
    }

    #[test]
    fn ink_has_the_better_contrast() {
        assert_eq!(ink_on([255, 255, 0]), [0, 0, 0]);
        assert_eq!(ink_on([0, 0, 160]), [255, 255, 255]);
        assert_eq!(ink_on([119, 119, 119]), [0, 0, 0]);
    }
}
