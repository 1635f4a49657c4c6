//! The soft assignment of pixels to the nine super tokens around them, cell by cell.
//!
//! A map is cut into cells of `h × w` pixels, one super token each. Pixel weights are laid out as
//! `[B, 9, H, W]`: weight of neighbour `k = 3·(dy+1) + (dx+1)` of the pixel's own cell. Neighbours
//! off the grid count as tokens of zeros.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::activation::exp;
use super::isa::{add_product, vectorised};
use super::output::{Parts, filled};
use super::scratch::with_scratch;
use super::{is_fast, plain, values};

/// Pixels that are worked on at a time.
const LANE: usize = 16;
/// Neighbours of a cell, itself included.
const AROUND: usize = 9;

/// How a map is cut into cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cells {
    /// Cells along height and width.
    pub grid: [usize; 2],
    /// Height and width of a cell.
    pub cell: [usize; 2],
}

impl Cells {
    /// The cut of a map of `[height, width]`, whose sides must be multiples of the cell's.
    pub fn new(map: [usize; 2], cell: [usize; 2]) -> Result<Self> {
        match (0..2).all(|i| cell[i] > 0 && map[i].is_multiple_of(cell[i])) {
            true => Ok(Self {
                grid: [map[0] / cell[0], map[1] / cell[1]],
                cell,
            }),
            false => bail!("a map of {map:?} cannot be cut into cells of {cell:?}"),
        }
    }

