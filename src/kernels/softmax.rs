//! Softmax over the last axis in one pass over memory.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::activation::exp;
use super::isa::vectorised;
use super::{is_fast, plain, values};

/// Floats per task; the first cache holds them between the passes.
const CHUNK: usize = 4096;
/// Independent sums that become one vector register.
const LANES: usize = 16;

/// Softmax over the last axis of a tensor of any rank, with the maximum subtracted first.
///
/// # Errors
/// When `x` has no axis.
pub fn softmax_last(x: &Tensor) -> Result<Tensor> {
    if x.rank() == 0 {
        bail!("softmax of a single number");
    }
    if is_fast(x) {
        x.contiguous()?.apply_op1_no_bwd(&Run)
    } else {
        plain::softmax_last(x)
    }
}

struct Run;

impl CustomOp1 for Run {
    fn name(&self) -> &'static str {
        "softmax-last"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut y = values(storage, layout)?.to_vec();
        let width = layout.dims().last().copied().unwrap_or(1);
        // Rows of no width need no work.
        if let Some(rows) = CHUNK.checked_div(width) {
            y.par_chunks_mut(rows.max(1) * width)
                .for_each(|rows| softmax_rows(rows, width));
        }
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }
}

vectorised! {
    /// Softmax of each row of `width`. The exponentials run over all rows at once: rows may be short.
    pub(super) fn softmax_rows(rows: &mut [f32], width: usize) {
        for row in rows.chunks_exact_mut(width) {
            let max = reduce(row, f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
            row.iter_mut().for_each(|v| *v -= max);
        }
        rows.iter_mut().for_each(|v| *v = exp::<FUSED>(*v));
        for row in rows.chunks_exact_mut(width) {
            let scale = 1.0 / reduce(row, 0.0, |a, b| a + b);
            row.iter_mut().for_each(|v| *v *= scale);
        }
    }
}

/// Folds a row lane by lane, then the lanes: always in this order.
#[inline(always)]
fn reduce(row: &[f32], start: f32, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let whole = row.chunks_exact(LANES);
    let rest = whole.remainder();
    for chunk in whole {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane = f(*lane, *v);
        }
    }
    let short = rest.iter().fold(start, |a, v| f(a, *v));
    if row.len() < LANES {
        short
    } else {
        lanes.iter().fold(short, |a, v| f(a, *v))
    }
}
