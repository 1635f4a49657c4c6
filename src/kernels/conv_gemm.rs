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
use super::micro::{LANE, MR, NR, Strided, Table, Walk, pack_rows, packed_len, tile_product};
use super::output::{Parts, filled};
use super::planes::{Geometry, pad_plane};
use super::scratch::with_scratch;

/// Weights in the order the tiles read them.
pub(super) struct PackedConv {
    /// Per group `[ceil(group_out / MR)][depth][MR]`.
    weights: Vec<f32>,
    /// Per group and block the bias of each row.
    bias: Vec<[f32; MR]>,
    groups: usize,
    group_in: usize,
    group_out: usize,
    kernel: usize,
    act: Activation,
}

/// One group of one image, ready to be cut into tiles.
struct Job<'a> {
    conv: &'a PackedConv,
    /// The channels of the group, `plane` apart.
    source: &'a [f32],
    plane: usize,
    /// Where in `source` the taps of one channel are, relative to the output pixel.
    taps: &'a [usize],
    /// The same for all channels, one after the other.
    rows: Table<'a>,
    group: usize,
    /// Pixels of an output plane.
    pixels: usize,
    /// Where the group's first output channel goes.
    to: usize,
}

/// Some consecutive pixels of the output.
struct Pixels {
    first: usize,
    count: usize,
    /// Where they lie in the source.
    at: usize,
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
        let mut blocks = Vec::new();
        for g in 0..groups {
            let part = packed_len(group_out, depth);
            let w = &w[g * group_out * depth..];
            pack_rows(
                group_out,
                depth,
                &mut weights[g * part..(g + 1) * part],
                |row, k| w[row * depth + k],
            );
            for rows in b[g * group_out..(g + 1) * group_out].chunks(MR) {
                blocks.push(std::array::from_fn(|r| rows.get(r).copied().unwrap_or(0.0)));
            }
        }
        Ok(Self {
            weights,
            bias: blocks,
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
            return self.tiles(x, g.height * g.width, g, out, to);
        }
        let padded = self.groups * self.group_in * g.plane();
        // Lanes are read as a whole: the last one may reach beyond the last plane.
        with_scratch(padded + LANE, |planes| {
            planes[padded..].fill(0.0);
            planes[..padded]
                .par_chunks_exact_mut(g.plane())
                .zip(x.par_chunks_exact(g.height * g.width))
                .for_each(|(padded, plane)| pad_plane(g, plane, 0.0, padded));
            self.tiles(planes, g.plane(), g, out, to);
        });
    }

    /// Runs all tiles of all groups of one image over the threads.
    fn tiles(&self, source: &[f32], plane: usize, g: &Geometry, out: Parts<'_>, to: usize) {
        let taps: Vec<usize> = (0..self.kernel * self.kernel)
            .map(|t| g.tap(t / self.kernel, t % self.kernel))
            .collect();
        let rows: Vec<usize> = (0..self.group_in)
            .flat_map(|c| taps.iter().map(move |tap| c * plane + tap))
            .collect();
        let rows = Table::new(&rows);
        let layout = Layout::new(g, plane);
        let pixels = g.out_height * g.out_width;
        let blocks = self.group_out.div_ceil(MR);
        let tiles = layout.tiles();
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
                    source: &source[group * self.group_in * plane..],
                    plane,
                    taps: &taps,
                    rows,
                    group,
                    pixels,
                    to: to + group * self.group_out * pixels,
                };
                let blocks = split * blocks / splits..(split + 1) * blocks / splits;
                job.tile(&layout, tile, blocks, out);
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

/// How the output pixels are cut into tiles.
enum Layout<'a> {
    /// Tiles within lines of pixels that are consecutive in the source as well: read in place.
    Lines {
        count: usize,
        width: usize,
        step: usize,
    },
    /// Tiles across rows of the map, gathered into a panel.
    Across(&'a Geometry),
}

impl<'a> Layout<'a> {
    fn new(g: &'a Geometry, plane: usize) -> Self {
        let pixels = g.out_height * g.out_width;
        if g.kernel == 1 && plane == pixels {
            Self::Lines {
                count: 1,
                width: pixels,
                step: 0,
            }
        } else if g.out_width.is_multiple_of(LANE) {
            Self::Lines {
                count: g.out_height,
                width: g.out_width,
                step: g.out_row(1),
            }
        } else {
            Self::Across(g)
        }
    }

