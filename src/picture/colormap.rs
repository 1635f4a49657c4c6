//! Colours of numbers: colour maps, and the range of values they are stretched over.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// A colour map over 0 … 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colormap {
    /// Dark blue to yellow; even steps, also for colour-blind eyes.
    #[default]
    Viridis,
    /// Black to cream through purple.
    Magma,
    /// Black to yellow through red.
    Inferno,
    /// Blue to yellow through pink.
    Plasma,
    /// Rainbow without the worst of its false edges.
    Turbo,
    /// Blue to yellow, the same for most kinds of colour blindness.
    Cividis,
    /// Black to white.
    Grey,
    /// Diverging: blue below the middle, red above, white at the middle. For signed values, with
    /// [`Range::symmetric`].
    BlueRed,
}

impl Colormap {
    /// All of them, in the order to offer them.
    pub const ALL: [Self; 8] = [
        Self::Viridis,
        Self::Magma,
        Self::Inferno,
        Self::Plasma,
        Self::Turbo,
        Self::Cividis,
        Self::Grey,
        Self::BlueRed,
    ];

    /// Colour of a missing value.
    pub const NO_VALUE: [u8; 3] = [128, 128, 128];

    /// Name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viridis => "Viridis",
            Self::Magma => "Magma",
            Self::Inferno => "Inferno",
            Self::Plasma => "Plasma",
            Self::Turbo => "Turbo",
            Self::Cividis => "Cividis",
            Self::Grey => "Grey",
            Self::BlueRed => "Blue to red",
        }
    }

    /// Colour at `t`; outside 0 … 1 that of the nearer end, for NaN [`Self::NO_VALUE`].
    pub fn sample(self, t: f32) -> [u8; 3] {
        if t.is_nan() {
            return Self::NO_VALUE;
        }
        self.lut()[(t.clamp(0.0, 1.0) * 255.0).round() as usize]
    }

    /// The colours at 0/255, 1/255, … 255/255.
    pub fn lut(self) -> &'static [[u8; 3]; 256] {
        static TABLES: OnceLock<[[[u8; 3]; 256]; Colormap::ALL.len()]> = OnceLock::new();
        let tables = TABLES.get_or_init(|| {
            Self::ALL.map(|map| std::array::from_fn(|i| map.evaluate(i as f64 / 255.0)))
        });
        // The variants are numbered in the order of `ALL`; a test holds them to it.
        &tables[self as usize]
    }

    fn evaluate(self, t: f64) -> [u8; 3] {
        let (gradient, t) = match self {
            Self::Viridis => (colorous::VIRIDIS, t),
            Self::Magma => (colorous::MAGMA, t),
            Self::Inferno => (colorous::INFERNO, t),
            Self::Plasma => (colorous::PLASMA, t),
            Self::Turbo => (colorous::TURBO, t),
            Self::Cividis => (colorous::CIVIDIS, t),
            Self::Grey => return [(t * 255.0).round() as u8; 3],
            // The scheme runs from red to blue.
            Self::BlueRed => (colorous::RED_BLUE, 1.0 - t),
        };
        gradient.eval_continuous(t).as_array()
    }
}

/// How a map is drawn between its cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// Every cell is a flat rectangle: shows what the network has.
    #[default]
    Nearest,
    /// Bilinear between cell centres, on the values: easier on the eye.
    Smooth,
}

impl Sampling {
    /// All of them, in the order to offer them.
    pub const ALL: [Self; 2] = [Self::Nearest, Self::Smooth];

    /// Name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "Cells",
            Self::Smooth => "Smooth",
        }
    }
}

/// The values a colour map is stretched over: `min` gets its first colour, `max` its last.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Lowest value.
    pub min: f32,
    /// Highest value.
    pub max: f32,
}

impl Range {
    /// From 0 to 1.
    pub const UNIT: Self = Self { min: 0.0, max: 1.0 };

    /// The range of the finite values; 0 to 0 if there are none.
    pub fn of(values: &[f32]) -> Self {
        Self::measure(values).0
    }

    /// The range of the finite values, and how many others (NaN, infinite) were left out.
    pub fn measure(values: &[f32]) -> (Self, usize) {
        let finite = values.iter().copied().filter(|v| v.is_finite());
        let range = finite.clone().fold(None, |range, v| match range {
            None => Some(Self { min: v, max: v }),
            Some(Self { min, max }) => Some(Self {
                min: min.min(v),
                max: max.max(v),
            }),
        });
        let left_out = values.len() - finite.count();
        (range.unwrap_or(Self { min: 0.0, max: 0.0 }), left_out)
    }

    /// The smallest range around zero that holds this one, for diverging colour maps.
    pub fn symmetric(self) -> Self {
        let largest = self.min.abs().max(self.max.abs());
        Self {
            min: -largest,
            max: largest,
        }
    }

