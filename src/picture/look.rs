//! How a map looks: from what a person sets to the range and the colours of one map's values.

use serde::{Deserialize, Serialize};

use super::coloring::{Coloring, Origin};
use super::{Colormap, Range, Sampling};

/// How maps look. Kept and written into view files: every field has a default.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Look {
    /// Colours.
    pub colormap: Colormap,
    /// Whether the colours run the other way.
    pub invert: bool,
    /// Nearest or smooth.
    pub sampling: Sampling,
    /// 0 shows the photograph, 1 the map.
    pub opacity: f32,
    /// Whether the border around the photograph is shown too: the letterbox and the padding of
    /// the map.
    pub border: bool,
    /// Which values the colours are stretched over.
    pub rule: RangeRule,
    /// Percent of the values cut off at each end of the range, 0 to [`Look::MOST_CLIP`]; they take
    /// the end colours. Not with a locked range.
    pub clip: f32,
    /// Values below are not shown.
    pub threshold: Option<f32>,
    /// Only the cells of largest magnitude that together hold this percentage of the sum of all
    /// magnitudes are shown.
    pub mass: Option<f32>,
    /// Lines of equal value.
    pub contour: Contour,
}

/// Which values the colours are stretched over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RangeRule {
    /// Each map over its own values.
    #[default]
    Own,
    /// Always these.
    Locked(Range),
    /// The smallest range that holds all maps shown together.
    Shared,
}

/// Lines of equal value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contour {
    /// None.
    #[default]
    Off,
    /// Around what the threshold and the share of the mass leave.
    Threshold,
    /// So many, evenly spaced within the range (at most [`Contour::MOST`]).
    Levels(u8),
}

impl Contour {
    /// More lines than this cannot be told apart.
    pub const MOST: u8 = 20;
}

impl Default for Look {
    fn default() -> Self {
        Self {
            colormap: Colormap::Viridis,
            invert: false,
            sampling: Sampling::Nearest,
            opacity: 0.6,
            border: false,
            rule: RangeRule::Own,
            clip: 0.0,
            threshold: None,
            mass: None,
            contour: Contour::Off,
        }
    }
}

impl Look {
    /// Largest percentage that can be cut off at each end.
    pub const MOST_CLIP: f32 = 20.0;

    /// The range that a map is shown over if it stands alone: that of its finite values, clipped
    /// if so wanted, around zero for the diverging colours where values have both signs. A shared
    /// range is the union of these.
    pub fn own_range(&self, values: &[f32]) -> Range {
        self.around_zero(self.clipped(values, Range::of(values)))
    }

    /// How the values of one map are coloured. `shared` is the union of [`Look::own_range`] of the
    /// maps shown together, for [`RangeRule::Shared`]; without it the map stands alone.
    pub fn coloring(&self, values: &[f32], shared: Option<Range>) -> Coloring {
        let raw = Range::of(values);
        let (range, origin) = match (self.rule, shared) {
            (RangeRule::Locked(range), _) if usable(range) => (range, Origin::Locked),
            (RangeRule::Shared, Some(range)) if usable(range) => {
                (self.around_zero(range), Origin::Shared)
            }
            _ => {
                let clipped = self.clipped(values, raw);
                let origin = match clipped == raw {
                    true => Origin::Own,
                    false => Origin::Clipped,
                };
                (self.around_zero(clipped), origin)
            }
        };
        let below = self.threshold.filter(|t| t.is_finite());
        let weaker = self.mass.and_then(|percent| mass_cut(values, percent));
        Coloring {
            colormap: self.colormap,
            invert: self.invert,
            sampling: self.sampling,
            opacity: match self.opacity.is_nan() {
                true => 1.0,
                false => self.opacity.clamp(0.0, 1.0),
            },
            raw,
            range,
            origin,
            below,
            weaker,
            levels: self.levels(range, raw, below, weaker),
        }
    }

    fn around_zero(&self, range: Range) -> Range {
        match self.colormap {
            Colormap::BlueRed if range.min < 0.0 && range.max > 0.0 => range.symmetric(),
            _ => range,
        }
    }

    /// `raw` without the outermost values. A map of which the cut would leave nothing but one
    /// value (most of its cells are equal) is not cut: it would seem flat.
    fn clipped(&self, values: &[f32], raw: Range) -> Range {
        if self.clip.is_nan() || self.clip <= 0.0 {
            return raw;
        }
        let mut finite: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
        let percent = self.clip.min(Self::MOST_CLIP);
        let (Some(min), Some(max)) = (
            percentile(&mut finite, percent),
            percentile(&mut finite, 100.0 - percent),
        ) else {
            return raw;
        };
        let cut = Range { min, max };
        if cut.is_flat() { raw } else { cut }
    }

