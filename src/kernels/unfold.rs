//! The input of a convolution for a few output rows, laid out so that every tap reads consecutive pixels.
//!
//! With stride s the rows are sorted into s phases (rows 0, s, 2s, … then 1, s+1, …) and the columns of each row likewise.
//! A phase is a plane with its zeros beyond the border in place: the taps that fall into it read it at different starts,
//! so the data does not grow. A row of a plane is a little wider than one of the output: the pixels of
//! several rows count on across these gaps, and what is computed there is dropped.

use std::ops::Range;

use super::isa::vectorised;
use super::lanes::{self, Lanes, Program};
use super::micro::{LANE, NR};
use super::planes::Geometry;

/// A strip of at most `rows` output rows of a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strip<'a> {
    pub(super) geometry: &'a Geometry,
    pub(super) rows: usize,
}

/// Pixels that follow each other both in a strip and in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Counted from where the search began.
    pub(super) at: usize,
    /// Row and column in the strip.
    pub(super) row: usize,
    pub(super) column: usize,
    pub(super) len: usize,
}

impl Strip<'_> {
    /// From one row of a plane to the next.
    pub(super) fn pitch(&self) -> usize {
        self.geometry.phase()
    }

    /// Rows of a plane.
    fn height(&self) -> usize {
        self.rows + (self.geometry.kernel - 1) / self.geometry.stride
    }

    /// Values of a plane.
    fn plane(&self) -> usize {
        self.height() * self.pitch()
    }

    /// Phases that some tap falls into, of rows as of columns.
    fn phases(&self) -> usize {
        self.geometry.stride.min(self.geometry.kernel)
    }

    /// Values of a channel: `[row phases][column phases][height][pitch]`.
    pub(super) fn channel(&self) -> usize {
        self.phases() * self.phases() * self.plane()
    }

    /// The values of an input plane that the strip from output row `top` reads.
    pub(super) fn input(&self, top: usize) -> Range<usize> {
        let g = self.geometry;
        let first = (top * g.stride).saturating_sub(g.padding);
        let end = ((top + self.height()) * g.stride)
            .saturating_sub(g.padding)
            .min(g.height);
        first.min(end) * g.width..end * g.width
    }

    /// Where tap (`ky`, `kx`) of the first pixel of the strip lies in a channel; that of the next pixels follows.
    pub(super) fn tap(&self, ky: usize, kx: usize) -> usize {
        let s = self.geometry.stride;
        (ky % s * self.phases() + kx % s) * self.plane() + ky / s * self.pitch() + kx / s
    }

    /// Pixels of the first `rows` rows, gaps between them included.
    pub(super) fn pixels(&self, rows: usize) -> usize {
        (rows - 1) * self.pitch() + self.geometry.out_width
    }

    /// The first pixel of each tile of `rows` rows, and how many pixels it has, gaps included.
    ///
    /// Rows of whole lanes are cut one by one, into tiles of about equal width; others as one.
    pub(super) fn tiles(&self, rows: usize) -> impl Iterator<Item = (usize, usize)> {
        let (rows, step, len) = self.lines(rows);
        let tiles = len.div_ceil(NR);
        let lanes = len.div_ceil(LANE);
        let start = move |i: usize| i * lanes / tiles * LANE;
        (0..rows * tiles).map(move |i| {
            let (row, tile) = (i / tiles, i % tiles);
            let end = start(tile + 1).min(len);
            (row * step + start(tile), end - start(tile))
        })
    }

    /// Lanes of all tiles of `rows` rows.
    pub(super) fn lanes(&self, rows: usize) -> usize {
        let (rows, _, len) = self.lines(rows);
        rows * len.div_ceil(LANE)
    }

    /// How many lines of pixels are cut into tiles, from one to the next, and their length.
    fn lines(&self, rows: usize) -> (usize, usize, usize) {
        let width = self.geometry.out_width;
        match width.is_multiple_of(LANE) {
            true => (rows, self.pitch(), width),
            false => (1, 0, self.pixels(rows)),
        }
    }

    /// The pixels from `first` to `first + count` without the gaps.
    pub(super) fn runs(&self, first: usize, count: usize) -> impl Iterator<Item = Run> + Clone {
        let (pitch, width) = (self.pitch(), self.geometry.out_width);
        let (mut row, mut column, mut at) = (first / pitch, first % pitch, 0);
        std::iter::from_fn(move || {
            if column >= width {
                at += pitch - column;
                (row, column) = (row + 1, 0);
            }
            let len = (width - column).min(count.saturating_sub(at));
            let run = Run {
                at,
                row,
                column,
                len,
            };
            (at, column) = (at + len, column + len);
            (len > 0).then_some(run)
        })
    }
}

