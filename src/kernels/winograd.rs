//! 3×3 convolution at stride 1 by Winograd's minimal filtering F(2×2, 3×3).
//!
//! Four outputs are made from a window of 4×4 inputs with 16 products instead of 36: windows and weights are transformed
//! by sums and differences, multiplied element by element (which over all channels is one product of matrices per
//! element of the window), and the products transformed back.
//!
//! After Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016.

use std::ops::Range;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::activation::Activation;
use super::isa::Isa;
use super::lanes::{self, Lanes, Program};
use super::maps::Maps;
use super::micro::{LANE, MR, NR, Strided, pack_rows, packed_len, tile_product};
use super::output::{Parts, filled};
use super::planes::Geometry;
use super::scratch::with_scratch;

/// Elements of a window.
const POINTS: usize = 16;
/// Floats that the transformed windows of a strip may take.
const STRIP: usize = 96 * 1024;
/// What a strip costs beside its lanes, in lanes: the weights are read again, and two rows more are unfolded.
const STRIP_COST: f64 = 0.5;

/// Transformed weights in the order the tiles read them.
pub(super) struct Winograd {
    /// `[POINTS][ceil(out / MR)][in][MR]`
    weights: Vec<f32>,
    /// Per block of output channels.
    bias: Vec<[f32; MR]>,
    channels: usize,
    out: usize,
    act: Activation,
}

impl Winograd {
    /// Whether weights `[out, in / groups, k, k]` are best used in this way: with fewer channels the
    /// transforms cost more than they save (measured).
    pub(super) fn supports(weight: &Tensor, stride: usize, groups: usize) -> bool {
        matches!(*weight.dims(), [out, channels, 3, 3] if channels >= 16 && out >= 32)
            && stride == 1
            && groups == 1
    }

    /// Takes weights `[out, in, 3, 3]` and bias `[out]` on the CPU.
    pub(super) fn new(weight: &Tensor, bias: &Tensor, act: Activation) -> Result<Self> {
        let (out, channels, ..) = weight.dims4()?;
        let w = weight.flatten_all()?.to_vec1::<f32>()?;
        let (kernels, _) = w.as_chunks::<9>();
        let transformed: Vec<[f32; POINTS]> = kernels.iter().map(transform_kernel).collect();
        let part = packed_len(out, channels);
        let mut weights = vec![0.0; POINTS * part];
        for (point, packed) in weights.chunks_exact_mut(part).enumerate() {
            pack_rows(out, channels, packed, |row, k| {
                transformed[row * channels + k][point]
            });
        }
        let bias = bias.to_vec1::<f32>()?;
        let block = |rows: &[f32]| std::array::from_fn(|r| rows.get(r).copied().unwrap_or(0.0));
        Ok(Self {
            weights,
            bias: bias.chunks(MR).map(block).collect(),
            channels,
            out,
            act,
        })
    }

    /// `maps` are `[batch, in, height, width]`; the result is `[batch, out, out_height, out_width]`, as is what is added to it.
    pub(super) fn forward(&self, maps: &Maps<'_>, g: &Geometry, add: Option<&[f32]>) -> Vec<f32> {
        let [tall, wide] = [g.out_height, g.out_width].map(|side| side.div_ceil(2));
        let plan = self.plan(tall, wide);
        let strips = plan.strips;
        let out_image = self.out * g.out_height * g.out_width;
        let task = |i: usize, out: Parts<'_>| {
            let (i, part) = (i / plan.parts, i % plan.parts);
            let (b, strip) = (i / strips, i % strips);
            let blocks = self.bias.len();
            Task {
                conv: self,
                geometry: g,
                rows: strip * tall / strips..(strip + 1) * tall / strips,
                wide,
                blocks: part * blocks / plan.parts..(part + 1) * blocks / plan.parts,
                to: b * out_image,
                out,
                add,
            }
            .run(maps.image(b));
        };
        let run = |out: Parts<'_>| {
            (0..maps.batch() * strips * plan.parts)
                .into_par_iter()
                .for_each(|i| task(i, out))
        };
        // SAFETY: strips and blocks cover every pixel of every channel.
        unsafe { filled(maps.batch() * out_image, run) }
    }

    /// How the work on `tall`×`wide` windows is cut so that the threads finish soonest.
    fn plan(&self, tall: usize, wide: usize) -> Plan {
        let threads = rayon::current_num_threads();
        let lanes = |rows: usize| (rows * wide).div_ceil(LANE);
        let fits = |strips: &usize| {
            let largest = lanes(tall.div_ceil(*strips));
            let floats = POINTS * self.channels * largest * LANE;
            *strips == tall || largest <= NR / LANE || floats <= STRIP
        };
        let plans = (1..=tall).filter(fits).map(|strips| {
            let parts = (threads / strips).clamp(1, self.bias.len());
            let turns = (strips * parts).div_ceil(threads) as f64;
            // Some strips have a row more than the others.
            let (rows, more) = (tall / strips, tall % strips);
            let all = (strips - more) * lanes(rows) + more * lanes(rows + 1);
            let cost = turns * (all as f64 / strips as f64 + STRIP_COST) / parts as f64;
            (cost, Plan { strips, parts })
        });
        let best = plans.min_by(|a, b| a.0.total_cmp(&b.0));
        best.map_or(
            Plan {
                strips: tall,
                parts: 1,
            },
            |(_, plan)| plan,
        )
    }
}

