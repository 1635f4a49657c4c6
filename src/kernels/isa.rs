//! Run-time choice of the instruction set: one binary, every processor.

use std::sync::OnceLock;

/// The instruction sets the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isa {
    /// 512-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 256-bit vectors with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Whatever the target guarantees (SSE2 on x86-64, NEON on aarch64).
    Portable,
}

impl Isa {
    /// Every instruction set this processor can run, the fastest first.
    pub(super) fn available() -> &'static [Isa] {
        static AVAILABLE: OnceLock<Vec<Isa>> = OnceLock::new();
        AVAILABLE.get_or_init(|| {
            let mut sets = Vec::new();
            #[cfg(target_arch = "x86_64")]
            {
                let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
                if avx2
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                {
                    sets.push(Isa::Avx512);
                }
                if avx2 {
                    sets.push(Isa::Avx2);
                }
            }
            sets.push(Isa::Portable);
            sets
        })
    }

    /// The fastest instruction set of this processor.
    pub(super) fn best() -> Isa {
        Self::available().first().copied().unwrap_or(Isa::Portable)
    }
}

/// Asks for the cache line of an address that will be needed soon. Any address will do.
#[inline(always)]
pub(super) fn prefetch(address: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint without effect on memory; part of the x86-64 baseline.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// `a·b + c`, rounded once where `FUSED`: elsewhere that would be a library call.
#[inline(always)]
pub(super) fn add_product<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Whether the target always has a fused multiply-add.
pub(super) const FUSED_BASE: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

/// Defines functions of plain Rust that are compiled once per instruction set, for loops that the
/// compiler vectorises by itself, and that pick the best version when called. Their body may use the constant
/// `FUSED`, which says whether the version has a fused multiply-add.
macro_rules! vectorised {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block)+) => {$(
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) {
            #[inline(always)]
            #[allow(clippy::extra_unused_type_parameters, reason = "not every body asks")]
            fn body<const FUSED: bool>($($arg: $ty),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                use $crate::kernels::isa::Isa;
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx2,fma")]
                fn avx512($($arg: $ty),*) {
                    body::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) {
                    body::<true>($($arg),*)
                }
                match Isa::best() {
                    // SAFETY: `Isa::best` only names sets this processor was found to have.
                    Isa::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    Isa::Avx2 => return unsafe { avx2($($arg),*) },
                    Isa::Portable => {}
                }
            }
            body::<{ $crate::kernels::isa::FUSED_BASE }>($($arg),*)
        }
    )+};
}
pub(super) use vectorised;