    fn levels(
        &self,
        range: Range,
        raw: Range,
        below: Option<f32>,
        weaker: Option<f32>,
    ) -> Vec<f32> {
        match self.contour {
            _ if raw.is_flat() => Vec::new(),
            Contour::Off => Vec::new(),
            Contour::Threshold => {
                let both = |cut: f32| [Some(cut), (raw.min < 0.0).then_some(-cut)];
                let cuts = weaker.map_or([None; 2], both);
                [below].into_iter().chain(cuts).flatten().collect()
            }
            Contour::Levels(_) if range.is_flat() => Vec::new(),
            Contour::Levels(n) => {
                let n = n.min(Contour::MOST);
                let (min, max) = (f64::from(range.min), f64::from(range.max));
                let part = |i: u8| f64::from(i) / (f64::from(n) + 1.0);
                (1..=n)
                    .map(|i| (min + part(i) * (max - min)) as f32)
                    .collect()
            }
        }
    }
}

/// Whether a range can be stretched over.
fn usable(range: Range) -> bool {
    range.min.is_finite() && range.max.is_finite() && range.min <= range.max
}

/// The value below which `percent` of the values lie, between two of them on a straight line; as
/// NumPy has it. Reorders the values.
fn percentile(values: &mut [f32], percent: f32) -> Option<f32> {
    let last = values.len().checked_sub(1)?;
    let at = f64::from(percent.clamp(0.0, 100.0)) / 100.0 * last as f64;
    let (_, &mut lower, above) = values.select_nth_unstable_by(at as usize, f32::total_cmp);
    let upper = above.iter().copied().min_by(f32::total_cmp);
    let (a, b) = (f64::from(lower), f64::from(upper.unwrap_or(lower)));
    Some((a + (b - a) * at.fract()) as f32)
}

