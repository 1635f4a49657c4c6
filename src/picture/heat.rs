//! Maps as coloured pixels: the one way from values to colours, for the window and for files.

use rayon::prelude::*;

use super::{Coloring, Sampling};

/// Smooth maps are enlarged by at most this much…
const SMOOTH_FACTOR: usize = 8;
/// … and to sides of at most about this many pixels.
const SMOOTH_SIDE: usize = 512;

/// A map of values: `rows × cols`, row by row. Borrowed, cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a> {
    values: &'a [f32],
    rows: usize,
    cols: usize,
}

impl<'a> Map<'a> {
    /// `None` if `values` does not hold `rows × cols` values, or the map is empty.
    pub fn new(values: &'a [f32], rows: usize, cols: usize) -> Option<Self> {
        let fits = rows.checked_mul(cols)? == values.len() && !values.is_empty();
        fits.then_some(Self { values, rows, cols })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The value of a cell that the map has.
    pub(super) fn at(&self, row: usize, col: usize) -> f32 {
        self.values[row * self.cols + col]
    }

    /// The map as `height × width` straight RGBA pixels; missing values (NaN) and those
    /// that the colouring hides are transparent.
    pub fn rgba(&self, coloring: &Coloring, width: usize, height: usize) -> Vec<u8> {
        let all = [0.0, 0.0, self.cols as f32, self.rows as f32];
        self.window_rgba(coloring, all, width, height)
    }

    /// The map as width, height and straight RGBA pixels: one pixel per cell, or more where it is
    /// smooth.
    pub fn texels(&self, coloring: &Coloring) -> ([usize; 2], Vec<u8>) {
        let factor = match coloring.sampling {
            Sampling::Nearest => 1,
            Sampling::Smooth => (SMOOTH_SIDE / self.rows.max(self.cols)).clamp(1, SMOOTH_FACTOR),
        };
        let size = [self.cols * factor, self.rows * factor];
        (size, self.rgba(coloring, size[0], size[1]))
    }

    /// A part of the map, given in cells as `[x1, y1, x2, y2]`, as `height × width` straight RGBA
    /// pixels. What lies outside the map is transparent, as are missing values.
    pub fn window_rgba(
        &self,
        coloring: &Coloring,
        window: [f32; 4],
        width: usize,
        height: usize,
    ) -> Vec<u8> {
        let mut pixels = vec![0; width * height * 4];
        if pixels.is_empty() {
            return pixels;
        }
        let [x1, y1, x2, y2] = window;
        let columns = taps(x1, x2, width, self.cols, coloring.sampling);
        let rows = taps(y1, y2, height, self.rows, coloring.sampling);
        let opacity = (coloring.opacity * 255.0).round() as u8;
        let lines = pixels.par_chunks_mut(width * 4).zip(&rows);
        lines.for_each(|(line, row)| {
            let Some(row) = row else { return };
            for (pixel, column) in line.as_chunks_mut::<4>().0.iter_mut().zip(&columns) {
                let Some(column) = column else { continue };
                let [r, g, b, alpha] = coloring.color(self.blend(row, column));
                if alpha > 0 {
                    *pixel = [r, g, b, opacity];
                }
            }
        });
        pixels
    }

    /// Bilinear value between four cells. Next to a value that is not finite, that of the nearest
    /// cell: a hole in the map stays as large as it is.
    fn blend(&self, row: &Tap, column: &Tap) -> f32 {
        let at = |r: usize, c: usize| self.at(r, c);
        if row.part == 0.0 && column.part == 0.0 {
            return at(row.first, column.first);
        }
        let mix = |a: f32, b: f32, part: f32| a + (b - a) * part;
        let upper = mix(
            at(row.first, column.first),
            at(row.first, column.second),
            column.part,
        );
        let lower = mix(
            at(row.second, column.first),
            at(row.second, column.second),
            column.part,
        );
        let value = mix(upper, lower, row.part);
        if value.is_finite() {
            return value;
        }
        at(row.nearest(), column.nearest())
    }
}

/// Two neighbouring cells, and how far a pixel is from the first to the second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tap {
    first: usize,
    second: usize,
    part: f32,
}

impl Tap {
    fn nearest(&self) -> usize {
        if self.part < 0.5 {
            self.first
        } else {
            self.second
        }
    }
}

