//! Numbers for people: enough digits to tell values apart, no more.

use crate::picture::Range;

/// A value with `digits` significant digits and no trailing zeros; scientific where it would be
/// long.
pub fn number(value: f32, digits: usize) -> String {
    let digits = digits.max(1);
    if !value.is_finite() {
        return if value.is_nan() {
            "no value".into()
        } else {
            format!("{value}")
        };
    }
    if value == 0.0 {
        return "0".into();
    }
    let exponent = f64::from(value.abs()).log10().floor() as i32;
    if !(-4..6).contains(&exponent) {
        return format!("{value:.*e}", digits - 1);
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// The ends and the middle of a range, with as many digits as it takes to tell them apart.
pub fn ticks(range: Range) -> [String; 3] {
    let at = |digits| [range.min, range.middle(), range.max].map(|v| number(v, digits));
    (3..8)
        .map(at)
        .find(|[low, middle, high]| low != middle && middle != high)
        .unwrap_or_else(|| at(8))
}

/// A range in words: `affinity 0.0003 to 0.412`, or `affinity flat at 0.5`.
pub fn range_text(quantity: &str, range: Range) -> String {
    if range.is_flat() {
        return format!("{quantity} flat at {}", number(range.middle(), 4));
    }
    let [low, _, high] = ticks(range);
    format!("{quantity} {low} to {high}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact_enough() {
        for (value, text) in [
            (0.0, "0"),
            (0.5, "0.5"),
            (0.0003, "0.0003"),
            (0.41234, "0.412"),
            (12.0, "12"),
            (1234.5, "1234"),
            (3.0e-7, "3.00e-7"),
            (-0.25, "-0.25"),
            (2.5e7, "2.50e7"),
        ] {
            assert_eq!(number(value, 3), text);
        }
        assert_eq!(number(f32::NAN, 3), "no value");
    }

    #[test]
    fn ticks_of_a_narrow_range_differ() {
        let range = Range {
            min: 0.50001,
            max: 0.50003,
        };
        assert_eq!(ticks(range), ["0.50001", "0.50002", "0.50003"]);
        assert_eq!(
            range_text("spatial weight", range),
            "spatial weight 0.50001 to 0.50003"
        );
    }

    #[test]
    fn a_flat_range_says_so() {
        let range = Range { min: 0.5, max: 0.5 };
        assert_eq!(range_text("affinity", range), "affinity flat at 0.5");
    }
}
