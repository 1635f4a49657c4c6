//! Numbers beside axes and colour bars: enough digits to tell them apart, and no more.

use super::Range;
use crate::numbers::{exponent, trim_alike};

pub use crate::numbers::value_label;

/// The lowest, middle and highest value of a range in the same notation, with three digits of
/// their distance. Values below a thousandth or from a hundred thousand on are written with powers
/// of ten.
pub fn tick_labels(range: Range) -> [String; 3] {
    labels([range.min, range.middle(), range.max])
}

fn labels(values: [f32; 3]) -> [String; 3] {
    let [min, _, max] = values.map(f64::from);
    let largest = min.abs().max(max.abs());
    let step = (max - min) / 2.0;
    if !(step.is_finite() && step > 0.0) {
        return values.map(|v| value_label(v, 6));
    }
    // Beyond nine significant digits an f32 has nothing to say.
    let digits = |smallest: i32| (smallest + 2).clamp(0, 8) as usize;
    if !(-3..5).contains(&exponent(largest)) {
        let decimals = digits(exponent(largest) - exponent(step));
        return trim_alike(values.map(|v| format!("{v:.decimals$e}")));
    }
    let decimals = digits(-exponent(step));
    trim_alike(values.map(|v| format!("{v:.decimals$}")))
}

/// Round values that enclose a range, about `count` of them or fewer: multiples of 1, 2 or 5 times
/// a power of ten. A range that is flat, or too small for its offset, keeps its own two ends.
pub fn round_ticks(range: Range, count: usize) -> Vec<f32> {
    let (min, max) = (f64::from(range.min), f64::from(range.max));
    let own = vec![range.min, range.max];
    if range.is_flat() || !(max - min).is_finite() {
        return own;
    }
    let rough = (max - min) / count.max(1) as f64;
    let power = 10f64.powi(exponent(rough));
    let steps = [1.0, 2.0, 5.0, 10.0].map(|n| n * power);
    let enough = |step: &f64| *step >= rough * 0.999;
    let step = steps.into_iter().find(enough).unwrap_or(rough);
    // A value that a whole number of steps reaches up to rounding is reached.
    let first = (min / step + 1e-6).floor();
    let last = (max / step - 1e-6).ceil();
    if first.abs().max(last.abs()) > 1e6 {
        return own;
    }
    (first as i64..=last as i64)
        .map(|i| (i as f64 * step) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(min: f32, max: f32) -> [String; 3] {
        tick_labels(Range { min, max })
    }

    #[test]
    fn digits_follow_the_distance_of_the_ticks() {
        assert_eq!(ticks(0.0, 1.0), ["0.0", "0.5", "1.0"]);
        assert_eq!(ticks(0.0, 2.0), ["0", "1", "2"]);
        assert_eq!(ticks(-1.0, 1.0), ["-1", "0", "1"]);
        assert_eq!(ticks(0.0123, 0.4567), ["0.012", "0.234", "0.457"]);
        assert_eq!(ticks(0.5, 0.5004), ["0.5000", "0.5002", "0.5004"]);
        assert_eq!(ticks(0.0, 255.0), ["0", "128", "255"]);
    }

    #[test]
    fn tiny_and_huge_ranges_are_written_with_powers_of_ten() {
        assert_eq!(ticks(0.0, 0.000_625), ["0", "3.12e-4", "6.25e-4"]);
        assert_eq!(ticks(0.0, 2e-8), ["0", "1e-8", "2e-8"]);
        assert_eq!(ticks(-4e6, 4e6), ["-4e6", "0", "4e6"]);
    }

    #[test]
    fn flat_and_wild_ranges_have_labels() {
        assert_eq!(ticks(0.3, 0.3), ["0.3", "0.3", "0.3"]);
        assert_eq!(ticks(0.0, 0.0), ["0", "0", "0"]);
        assert_eq!(ticks(f32::MIN, f32::MAX), ["-3.4e38", "0", "3.4e38"]);
        assert_eq!(ticks(f32::NAN, 1.0)[0], "NaN");
    }

    #[test]
    fn axis_ticks_are_round_and_enclose_the_range() {
        let ticks = |min, max| round_ticks(Range { min, max }, 5);
        assert_eq!(ticks(0.0, 1.0), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        assert_eq!(ticks(-0.7, 0.9), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        assert_eq!(ticks(0.0, 37.0), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(ticks(2.0, 2.0), [2.0, 2.0]);
        assert_eq!(ticks(1e6, 1e6 + 2.0), [1e6, 1e6 + 2.0]);
    }
}
