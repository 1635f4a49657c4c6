//! Maximum pooling that keeps the size of the map, as SPPF uses it.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::lanes::{self, Lanes, Program};
use super::micro::LANE;
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
                with_scratch(g.plane() + LANE, |padded| {
                    pad_plane(
                        g,
                        &x[i * pixels..(i + 1) * pixels],
                        f32::NEG_INFINITY,
                        &mut padded[..g.plane()],
                    );
                    let geometry = g;
                    lanes::run(Maxima {
                        geometry,
                        padded: &mut padded[..],
                    });
                    let rows = padded.chunks_exact(g.out_row(1)).take(g.height);
                    for (y, row) in rows.enumerate() {
                        // SAFETY: each task writes the rows of its own plane.
                        unsafe { out.write(i * pixels + y * g.width, &row[..g.width]) };
                    }
                });
            });
        };
        // SAFETY: every plane is written.
        let y = unsafe { filled(x.len(), pool) };
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }
}

/// The maxima of a padded plane: first along the columns, then along the rows, both in place and as one line, across
/// the padding between the rows.
struct Maxima<'a> {
    geometry: &'a Geometry,
    /// [`Geometry::plane`] values and a lane more.
    padded: &'a mut [f32],
}

impl Program for Maxima<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (g, row) = (self.geometry, self.geometry.out_row(1));
        let len = g.height * row;
        assert!(self.padded.len() >= g.plane() + LANE && LANE >= L::N);
        for step in [row, 1] {
            for at in (0..len).step_by(L::N) {
                // SAFETY: the last window of a column ends with the plane, that of a row before it; the last vector
                // may reach a lane further.
                unsafe {
                    let start = self.padded.as_mut_ptr().add(at);
                    let mut largest = L::load(start);
                    for k in 1..g.kernel {
                        largest = largest.larger(L::load(start.add(k * step)));
                    }
                    largest.store(start);
                }
            }
        }
    }
}