    /// Number of cells.
    pub fn count(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    fn width(&self) -> usize {
        self.grid[1] * self.cell[1]
    }

    fn plane(&self) -> usize {
        self.count() * self.pixels()
    }

    fn pixels(&self) -> usize {
        self.cell[0] * self.cell[1]
    }

    /// Pixels of a cell, filled up to whole lanes.
    fn padded(&self) -> usize {
        self.pixels().next_multiple_of(LANE)
    }

    /// Neighbour `k` of a cell, if it is on the grid.
    pub fn neighbour(&self, cell: usize, k: usize) -> Option<usize> {
        let row = (cell / self.grid[1] + k / 3).checked_sub(1)?;
        let col = (cell % self.grid[1] + k % 3).checked_sub(1)?;
        (row < self.grid[0] && col < self.grid[1]).then(|| row * self.grid[1] + col)
    }

    /// Where row `y` of a cell begins in a plane.
    fn start(&self, cell: usize, y: usize) -> usize {
        let top = cell / self.grid[1] * self.cell[0] + y;
        top * self.width() + cell % self.grid[1] * self.cell[1]
    }

    /// Copies the pixels of a cell in every plane: `[planes][padded]`, the filling as zeros.
    fn load(&self, planes: &[f32], cell: usize, tile: &mut [f32]) {
        let w = self.cell[1];
        let rows = tile.chunks_exact_mut(self.padded());
        for (plane, row) in planes.chunks_exact(self.plane()).zip(rows) {
            row[self.pixels()..].fill(0.0);
            for (y, run) in row[..self.pixels()].chunks_exact_mut(w).enumerate() {
                let start = self.start(cell, y);
                run.copy_from_slice(&plane[start..start + w]);
            }
        }
    }

    /// Writes the pixels of a cell in every plane of the result, which begins at `first`.
    fn store(&self, tile: &[f32], cell: usize, first: usize, out: Parts<'_>) {
        for (plane, row) in tile.chunks_exact(self.padded()).enumerate() {
            for (y, run) in row[..self.pixels()].chunks_exact(self.cell[1]).enumerate() {
                let to = first + plane * self.plane() + self.start(cell, y);
                // SAFETY: no other task has the pixels of this cell.
                unsafe { out.write(to, run) };
            }
        }
    }

    /// The tokens around a cell, `[C][9]`, from tokens `[m, C]`.
    fn gather(&self, tokens: &[f32], channels: usize, cell: usize, near: &mut [f32]) {
        for k in 0..AROUND {
            let token = self
                .neighbour(cell, k)
                .map(|t| &tokens[t * channels..(t + 1) * channels]);
            for (c, row) in near.chunks_exact_mut(AROUND).enumerate() {
                row[k] = token.map_or(0.0, |t| t[c]);
            }
        }
    }
}

/// Weights of the nine super tokens around each pixel: softmax of `scale · ⟨pixel, token⟩`.
///
/// x `[B, C, H, W]`, tokens `[B, m, C]`; result `[B, 9, H, W]`.
///
/// # Errors
/// When the shapes do not fit together.
pub fn affinity(x: &Tensor, tokens: &Tensor, cells: Cells, scale: f64) -> Result<Tensor> {
    check(x, tokens, x.dim(1)?, cells)?;
    if !is_fast(x) {
        return plain::affinity(x, tokens, cells, scale);
    }
    let run = Affinity {
        cells,
        scale: scale as f32,
    };
    x.contiguous()?
        .apply_op2_no_bwd(&tokens.contiguous()?, &run)
}

/// Weighted means of the pixels that belong to each super token, and the weight each received.
///
/// x `[B, C, H, W]`, weights `[B, 9, H, W]`; result `[B, m, C]` and `[B, m]`. Weight that falls off the
/// grid is lost.
///
/// # Errors
/// When the shapes do not fit together.
pub fn weighted_means(x: &Tensor, weights: &Tensor, cells: Cells) -> Result<(Tensor, Tensor)> {
    let (b, c, h, w) = x.dims4()?;
    if weights.dims() != [b, AROUND, h, w]
        || [h, w] != [cells.grid[0] * cells.cell[0], cells.width()]
    {
        bail!(
            "weights {:?} do not fit a map {:?}",
            weights.shape(),
            x.shape()
        );
    }
    if !is_fast(x) {
        return plain::weighted_means(x, weights, cells);
    }
    let both = x
        .contiguous()?
        .apply_op2_no_bwd(&weights.contiguous()?, &Means { cells })?;
    Ok((
        both.narrow(2, 0, c)?.contiguous()?,
        both.narrow(2, c, 1)?.squeeze(2)?.contiguous()?,
    ))
}

/// Gives the tokens back to the pixels along the same weights, without renormalising.
///
/// weights `[B, 9, H, W]`, tokens `[B, m, C]`; result `[B, C, H, W]`.
///
/// # Errors
/// When the shapes do not fit together.
pub fn spread(weights: &Tensor, tokens: &Tensor, cells: Cells) -> Result<Tensor> {
    check(weights, tokens, tokens.dim(2)?, cells)?;
    if !is_fast(weights) {
        return plain::spread(weights, tokens, cells);
    }
    weights
        .contiguous()?
        .apply_op2_no_bwd(&tokens.contiguous()?, &Spread { cells })
}

fn check(map: &Tensor, tokens: &Tensor, channels: usize, cells: Cells) -> Result<()> {
    let (b, _, h, w) = map.dims4()?;
    let cut = Cells::new([h, w], cells.cell)?;
    if cut != cells || tokens.dims() != [b, cells.count(), channels] {
        bail!(
            "super tokens {:?} do not fit a map {:?} cut into {cells:?}",
            tokens.shape(),
            map.shape()
        );
    }
    Ok(())
}

struct Affinity {
    cells: Cells,
    scale: f32,
}

impl CustomOp2 for Affinity {
    fn name(&self) -> &'static str {
        "affinity"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, tokens) = (values(s1, l1)?, values(s2, l2)?);
        let (batch, c, h, w) = l1.shape().dims4()?;
        let (cells, m, n) = (self.cells, self.cells.count(), self.cells.padded());
        let fill = |out: Parts<'_>| {
            (0..batch * m).into_par_iter().for_each(|task| {
                let (image, cell) = (task / m, task % m);
                with_scratch(c * n + c * AROUND + AROUND * n, |scratch| {
                    let (tile, rest) = scratch.split_at_mut(c * n);
                    let (near, weights) = rest.split_at_mut(c * AROUND);
                    cells.load(
                        &x[image * c * cells.plane()..(image + 1) * c * cells.plane()],
                        cell,
                        tile,
                    );
                    cells.gather(&tokens[image * m * c..(image + 1) * m * c], c, cell, near);
                    affinity_of(tile, near, self.scale, weights);
                    cells.store(weights, cell, image * AROUND * cells.plane(), out);
                });
            });
        };
        // SAFETY: the cells cover every pixel of every image.
        let y = unsafe { filled(batch * AROUND * cells.plane(), fill) };
        Ok((CpuStorage::F32(y), Shape::from((batch, AROUND, h, w))))
    }
}

