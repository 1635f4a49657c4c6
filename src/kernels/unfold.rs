//! The input of a convolution for a few output rows, laid out so that every tap reads consecutive pixels.
//!
//! Only the columns are unfolded: for each horizontal tap kx there is a plane as wide as the output, shifted, with zeros
//! beyond the border. Vertical taps read the same plane some rows further down, so the data grows k times, not k² times.
//! With stride s the rows are sorted into s phases first (rows 0, s, 2s, … then 1, s+1, …).

use std::ops::Range;

use super::isa::vectorised;
use super::micro::LANE;
use super::planes::Geometry;

/// A strip of at most `rows` output rows of a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strip<'a> {
    pub(super) geometry: &'a Geometry,
    pub(super) rows: usize,
}

impl Strip<'_> {
    /// Rows of a plane.
    fn height(&self) -> usize {
        self.rows + (self.geometry.kernel - 1) / self.geometry.stride
    }

    /// Values of a plane.
    fn plane(&self) -> usize {
        self.height() * self.geometry.out_width
    }

    /// Values of a channel: `[row phases][kernel][height][out_width]`.
    pub(super) fn channel(&self) -> usize {
        let g = self.geometry;
        g.stride.min(g.kernel) * g.kernel * self.plane()
    }

    /// The values of an input plane that the strip from output row `top` reads.
    pub(super) fn input(&self, top: usize) -> Range<usize> {
        let g = self.geometry;
        let first = (top * g.stride).saturating_sub(g.padding);
        let end = ((top + self.height()) * g.stride)
            .saturating_sub(g.padding)
            .min(g.height);
        first * g.width..end * g.width
    }

    /// Where tap (`ky`, `kx`) of the first pixel of the strip lies in a channel; that of the next pixels follows.
    pub(super) fn tap(&self, ky: usize, kx: usize) -> usize {
        let g = self.geometry;
        (ky % g.stride * g.kernel + kx) * self.plane() + ky / g.stride * g.out_width
    }
}

vectorised! {
    /// Fills `channel` ([`Strip::channel`] long) from one plane of the input, for the strip that begins with output row `top`.
    pub(super) fn unfold(strip: &Strip<'_>, plane: &[f32], top: usize, channel: &mut [f32]) {
        let g = strip.geometry;
        for (i, out) in channel.chunks_exact_mut(strip.plane()).enumerate() {
            let (phase, kx) = (i / g.kernel, i % g.kernel);
            let columns = Columns::new(g, kx);
            // Input row of the first row of the plane, which may lie above the map.
            let first = top * g.stride + phase;
            let above = g.padding.saturating_sub(first).div_ceil(g.stride).min(strip.height());
            let first = (first + above * g.stride).saturating_sub(g.padding);
            let rows = g.height.saturating_sub(first).div_ceil(g.stride).min(strip.height() - above);
            let (before, rest) = out.split_at_mut(above * g.out_width);
            let (inside, after) = rest.split_at_mut(rows * g.out_width);
            before.fill(0.0);
            after.fill(0.0);
            let Some(source) = plane.get(first * g.width..) else { continue };
            if g.stride == 1 && g.width == g.out_width {
                columns.shift_rows(g.width, source, inside);
            } else {
                let source = source.chunks(g.width).step_by(g.stride);
                for (out, row) in inside.chunks_exact_mut(g.out_width).zip(source) {
                    columns.pick(g.stride, row, out);
                }
            }
        }
    }
}

/// The columns of a plane: `missing` zeros, `present` columns of the input from `first` on, zeros.
struct Columns {
    missing: usize,
    first: usize,
    present: usize,
}

impl Columns {
    fn new(g: &Geometry, kx: usize) -> Self {
        let missing = g
            .padding
            .saturating_sub(kx)
            .div_ceil(g.stride)
            .min(g.out_width);
        let first = (missing * g.stride + kx).saturating_sub(g.padding);
        let present = g
            .width
            .saturating_sub(first)
            .div_ceil(g.stride)
            .min(g.out_width - missing);
        Self {
            missing,
            first,
            present,
        }
    }

