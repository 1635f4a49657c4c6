//! Convolution as a product of matrices, without ever writing the unfolded input as a whole.
//!
//! The output is cut into strips of a few rows. A task unfolds the input of its strip into memory of its own, small
//! enough for the second cache, and multiplies it tile by tile with the packed weights; the activation is
//! applied to the finished tile. A 1×1 convolution needs no unfolding: its input is read where it lies.

use std::ops::Range;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::activation::Activation;
use super::isa::{Isa, prefetch};
use super::maps::Maps;
use super::micro::{
    LANE, MR, NR, Slices, Strided, Table, Target, Walk, pack_rows, packed_len, tile_product_to,
};
use super::output::{Parts, filled};
use super::planes::Geometry;
use super::scratch::with_scratch;
use super::tile::{Place, Tile};
use super::unfold::{Strip, unfold};
use super::work::Work;

/// Floats that the unfolded strip of a task may take: half of a usual second cache.
const STRIP: usize = 128 * 1024;
/// Pixels of a task of a 1×1 convolution.
const IN_PLACE: usize = 4 * NR;

/// Floats of a map that does not stay in the second caches: pixels of it are asked for before they are read.
const FAR: usize = 512 * 1024;

/// Tasks per thread, so that one that starts late is not waited for.
const TASKS: usize = 4;
/// Cycles of a task that is too short to be waited for.
const SHORT: f64 = 800e3;
/// Cycles that it takes to unfold a value, and to multiply a lane by one column of a block (measured).
const CYCLES: [f64; 2] = [1.0, 4.0];

/// Weights in the order the tiles read them.
pub(super) struct PackedConv {
    /// Per group `[ceil(group_out / MR)][depth][MR]`, depth being input channel, row, column.
    weights: Vec<f32>,
    /// Per group and block the bias of each row.
    bias: Vec<[f32; MR]>,
    groups: usize,
    group_in: usize,
    group_out: usize,
    kernel: usize,
    act: Activation,
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
        let part = packed_len(group_out, depth);
        let mut weights = vec![0.0; groups * part];
        let mut blocks = Vec::new();
        for g in 0..groups {
            let w = &w[g * group_out * depth..];
            let packed = &mut weights[g * part..(g + 1) * part];
            pack_rows(group_out, depth, packed, |row, k| w[row * depth + k]);
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

    /// `maps` are `[batch, in, height, width]`; the result is `[batch, out, out_height, out_width]`, as is what is added to it.
    pub(super) fn forward(&self, maps: &Maps<'_>, g: &Geometry, add: Option<&[f32]>) -> Vec<f32> {
        self.pass(
            maps,
            g,
            Pass {
                add,
                ..Pass::whole()
            },
        )
    }

    /// Whether the sums over some of the channels may be made before those over the others.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.groups == 1
    }

    /// The sums over the first channels only, those of `maps`, without bias and activation.
    pub(super) fn begin(&self, maps: &Maps<'_>, g: &Geometry) -> Vec<f32> {
        let last = false;
        self.pass(
            maps,
            g,
            Pass {
                last,
                ..Pass::whole()
            },
        )
    }

    /// The result from the channels from `first` on, those of `maps`, and the sums over those before.
    pub(super) fn finish(
        &self,
        maps: &Maps<'_>,
        g: &Geometry,
        first: usize,
        sums: &[f32],
    ) -> Vec<f32> {
        let sums = Some(sums);
        self.pass(
            maps,
            g,
            Pass {
                first,
                sums,
                ..Pass::whole()
            },
        )
    }

