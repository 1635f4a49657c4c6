//! Means over the cells or regions that a map is cut into.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::isa::vectorised;
use super::scratch::with_scratch;
use super::{is_fast, plain, values};

/// Mean over each cell of `[height, width]` pixels: `[B, C, H, W]` to `[B, C, H / height, W / width]`.
///
/// # Errors
/// When the cells do not divide the map.
pub fn cell_means(x: &Tensor, cell: [usize; 2]) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    let divides = |side: usize, cell: usize| cell > 0 && side > 0 && side.is_multiple_of(cell);
    if !(divides(height, cell[0]) && divides(width, cell[1])) {
        bail!("cells of {cell:?} do not divide a map {:?}", x.shape());
    }
    if is_fast(x) {
        x.contiguous()?.apply_op1_no_bwd(&Run { cell })
    } else {
        plain::cell_means(x, cell)
    }
}

struct Run {
    cell: [usize; 2],
}

impl CustomOp1 for Run {
    fn name(&self) -> &'static str {
        "cell-means"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(storage, layout)?;
        let (batch, channels, height, width) = layout.shape().dims4()?;
        let [rows, cols] = [height / self.cell[0], width / self.cell[1]];
        let mut y = vec![0.0; batch * channels * rows * cols];
        // Several planes a task: small maps are done in a microsecond.
        let some = (1 << 14) / (height * width) + 1;
        y.par_chunks_mut(some * rows * cols)
            .zip(x.par_chunks(some * height * width))
            .for_each(|(y, x)| {
                with_scratch(width, |line| {
                    let lines = y.chunks_exact_mut(cols);
                    for (y, x) in lines.zip(x.chunks_exact(self.cell[0] * width)) {
                        sum_lines(x, line);
                        mean_of_cells(line, y, self.cell);
                    }
                });
            });
        Ok((
            CpuStorage::F32(y),
            Shape::from((batch, channels, rows, cols)),
        ))
    }
}

vectorised! {
    /// The sum of the lines of `x`, as long as `line`.
    fn sum_lines(x: &[f32], line: &mut [f32]) {
        line.fill(0.0);
        for x in x.chunks_exact(line.len()) {
            line.iter_mut().zip(x).for_each(|(sum, v)| *sum += v);
        }
    }
}

/// The means of cells whose lines are already summed.
fn mean_of_cells(line: &[f32], means: &mut [f32], [height, width]: [usize; 2]) {
    let pixels = (height * width) as f32;
    for (mean, cell) in means.iter_mut().zip(line.chunks_exact(width)) {
        *mean = cell.iter().sum::<f32>() / pixels;
    }
}
