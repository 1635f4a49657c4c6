//! The pointwise functions of the kernels, written so that the compiler vectorises them.

/// What a convolution applies to its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `x / (1 + e^-x)`.
    Silu,
}

/// e^x for `x` as f32: relative error below 2e-7 for results that are normal numbers, 0 below the smallest of
/// them, about 2.4e38 above the largest, NaN for NaN.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2; e^r by its polynomial; 2^n by writing the exponent.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.33;
    const HIGHEST: f32 = 88.37;
    // Adding 1.5·2^23 rounds to the nearest integer and leaves it in the low bits.
    const ROUNDER: f32 = 12_582_912.0;
    // ln 2 in two parts; the first has so few digits that n times it is exact.
    const LN2_HIGH: f32 = 0.693_359_375;
    const LN2_LOW: f32 = -2.121_944_4e-4;

    // Comparisons written so that NaN passes through.
    let clamped = if x > HIGHEST { HIGHEST } else { x };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = (clamped - n * LN2_HIGH) - n * LN2_LOW;
    // Taylor up to r^7 / 7!: the rest is below 6e-9 for |r| ≤ 0.347.
    let mut p = 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    if x < LOWEST { 0.0 } else { p * scale }
}

/// `x / (1 + e^-x)`.
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate_over_its_whole_range() {
        for i in -873_000..=883_000 {
            let x = i as f32 * 1e-4;
            let want = f64::from(x).exp();
            let error = (f64::from(exp(x)) - want).abs() / want;
            assert!(error < 2e-7, "e^{x}: {} instead of {want}", exp(x));
        }
    }

    #[test]
    fn exp_at_the_ends() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-88.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::INFINITY) > 2e38);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn silu_matches_double_precision() {
        for i in -80_000..=80_000 {
            let x = i as f32 * 1e-3;
            let want = f64::from(x) / (1.0 + (-f64::from(x)).exp());
            let error = (f64::from(silu(x)) - want).abs();
            assert!(
                error <= 3e-7 * want.abs(),
                "silu({x}): {} instead of {want}",
                silu(x)
            );
        }
        assert_eq!(silu(0.0), 0.0);
        assert!(silu(f32::NAN).is_nan());
    }
}