    fn pass(&self, maps: &Maps<'_>, g: &Geometry, pass: Pass<'_>) -> Vec<f32> {
        let pixels = g.out_height * g.out_width;
        let out_image = self.groups * self.group_out * pixels;
        let run = |out: Parts<'_>| {
            for b in 0..maps.batch() {
                self.image(maps.image(b), g, (out, b * out_image), pass);
            }
        };
        // SAFETY: `image` writes every pixel of every channel of its image.
        unsafe { filled(maps.batch() * out_image, run) }
    }

    /// One image, whose result begins at `to`.
    fn image(
        &self,
        planes: &[&[f32]],
        g: &Geometry,
        (out, to): (Parts<'_>, usize),
        pass: Pass<'_>,
    ) {
        let pixels = g.out_height * g.out_width;
        let in_place = self.kernel == 1 && g.stride == 1 && g.padding == 0;
        let strip = Strip {
            geometry: g,
            rows: if in_place { 1 } else { self.strip_rows(g) },
        };
        let (strips, channel) = if in_place {
            (pixels.div_ceil(IN_PLACE), 0)
        } else {
            (g.out_height.div_ceil(strip.rows), strip.channel())
        };
        let taps = (0..self.group_in * self.kernel * self.kernel).map(|k| {
            let (c, tap) = (
                k / (self.kernel * self.kernel),
                k % (self.kernel * self.kernel),
            );
            c * channel + strip.tap(tap / self.kernel, tap % self.kernel)
        });
        let taps: Vec<usize> = taps.collect();
        let taps = Table::new(&taps);
        // The work is strip by strip, block by block; each task takes an equal stretch of it: whole strips, where these
        // come out even, or else some would be unfolded twice.
        let blocks = self.group_out.div_ceil(MR);
        let work = Work {
            groups: self.groups,
            strips,
            blocks,
            lanes: match in_place {
                true => [IN_PLACE.min(pixels), pixels - (strips - 1) * IN_PLACE]
                    .map(|count| count.div_ceil(LANE)),
                false => [1, 1],
            },
        };
        let tasks = match !in_place && strips.is_multiple_of(rayon::current_num_threads()) {
            true => self.groups * strips,
            false => (TASKS * rayon::current_num_threads()).min(work.len().div_ceil(2)),
        };
        (0..tasks).into_par_iter().for_each(|task| {
            let [mut at, end] = [task, task + 1].map(|i| work.start(i, tasks));
            while at < end {
                let (group, part, block) =
                    (at / blocks / strips, at / blocks % strips, at % blocks);
                let count = (blocks - block).min(end - at);
                let job = Job {
                    conv: self,
                    group,
                    blocks: block..block + count,
                    pixels,
                    out,
                    to: to + group * self.group_out * pixels,
                    pass,
                };
                let planes = match self.groups {
                    1 => planes,
                    _ => &planes[group * self.group_in..(group + 1) * self.group_in],
                };
                if in_place {
                    job.read_in_place(planes, part * IN_PLACE);
                } else {
                    job.unfolded(planes, taps, &strip, part * strip.rows);
                }
                at += count;
            }
        });
    }

    /// Output rows of a strip: of those that fit, and leave every task a strip or are soon done, what takes the least time.
    fn strip_rows(&self, g: &Geometry) -> usize {
        let threads = rayon::current_num_threads();
        let blocks = self.group_out.div_ceil(MR);
        let product = |rows: usize| {
            let lanes = Strip { geometry: g, rows }.lanes(rows);
            let columns = self.group_in * self.kernel * self.kernel;
            CYCLES[1] * (columns * blocks * lanes) as f64
        };
        let unfolded = |rows: usize| self.group_in * Strip { geometry: g, rows }.channel();
        let time = |rows: usize| {
            // Strips that do not come out even are divided, and unfolded by both that have a part.
            let strips = g.out_height.div_ceil(rows);
            let turns = strips as f64 / threads as f64;
            let again = if strips.is_multiple_of(threads) {
                0
            } else {
                TASKS
            };
            turns * product(rows) + (turns + again as f64) * CYCLES[0] * unfolded(rows) as f64
        };
        let many = g.out_height.div_ceil(TASKS * threads);
        let fits = |rows: &usize| {
            *rows == 1 || unfolded(*rows) <= STRIP && (*rows <= many || product(*rows) <= SHORT)
        };
        let most = g.out_height.div_ceil(threads);
        let best = (1..=most)
            .filter(fits)
            .min_by(|a, b| time(*a).total_cmp(&time(*b)));
        best.unwrap_or(1)
    }
}

/// Some output channels of one group of one image.
struct Job<'a> {
    conv: &'a PackedConv,
    group: usize,
    blocks: Range<usize>,
    /// Pixels of an output plane.
    pixels: usize,
    out: Parts<'a>,
    /// Where the group's first output channel goes.
    to: usize,
    pass: Pass<'a>,
}

/// Pixels of the next tile, which arrive while this one is multiplied.
#[derive(Clone, Copy)]
struct Ahead<'a> {
    planes: &'a [&'a [f32]],
    at: usize,
}

impl Ahead<'_> {
    const NOTHING: Self = Self { planes: &[], at: 0 };

    /// Asks for one of `turns` equal shares of the planes: all at once would have to wait for each other.
    #[inline(always)]
    fn ask(&self, turn: usize, turns: usize) {
        let all = self.planes.len();
        if all == 0 {
            return;
        }
        for plane in &self.planes[turn * all / turns..(turn + 1) * all / turns] {
            let start = plane.as_ptr().wrapping_add(self.at);
            // Planes need not begin on a cache line.
            for at in [0, LANE, 2 * LANE, NR - 1] {
                prefetch(start.wrapping_add(at));
            }
        }
    }
}

/// A way over some or all of the input channels.
#[derive(Clone, Copy)]
struct Pass<'a> {
    /// Its first channel.
    first: usize,
    /// The sums over the channels before, as long as the result.
    sums: Option<&'a [f32]>,
    /// Whether it is the last: bias and activation belong to it.
    last: bool,
    /// What is added to the result.
    add: Option<&'a [f32]>,
}

impl Pass<'_> {
    /// Over all channels.
    fn whole() -> Self {
        Self {
            first: 0,
            sums: None,
            last: true,
            add: None,
        }
    }
}

