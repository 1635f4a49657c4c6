//! Vectors of floats under one name, whatever the processor calls them.
//!
//! For loops that the compiler would not vectorise by itself, or not well enough; the others are plain Rust (see
//! [`super::isa::vectorised`]).

use super::activation;
use super::isa::{FUSED_BASE, Isa};

/// A vector register of `N` floats.
///
/// Every function needs a processor with the instructions of the vector; `load` and `store` need `N` floats at the address.
pub(super) trait Lanes: Copy {
    const N: usize;
    unsafe fn splat(v: f32) -> Self;
    unsafe fn load(p: *const f32) -> Self;
    unsafe fn store(self, p: *mut f32);
    unsafe fn plus(self, other: Self) -> Self;
    unsafe fn minus(self, other: Self) -> Self;
    /// `if other > self { other } else { self }` of every value.
    unsafe fn larger(self, other: Self) -> Self;
    /// `self + a·b`
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// [`activation::silu`] of every value, by the same operations.
    unsafe fn silu(self) -> Self;
    /// The values of both in turn.
    unsafe fn interleave(self, other: Self) -> [Self; 2];
    /// The inverse: values 0, 2, 4, … of both one after the other, and values 1, 3, 5, ….
    unsafe fn deinterleave(self, other: Self) -> [Self; 2];
}

/// Something to do with vectors of any length.
pub(super) trait Program {
    /// # Safety
    /// The processor must have the instructions of `L`. Must be inlined.
    unsafe fn run<L: Lanes>(self);
}