    /// The smallest range that holds both, for maps that share a colour bar.
    pub fn union(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    /// Whether the values do not differ by more than the rounding of 32-bit numbers (a millionth
    /// of the larger magnitude): stretching such a map would show noise as structure.
    pub fn is_flat(self) -> bool {
        let magnitude = f64::from(self.min.abs().max(self.max.abs()));
        let span = f64::from(self.max) - f64::from(self.min);
        span.is_nan() || span <= 1e-6 * magnitude
    }

    /// The value halfway.
    pub fn middle(self) -> f32 {
        ((f64::from(self.min) + f64::from(self.max)) / 2.0) as f32
    }

    /// Position of a value in the range: 0 … 1, clamped; 0.5 everywhere in a flat range; NaN for
    /// NaN.
    pub fn position(self, value: f32) -> f32 {
        if value.is_nan() {
            return f32::NAN;
        }
        if self.is_flat() {
            return 0.5;
        }
        // In f64: the span of two f32 can exceed f32.
        let (min, max) = (f64::from(self.min), f64::from(self.max));
        ((f64::from(value) - min) / (max - min)).clamp(0.0, 1.0) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_match_the_published_ones() {
        // matplotlib 3.11, `colormaps[name](i)` for 0, 127, 255, times 255. Turbo and Cividis are
        // polynomials here and tables there; Turbo's is darker at the blue end.
        let published = [
            (
                Colormap::Viridis,
                1,
                [[68, 1, 84], [33, 144, 141], [253, 231, 37]],
            ),
            (
                Colormap::Magma,
                1,
                [[0, 0, 4], [181, 54, 122], [252, 253, 191]],
            ),
            (
                Colormap::Inferno,
                1,
                [[0, 0, 4], [186, 54, 85], [252, 255, 164]],
            ),
            (
                Colormap::Plasma,
                1,
                [[13, 8, 135], [203, 70, 121], [240, 249, 33]],
            ),
            (
                Colormap::Turbo,
                35,
                [[48, 18, 59], [161, 253, 61], [122, 4, 3]],
            ),
            (
                Colormap::Cividis,
                15,
                [[0, 34, 78], [124, 123, 120], [254, 232, 56]],
            ),
        ];
        for (map, tolerance, colors) in published {
            for (index, color) in [0, 127, 255].into_iter().zip(colors) {
                let is = map.lut()[index];
                let worst = is.iter().zip(color).map(|(a, b)| a.abs_diff(b)).max();
                assert!(worst <= Some(tolerance), "{} {index}: {is:?}", map.name());
            }
        }
        assert_eq!(Colormap::Grey.lut()[100], [100, 100, 100]);
    }

    #[test]
    fn the_diverging_map_runs_from_blue_to_red() {
        let [low, middle, high] = [0.0, 0.5, 1.0].map(|t| Colormap::BlueRed.sample(t));
        assert!(low[2] > low[0] + 60 && high[0] > high[2] + 60);
        assert!(middle.iter().all(|&c| c > 235));
    }

    #[test]
    fn tables_follow_the_order_of_all() {
        for (i, map) in Colormap::ALL.into_iter().enumerate() {
            assert_eq!(map as usize, i);
            assert_eq!(map.lut()[77], map.evaluate(77.0 / 255.0), "{}", map.name());
        }
    }

    #[test]
    fn values_off_the_scale_are_defined() {
        for map in Colormap::ALL {
            assert_eq!(map.sample(-3.0), map.sample(0.0));
            assert_eq!(map.sample(f32::INFINITY), map.sample(1.0));
            assert_eq!(map.sample(f32::NEG_INFINITY), map.sample(0.0));
            assert_eq!(map.sample(f32::NAN), Colormap::NO_VALUE);
        }
    }

    #[test]
    fn range_leaves_out_and_counts_what_is_not_finite() {
        let values = [f32::NAN, 2.0, -1.0, f32::INFINITY, 0.5];
        assert_eq!(
            Range::measure(&values),
            (
                Range {
                    min: -1.0,
                    max: 2.0
                },
                2
            )
        );
        assert_eq!(
            Range::measure(&[f32::NAN]),
            (Range { min: 0.0, max: 0.0 }, 1)
        );
        assert_eq!(Range::measure(&[]), (Range { min: 0.0, max: 0.0 }, 0));
    }

    #[test]
    fn flat_maps_stay_flat() {
        // The second differs by one unit in the last place: rounding, not structure.
        for values in [
            [0.3, 0.3],
            [0.3, f32::from_bits(0.3f32.to_bits() + 1)],
            [0.0, 0.0],
        ] {
            let range = Range::of(&values);
            assert!(range.is_flat());
            assert_eq!(range.position(values[1]), 0.5);
        }
        assert!(
            !Range {
                min: 0.0,
                max: 1e-30
            }
            .is_flat(),
            "small is not flat"
        );
        assert!(
            !Range {
                min: 1.0,
                max: 1.0001
            }
            .is_flat()
        );
        assert!(
            Range { min: 1.0, max: 0.0 }.is_flat(),
            "an upside-down range has no contrast"
        );
    }

    #[test]
    fn positions_survive_the_widest_range() {
        let range = Range {
            min: f32::MIN,
            max: f32::MAX,
        };
        assert_eq!(range.position(0.0), 0.5);
        assert_eq!(range.middle(), 0.0);
        assert!(range.position(f32::NAN).is_nan());
        let range = Range { min: 1.0, max: 3.0 };
        assert_eq!([0.0, 1.5, 9.0].map(|v| range.position(v)), [0.0, 0.25, 1.0]);
        assert_eq!(
            range.symmetric(),
            Range {
                min: -3.0,
                max: 3.0
            }
        );
    }
}
