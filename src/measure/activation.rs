//! How strongly the channels of a feature map answer, to put them in order.

use serde::{Deserialize, Serialize};

/// What channels are put in order by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Mean of the magnitudes: strong over the whole map, whatever its sign. Channels before an
    /// activation function have both signs, so that the plain mean would hide them.
    #[default]
    MeanAbsolute,
    /// Highest value: strong somewhere.
    Maximum,
    /// Variance over the map: tells places apart.
    Variance,
}

impl Activation {
    /// All of them, in the order to offer them.
    pub const ALL: [Self; 3] = [Self::MeanAbsolute, Self::Maximum, Self::Variance];

    /// Name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::MeanAbsolute => "mean magnitude",
            Self::Maximum => "maximum",
            Self::Variance => "variance",
        }
    }

    /// Short name in view files.
    pub fn id(self) -> &'static str {
        match self {
            Self::MeanAbsolute => "mean_magnitude",
            Self::Maximum => "maximum",
            Self::Variance => "variance",
        }
    }

    /// What it finds, in a sentence.
    pub fn help(self) -> &'static str {
        match self {
            Self::MeanAbsolute => "Mean of |value| over the map: strong as a whole",
            Self::Maximum => "Highest value: strong somewhere",
            Self::Variance => "Variance over the map: tells places apart",
        }
    }
}

/// Numbers about the values of one channel, of those that are finite; NaN where there are none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChannelNumbers {
    /// Lowest value.
    pub min: f32,
    /// Highest value.
    pub max: f32,
    /// Mean of the magnitudes.
    pub mean_absolute: f32,
    /// Mean squared distance from the mean.
    pub variance: f32,
}

impl ChannelNumbers {
    /// The numbers of a channel. Sums are taken in 64 bits.
    pub fn of(values: &[f32]) -> Self {
        let finite = || values.iter().copied().filter(|v| v.is_finite());
        let n = finite().count() as f64;
        let mean = finite().map(f64::from).sum::<f64>() / n;
        let magnitude = finite().map(|v| f64::from(v.abs())).sum::<f64>() / n;
        let square = |v: f32| (f64::from(v) - mean) * (f64::from(v) - mean);
        let variance = finite().map(square).sum::<f64>() / n;
        Self {
            min: finite().fold(f32::NAN, f32::min),
            max: finite().fold(f32::NAN, f32::max),
            mean_absolute: magnitude as f32,
            variance: variance as f32,
        }
    }

    /// The number to put the channel in order by.
    pub fn by(&self, activation: Activation) -> f32 {
        match activation {
            Activation::MeanAbsolute => self.mean_absolute,
            Activation::Maximum => self.max,
            Activation::Variance => self.variance,
        }
    }
}

/// Channel numbers from the strongest to the weakest. Equal ones keep their order; those without
/// a finite value come last.
pub fn ranked(channels: &[ChannelNumbers], by: Activation) -> Vec<usize> {
    let strength = |c: &ChannelNumbers| Some(c.by(by)).filter(|v| !v.is_nan());
    let mut order: Vec<(usize, Option<f32>)> = channels.iter().map(strength).enumerate().collect();
    order.sort_by(|(_, a), (_, b)| match (a, b) {
        (Some(a), Some(b)) => b.total_cmp(a),
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
    order.into_iter().map(|(channel, _)| channel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_channel_can_be_checked_by_hand() {
        let of = ChannelNumbers::of(&[-3.0, 1.0, 1.0, 5.0]);
        assert_eq!((of.min, of.max), (-3.0, 5.0));
        assert_eq!(of.mean_absolute, 2.5);
        // Mean 1; distances 4, 0, 0, 4.
        assert_eq!(of.variance, 8.0);
        let flat = ChannelNumbers::of(&[0.1; 1000]);
        assert_eq!((flat.mean_absolute, flat.variance), (0.1, 0.0));
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        let of = ChannelNumbers::of(&[f32::NAN, 2.0, f32::INFINITY, -4.0]);
        assert_eq!((of.min, of.max, of.mean_absolute), (-4.0, 2.0, 3.0));
        for none in [&[][..], &[f32::NAN, f32::NEG_INFINITY]] {
            let of = ChannelNumbers::of(none);
            assert!(Activation::ALL.iter().all(|a| of.by(*a).is_nan()));
            assert!(of.min.is_nan());
        }
    }

    #[test]
    fn each_measure_has_an_order_of_its_own() {
        let channels: Vec<_> = [
            &[2.0, 2.0, 2.0, 2.0][..],
            &[f32::NAN; 4],
            &[0.0, 0.0, 0.0, 6.0],
            &[-5.0, -5.0, -5.0, -3.0],
            &[2.0, 2.0, 2.0, 2.0],
        ]
        .into_iter()
        .map(ChannelNumbers::of)
        .collect();
        // Magnitudes 2, -, 1.5, 4.5, 2; maxima 2, -, 6, -3, 2; variances 0, -, 6.75, 0.75, 0.
        assert_eq!(ranked(&channels, Activation::MeanAbsolute), [3, 0, 4, 2, 1]);
        assert_eq!(ranked(&channels, Activation::Maximum), [2, 0, 4, 3, 1]);
        assert_eq!(ranked(&channels, Activation::Variance), [2, 3, 0, 4, 1]);
    }
}
