//! Convolution as a product of matrices, without ever writing the unfolded input as a whole.
//!
//! The output pixels are cut into tiles of [`NR`]. For each tile the taps of its pixels are gathered into
//! a panel `[depth][NR]` that stays in cache while all output channels pass over it; bias and
//! activation are applied to the finished tile. A 1×1 convolution needs no gathering: its input already is the panel.

use std::ops::Range;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::activation::{Activation, silu};
use super::isa::{Isa, vectorised};
use super::micro::{LANE, MR, NR, pack_rows, packed_len, tile_product};
use super::output::{Parts, filled};
use super::planes::{Geometry, pad_plane};
use super::scratch::with_scratch;

/// Weights in the order the tiles read them.
pub(super) struct PackedConv {
    /// Per group `[ceil(group_out / MR)][depth][MR]`.
    weights: Vec<f32>,
    /// Per group the bias of each row, padded to whole blocks.
    bias: Vec<f32>,
    groups: usize,
    group_in: usize,
    group_out: usize,
    kernel: usize,
    act: Activation,
}

/// A stretch of a panel row that is consecutive in the source.
#[derive(Clone, Copy, Default)]
struct Run {
    to: usize,
    from: usize,
    len: usize,
}

/// One group of one image, ready to be cut into tiles.
struct Job<'a> {
    conv: &'a PackedConv,
    geometry: &'a Geometry,
    /// The channels of the group, `plane` apart.
    source: &'a [f32],
    plane: usize,
    /// Where in `source` the taps of one channel are, relative to the output pixel.
    taps: &'a [usize],
    group: usize,
    /// Where the group's first output channel goes.
    to: usize,
}

impl PackedConv {
    /// Takes weights `[out, in / groups, k, k]` and bias `[out]` on the CPU.
    pub(super) fn new(
        weight: &Tensor,
        bias: &Tensor,
        groups: usize,
        act: Activation,
    ) -> Result<Self> {
        let (out, group_in, kernel, _) = weight.dims4()?;
        let group_out = out / groups;
        let depth = group_in * kernel * kernel;
        let w = weight.flatten_all()?.to_vec1::<f32>()?;
        let b = bias.to_vec1::<f32>()?;
        let mut weights = vec![0.0; groups * packed_len(group_out, depth)];
        let mut padded_bias = vec![0.0; groups * packed_len(group_out, 1)];
        for g in 0..groups {
            let part = g * packed_len(group_out, depth)..(g + 1) * packed_len(group_out, depth);
            let w = &w[g * group_out * depth..];
            pack_rows(group_out, depth, &mut weights[part], |row, k| {
                w[row * depth + k]
            });
            let part = g * packed_len(group_out, 1)..(g + 1) * packed_len(group_out, 1);
            pack_rows(group_out, 1, &mut padded_bias[part], |row, _| {
                b[g * group_out + row]
            });
        }
        Ok(Self {
            weights,
            bias: padded_bias,
            groups,
            group_in,
            group_out,
            kernel,
            act,
        })
    }

    /// `x` is `[batch, in, height, width]`; the result `[batch, out, out_height, out_width]`.
    pub(super) fn forward(&self, x: &[f32], batch: usize, g: &Geometry) -> Vec<f32> {
        let pixels = g.out_height * g.out_width;
        let image = self.groups * self.group_in * g.height * g.width;
        let out_image = self.groups * self.group_out * pixels;
        let run = |out: Parts<'_>| {
            for b in 0..batch {
                self.image(&x[b * image..(b + 1) * image], g, out, b * out_image);
            }
        };
        // SAFETY: `image` writes every pixel of every channel of its image.
        unsafe { filled(batch * out_image, run) }
    }

    fn image(&self, x: &[f32], g: &Geometry, out: Parts<'_>, to: usize) {
        if self.kernel == 1 && g.stride == 1 && g.padding == 0 {
            return self.tiles(x, g.height * g.width, &[0], g, out, to);
        }
        let taps: Vec<usize> = (0..self.kernel * self.kernel)
            .map(|t| g.tap(t / self.kernel, t % self.kernel))
            .collect();
        let padded = self.groups * self.group_in * g.plane();
        // The last run of the last channel may read up to LANE values too far.
        with_scratch(padded + LANE, |planes| {
            planes[padded..].fill(0.0);
            planes[..padded]
                .par_chunks_exact_mut(g.plane())
                .zip(x.par_chunks_exact(g.height * g.width))
                .for_each(|(padded, plane)| pad_plane(g, plane, 0.0, padded));
            self.tiles(planes, g.plane(), &taps, g, out, to);
        });
    }

    /// Runs all tiles of all groups of one image over the threads.
    fn tiles(
        &self,
        source: &[f32],
        plane: usize,
        taps: &[usize],
        g: &Geometry,
        out: Parts<'_>,
        to: usize,
    ) {
        let pixels = g.out_height * g.out_width;
        let blocks = self.group_out.div_ceil(MR);
        let tiles = pixels.div_ceil(NR);
        let splits = splits(self.groups * tiles, blocks);
        (0..self.groups * tiles * splits)
            .into_par_iter()
            .for_each(|task| {
                let (group, tile, split) = (
                    task / (tiles * splits),
                    task / splits % tiles,
                    task % splits,
                );
                let job = Job {
                    conv: self,
                    geometry: g,
                    source: &source[group * self.group_in * plane..],
                    plane,
                    taps,
                    group,
                    to: to + group * self.group_out * pixels,
                };
                job.tile(
                    tile * NR,
                    split * blocks / splits..(split + 1) * blocks / splits,
                    out,
                );
            });
    }
}