    fn tiles(&self) -> usize {
        match self {
            Self::Lines { count, width, .. } => count * width.div_ceil(NR),
            Self::Across(g) => (g.out_height * g.out_width).div_ceil(NR),
        }
    }
}

impl Job<'_> {
    /// Computes the output channels of `blocks` for one tile.
    fn tile(&self, layout: &Layout<'_>, tile: usize, blocks: Range<usize>, out: Parts<'_>) {
        let depth = self.conv.group_in * self.taps.len();
        match *layout {
            Layout::Lines { width, step, .. } => {
                let (line, col) = (tile / width.div_ceil(NR), tile % width.div_ceil(NR) * NR);
                let count = NR.min(width - col);
                let p = Pixels {
                    first: line * width + col,
                    count,
                    at: line * step + col,
                };
                if self.rows.last(depth) + p.at + count.div_ceil(LANE) * LANE <= self.source.len() {
                    return self.product(&p, blocks, (&self.source[p.at..], self.rows), out);
                }
                // Only the last pixels of an input that is read in place.
                with_scratch(depth * NR, |panel| {
                    for (row, channel) in panel
                        .chunks_exact_mut(NR)
                        .zip(self.source.chunks(self.plane))
                    {
                        row[..count].copy_from_slice(&channel[p.at..p.at + count]);
                        row[count..].fill(0.0);
                    }
                    self.product(&p, blocks, (panel, Strided(NR)), out);
                });
            }
            Layout::Across(g) => {
                let first = tile * NR;
                let p = Pixels {
                    first,
                    count: NR.min(self.pixels - first),
                    at: 0,
                };
                with_scratch(depth * NR + LANE, |panel| {
                    let mut lanes = [(0, 0); NR];
                    let used = lanes_across(g, &p, &mut lanes);
                    gather(
                        self.source,
                        self.plane,
                        self.taps,
                        &lanes[..used],
                        self.conv.group_in,
                        panel,
                    );
                    self.product(&p, blocks, (panel, Strided(NR)), out);
                });
            }
        }
    }

    fn product<W: Walk>(
        &self,
        p: &Pixels,
        blocks: Range<usize>,
        panel: (&[f32], W),
        out: Parts<'_>,
    ) {
        let conv = self.conv;
        let depth = conv.group_in * self.taps.len();
        let lanes = p.count.div_ceil(LANE);
        let isa = Isa::best();
        let weights = &conv.weights[self.group * packed_len(conv.group_out, depth)..];
        let bias = &conv.bias[self.group * conv.group_out.div_ceil(MR)..];
        let mut tile = Buffer([0.0; MR * NR]);
        for block in blocks {
            let left = (&bias[block], &weights[block * MR * depth..]);
            tile_product(isa, depth, left, panel, lanes, (&mut tile.0, NR));
            let rows = MR.min(conv.group_out - block * MR);
            let to = self.to + block * MR * self.pixels + p.first;
            finish(
                &mut tile.0[..rows * NR],
                p.count,
                conv.act,
                out,
                to,
                self.pixels,
            );
        }
    }
}

/// A tile on a cache line.
#[repr(align(64))]
struct Buffer([f32; MR * NR]);

/// The copies of whole lanes that bring the pixels of a tile from a padded plane into a row of a panel, as
/// (to, from). What a copy brings too much the next one overwrites.
fn lanes_across(g: &Geometry, p: &Pixels, lanes: &mut [(usize, usize); NR]) -> usize {
    let mut used = 0;
    let mut col = 0;
    while col < p.count {
        let (y, x) = ((p.first + col) / g.out_width, (p.first + col) % g.out_width);
        lanes[used] = (col, g.out_row(y) + x);
        used += 1;
        col += (g.out_width - x).min(LANE);
    }
    used
}

vectorised! {
    /// Fills a panel: one row per channel and tap, copied lane by lane. The last lane of a row may write into the
    /// next row, before that is filled, or into the slack of one lane at the end.
    fn gather(
        source: &[f32],
        plane: usize,
        taps: &[usize],
        lanes: &[(usize, usize)],
        channels: usize,
        panel: &mut [f32],
    ) {
        for (i, row) in (0..channels).flat_map(|c| taps.iter().map(move |tap| c * plane + tap)).enumerate() {
            let panel = &mut panel[i * NR..(i + 1) * NR + LANE];
            let source = &source[row..];
            for &(to, from) in lanes {
                panel[to..to + LANE].copy_from_slice(&source[from..from + LANE]);
            }
        }
    }

    /// Applies the activation to the rows of a tile and writes the first `count` of each to the output, `step` apart.
    fn finish(tile: &mut [f32], count: usize, act: Activation, out: Parts<'_>, to: usize, step: usize) {
        for (r, row) in tile.chunks_exact_mut(NR).enumerate() {
            if act == Activation::Silu {
                row.iter_mut().for_each(|v| *v = silu(*v));
            }
            // SAFETY: no other task has these channels of these pixels. A length known to the compiler spares a call.
            unsafe {
                match count {
                    NR => out.write(to + r * step, &row[..NR]),
                    _ => out.write(to + r * step, &row[..count]),
                }
            }
        }
    }
}