/// The cells under `count` pixels spread from `start` to `end`; `None` outside of `0 … cells`.
fn taps(start: f32, end: f32, count: usize, cells: usize, sampling: Sampling) -> Vec<Option<Tap>> {
    let last = cells - 1;
    let step = (f64::from(end) - f64::from(start)) / count as f64;
    let tap = |pixel: usize| {
        let at = f64::from(start) + (pixel as f64 + 0.5) * step;
        // Also refuses a NaN.
        if !(0.0..cells as f64).contains(&at) {
            return None;
        }
        Some(match sampling {
            Sampling::Nearest => {
                let cell = (at as usize).min(last);
                Tap {
                    first: cell,
                    second: cell,
                    part: 0.0,
                }
            }
            Sampling::Smooth => {
                let from_centre = (at - 0.5).clamp(0.0, last as f64);
                let first = from_centre as usize;
                let second = (first + 1).min(last);
                Tap {
                    first,
                    second,
                    part: (from_centre - first as f64) as f32,
                }
            }
        })
    };
    (0..count).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Colormap, Look, Range, RangeRule};
    use super::*;

    fn grey(range: Range, sampling: Sampling) -> Coloring {
        let look = Look {
            colormap: Colormap::Grey,
            sampling,
            opacity: 1.0,
            rule: RangeRule::Locked(range),
            ..Look::default()
        };
        look.coloring(&[], None)
    }

    /// The red of each pixel, or `None` where transparent.
    fn reds(pixels: &[u8]) -> Vec<Option<u8>> {
        let pixels = pixels.as_chunks::<4>().0.iter();
        pixels.map(|p| (p[3] > 0).then_some(p[0])).collect()
    }

    #[test]
    fn cells_are_flat_rectangles() {
        let values = [0.0, 0.2, 0.4, 1.0];
        let map = Map::new(&values, 2, 2).unwrap();
        let pixels = map.rgba(&grey(Range::UNIT, Sampling::Nearest), 4, 2);
        let expected = [0, 0, 51, 51, 102, 102, 255, 255].map(Some);
        assert_eq!(reds(&pixels), expected);
    }

    #[test]
    fn smooth_maps_interpolate_values_between_centres() {
        let values = [0.0, 1.0];
        let map = Map::new(&values, 1, 2).unwrap();
        // Pixel centres at 0.25, 0.75, 1.25, 1.75 cells; cell centres at 0.5 and 1.5.
        let pixels = map.rgba(&grey(Range::UNIT, Sampling::Smooth), 4, 1);
        assert_eq!(reds(&pixels), [0, 64, 191, 255].map(Some));
        // On the values, not on the colours: halfway in value is the middle of the colour map.
        let paint = Coloring {
            colormap: Colormap::Turbo,
            ..grey(Range::UNIT, Sampling::Smooth)
        };
        let pixels = map.rgba(&paint, 1, 1);
        assert_eq!(pixels[..3], Colormap::Turbo.sample(0.5));
    }

    #[test]
    fn smooth_maps_get_more_pixels_and_wide_ones_are_not_blown_up() {
        let size = |rows: usize, cols: usize, sampling| {
            let values = vec![0.0; rows * cols];
            let map = Map::new(&values, rows, cols).unwrap();
            let (size, pixels) = map.texels(&grey(Range::UNIT, sampling));
            assert_eq!(pixels.len(), 4 * size[0] * size[1]);
            size
        };
        assert_eq!(size(1, 2, Sampling::Nearest), [2, 1]);
        assert_eq!(size(1, 2, Sampling::Smooth), [16, 8]);
        assert_eq!(size(400, 600, Sampling::Smooth), [600, 400]);
    }

    #[test]
    fn a_window_may_reach_beyond_the_map() {
        let values = [0.0, 1.0];
        let map = Map::new(&values, 1, 2).unwrap();
        let paint = grey(Range::UNIT, Sampling::Nearest);
        let pixels = map.window_rgba(&paint, [-1.0, 0.0, 3.0, 1.0], 4, 1);
        assert_eq!(reds(&pixels), [None, Some(0), Some(255), None]);
        let nowhere = map.window_rgba(&paint, [f32::NAN, 0.0, 3.0, 1.0], 2, 1);
        assert_eq!(reds(&nowhere), [None, None]);
    }

    #[test]
    fn holes_stay_holes_and_infinities_take_the_end_colours() {
        let values = [0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        let map = Map::new(&values, 1, 4).unwrap();
        for sampling in Sampling::ALL {
            let pixels = map.rgba(&grey(Range::UNIT, sampling), 4, 1);
            assert_eq!(
                reds(&pixels),
                [Some(0), None, Some(255), Some(0)],
                "{sampling:?}"
            );
        }
    }

    #[test]
    fn a_flat_map_has_one_colour() {
        let values = [0.7; 9];
        let map = Map::new(&values, 3, 3).unwrap();
        let pixels = map.rgba(&grey(Range::of(&values), Sampling::Smooth), 5, 5);
        assert!(reds(&pixels).iter().all(|&r| r == Some(128)));
    }

    #[test]
    fn opacity_is_the_alpha() {
        let map = Map::new(&[0.5], 1, 1).unwrap();
        let paint = Coloring {
            opacity: 0.6,
            ..grey(Range::UNIT, Sampling::Nearest)
        };
        assert_eq!(map.rgba(&paint, 1, 1), [128, 128, 128, 153]);
    }

    #[test]
    fn what_the_look_hides_is_transparent() {
        let look = Look {
            threshold: Some(0.5),
            opacity: 1.0,
            ..Look::default()
        };
        let values = [0.0, 0.5, 1.0, f32::NAN];
        let map = Map::new(&values, 1, 4).unwrap();
        let pixels = map.rgba(&look.coloring(&values, None), 4, 1);
        let alphas = pixels.as_chunks::<4>().0.iter().map(|p| p[3]);
        assert!(alphas.eq([0, 255, 255, 0]));
    }

    #[test]
    fn sizes_must_fit() {
        assert!(Map::new(&[0.0; 6], 2, 3).is_some());
        assert!(Map::new(&[0.0; 5], 2, 3).is_none());
        assert!(Map::new(&[], 0, 3).is_none());
        assert!(Map::new(&[0.0], usize::MAX, 2).is_none());
    }
}
