//! Zero-padded copies of input planes, laid out so that every tap of a convolution reads
//! consecutive columns.
//!
//! With stride s each padded row is split into s phases (columns 0, s, 2s, … then 1, s+1, …): what one
//! tap needs for neighbouring outputs lies side by side whatever the stride.

use super::isa::vectorised;

/// The geometry of one convolution over planes of `height` × `width`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
    pub(super) out_height: usize,
    pub(super) out_width: usize,
}

impl Geometry {
    /// None where the kernel does not fit into the padded plane, or anything is zero.
    pub(super) fn new(
        (height, width): (usize, usize),
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Option<Self> {
        let out = |size: usize| Some((size + 2 * padding).checked_sub(kernel)? / stride + 1);
        if height == 0 || width == 0 {
            return None;
        }
        let (out_height, out_width) = (out(height)?, out(width)?);
        Some(Self {
            height,
            width,
            kernel,
            stride,
            padding,
            out_height,
            out_width,
        })
    }

    /// Columns in one phase of a padded row.
    pub(super) fn phase(&self) -> usize {
        self.out_width + (self.kernel - 1) / self.stride
    }

    /// From one padded row to the next.
    fn row(&self) -> usize {
        self.phase() * self.stride
    }

    /// Length of a padded plane.
    pub(super) fn plane(&self) -> usize {
        ((self.out_height - 1) * self.stride + self.kernel) * self.row()
    }

    /// Where tap (`ky`, `kx`) of output (0, 0) lies in a padded plane.
    pub(super) fn tap(&self, ky: usize, kx: usize) -> usize {
        ky * self.row() + (kx % self.stride) * self.phase() + kx / self.stride
    }

    /// How far the taps of output row `y` lie from those of row 0.
    pub(super) fn out_row(&self, y: usize) -> usize {
        y * self.stride * self.row()
    }
}

vectorised! {
    /// Fills `padded` ([`Geometry::plane`] long) from one plane; columns and rows outside are `outside`.
    pub(super) fn pad_plane(g: &Geometry, plane: &[f32], outside: f32, padded: &mut [f32]) {
        for (y, row) in padded.chunks_exact_mut(g.row()).enumerate() {
            let source = y.checked_sub(g.padding).and_then(|y| plane.chunks_exact(g.width).nth(y));
            let Some(source) = source else {
                row.fill(outside);
                continue;
            };
            for (phase, columns) in row.chunks_exact_mut(g.phase()).enumerate() {
                // Column q of this phase is source column q·stride + phase − padding.
                let missing = g.padding.saturating_sub(phase).div_ceil(g.stride).min(columns.len());
                let first = missing * g.stride + phase - g.padding.min(missing * g.stride + phase);
                let present = g.width.saturating_sub(first).div_ceil(g.stride).min(columns.len() - missing);
                let (before, rest) = columns.split_at_mut(missing);
                let (inside, after) = rest.split_at_mut(present);
                before.fill(outside);
                after.fill(outside);
                let Some(source) = source.get(first..) else { continue };
                match g.stride {
                    1 => inside.copy_from_slice(&source[..present]),
                    2 => {
                        let (pairs, odd) = source.as_chunks::<2>();
                        let (whole, last) = inside.split_at_mut(present.min(pairs.len()));
                        whole.iter_mut().zip(pairs).for_each(|(to, pair)| *to = pair[0]);
                        last.iter_mut().zip(odd).for_each(|(to, from)| *to = *from);
                    }
                    s => {
                        let from = source.iter().step_by(s);
                        inside.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                    }
                }
            }
        }
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
        ] {
            let g = Geometry::new((h, w), k, s, p).unwrap();
            let plane: Vec<f32> = (0..h * w).map(|i| i as f32).collect();
            let mut padded = vec![f32::NAN; g.plane()];
            pad_plane(&g, &plane, -1.0, &mut padded);
            for (y, x, ky, kx) in itertools4(g.out_height, g.out_width, k, k) {
                let (iy, ix) = ((y * s + ky).wrapping_sub(p), (x * s + kx).wrapping_sub(p));
                let want = if iy < h && ix < w {
                    plane[iy * w + ix]
                } else {
                    -1.0
                };
                let got = padded[g.out_row(y) + g.tap(ky, kx) + x];
                assert_eq!(got, want, "{g:?} output {y},{x} tap {ky},{kx}");
            }
        }
    }

    fn itertools4(
        a: usize,
        b: usize,
        c: usize,
        d: usize,
    ) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        (0..a * b * c * d).map(move |i| (i / (b * c * d), i / (c * d) % b, i / d % c, i % d))
    }

    #[test]
    fn a_kernel_larger_than_the_padded_plane_does_not_fit() {
        assert_eq!(Geometry::new((2, 2), 5, 1, 1), None);
        assert_eq!(Geometry::new((0, 2), 1, 1, 0), None);
    }
}