vectorised! {
    /// Fills `channel` ([`Strip::channel`] long) from one plane of the input, for the strip that begins with output row `top`.
    pub(super) fn unfold(strip: &Strip<'_>, plane: &[f32], top: usize, channel: &mut [f32]) {
        let (g, phases, pitch) = (strip.geometry, strip.phases(), strip.pitch());
        let columns = Columns::new(g);
        for (phase, planes) in channel.chunks_exact_mut(phases * strip.plane()).enumerate() {
            // The last rows of some phases are read by no tap.
            let height = strip.rows + (g.kernel - 1 - phase) / g.stride;
            for row in 0..height {
                let y = ((top + row) * g.stride + phase).wrapping_sub(g.padding);
                let source = if y < g.height { &plane[y * g.width..(y + 1) * g.width] } else { &[] };
                let at = row * pitch;
                match planes.split_at_mut(strip.plane()) {
                    (one, []) => columns.pick(0, source, &mut one[at..at + pitch]),
                    (one, other) if g.stride == 2 => {
                        columns.split(source, [&mut one[at..at + pitch], &mut other[at..at + pitch]]);
                    }
                    _ => for (i, out) in planes.chunks_exact_mut(strip.plane()).enumerate() {
                        columns.pick(i, source, &mut out[at..at + pitch]);
                    }
                }
            }
        }
    }
}

/// How the columns of a row fall into phases.
struct Columns {
    stride: usize,
    padding: usize,
}

impl Columns {
    fn new(g: &Geometry) -> Self {
        Self {
            stride: g.stride,
            padding: g.padding,
        }
    }

    /// The part of a phase that the row fills, the rest of it set to zero, and the row's first column in it.
    #[inline(always)]
    fn inside<'a>(&self, phase: usize, row: &[f32], out: &'a mut [f32]) -> (&'a mut [f32], usize) {
        let outside = self.padding.saturating_sub(phase).div_ceil(self.stride);
        let first = (outside * self.stride + phase).saturating_sub(self.padding);
        let (before, rest) = out.split_at_mut(outside.min(out.len()));
        let present = row.len().saturating_sub(first).div_ceil(self.stride);
        let (inside, after) = rest.split_at_mut(present.min(rest.len()));
        before.fill(0.0);
        after.fill(0.0);
        (inside, first)
    }

    /// One phase of a row; an empty row is all zeros.
    #[inline(always)]
    fn pick(&self, phase: usize, row: &[f32], out: &mut [f32]) {
        let (inside, first) = self.inside(phase, row, out);
        let row = row.get(first..).unwrap_or(&[]);
        if self.stride == 1 {
            inside.copy_from_slice(&row[..inside.len()]);
        } else {
            let from = row.iter().step_by(self.stride);
            inside
                .iter_mut()
                .zip(from)
                .for_each(|(to, from)| *to = *from);
        }
    }

    /// Both phases of a row at stride 2.
    #[inline(always)]
    fn split(&self, row: &[f32], [zero, one]: [&mut [f32]; 2]) {
        let (a, first) = self.inside(0, row, zero);
        let (b, _) = self.inside(1, row, one);
        let (even, odd) = if first == 0 { (a, b) } else { (b, a) };
        let both = (row.len() / 2).min(even.len()).min(odd.len());
        lanes::run(Split {
            row: &row[..2 * both],
            even: &mut even[..both],
            odd: &mut odd[..both],
        });
        // A phase may have a column more, and the other may have been cut short.
        for (phase, start) in [(even, 0), (odd, 1)] {
            for i in both..phase.len() {
                phase[i] = row[2 * i + start];
            }
        }
    }
}

/// The even and the odd values of a row of pairs.
struct Split<'a> {
    row: &'a [f32],
    even: &'a mut [f32],
    odd: &'a mut [f32],
}