/// Runs a program with the longest vectors of the processor.
pub(super) fn run(program: impl Program) {
    // SAFETY: `Isa::best` only names sets this processor was found to have.
    unsafe {
        match Isa::best() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx512(program),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2(program),
            Isa::Portable => program.run::<Four>(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::f32::consts::LOG2_E;

    use super::activation::{C, HIGHEST, LN2_HIGH, LN2_LOW, LOWEST, ROUNDER};
    use super::{Lanes, Program};

    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn avx512(program: impl Program) {
        // SAFETY: promised by the caller.
        unsafe { program.run::<__m512>() }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2(program: impl Program) {
        // SAFETY: promised by the caller.
        unsafe { program.run::<__m256>() }
    }

    impl Lanes for __m512 {
        const N: usize = 16;
        #[inline(always)]
        unsafe fn splat(v: f32) -> Self {
            unsafe { _mm512_set1_ps(v) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            unsafe { _mm512_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            unsafe { _mm512_storeu_ps(p, self) }
        }
        #[inline(always)]
        unsafe fn plus(self, other: Self) -> Self {
            unsafe { _mm512_add_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn minus(self, other: Self) -> Self {
            unsafe { _mm512_sub_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn larger(self, other: Self) -> Self {
            unsafe { _mm512_max_ps(other, self) }
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            unsafe { _mm512_fmadd_ps(a, b, self) }
        }
        #[inline(always)]
        unsafe fn silu(self) -> Self {
            // With -x instead of x every product has the other sign and every sum the same magnitude.
            unsafe {
                let k = _mm512_set1_ps;
                let x = _mm512_min_ps(k(-LOWEST), _mm512_max_ps(k(-HIGHEST), self));
                let shifted = _mm512_fnmadd_ps(x, k(LOG2_E), k(ROUNDER));
                let n = _mm512_sub_ps(shifted, k(ROUNDER));
                let r = _mm512_fmadd_ps(n, k(LN2_LOW), _mm512_fmadd_ps(n, k(LN2_HIGH), x));
                let mut p = _mm512_fnmadd_ps(k(C[4]), r, k(C[3]));
                for c in [C[2], C[1], C[0], 1.0] {
                    p = _mm512_fnmadd_ps(p, r, k(c));
                }
                let scale = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted));
                let scale = _mm512_add_epi32(scale, _mm512_castps_si512(k(1.0)));
                let below = _mm512_fmadd_ps(p, _mm512_castsi512_ps(scale), k(1.0));
                _mm512_div_ps(self, below)
            }
        }
        #[inline(always)]
        unsafe fn interleave(self, other: Self) -> [Self; 2] {
            unsafe {
                let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
                let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
                [low, high].map(|i| _mm512_permutex2var_ps(self, i, other))
            }
        }
        #[inline(always)]
        unsafe fn deinterleave(self, other: Self) -> [Self; 2] {
            unsafe {
                let even =
                    _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
                let odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
                [even, odd].map(|i| _mm512_permutex2var_ps(self, i, other))
            }
        }
    }

    impl Lanes for __m256 {
        const N: usize = 8;
        #[inline(always)]
        unsafe fn splat(v: f32) -> Self {
            unsafe { _mm256_set1_ps(v) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            unsafe { _mm256_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            unsafe { _mm256_storeu_ps(p, self) }
        }
        #[inline(always)]
        unsafe fn plus(self, other: Self) -> Self {
            unsafe { _mm256_add_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn minus(self, other: Self) -> Self {
            unsafe { _mm256_sub_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn larger(self, other: Self) -> Self {
            unsafe { _mm256_max_ps(other, self) }
        }
        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            unsafe { _mm256_fmadd_ps(a, b, self) }
        }
        #[inline(always)]
        unsafe fn silu(self) -> Self {
            // With -x instead of x every product has the other sign and every sum the same magnitude.
            unsafe {
                let k = _mm256_set1_ps;
                let x = _mm256_min_ps(k(-LOWEST), _mm256_max_ps(k(-HIGHEST), self));
                let shifted = _mm256_fnmadd_ps(x, k(LOG2_E), k(ROUNDER));
                let n = _mm256_sub_ps(shifted, k(ROUNDER));
                let r = _mm256_fmadd_ps(n, k(LN2_LOW), _mm256_fmadd_ps(n, k(LN2_HIGH), x));
                let mut p = _mm256_fnmadd_ps(k(C[4]), r, k(C[3]));
                for c in [C[2], C[1], C[0], 1.0] {
                    p = _mm256_fnmadd_ps(p, r, k(c));
                }
                let scale = _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted));
                let scale = _mm256_add_epi32(scale, _mm256_castps_si256(k(1.0)));
                let below = _mm256_fmadd_ps(p, _mm256_castsi256_ps(scale), k(1.0));
                _mm256_div_ps(self, below)
            }
        }
        #[inline(always)]
        unsafe fn interleave(self, other: Self) -> [Self; 2] {
            unsafe {
                let (a, b) = (
                    _mm256_unpacklo_ps(self, other),
                    _mm256_unpackhi_ps(self, other),
                );
                [
                    _mm256_permute2f128_ps::<0x20>(a, b),
                    _mm256_permute2f128_ps::<0x31>(a, b),
                ]
            }
        }
        #[inline(always)]
        unsafe fn deinterleave(self, other: Self) -> [Self; 2] {
            unsafe {
                let even = _mm256_castps_pd(_mm256_shuffle_ps::<0x88>(self, other));
                let odd = _mm256_castps_pd(_mm256_shuffle_ps::<0xdd>(self, other));
                [even, odd].map(|v| _mm256_castpd_ps(_mm256_permute4x64_pd::<0xd8>(v)))
            }
        }
    }
}

/// Four floats that the compiler keeps in one register where the target has such registers.
#[derive(Clone, Copy)]
pub(super) struct Four([f32; 4]);

impl Four {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl Lanes for Four {
    const N: usize = 4;
    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        Self([v; 4])
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: promised by the caller; an array of floats has the alignment of one.
        Self(unsafe { *p.cast::<[f32; 4]>() })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: promised by the caller.
        unsafe { *p.cast::<[f32; 4]>() = self.0 }
    }
    #[inline(always)]
    unsafe fn plus(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn minus(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn larger(self, other: Self) -> Self {
        self.zip(other, |a, b| if b > a { b } else { a })
    }
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        let mut sum = self.0;
        for (s, (a, b)) in sum.iter_mut().zip(a.0.into_iter().zip(b.0)) {
            // A fused multiply-add is a library call on targets without the instruction.
            *s = if FUSED_BASE {
                a.mul_add(b, *s)
            } else {
                *s + a * b
            };
        }
        Self(sum)
    }
    #[inline(always)]
    unsafe fn silu(self) -> Self {
        Self(self.0.map(activation::silu::<FUSED_BASE>))
    }
    #[inline(always)]
    unsafe fn interleave(self, other: Self) -> [Self; 2] {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        [Self([a, e, b, f]), Self([c, g, d, h])]
    }
    #[inline(always)]
    unsafe fn deinterleave(self, other: Self) -> [Self; 2] {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        [Self([a, c, e, g]), Self([b, d, f, h])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every function makes of known values.
    struct Check;

    impl Program for Check {
        unsafe fn run<L: Lanes>(self) {
            let values: Vec<f32> = (0..2 * L::N).map(|i| i as f32 - 7.5).collect();
            let all = |v: L| {
                let mut out = vec![0.0; L::N];
                // SAFETY: room for a vector.
                unsafe { v.store(out.as_mut_ptr()) };
                out
            };
            // SAFETY: two vectors of values; the processor is the one that `run` found.
            unsafe {
                let (a, b) = (L::load(values.as_ptr()), L::load(values[L::N..].as_ptr()));
                let expect = |got: L, want: &dyn Fn(usize) -> f32| {
                    assert_eq!(all(got), (0..L::N).map(want).collect::<Vec<_>>());
                };
                let (x, y) = (&values[..L::N], &values[L::N..]);
                expect(L::splat(2.5), &|_| 2.5);
                expect(a.plus(b), &|i| x[i] + y[i]);
                expect(a.minus(b), &|i| x[i] - y[i]);
                expect(a.larger(L::splat(0.5)), &|i| x[i].max(0.5));
                expect(a.larger(L::splat(f32::NAN)), &|i| x[i]);
                assert!(all(L::splat(f32::NAN).larger(a)).iter().all(|v| v.is_nan()));
                expect(a.add_product(b, b), &|i| x[i] + y[i] * y[i]);
                let [low, high] = a.interleave(b);
                expect(low, &|i| [x, y][i % 2][i / 2]);
                expect(high, &|i| [x, y][i % 2][(i + L::N) / 2]);
                let [even, odd] = a.deinterleave(b);
                expect(even, &|i| values[2 * i]);
                expect(odd, &|i| values[2 * i + 1]);
            }
        }
    }

    #[test]
    fn vectors_do_what_they_say() {
        // SAFETY: only sets that this processor was found to have.
        for isa in Isa::available() {
            unsafe {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => x86::avx512(Check),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => x86::avx2(Check),
                    Isa::Portable => Check.run::<Four>(),
                }
            }
        }
    }

    /// SiLU of a vector whose values are all the same.
    struct Silu<'a>(f32, &'a mut f32);

    impl Program for Silu<'_> {
        unsafe fn run<L: Lanes>(self) {
            let mut out = [0.0; 16];
            // SAFETY: no vector is longer.
            unsafe { L::splat(self.0).silu().store(out.as_mut_ptr()) };
            *self.1 = out[0];
        }
    }

    #[test]
    fn silu_is_that_of_single_values() {
        let single = match Isa::best() {
            Isa::Portable => activation::silu::<FUSED_BASE>,
            #[cfg(target_arch = "x86_64")]
            _ => activation::silu::<true>,
        };
        let special = [0.0, -0.0, 1e30, -1e30, f32::INFINITY, f32::NEG_INFINITY];
        for x in (-100_000..100_000).map(|i| i as f32 * 1e-3).chain(special) {
            let mut y = f32::NAN;
            run(Silu(x, &mut y));
            assert_eq!(y.to_bits(), single(x).to_bits(), "silu({x})");
        }
        let mut y = 0.0;
        run(Silu(f32::NAN, &mut y));
        assert!(y.is_nan());
    }
}
