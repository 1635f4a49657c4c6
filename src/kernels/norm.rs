//! Layer norm over the channels of a map, without transposing it.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::isa::vectorised;
use super::output::{Parts, filled};
use super::scratch::with_scratch;
use super::{is_fast, plain, values};

/// Positions normalised together.
const COLS: usize = 64;

/// Layer norm over C at every position: (x − mean) / √(variance + eps) · weight + bias, the variance divided by C.
/// `x` and result `[B, C, H, W]`, `weight` and `bias` `[C]`.
///
/// # Errors
/// When the shapes do not fit together.
pub fn layer_norm_channels(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let (_, channels, ..) = x.dims4()?;
    if weight.dims() != [channels] || bias.dims() != [channels] {
        bail!(
            "layer norm of {:?} with weight {:?} and bias {:?}: expected [{channels}]",
            x.shape(),
            weight.shape(),
            bias.shape()
        );
    }
    if is_fast(x) && is_fast(weight) && is_fast(bias) {
        let (w, b) = (weight.contiguous()?, bias.contiguous()?);
        x.contiguous()?
            .apply_op3_no_bwd(&w, &b, &Run { eps: eps as f32 })
    } else {
        plain::layer_norm_channels(x, weight, bias, eps)
    }
}

struct Run {
    eps: f32,
}

impl CustomOp3 for Run {
    fn name(&self) -> &'static str {
        "layer-norm-channels"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight, bias) = (values(s1, l1)?, values(s2, l2)?, values(s3, l3)?);
        let (batch, channels, height, width) = l1.shape().dims4()?;
        let pixels = height * width;
        let blocks = pixels.div_ceil(COLS);
        let block = |task: usize, out: Parts<'_>| {
            let (b, first) = (task / blocks, task % blocks * COLS);
            let cols = COLS.min(pixels - first);
            let at = |c: usize| (b * channels + c) * pixels + first;
            with_scratch(channels * COLS, |rows| {
                for (c, row) in rows.chunks_exact_mut(COLS).enumerate() {
                    row[..cols].copy_from_slice(&x[at(c)..at(c) + cols]);
                    row[cols..].fill(0.0);
                }
                normalise(rows, weight, bias, self.eps);
                for (c, row) in rows.chunks_exact(COLS).enumerate() {
                    // SAFETY: no other task has these positions.
                    unsafe { out.write(at(c), &row[..cols]) };
                }
            });
        };
        let run = |out: Parts<'_>| {
            (0..batch * blocks)
                .into_par_iter()
                .for_each(|t| block(t, out))
        };
        // SAFETY: every position of every channel is written.
        let y = unsafe { filled(x.len(), run) };
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }
}

vectorised! {
    /// Normalises the columns of `rows` `[channels][COLS]`.
    fn normalise(rows: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
        let channels = weight.len() as f32;
        let mut mean = [0.0f32; COLS];
        for row in rows.chunks_exact(COLS) {
            mean.iter_mut().zip(row).for_each(|(m, v)| *m += v);
        }
        mean.iter_mut().for_each(|m| *m /= channels);
        let mut scale = [0.0f32; COLS];
        for row in rows.chunks_exact(COLS) {
            for ((s, v), m) in scale.iter_mut().zip(row).zip(&mean) {
                *s += (v - m) * (v - m);
            }
        }
        scale.iter_mut().for_each(|s| *s = 1.0 / (*s / channels + eps).sqrt());
        for ((row, w), b) in rows.chunks_exact_mut(COLS).zip(weight).zip(bias) {
            for ((v, m), s) in row.iter_mut().zip(&mean).zip(&scale) {
                *v = (*v - m) * s * w + b;
            }
        }
    }
}
