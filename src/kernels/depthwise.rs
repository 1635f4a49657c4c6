//! Depthwise convolution: one kernel per channel, straight over padded rows.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::activation::{Activation, silu};
use super::isa::{add_product, vectorised};
use super::maps::Maps;
use super::output::{Parts, filled};
use super::planes::{Geometry, pad_plane};
use super::scratch::with_scratch;

/// Sums kept at a time: enough to amortise the passes, small enough for the first cache.
const STRIP: usize = 1024;

/// Weights of a depthwise convolution with a 3×3, 5×5 or 7×7 kernel.
pub(super) struct Depthwise {
    weights: Vec<f32>,
    bias: Vec<f32>,
    kernel: usize,
    act: Activation,
}

impl Depthwise {
    /// Whether there is a fast path for weights `[out, in / groups, k, k]`.
    pub(super) fn supports(weight: &Tensor, groups: usize) -> bool {
        matches!(*weight.dims(), [out, 1, 3 | 5 | 7, _] if out == groups)
    }

    /// Takes weights `[channels, 1, k, k]` and bias `[channels]` on the CPU.
    pub(super) fn new(weight: &Tensor, bias: &Tensor, act: Activation) -> Result<Self> {
        Ok(Self {
            weights: weight.flatten_all()?.to_vec1()?,
            bias: bias.to_vec1()?,
            kernel: weight.dim(2)?,
            act,
        })
    }

    /// `maps` are `[batch, channels, height, width]`; the result is `[batch, channels, out_height, out_width]`, as is what is added to it.
    pub(super) fn forward(&self, maps: &Maps<'_>, g: &Geometry, add: Option<&[f32]>) -> Vec<f32> {
        let channels = self.bias.len();
        let taps = self.kernel * self.kernel;
        let pixels = g.out_height * g.out_width;
        // With stride 1 the rows of a strip are computed as one, across the padding between them.
        let strip_rows = if g.stride == 1 {
            (STRIP / g.out_row(1)).max(1)
        } else {
            1
        };
        let strip_len = |rows: usize| g.out_row(rows - 1) + g.out_width;
        let plane = |i: usize, out: Parts<'_>| {
            let channel = i % channels;
            let weights = &self.weights[channel * taps..(channel + 1) * taps];
            let source = maps.planes()[i];
            with_scratch(g.plane() + strip_len(strip_rows), |scratch| {
                let (padded, sums) = scratch.split_at_mut(g.plane());
                pad_plane(g, source, 0.0, padded);
                for y in (0..g.out_height).step_by(strip_rows) {
                    let rows = strip_rows.min(g.out_height - y);
                    let sums = &mut sums[..strip_len(rows)];
                    strip(
                        g,
                        weights,
                        self.bias[channel],
                        self.act,
                        &padded[g.out_row(y)..],
                        sums,
                    );
                    for row in 0..rows {
                        let from = if row == 0 { 0 } else { g.out_row(row) };
                        let to = i * pixels + (y + row) * g.out_width;
                        // SAFETY: each task writes the rows of its own plane.
                        unsafe { out.write_sum(to, &sums[from..from + g.out_width], add) };
                    }
                }
            });
        };
        let run = |out: Parts<'_>| {
            (0..maps.planes().len())
                .into_par_iter()
                .for_each(|i| plane(i, out))
        };
        // SAFETY: every row of every plane is written.
        unsafe { filled(maps.planes().len() * pixels, run) }
    }
}

vectorised! {
    /// The convolution of consecutive positions, with bias and activation.
    fn strip(g: &Geometry, weights: &[f32], bias: f32, act: Activation, rows: &[f32], sums: &mut [f32]) {
        let silu = act == Activation::Silu;
        match g.kernel {
            3 => {
                let taps: [&[f32]; 9] = std::array::from_fn(|t| &rows[g.tap(t / 3, t % 3)..][..sums.len()]);
                all_taps::<FUSED>(taps, std::array::from_fn(|t| weights[t]), bias, silu, sums);
            }
            5 => row_by_row::<5, FUSED>(g, weights, bias, rows, silu, sums),
            _ => row_by_row::<7, FUSED>(g, weights, bias, rows, silu, sums),
        }
    }
}

/// Nine taps at once.
#[inline(always)]
fn all_taps<const FUSED: bool>(
    taps: [&[f32]; 9],
    weights: [f32; 9],
    bias: f32,
    act: bool,
    sums: &mut [f32],
) {
    for (i, sum) in sums.iter_mut().enumerate() {
        let mut v = bias;
        for (tap, weight) in taps.iter().zip(weights) {
            v = add_product::<FUSED>(weight, tap[i], v);
        }
        *sum = if act { silu::<FUSED>(v) } else { v };
    }
}

/// One pass over the sums per kernel row: more taps than that do not fit into the registers.
#[inline(always)]
fn row_by_row<const K: usize, const FUSED: bool>(
    g: &Geometry,
    weights: &[f32],
    bias: f32,
    rows: &[f32],
    act: bool,
    sums: &mut [f32],
) {
    sums.fill(bias);
    for (ky, weights) in weights.chunks_exact(K).enumerate() {
        let taps: [&[f32]; K] = std::array::from_fn(|kx| &rows[g.tap(ky, kx)..][..sums.len()]);
        let weights: [f32; K] = std::array::from_fn(|kx| weights[kx]);
        for (i, sum) in sums.iter_mut().enumerate() {
            let mut v = *sum;
            for (tap, weight) in taps.iter().zip(weights) {
                v = add_product::<FUSED>(weight, tap[i], v);
            }
            *sum = v;
        }
    }
    if act {
        sums.iter_mut().for_each(|v| *v = silu::<FUSED>(*v));
    }
}