/// The smallest magnitude among the cells of largest magnitude that hold `percent` of the sum of
/// all. `None` where nothing is to be left out: at 100 percent, without any mass.
fn mass_cut(values: &[f32], percent: f32) -> Option<f32> {
    if percent.is_nan() || percent >= 100.0 {
        return None;
    }
    let mut sizes: Vec<f32> = values
        .iter()
        .copied()
        .filter(|v| v.is_finite())
        .map(f32::abs)
        .collect();
    sizes.sort_unstable_by(|a, b| b.total_cmp(a));
    let total: f64 = sizes.iter().copied().map(f64::from).sum();
    if total <= 0.0 {
        return None;
    }
    // A share that the sum reaches up to rounding is reached.
    let wanted = f64::from(percent.max(0.0)) / 100.0 * total * (1.0 - 1e-9);
    let mut sum = 0.0;
    sizes.into_iter().find(|&size| {
        sum += f64::from(size);
        sum >= wanted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(min: f32, max: f32) -> Range {
        Range { min, max }
    }

    /// 0, 1, … 100.
    fn hundred() -> Vec<f32> {
        (0..=100).map(|v| v as f32).collect()
    }

    #[test]
    fn older_states_are_read() {
        let old = r#"{"colormap":"magma","sampling":"smooth","opacity":0.3,"border":true}"#;
        let look: Look = serde_json::from_str(old).unwrap();
        let expected = Look {
            colormap: Colormap::Magma,
            sampling: Sampling::Smooth,
            opacity: 0.3,
            border: true,
            ..Look::default()
        };
        assert_eq!(look, expected);
        let full = Look {
            rule: RangeRule::Locked(range(-1.0, 2.5)),
            clip: 2.0,
            threshold: Some(0.25),
            mass: Some(90.0),
            contour: Contour::Levels(5),
            invert: true,
            ..expected
        };
        let text = serde_json::to_string(&full).unwrap();
        assert_eq!(serde_json::from_str::<Look>(&text).unwrap(), full);
    }

    #[test]
    fn percentiles_agree_with_numpy() {
        // np.percentile([3, 1, 2, 10], [0, 25, 40, 90, 100])
        let values = [3.0, 1.0, 2.0, 10.0];
        for (percent, expected) in [(0., 1.), (25., 1.75), (40., 2.2), (90., 7.9), (100., 10.)] {
            let found = percentile(&mut values.to_vec(), percent).unwrap();
            assert!((found - expected).abs() < 1e-6, "{percent}: {found}");
        }
        assert_eq!(percentile(&mut [], 50.0), None);
    }

    #[test]
    fn a_clip_cuts_both_ends_and_says_so() {
        let look = Look {
            clip: 5.0,
            ..Look::default()
        };
        let mut values = hundred();
        values.extend([f32::NAN, f32::INFINITY]);
        let coloring = look.coloring(&values, None);
        assert_eq!(coloring.range, range(5.0, 95.0));
        assert_eq!(coloring.raw, range(0.0, 100.0));
        assert_eq!(coloring.words("q"), "q 5 to 95 (clipped), map 0 to 100");
        assert_eq!(coloring.color(100.0), coloring.color(95.0));
        // One bright cell in a hundred dark ones must not vanish.
        let mut spike = vec![0.0; 100];
        spike.push(1.0);
        assert_eq!(look.coloring(&spike, None).range, Range::UNIT);
    }

    #[test]
    fn a_locked_range_stays_and_the_raw_one_is_told() {
        let look = Look {
            rule: RangeRule::Locked(range(0.0, 0.5)),
            clip: 5.0,
            ..Look::default()
        };
        let coloring = look.coloring(&[0.2, 0.8], None);
        assert_eq!(coloring.range, range(0.0, 0.5));
        assert_eq!(
            coloring.words("weight"),
            "weight 0 to 0.5 (locked), map 0.2 to 0.8"
        );
        for wrong in [range(f32::NAN, 1.0), range(2.0, 1.0), range(0.0, f32::MAX)] {
            let look = Look {
                rule: RangeRule::Locked(wrong),
                ..Look::default()
            };
            let expected = if wrong.max == f32::MAX {
                wrong
            } else {
                range(0.2, 0.8)
            };
            assert_eq!(look.coloring(&[0.2, 0.8], None).range, expected);
        }
    }

    #[test]
    fn maps_shown_together_share_their_range() {
        let look = Look {
            rule: RangeRule::Shared,
            ..Look::default()
        };
        let [a, b] = [[0.0, 1.0], [0.5, 3.0]];
        let union = look.own_range(&a).union(look.own_range(&b));
        let coloring = look.coloring(&a, Some(union));
        assert_eq!(
            (coloring.range, coloring.raw),
            (range(0.0, 3.0), Range::UNIT)
        );
        assert_eq!(coloring.words("w"), "w 0 to 3 (shared), map 0 to 1");
        assert_eq!(look.coloring(&a, None).range, Range::UNIT, "alone");
    }

    #[test]
    fn the_diverging_map_is_centred_on_zero() {
        let look = Look {
            colormap: Colormap::BlueRed,
            ..Look::default()
        };
        let coloring = look.coloring(&[-1.0, 3.0], None);
        assert_eq!(coloring.range, range(-3.0, 3.0));
        assert_eq!(coloring.words("w"), "w -3 to 3", "nothing was cut");
        assert_eq!(look.coloring(&[1.0, 3.0], None).range, range(1.0, 3.0));
    }

    #[test]
    fn a_flat_map_stays_flat_and_nan_a_hole() {
        let look = Look {
            clip: 10.0,
            mass: Some(10.0),
            contour: Contour::Levels(3),
            ..Look::default()
        };
        let coloring = look.coloring(&[0.5, f32::NAN, 0.5], None);
        assert_eq!(coloring.words("w"), "w flat at 0.5");
        assert!(coloring.levels.is_empty());
        assert_eq!(coloring.color(0.5)[3], 255);
        assert_eq!(coloring.color(f32::NAN), [0; 4]);
        assert_eq!(look.coloring(&[f32::NAN], None).raw, range(0.0, 0.0));
    }

    #[test]
    fn thresholds_and_mass_hide_the_rest() {
        let look = Look {
            threshold: Some(0.2),
            ..Look::default()
        };
        let coloring = look.coloring(&[0.1, 0.2, 0.9], None);
        let alphas = [0.1, 0.2, 0.9].map(|v| coloring.color(v)[3]);
        assert_eq!(alphas, [0, 255, 255]);
        assert_eq!(coloring.hidden_words().unwrap(), "below 0.2 hidden");

        let look = Look {
            mass: Some(70.0),
            contour: Contour::Threshold,
            ..Look::default()
        };
        // 4 + 3 of 10 is the seventh tenth.
        let values = [1.0, 4.0, 2.0, 3.0];
        let coloring = look.coloring(&values, None);
        assert_eq!(
            values.map(|v| coloring.hides(v)),
            [true, false, true, false]
        );
        assert_eq!(coloring.levels, [3.0]);
        // Signed maps by magnitude.
        let coloring = look.coloring(&[-4.0, 3.0, 2.0, -1.0], None);
        assert_eq!(
            [-4.0, 3.0, 2.0, -1.0].map(|v| coloring.hides(v)),
            [false, false, true, true]
        );
        assert_eq!(coloring.levels, [3.0, -3.0]);
    }

    #[test]
    fn shares_of_the_mass_at_their_ends() {
        assert_eq!(mass_cut(&[1.0, 2.0], 100.0), None);
        assert_eq!(mass_cut(&[1.0, 2.0], f32::NAN), None);
        assert_eq!(mass_cut(&[0.0, 0.0], 50.0), None);
        assert_eq!(mass_cut(&[1.0, 2.0, f32::NAN], 0.0), Some(2.0));
        assert_eq!(mass_cut(&[1.0; 4], 10.0), Some(1.0), "equals stay together");
    }

    #[test]
    fn levels_are_even_within_the_range() {
        let look = Look {
            contour: Contour::Levels(3),
            ..Look::default()
        };
        assert_eq!(look.coloring(&[0.0, 4.0], None).levels, [1.0, 2.0, 3.0]);
        let look = Look {
            contour: Contour::Levels(255),
            ..Look::default()
        };
        assert_eq!(look.coloring(&[0.0, 4.0], None).levels.len(), 20);
    }

    #[test]
    fn inverted_colours_run_the_other_way() {
        let look = Look {
            invert: true,
            colormap: Colormap::Grey,
            ..Look::default()
        };
        let coloring = look.coloring(&[0.0, 1.0], None);
        assert_eq!(coloring.color(0.0), [255; 4]);
        assert_eq!(coloring.color(1.0), [0, 0, 0, 255]);
    }
}
