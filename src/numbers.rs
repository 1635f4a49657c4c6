//! Single numbers as text: enough digits to tell them apart, and no more.

/// One value by itself, with up to `digits` significant digits.
pub fn value_label(value: f32, digits: usize) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    let magnitude = exponent(f64::from(value).abs());
    if value != 0.0 && !(-3..5).contains(&magnitude) {
        return trim(format!("{value:.*e}", digits.saturating_sub(1)));
    }
    let decimals = (digits as i32 - 1 - magnitude).max(0) as usize;
    trim(format!("{value:.decimals$}"))
}

/// Power of ten of the first digit; 0 for 0.
pub(crate) fn exponent(magnitude: f64) -> i32 {
    if magnitude > 0.0 {
        magnitude.log10().floor() as i32
    } else {
        0
    }
}

/// Takes off the zeros at the end of every number while all of them have one, and makes zeros
/// plain.
pub(crate) fn trim_alike(mut numbers: [String; 3]) -> [String; 3] {
    let mantissa = |n: &str| n.find('e').unwrap_or(n.len());
    for number in &mut numbers {
        if number.parse() == Ok(0.0) {
            *number = number[..mantissa(number)].replace('-', "");
        }
    }
    let ends_in_zero = |n: &String| {
        let digits = &n[..mantissa(n)];
        digits.contains('.') && digits.ends_with('0')
    };
    while numbers.iter().all(ends_in_zero) {
        for number in &mut numbers {
            let end = mantissa(number);
            // The zero, and a point left alone before it.
            let keep = number[..end - 1].trim_end_matches('.').len();
            number.replace_range(keep..end, "");
        }
    }
    // Beside powers of ten a zero needs no digits.
    if numbers.iter().any(|n| n.contains('e')) {
        for number in numbers.iter_mut().filter(|n| !n.contains('e')) {
            *number = "0".to_owned();
        }
    }
    numbers
}

fn trim(number: String) -> String {
    let [number, ..] = trim_alike([number.clone(), number.clone(), number]);
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_values() {
        assert_eq!(value_label(0.25, 3), "0.25");
        assert_eq!(value_label(1234.5, 3), "1234");
        assert_eq!(value_label(0.000_123_4, 3), "1.23e-4");
        assert_eq!(value_label(-0.0, 3), "0");
        assert_eq!(value_label(f32::INFINITY, 3), "inf");
    }
}
