//! Doubling of a map by repeating pixels.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::isa::vectorised;
use super::output::{Parts, filled};
use super::scratch::with_scratch;
use super::{is_fast, plain, values};

/// Every pixel twice in both directions: `[B, C, H, W]` to `[B, C, 2H, 2W]`.
///
/// # Errors
/// When `x` has another rank.
pub fn upsample_nearest2x(x: &Tensor) -> Result<Tensor> {
    x.dims4()?;
    if is_fast(x) {
        x.contiguous()?.apply_op1_no_bwd(&Run)
    } else {
        plain::upsample_nearest2x(x)
    }
}

struct Run;

impl CustomOp1 for Run {
    fn name(&self) -> &'static str {
        "upsample-nearest2x"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(storage, layout)?;
        let (batch, channels, height, width) = layout.shape().dims4()?;
        let plane = |i: usize, out: Parts<'_>| {
            with_scratch(2 * width, |double| {
                for y in i * height..(i + 1) * height {
                    widen(&x[y * width..(y + 1) * width], double);
                    for copy in 0..2 {
                        // SAFETY: each task writes the rows of its own plane.
                        unsafe { out.write((2 * y + copy) * 2 * width, double) };
                    }
                }
            });
        };
        let run = |out: Parts<'_>| {
            (0..batch * channels)
                .into_par_iter()
                .for_each(|i| plane(i, out))
        };
        // SAFETY: every row is written.
        let y = unsafe { filled(4 * x.len(), run) };
        Ok((
            CpuStorage::F32(y),
            Shape::from((batch, channels, 2 * height, 2 * width)),
        ))
    }
}

vectorised! {
    fn widen(row: &[f32], double: &mut [f32]) {
        for (pair, v) in double.chunks_exact_mut(2).zip(row) {
            pair[0] = *v;
            pair[1] = *v;
        }
    }
}