impl Job<'_> {
    /// The pixels from `first` of a 1×1 convolution.
    fn read_in_place(&self, planes: &[&[f32]], first: usize) {
        let rows = Slices::new(planes);
        let far = planes.len() * self.pixels > FAR;
        for first in (first..self.pixels.min(first + IN_PLACE)).step_by(NR) {
            let count = NR.min(self.pixels - first);
            if first + count.next_multiple_of(LANE) <= self.pixels {
                let ahead = Ahead {
                    planes: if far { planes } else { &[] },
                    at: (first + NR).min(self.pixels - 1),
                };
                self.tile(
                    (planes.len(), rows.from(first)),
                    count,
                    &Place::whole(first, count),
                    ahead,
                );
                continue;
            }
            // The last lane would reach beyond the planes.
            with_scratch(planes.len() * NR, |panel| {
                for (row, plane) in panel.chunks_exact_mut(NR).zip(planes) {
                    row[..count].copy_from_slice(&plane[first..first + count]);
                    row[count..].fill(0.0);
                }
                self.tile(
                    (planes.len(), Strided(panel, NR)),
                    count,
                    &Place::whole(first, count),
                    Ahead::NOTHING,
                );
            });
        }
    }

    /// The strip that begins with output row `top`.
    fn unfolded(&self, planes: &[&[f32]], taps: Table<'_>, strip: &Strip<'_>, top: usize) {
        let g = strip.geometry;
        let len = self.conv.group_in * strip.channel();
        // Lanes are read as a whole: the last may reach beyond the strip.
        with_scratch(len + NR, |scratch| {
            let channels = scratch[..len].chunks_exact_mut(strip.channel());
            for (i, channel) in channels.enumerate() {
                // The next channel arrives while this one is copied.
                let next = planes[(i + 1).min(planes.len() - 1)].as_ptr();
                strip
                    .input(top)
                    .step_by(LANE)
                    .for_each(|at| prefetch(next.wrapping_add(at)));
                unfold(strip, planes[i], top, channel);
            }
            let rows = strip.rows.min(g.out_height - top);
            let mut places = [Place::default(); NR];
            for (at, count) in strip.tiles(rows) {
                let mut len = 0;
                for (place, run) in places.iter_mut().zip(strip.runs(at, count)) {
                    *place = Place {
                        column: run.at,
                        pixel: (top + run.row) * g.out_width + run.column,
                        len: run.len,
                    };
                    len += 1;
                }
                self.tile(
                    (taps.len(), taps.of(&scratch[at..])),
                    count,
                    &places[..len],
                    Ahead::NOTHING,
                );
            }
        });
    }

    /// All channels of the job for `count` pixels whose taps are the rows of `right`.
    fn tile(
        &self,
        (depth, right): (usize, impl Walk),
        count: usize,
        places: &[Place],
        ahead: Ahead<'_>,
    ) {
        let (conv, pass) = (self.conv, self.pass);
        let whole = conv.group_in * conv.kernel * conv.kernel;
        let isa = Isa::best();
        let weights = &conv.weights[self.group * packed_len(conv.group_out, whole)..];
        let bias = &conv.bias[self.group * conv.group_out.div_ceil(MR)..];
        let mut tile = Tile::zeros();
        for (turn, block) in self.blocks.clone().enumerate() {
            ahead.ask(turn, self.blocks.len());
            let rows = MR.min(conv.group_out - block * MR);
            let to = self.to + block * MR * self.pixels;
            // The product takes long enough for the lines of its result to arrive.
            for place in places {
                for r in 0..rows {
                    self.out
                        .prefetch(to + r * self.pixels + place.pixel, place.len);
                }
            }
            let bias = if pass.last { &bias[block] } else { &[0.0; MR] };
            let left = (bias, &weights[(block * whole + pass.first) * MR..]);
            let lanes = count.div_ceil(LANE);
            let act = match (pass.last, pass.sums) {
                (true, None) => conv.act,
                _ => Activation::None,
            };
            if let [place] = places
                && place.len == lanes * LANE
                && rows == MR
                && (pass.add, pass.sums) == (None, None)
            {
                // SAFETY: no other task has these channels of these pixels.
                let target = unsafe { self.out.target(to + place.pixel, self.pixels, place.len) };
                tile_product_to(isa, depth, left, right, lanes, (target, act));
                continue;
            }
            let target = Target::new(&mut tile.0, NR, lanes * LANE);
            tile_product_to(isa, depth, left, right, lanes, (target, act));
            if let Some(sums) = pass.sums {
                let row = |r: usize| &sums[to + r * self.pixels..];
                tile.finish(rows, places, row, conv.act);
            }
            for (r, row) in tile.0.chunks_exact(NR).enumerate().take(rows) {
                for place in places {
                    let from = &row[place.column..place.column + place.len];
                    // SAFETY: as above.
                    unsafe {
                        self.out
                            .write_sum(to + r * self.pixels + place.pixel, from, pass.add)
                    };
                }
            }
        }
    }
}