/// Strips of about the same number of rows of windows, and parts that their output channels are cut into.
struct Plan {
    strips: usize,
    parts: usize,
}

/// Some output channels of a strip of windows.
struct Task<'a> {
    conv: &'a Winograd,
    geometry: &'a Geometry,
    /// Rows of windows.
    rows: Range<usize>,
    /// Windows of a row.
    wide: usize,
    blocks: Range<usize>,
    /// Where the image's output begins.
    to: usize,
    out: Parts<'a>,
    add: Option<&'a [f32]>,
}

impl Task<'_> {
    fn run(&self, planes: &[&[f32]]) {
        let g = self.geometry;
        let channels = self.conv.channels;
        let windows = self.rows.len() * self.wide;
        let row = windows.next_multiple_of(LANE);
        // A lane more, or the sixteen elements of a window would compete for the same lines of the cache.
        let point = channels * row + LANE;
        let padded = g.padding + g.width.max(2 * self.wide) + 2 + 2 * LANE;
        let plane = (self.rows.len() + 1) * self.wide + LANE;
        with_scratch(padded + 8 * plane + POINTS * point, |scratch| {
            let (padded, scratch) = scratch.split_at_mut(padded);
            let (lines, points) = scratch.split_at_mut(8 * plane);
            padded.fill(0.0);
            lanes::run(Windows {
                task: self,
                planes,
                padded,
                lines,
                plane,
                row,
                points: &mut points[..],
                point,
            });
            self.multiply(points, windows, row, point);
        });
    }

    /// `points`: `[POINTS][channels][row]`, `point` from one element of the window to the next.
    fn multiply(&self, points: &[f32], windows: usize, row: usize, point: usize) {
        let conv = self.conv;
        let isa = Isa::best();
        let part = packed_len(conv.out, conv.channels);
        let mut products = Products([[0.0; MR * NR]; POINTS]);
        let mut pixels = Pixels([[[0.0; 2 * NR]; 2]; MR]);
        let lanes = row / LANE;
        let tiles = lanes.div_ceil(NR / LANE);
        for tile in 0..tiles {
            let (first, end) = (tile * lanes / tiles, (tile + 1) * lanes / tiles);
            let (lanes, first) = (end - first, first * LANE);
            let count = (lanes * LANE).min(windows - first);
            for block in self.blocks.clone() {
                for (i, product) in products.0.iter_mut().enumerate() {
                    // The second in both directions takes part in all four outputs.
                    let start = if i == 5 { conv.bias[block] } else { [0.0; MR] };
                    let left = &conv.weights[i * part + block * MR * conv.channels..];
                    tile_product(
                        isa,
                        conv.channels,
                        (&start, left),
                        Strided(&points[i * point + first..], row),
                        lanes,
                        (product, NR),
                    );
                }
                let rows = MR.min(conv.out - block * MR);
                lanes::run(Outputs {
                    products: &products,
                    rows,
                    lanes,
                    act: conv.act,
                    pixels: &mut pixels,
                });
                for (r, pixels) in pixels.0.iter().enumerate().take(rows) {
                    self.write(block * MR + r, first, count, pixels);
                }
            }
        }
    }

    /// Writes the two rows of pixels of `count` windows from `first`.
    fn write(&self, channel: usize, first: usize, count: usize, pixels: &[[f32; 2 * NR]; 2]) {
        let (height, width) = (self.geometry.out_height, self.geometry.out_width);
        let mut done = 0;
        while done < count {
            let (row, column) = ((first + done) / self.wide, (first + done) % self.wide);
            let (y, x) = (2 * (self.rows.start + row), 2 * column);
            let windows = (self.wide - column).min(count - done);
            let len = (2 * windows).min(width - x);
            for (y, pixels) in (y..height).zip(pixels) {
                let to = self.to + (channel * height + y) * width + x;
                // SAFETY: no other task has these channels of these pixels.
                unsafe {
                    self.out
                        .write_sum(to, &pixels[2 * done..2 * done + len], self.add)
                };
            }
            done += windows;
        }
    }
}

