//! The pointwise functions of the kernels, written so that the compiler vectorises them.

use super::isa::add_product;

/// What a convolution applies to its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `x / (1 + e^-x)`.
    Silu,
}

/// The smallest `x` whose e^x is a normal number, and the largest that [`exp_parts`] can do.
pub(super) const LOWEST: f32 = -87.33;
pub(super) const HIGHEST: f32 = 88.37;
/// Adding 1.5·2^23 rounds to the nearest integer and leaves it in the low bits.
pub(super) const ROUNDER: f32 = 12_582_912.0;
/// ln 2 in two parts; the first has so few digits that n times it is exact.
pub(super) const LN2_HIGH: f32 = 355.0 / 512.0;
pub(super) const LN2_LOW: f32 = -2.121_944_4e-4;
/// The polynomial 1 + c₁r + … + c₅r⁵ whose largest relative error over |r| ≤ ln 2 / 2 is least: 9.2e-8.
pub(super) const C: [f32; 5] = [
    0.999_999_7,
    0.499_991_48,
    0.166_676_39,
    0.041_898_16,
    0.008_290_272,
];

/// e^x as a product of two numbers, for `x` from [`LOWEST`] to [`HIGHEST`].
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2; e^r by a polynomial, 2^n by writing the exponent.
#[inline(always)]
fn exp_parts<const FUSED: bool>(x: f32) -> (f32, f32) {
    let shifted = add_product::<FUSED>(x, std::f32::consts::LOG2_E, ROUNDER);
    let n = shifted - ROUNDER;
    let r = add_product::<FUSED>(n, -LN2_LOW, add_product::<FUSED>(n, -LN2_HIGH, x));
    let mut p = C[4];
    for c in [C[3], C[2], C[1], C[0], 1.0] {
        p = add_product::<FUSED>(p, r, c);
    }
    (
        p,
        f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits())),
    )
}

/// e^x: relative error below 3e-7 where the result is a normal number, 0 below the smallest of them, about
/// 2.4e38 above the largest, NaN for NaN.
#[inline(always)]
pub(super) fn exp<const FUSED: bool>(x: f32) -> f32 {
    // Comparisons written so that NaN passes through.
    let (p, scale) = exp_parts::<FUSED>(if x > HIGHEST { HIGHEST } else { x });
    if x < LOWEST { 0.0 } else { p * scale }
}

/// `x / (1 + e^-x)`: relative error below 4e-7 for x > -87.
#[inline(always)]
pub(super) fn silu<const FUSED: bool>(x: f32) -> f32 {
    let negated = if -x > HIGHEST { HIGHEST } else { -x };
    let (p, scale) = exp_parts::<FUSED>(if negated < LOWEST { LOWEST } else { negated });
    x / add_product::<FUSED>(p, scale, 1.0)
}

/// `x · Φ(x)`, the exact GELU: absolute error below 4e-7 · max(1, |x|).
///
/// erf by formula 7.1.26 of Abramowitz and Stegun.
#[inline(always)]
pub(super) fn gelu<const FUSED: bool>(x: f32) -> f32 {
    const A: [f32; 5] = [
        1.061_405_4,
        -1.453_152_1,
        1.421_413_8,
        -0.284_496_74,
        0.254_829_6,
    ];
    let z = (x * std::f32::consts::FRAC_1_SQRT_2).abs();
    let t = 1.0 / add_product::<FUSED>(z, 0.327_591_1, 1.0);
    let mut p = A[0];
    for a in &A[1..] {
        p = add_product::<FUSED>(p, t, *a);
    }
    let tail = 0.5 * p * t * exp::<FUSED>(-z * z);
    x * if x > 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate_over_its_whole_range() {
        for i in -873_000..=883_000 {
            let x = i as f32 * 1e-4;
            let want = f64::from(x).exp();
            for got in [exp::<true>(x), exp::<false>(x)] {
                let error = (f64::from(got) - want).abs() / want;
                assert!(error < 3e-7, "e^{x}: {got} instead of {want}");
            }
        }
    }

    #[test]
    fn exp_at_the_ends() {
        assert_eq!(exp::<true>(0.0), 1.0);
        assert_eq!(exp::<true>(-88.0), 0.0);
        assert_eq!(exp::<true>(f32::NEG_INFINITY), 0.0);
        assert!(exp::<true>(f32::INFINITY) > 2e38);
        assert!(exp::<true>(f32::NAN).is_nan());
    }

    #[test]
    fn silu_matches_double_precision() {
        for i in -80_000..=80_000 {
            let x = i as f32 * 1e-3;
            let want = f64::from(x) / (1.0 + (-f64::from(x)).exp());
            for got in [silu::<true>(x), silu::<false>(x)] {
                let error = (f64::from(got) - want).abs();
                assert!(
                    error <= 4e-7 * want.abs(),
                    "silu({x}): {got} instead of {want}"
                );
            }
        }
        assert_eq!(silu::<true>(0.0), 0.0);
        assert!(silu::<true>(f32::NAN).is_nan());
    }

    #[test]
    fn gelu_matches_published_values() {
        // Φ(1) = 0.841344746, Φ(-2) = 0.022750132, Φ(0.5) = 0.691462461, Φ(3.5) = 0.999767371.
        for (x, want) in [
            (0.0, 0.0),
            (1.0, 0.841_344_7),
            (-2.0, -0.045_500_264),
            (0.5, 0.345_731_23),
            (3.5, 3.499_185_8),
            (-20.0, 0.0),
            (20.0, 20.0),
        ] {
            for got in [gelu::<true>(x), gelu::<false>(x)] {
                assert!(
                    (got - want).abs() < 5e-7,
                    "gelu({x}): {got} instead of {want}"
                );
            }
        }
        assert!(gelu::<true>(f32::NAN).is_nan());
    }
}