    /// Rows as wide as those of the input, at stride 1: one copy of everything, then the borders.
    #[inline(always)]
    fn shift_rows(&self, width: usize, source: &[f32], out: &mut [f32]) {
        if self.present == 0 {
            return out.fill(0.0);
        }
        let len = out.len() - self.missing.max(self.first);
        out[self.missing..self.missing + len]
            .copy_from_slice(&source[self.first..self.first + len]);
        for row in out.chunks_exact_mut(width) {
            row[..self.missing].fill(0.0);
            row[self.missing + self.present..].fill(0.0);
        }
    }

    /// One row, every `stride`th column.
    #[inline(always)]
    fn pick(&self, stride: usize, row: &[f32], out: &mut [f32]) {
        let (before, rest) = out.split_at_mut(self.missing);
        let (inside, after) = rest.split_at_mut(self.present);
        before.fill(0.0);
        after.fill(0.0);
        if self.present == 0 {
            return;
        }
        if stride != 2 {
            let from = row[self.first..].iter().step_by(stride);
            return inside
                .iter_mut()
                .zip(from)
                .for_each(|(to, from)| *to = *from);
        }
        let (pairs, rest) = row[self.first & !1..].as_chunks::<2>();
        let (whole, last) = inside.split_at_mut(self.present.min(pairs.len()));
        if self.first.is_multiple_of(2) {
            every_second::<0>(pairs, whole);
        } else {
            every_second::<1>(pairs, whole);
        }
        last.copy_from_slice(&rest[..last.len()]);
    }
}

/// Element `I` of each pair.
#[inline(always)]
fn every_second<const I: usize>(pairs: &[[f32; 2]], out: &mut [f32]) {
    let pairs = &pairs[..out.len()];
    // The last chunk overlaps the one before rather than leave single columns.
    let last = out.len().checked_sub(LANE);
    for at in (0..last.unwrap_or(0)).step_by(LANE).chain(last) {
        let (from, to) = (&pairs[at..at + LANE], &mut out[at..at + LANE]);
        for (to, pair) in to.iter_mut().zip(from) {
            *to = pair[I];
        }
    }
    if last.is_none() {
        out.iter_mut()
            .zip(pairs)
            .for_each(|(to, pair)| *to = pair[I]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tap_finds_its_pixel() {
        for (h, w, k, s, p) in [
            (4, 5, 3, 1, 1),
            (7, 6, 3, 2, 1),
            (1, 1, 3, 1, 1),
            (9, 8, 5, 3, 2),
            (5, 5, 2, 2, 0),
            (3, 3, 3, 2, 4),
            (6, 6, 1, 2, 0),
            (9, 40, 3, 2, 1),
            (9, 41, 3, 2, 1),
            (6, 2, 7, 1, 3),
            (2, 40, 7, 1, 3),
        ] {
            let g = Geometry::new((h, w), k, s, p).unwrap();
            let plane: Vec<f32> = (1..=h * w).map(|i| i as f32).collect();
            let strip = Strip {
                geometry: &g,
                rows: 2,
            };
            for top in (0..g.out_height).step_by(2) {
                let mut channel = vec![f32::NAN; strip.channel()];
                unfold(&strip, &plane, top, &mut channel);
                for pixel in 0..2.min(g.out_height - top) * g.out_width {
                    let (y, x) = (top + pixel / g.out_width, pixel % g.out_width);
                    for (ky, kx) in (0..k * k).map(|t| (t / k, t % k)) {
                        let (iy, ix) = ((y * s + ky).wrapping_sub(p), (x * s + kx).wrapping_sub(p));
                        let want = if iy < h && ix < w {
                            plane[iy * w + ix]
                        } else {
                            0.0
                        };
                        let got = channel[strip.tap(ky, kx) + pixel];
                        assert_eq!(got, want, "{g:?} output {y},{x} tap {ky},{kx}");
                    }
                }
            }
        }
    }
}