struct Means {
    cells: Cells,
}

impl CustomOp2 for Means {
    fn name(&self) -> &'static str {
        "weighted-means"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weights) = (values(s1, l1)?, values(s2, l2)?);
        let (batch, c, _, _) = l1.shape().dims4()?;
        let (cells, m, n) = (self.cells, self.cells.count(), self.cells.padded());
        let (width, part) = (c + 1, AROUND * (c + 1));
        let mut result = vec![0.0; batch * m * width];
        // What each cell gives to its nine neighbours, then what each token gets: the order of the
        // sums never depends on the threads.
        with_scratch(batch * m * part, |parts| {
            parts
                .par_chunks_exact_mut(part)
                .enumerate()
                .for_each(|(task, part)| {
                    let (image, cell) = (task / m, task % m);
                    with_scratch((c + AROUND) * n, |scratch| {
                        let (tile, near) = scratch.split_at_mut(c * n);
                        let plane = cells.plane();
                        cells.load(&x[image * c * plane..(image + 1) * c * plane], cell, tile);
                        cells.load(
                            &weights[image * AROUND * plane..(image + 1) * AROUND * plane],
                            cell,
                            near,
                        );
                        sums_of(tile, near, part);
                    });
                });
            result
                .par_chunks_exact_mut(width)
                .enumerate()
                .for_each(|(task, token)| {
                    let (image, token_index) = (task / m, task % m);
                    for k in 0..AROUND {
                        // The cell whose neighbour `k` this token is lies on the opposite side.
                        let Some(cell) = cells.neighbour(token_index, AROUND - 1 - k) else {
                            continue;
                        };
                        let from = ((image * m + cell) * AROUND + k) * width;
                        token
                            .iter_mut()
                            .zip(&parts[from..from + width])
                            .for_each(|(t, p)| *t += p);
                    }
                    let factor = 1.0 / (token[c] + 1e-12);
                    token[..c].iter_mut().for_each(|v| *v *= factor);
                });
        });
        Ok((CpuStorage::F32(result), Shape::from((batch, m, width))))
    }
}

struct Spread {
    cells: Cells,
}

impl CustomOp2 for Spread {
    fn name(&self) -> &'static str {
        "spread"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (weights, tokens) = (values(s1, l1)?, values(s2, l2)?);
        let (batch, _, h, w) = l1.shape().dims4()?;
        let (_, m, c) = l2.shape().dims3()?;
        let (cells, n) = (self.cells, self.cells.padded());
        let fill = |out: Parts<'_>| {
            (0..batch * m).into_par_iter().for_each(|task| {
                let (image, cell) = (task / m, task % m);
                with_scratch((c + AROUND) * n + c * AROUND, |scratch| {
                    let (tile, rest) = scratch.split_at_mut(c * n);
                    let (near, around) = rest.split_at_mut(AROUND * n);
                    let plane = cells.plane();
                    cells.load(
                        &weights[image * AROUND * plane..(image + 1) * AROUND * plane],
                        cell,
                        near,
                    );
                    cells.gather(&tokens[image * m * c..(image + 1) * m * c], c, cell, around);
                    spread_of(around, near, tile);
                    cells.store(tile, cell, image * c * plane, out);
                });
            });
        };
        // SAFETY: the cells cover every pixel of every image.
        let y = unsafe { filled(batch * c * cells.plane(), fill) };
        Ok((CpuStorage::F32(y), Shape::from((batch, c, h, w))))
    }
}

