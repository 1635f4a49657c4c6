//! Maps as coloured pixels: the one way from values to colours, for the window and for files.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Colormap, Range, Sampling};

/// How a map is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paint {
    /// Colours.
    pub colormap: Colormap,
    /// Values the colours are stretched over.
    pub range: Range,
    /// Cells or smooth.
    pub sampling: Sampling,
    /// 0 (invisible) … 1 (hides what lies below).
    pub opacity: f32,
}

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

    /// The map as `height × width` straight RGBA pixels; missing values (NaN) are transparent.
    pub fn rgba(&self, paint: &Paint, width: usize, height: usize) -> Vec<u8> {
        let all = [0.0, 0.0, self.cols as f32, self.rows as f32];
        self.window_rgba(paint, all, width, height)
    }

    /// A part of the map, given in cells as `[x1, y1, x2, y2]`, as `height × width` straight RGBA
    /// pixels. What lies outside the map is transparent, as are missing values.
    pub fn window_rgba(
        &self,
        paint: &Paint,
        window: [f32; 4],
        width: usize,
        height: usize,
    ) -> Vec<u8> {
        let mut pixels = vec![0; width * height * 4];
        if pixels.is_empty() {
            return pixels;
        }
        let [x1, y1, x2, y2] = window;
        let columns = taps(x1, x2, width, self.cols, paint.sampling);
        let rows = taps(y1, y2, height, self.rows, paint.sampling);
        let alpha = (paint.opacity.clamp(0.0, 1.0) * 255.0).round() as u8;
        let lines = pixels.par_chunks_mut(width * 4).zip(&rows);
        lines.for_each(|(line, row)| {
            let Some(row) = row else { return };
            for (pixel, column) in line.as_chunks_mut::<4>().0.iter_mut().zip(&columns) {
                let Some(column) = column else { continue };
                let value = self.blend(row, column);
                if !value.is_nan() {
                    let [r, g, b] = paint.colormap.sample(paint.range.position(value));
                    *pixel = [r, g, b, alpha];
                }
            }
        });
        pixels
    }

    /// Bilinear value between four cells. Next to a value that is not finite, that of the nearest
    /// cell: a hole in the map stays as large as it is.
    fn blend(&self, row: &Tap, column: &Tap) -> f32 {
        let at = |r: usize, c: usize| self.values[r * self.cols + c];
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
    use super::*;

    fn grey(range: Range, sampling: Sampling) -> Paint {
        Paint {
            colormap: Colormap::Grey,
            range,
            sampling,
            opacity: 1.0,
        }
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
        let paint = Paint {
            colormap: Colormap::Turbo,
            ..grey(Range::UNIT, Sampling::Smooth)
        };
        let pixels = map.rgba(&paint, 1, 1);
        assert_eq!(pixels[..3], Colormap::Turbo.sample(0.5));
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
        let paint = Paint {
            opacity: 0.6,
            ..grey(Range::UNIT, Sampling::Nearest)
        };
        assert_eq!(map.rgba(&paint, 1, 1), [128, 128, 128, 153]);
    }

    #[test]
    fn sizes_must_fit() {
        assert!(Map::new(&[0.0; 6], 2, 3).is_some());
        assert!(Map::new(&[0.0; 5], 2, 3).is_none());
        assert!(Map::new(&[], 0, 3).is_none());
        assert!(Map::new(&[0.0], usize::MAX, 2).is_none());
    }
}