/// A tile of products for every element of the window.
#[repr(align(64))]
struct Products([[f32; MR * NR]; POINTS]);

/// Two rows of pixels of the windows of a tile, for every row of the products.
#[repr(align(64))]
struct Pixels([[[f32; 2 * NR]; 2]; MR]);

/// `G·g·Gᵀ`, rounded once.
fn transform_kernel(kernel: &[f32; 9]) -> [f32; POINTS] {
    let line = |[a, b, c]: [f64; 3]| [a, (a + b + c) / 2.0, (a - b + c) / 2.0, c];
    let rows: [[f64; 4]; 3] =
        std::array::from_fn(|y| line(std::array::from_fn(|x| f64::from(kernel[3 * y + x]))));
    let columns: [[f64; 4]; 4] =
        std::array::from_fn(|x| line([rows[0][x], rows[1][x], rows[2][x]]));
    std::array::from_fn(|i| columns[i % 4][i / 4] as f32)
}

/// `Bᵀ·d·B` of the windows of a strip, for every channel.
struct Windows<'a> {
    task: &'a Task<'a>,
    planes: &'a [&'a [f32]],
    /// A line with zeros around it.
    padded: &'a mut [f32],
    /// `d·B` of a channel: `[even and odd lines][4][rows + 1][wide]`, `plane` from one of the eight to the next.
    lines: &'a mut [f32],
    plane: usize,
    /// Windows of the strip in whole lanes.
    row: usize,
    /// `[POINTS][channels][row]`, `point` from one element of the window to the next.
    points: &'a mut [f32],
    point: usize,
}

impl Program for Windows<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        for (c, map) in self.planes.iter().enumerate() {
            // SAFETY: promised by the caller.
            unsafe {
                self.lines::<L>(map);
                self.columns::<L>(c);
            }
        }
    }
}

impl Windows<'_> {
    /// `d·B` of every line that the windows touch.
    ///
    /// # Safety
    /// As for [`Program::run`].
    #[inline(always)]
    unsafe fn lines<L: Lanes>(&mut self, map: &[f32]) {
        let (g, rows, wide) = (self.task.geometry, &self.task.rows, self.task.wide);
        for line in 0..2 * (rows.len() + 1) {
            let out = &mut self.lines[line % 2 * 4 * self.plane + line / 2 * wide..];
            let y = (2 * rows.start + line).wrapping_sub(g.padding);
            if y >= g.height {
                for x in 0..4 {
                    out[x * self.plane..][..wide].fill(0.0);
                }
                continue;
            }
            self.padded[g.padding..g.padding + g.width]
                .copy_from_slice(&map[y * g.width..(y + 1) * g.width]);
            // The last vector may write beyond the windows: to where the next line will be, or to the lane that each
            // of the eight has more.
            let end = wide.next_multiple_of(L::N);
            assert!(self.padded.len() >= 2 * end + 2 && out.len() >= 3 * self.plane + end);
            let (from, to) = (self.padded.as_ptr(), out.as_mut_ptr());
            for at in (0..end).step_by(L::N) {
                // SAFETY: inside both by the assertion.
                unsafe {
                    let two = |skip: usize| {
                        let from = from.add(2 * at + skip);
                        L::load(from).deinterleave(L::load(from.add(L::N)))
                    };
                    let ([a, b], [c, d]) = (two(0), two(2));
                    let all = [a.minus(c), b.plus(c), c.minus(b), b.minus(d)];
                    for (x, v) in all.into_iter().enumerate() {
                        v.store(to.add(x * self.plane + at));
                    }
                }
            }
        }
    }

    /// `Bᵀ·(d·B)` of channel `c`.
    ///
    /// # Safety
    /// As for [`Program::run`].
    #[inline(always)]
    unsafe fn columns<L: Lanes>(&mut self, c: usize) {
        let wide = self.task.wide;
        let points = &mut self.points[c * self.row..];
        assert!(self.row.is_multiple_of(L::N) && self.row + wide <= self.plane);
        assert!(self.lines.len() >= 8 * self.plane);
        assert!(points.len() >= (POINTS - 1) * self.point + self.row);
        let (from, to) = (self.lines.as_ptr(), points.as_mut_ptr());
        for at in (0..self.row).step_by(L::N) {
            for x in 0..4 {
                // SAFETY: inside both by the assertions.
                unsafe {
                    let even = from.add(x * self.plane + at);
                    let odd = even.add(4 * self.plane);
                    let (a, c) = (L::load(even), L::load(even.add(wide)));
                    let (b, d) = (L::load(odd), L::load(odd.add(wide)));
                    let all = [a.minus(c), b.plus(c), c.minus(b), b.minus(d)];
                    for (y, v) in all.into_iter().enumerate() {
                        v.store(to.add((4 * y + x) * self.point + at));
                    }
                }
            }
        }
    }
}