/// How many parts the output channels of a tile are cut into, so that all threads stay busy on small maps.
fn splits(tiles: usize, blocks: usize) -> usize {
    let threads = rayon::current_num_threads();
    if threads == 1 {
        return 1;
    }
    (8 * threads).div_ceil(tiles).clamp(1, blocks.div_ceil(4))
}

impl Job<'_> {
    /// Computes the output channels of `blocks` for the pixels from `first`.
    fn tile(&self, first: usize, blocks: Range<usize>, out: Parts<'_>) {
        let pixels = self.geometry.out_height * self.geometry.out_width;
        let cols = NR.min(pixels - first);
        let lanes = cols.div_ceil(LANE);
        if self.taps.len() == 1 && self.plane == pixels && first + lanes * LANE <= pixels {
            return self.product(first, cols, blocks, (&self.source[first..], pixels), out);
        }
        let depth = self.conv.group_in * self.taps.len();
        with_scratch(depth * NR + LANE, |panel| {
            self.gather(first, cols, panel);
            self.product(first, cols, blocks, (panel, NR), out);
        });
    }

    fn product(
        &self,
        first: usize,
        cols: usize,
        blocks: Range<usize>,
        panel: (&[f32], usize),
        out: Parts<'_>,
    ) {
        let conv = self.conv;
        let pixels = self.geometry.out_height * self.geometry.out_width;
        let depth = conv.group_in * self.taps.len();
        let lanes = cols.div_ceil(LANE);
        let isa = Isa::best();
        let weights = &conv.weights[self.group * packed_len(conv.group_out, depth)..];
        let bias = &conv.bias[self.group * packed_len(conv.group_out, 1)..];
        let mut tile = [0.0; MR * NR];
        for block in blocks {
            let weights = &weights[block * MR * depth..];
            tile_product(isa, depth, weights, panel, lanes, (&mut tile, NR));
            finish(&mut tile, &bias[block * MR..], conv.act);
            let rows = MR.min(conv.group_out - block * MR);
            for (r, row) in tile.chunks_exact(NR).take(rows).enumerate() {
                let to = self.to + (block * MR + r) * pixels + first;
                // SAFETY: no other task has these channels of these pixels.
                unsafe { out.write(to, &row[..cols]) };
            }
        }
    }

    /// Gathers the taps of the pixels from `first` into a panel.
    fn gather(&self, first: usize, cols: usize, panel: &mut [f32]) {
        let g = self.geometry;
        let mut runs = [Run::default(); NR];
        let mut count = 0;
        let mut col = 0;
        while col < cols {
            let (y, x) = ((first + col) / g.out_width, (first + col) % g.out_width);
            let len = (g.out_width - x).min(cols - col);
            runs[count] = Run {
                to: col,
                from: g.out_row(y) + x,
                len,
            };
            count += 1;
            col += len;
        }
        gather(
            self.source,
            self.plane,
            self.taps,
            &runs[..count],
            self.conv.group_in,
            panel,
        );
    }
}

vectorised! {
    /// Copies the runs of every channel and tap. Whole lanes are copied: what is too much is overwritten by
    /// the next run, the next row, or lies in the slack of the buffers.
    fn gather(source: &[f32], plane: usize, taps: &[usize], runs: &[Run], channels: usize, panel: &mut [f32]) {
        let mut row = 0;
        for channel in 0..channels {
            for tap in taps {
                let base = channel * plane + tap;
                for run in runs {
                    let mut done = 0;
                    while done < run.len {
                        let (to, from) = (row + run.to + done, base + run.from + done);
                        match source.get(from..from + LANE) {
                            Some(lane) => panel[to..to + LANE].copy_from_slice(lane),
                            None => {
                                // Only at the very end of an input that is read in place.
                                let rest = &source[from..];
                                panel[to..to + rest.len()].copy_from_slice(rest);
                            }
                        }
                        done += LANE;
                    }
                }
                row += NR;
            }
        }
    }

    /// Adds the bias of each row and applies the activation.
    fn finish(tile: &mut [f32; MR * NR], bias: &[f32], act: Activation) {
        for (row, bias) in tile.chunks_exact_mut(NR).zip(bias) {
            match act {
                Activation::None => row.iter_mut().for_each(|v| *v += bias),
                Activation::Silu => row.iter_mut().for_each(|v| *v = silu(*v + bias)),
            }
        }
    }
}