vectorised! {
    /// Softmax over the nine tokens `near` `[C][9]` for the pixels `tile` `[C][n]`: `[9][n]`.
    fn affinity_of(tile: &[f32], near: &[f32], scale: f32, weights: &mut [f32]) {
        let n = weights.len() / AROUND;
        for at in (0..n).step_by(LANE) {
            let mut sums = [[0.0f32; LANE]; AROUND];
            for (pixels, tokens) in tile.chunks_exact(n).zip(near.chunks_exact(AROUND)) {
                let pixels = &pixels[at..at + LANE];
                for (sum, token) in sums.iter_mut().zip(tokens) {
                    for (s, p) in sum.iter_mut().zip(pixels) {
                        *s = add_product::<FUSED>(*p, *token, *s);
                    }
                }
            }
            let mut top = [f32::NEG_INFINITY; LANE];
            for sum in &mut sums {
                for (s, t) in sum.iter_mut().zip(&mut top) {
                    *s *= scale;
                    *t = if *s > *t { *s } else { *t };
                }
            }
            let mut total = [0.0f32; LANE];
            for sum in &mut sums {
                for ((s, t), all) in sum.iter_mut().zip(&top).zip(&mut total) {
                    *s = exp::<FUSED>(*s - *t);
                    *all += *s;
                }
            }
            for (k, sum) in sums.iter().enumerate() {
                let row = &mut weights[k * n + at..k * n + at + LANE];
                for ((w, s), all) in row.iter_mut().zip(sum).zip(&total) {
                    *w = s / all;
                }
            }
        }
    }

    /// Sums of the pixels `tile` `[C][n]` by each of the weights `near` `[9][n]`, and of the weights
    /// themselves: `[9][C + 1]`.
    fn sums_of(tile: &[f32], near: &[f32], sums: &mut [f32]) {
        let n = near.len() / AROUND;
        let width = sums.len() / AROUND;
        for (k, weights) in near.chunks_exact(n).enumerate() {
            sums[k * width + width - 1] = weights.iter().sum();
        }
        for (c, pixels) in tile.chunks_exact(n).enumerate() {
            let mut lanes = [[0.0f32; LANE]; AROUND];
            for (at, pixels) in pixels.chunks_exact(LANE).enumerate() {
                for (k, lane) in lanes.iter_mut().enumerate() {
                    let weights = &near[k * n + at * LANE..k * n + (at + 1) * LANE];
                    for ((l, p), w) in lane.iter_mut().zip(pixels).zip(weights) {
                        *l = add_product::<FUSED>(*p, *w, *l);
                    }
                }
            }
            for (k, lane) in lanes.iter().enumerate() {
                sums[k * width + c] = lane.iter().sum();
            }
        }
    }

    /// The tokens `around` `[C][9]` by the weights `near` `[9][n]`: `[C][n]`.
    fn spread_of(around: &[f32], near: &[f32], tile: &mut [f32]) {
        let n = near.len() / AROUND;
        for (pixels, tokens) in tile.chunks_exact_mut(n).zip(around.chunks_exact(AROUND)) {
            for (at, pixels) in pixels.chunks_exact_mut(LANE).enumerate() {
                let mut sum = [0.0f32; LANE];
                for (k, token) in tokens.iter().enumerate() {
                    let weights = &near[k * n + at * LANE..k * n + (at + 1) * LANE];
                    for (s, w) in sum.iter_mut().zip(weights) {
                        *s = add_product::<FUSED>(*w, *token, *s);
                    }
                }
                pixels.copy_from_slice(&sum);
            }
        }
    }
}