/// `Aᵀ·m·A` of the first rows of the products, with activation.
struct Outputs<'a> {
    products: &'a Products,
    rows: usize,
    lanes: usize,
    act: Activation,
    pixels: &'a mut Pixels,
}

impl Program for Outputs<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: promised by the caller.
        unsafe {
            match self.act {
                Activation::None => self.all::<L, false>(),
                Activation::Silu => self.all::<L, true>(),
            }
        }
    }
}

impl Outputs<'_> {
    /// # Safety
    /// As for [`Program::run`].
    #[inline(always)]
    unsafe fn all<L: Lanes, const SILU: bool>(self) {
        assert!(self.rows <= MR && self.lanes * LANE <= NR);
        for (r, pixels) in self.pixels.0.iter_mut().enumerate().take(self.rows) {
            for at in (0..self.lanes * LANE).step_by(L::N) {
                // SAFETY: rows and columns of the products and pixels by the assertion.
                unsafe {
                    let from = r * NR + at;
                    let m =
                        |y: usize, x: usize| L::load(self.products.0[4 * y + x].as_ptr().add(from));
                    let mut upper = [L::splat(0.0); 4];
                    let mut lower = upper;
                    for (x, (upper, lower)) in upper.iter_mut().zip(&mut lower).enumerate() {
                        let (b, c) = (m(1, x), m(2, x));
                        *upper = m(0, x).plus(b).plus(c);
                        *lower = b.minus(c).minus(m(3, x));
                    }
                    for ([a, b, c, d], pixels) in [upper, lower].into_iter().zip(pixels.iter_mut())
                    {
                        let mut pair = [a.plus(b).plus(c), b.minus(c).minus(d)];
                        if SILU {
                            pair = [pair[0].silu(), pair[1].silu()];
                        }
                        let [low, high] = pair[0].interleave(pair[1]);
                        low.store(pixels.as_mut_ptr().add(2 * at));
                        high.store(pixels.as_mut_ptr().add(2 * at + L::N));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::super::tests::noise;
    use super::super::{Activation, Conv2d};

    /// Root mean square of the difference from double precision, for the kernel and for candle's direct convolution.
    #[test]
    fn rounds_about_as_much_as_a_direct_convolution() {
        for (channels, out) in [(16, 32), (64, 64), (128, 32)] {
            let (weight, x) = (
                noise(&[out, channels, 3, 3], 1),
                noise(&[1, channels, 21, 26], 2),
            );
            let conv = Conv2d::new(weight.clone(), None, 1, 1, 1, Activation::None).unwrap();
            let double = |t: &candle_core::Tensor| t.to_dtype(DType::F64).unwrap();
            let exact = double(&x).conv2d(&double(&weight), 1, 1, 1, 1).unwrap();
            let error = |y: candle_core::Tensor| {
                let off = (double(&y) - &exact).unwrap().sqr().unwrap();
                off.mean_all().unwrap().to_scalar::<f64>().unwrap().sqrt()
            };
            let direct = error(x.conv2d(&weight, 1, 1, 1, 1).unwrap());
            let kernel = error(conv.forward(&x).unwrap());
            assert!(
                kernel > 0.0 && kernel < 2.0 * direct,
                "{channels}-{out}: {kernel} to {direct}"
            );
        }
    }
}