impl Program for Split<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let len = self.even.len();
        assert!(self.row.len() == 2 * len && self.odd.len() == len);
        let Some(last) = len.checked_sub(L::N) else {
            for (i, pair) in self.row.as_chunks::<2>().0.iter().enumerate() {
                (self.even[i], self.odd[i]) = (pair[0], pair[1]);
            }
            return;
        };
        let (from, even, odd) = (
            self.row.as_ptr(),
            self.even.as_mut_ptr(),
            self.odd.as_mut_ptr(),
        );
        let mut at = 0;
        loop {
            // SAFETY: `at` is at most `last`, from where on there is a vector of pairs.
            unsafe {
                let pairs = from.add(2 * at);
                let [a, b] = L::load(pairs).deinterleave(L::load(pairs.add(L::N)));
                a.store(even.add(at));
                b.store(odd.add(at));
            }
            if at == last {
                return;
            }
            // The last vector may overlap the one before.
            at = (at + L::N).min(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOMETRIES: [(usize, usize, usize, usize, usize); 13] = [
        (4, 5, 3, 1, 1),
        (7, 6, 3, 2, 1),
        (1, 1, 3, 1, 1),
        (9, 8, 5, 3, 2),
        (5, 5, 2, 2, 0),
        (5, 5, 2, 3, 0),
        (3, 3, 3, 2, 4),
        (6, 6, 1, 2, 0),
        (9, 40, 3, 2, 1),
        (9, 41, 3, 2, 1),
        (9, 20, 4, 2, 1),
        (6, 2, 7, 1, 3),
        (2, 40, 7, 1, 3),
    ];

    #[test]
    fn every_tap_finds_its_pixel() {
        for (h, w, k, s, p) in GEOMETRIES {
            let g = Geometry::new((h, w), k, s, p).unwrap();
            let plane: Vec<f32> = (1..=h * w).map(|i| i as f32).collect();
            let strip = Strip {
                geometry: &g,
                rows: 2,
            };
            for top in (0..g.out_height).step_by(2) {
                let mut channel = vec![f32::NAN; strip.channel()];
                unfold(&strip, &plane, top, &mut channel);
                let rows = 2.min(g.out_height - top);
                for (y, x) in (0..rows * g.out_width).map(|i| (i / g.out_width, i % g.out_width)) {
                    for (ky, kx) in (0..k * k).map(|t| (t / k, t % k)) {
                        let iy = ((top + y) * s + ky).wrapping_sub(p);
                        let ix = (x * s + kx).wrapping_sub(p);
                        let want = if iy < h && ix < w {
                            plane[iy * w + ix]
                        } else {
                            0.0
                        };
                        let got = channel[strip.tap(ky, kx) + y * strip.pitch() + x];
                        assert_eq!(got, want, "{g:?} output {y},{x} tap {ky},{kx}");
                    }
                }
            }
        }
    }

    #[test]
    fn tiles_follow_each_other() {
        for width in [5, 16, 20, 48, 64, 80, 112, 321] {
            let geometry = &Geometry::new((8, width), 3, 1, 1).unwrap();
            let strip = Strip { geometry, rows: 3 };
            let lanes = strip.tiles(3).map(|(_, count)| count.div_ceil(LANE));
            assert_eq!(strip.lanes(3), lanes.sum::<usize>());
            let mut next = 0;
            for (at, count) in strip.tiles(3) {
                assert!((1..=NR).contains(&count) && (next..next + 3).contains(&at));
                next = at + count;
            }
            assert_eq!(next, strip.pixels(3));
        }
    }

    #[test]
    fn runs_cover_every_pixel_once() {
        for (h, w, k, s, p) in GEOMETRIES {
            let g = Geometry::new((h, w), k, s, p).unwrap();
            let rows = 3;
            let strip = Strip { geometry: &g, rows };
            for step in [1, 5, 48] {
                let mut seen = vec![];
                for first in (0..strip.pixels(rows)).step_by(step) {
                    let count = step.min(strip.pixels(rows) - first);
                    for run in strip.runs(first, count) {
                        assert!(run.at + run.len <= count && run.column + run.len <= g.out_width);
                        assert_eq!(first + run.at, run.row * strip.pitch() + run.column);
                        seen.extend((0..run.len).map(|i| (run.row, run.column + i)));
                    }
                }
                let all = (0..rows).flat_map(|y| (0..g.out_width).map(move |x| (y, x)));
                assert!(seen.into_iter().eq(all), "{g:?} in steps of {step}");
            }
        }
    }
}
