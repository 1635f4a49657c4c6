//! The colours of one map's values, and what is said of them.

use super::numbers::value_label;
use super::{Colormap, Range, Sampling};

/// Where the range of a colour bar comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The map's own values.
    Own,
    /// The same without the outermost.
    Clipped,
    /// Set by hand.
    Locked,
    /// All maps shown together.
    Shared,
}

/// How the values of one map are coloured: a [`Look`](super::Look) that has seen them.
#[derive(Clone, Debug, PartialEq)]
pub struct Coloring {
    /// Colours.
    pub colormap: Colormap,
    /// Whether they run the other way.
    pub invert: bool,
    /// Cells or smooth.
    pub sampling: Sampling,
    /// 0 (invisible) … 1 (hides what lies below).
    pub opacity: f32,
    /// Range of the finite values.
    pub raw: Range,
    /// Values the colours are stretched over.
    pub range: Range,
    /// Why these.
    pub origin: Origin,
    /// Values below are not shown.
    pub below: Option<f32>,
    /// Values of smaller magnitude are not shown.
    pub weaker: Option<f32>,
    /// Values of the contour lines.
    pub levels: Vec<f32>,
}

impl Coloring {
    /// Colour at `t` of the colour bar, 0 at its low end.
    pub fn sample(&self, t: f32) -> [u8; 3] {
        self.colormap.sample(if self.invert { 1.0 - t } else { t })
    }

    /// Colour of a value as straight RGBA, without the map's opacity; transparent where the value
    /// is missing (NaN) or not to be shown.
    pub fn color(&self, value: f32) -> [u8; 4] {
        if value.is_nan() || self.hides(value) {
            return [0; 4];
        }
        let [r, g, b] = self.sample(self.range.position(value));
        [r, g, b, 255]
    }

    /// Whether a value is left out by the threshold or the share of the mass.
    pub fn hides(&self, value: f32) -> bool {
        self.below.is_some_and(|t| value < t) || self.weaker.is_some_and(|w| value.abs() < w)
    }

    /// Whether the colours are stretched over other values than the map has.
    pub fn is_cut(&self) -> bool {
        self.origin != Origin::Own && self.range != self.raw
    }

    /// Which values are not shown, in words.
    pub fn hidden_words(&self) -> Option<String> {
        let below = self
            .below
            .map(|t| format!("below {} hidden", value_label(t, 3)));
        let weaker = self.weaker.map(|w| match self.raw.min < 0.0 {
            true => format!("magnitudes below {} hidden", value_label(w, 3)),
            false => format!("cells below {} hidden", value_label(w, 3)),
        });
        let both: Vec<String> = below.into_iter().chain(weaker).collect();
        (!both.is_empty()).then(|| both.join(", "))
    }

    /// The range in words: `affinity 0.0003 to 0.412`, `affinity flat at 0.5`, and where the
    /// colours are stretched over other values, both.
    pub fn words(&self, quantity: &str) -> String {
        if !self.is_cut() {
            return format!("{quantity} {}", range_words(self.range));
        }
        let why = match self.origin {
            Origin::Own => "shown",
            Origin::Clipped => "clipped",
            Origin::Locked => "locked",
            Origin::Shared => "shared",
        };
        let [shown, raw] = [self.range, self.raw].map(range_words);
        format!("{quantity} {shown} ({why}), map {raw}")
    }
}

/// `0.0003 to 0.412`, or `flat at 0.5`.
pub fn range_words(range: Range) -> String {
    if range.is_flat() {
        return format!("flat at {}", value_label(range.middle(), 4));
    }
    let [low, high] = [range.min, range.max].map(|v| value_label(v, 4));
    format!("{low} to {high}")
}
