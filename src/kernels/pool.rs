//! Maximum pooling that keeps the size of the map, as SPPF uses it.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::isa::vectorised;
use super::output::{Parts, filled};
use super::planes::{Geometry, pad_plane};
use super::scratch::with_scratch;
use super::{is_fast, plain, values};

/// Maximum over k×k windows at stride 1; outside the map there is −∞. `x` and result `[B, C, H, W]`.
///
/// # Errors
/// When `x` has another rank, is empty, or `k` is even.
pub fn max_pool2d_same(x: &Tensor, k: usize) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    let geometry = Geometry::new((height, width), k, 1, k / 2);
    let Some(geometry) = geometry.filter(|_| k % 2 == 1) else {
        bail!(
            "max pooling of {:?} with window {k}: expected pixels and an odd window",
            x.shape()
        );
    };
    if is_fast(x) {
        x.contiguous()?.apply_op1_no_bwd(&Run(geometry))
    } else {
        plain::max_pool2d_same(x, k)
    }
}

struct Run(Geometry);

impl CustomOp1 for Run {
    fn name(&self) -> &'static str {
        "max-pool2d-same"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(storage, layout)?;
        let g = &self.0;
        let pixels = g.height * g.width;
        let pool = |out: Parts<'_>| {
            (0..x.len() / pixels).into_par_iter().for_each(|i| {
                with_scratch(g.plane() + pixels, |scratch| {
                    let (padded, maxima) = scratch.split_at_mut(g.plane());
                    pad_plane(
                        g,
                        &x[i * pixels..(i + 1) * pixels],
                        f32::NEG_INFINITY,
                        padded,
                    );
                    pool_plane(g, padded, maxima);
                    // SAFETY: each task writes its own plane.
                    unsafe { out.write(i * pixels, maxima) };
                });
            });
        };
        // SAFETY: every plane is written.
        let y = unsafe { filled(x.len(), pool) };
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }
}

vectorised! {
    /// First along the columns, into the first rows of `padded`, then along the rows.
    fn pool_plane(g: &Geometry, padded: &mut [f32], maxima: &mut [f32]) {
        let row = g.out_row(1);
        let vertical = g.height * row;
        let (height, kernel) = (g.height, g.kernel);
        // In place: row y only needs rows further on, which have not been changed yet.
        for y in 0..height {
            let (top, below) = padded[y * row..].split_at_mut(row);
            for other in below.chunks_exact(row).take(kernel - 1) {
                for (v, o) in top.iter_mut().zip(other) {
                    *v = larger(*v, *o);
                }
            }
        }
        for (to, from) in maxima.chunks_exact_mut(g.width).zip(padded[..vertical].chunks_exact(row)) {
            to.copy_from_slice(&from[..g.width]);
            for k in 1..kernel {
                for (v, o) in to.iter_mut().zip(&from[k..]) {
                    *v = larger(*v, *o);
                }
            }
        }
    }
}

/// One instruction, unlike `f32::max` with its rule for NaN.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}
