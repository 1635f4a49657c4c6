//! The letterbox: a photograph, shrunk or enlarged, centred on the grey network input.
//!
//! Geometry and resizing follow what detectors of the YOLO family are trained and run with: sizes
//! rounded half to even, and OpenCV's `INTER_LINEAR` with its 11-bit fixed-point weights (no
//! antialiasing), reproduced bit for bit.

use rayon::prelude::*;

use super::Photo;

/// Grey of the border, in every channel.
pub const FILL: u8 = 114;

/// Where a photograph lies in the network input, and how to get from one to the other.
///
/// Sizes are `[width, height]` in pixels; coordinates are continuous, with pixel 0 from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Letterbox {
    /// Size of the photograph.
    pub photo: [usize; 2],
    /// Size of the photograph inside the input, each side at least 1.
    pub resized: [usize; 2],
    /// Grey columns on the left and grey rows at the top.
    pub pad: [usize; 2],
    /// Size of the whole network input.
    pub input: [usize; 2],
}

impl Letterbox {
    /// A photograph in an input of exactly `target` size. Sides of 0 count as 1.
    pub fn new(photo: [usize; 2], target: [usize; 2]) -> Self {
        Self::with_border(photo, target, |border| border)
    }

    /// The rectangular form: as [`Letterbox::new`], with whole multiples of `stride` taken off the
    /// border, so that 1280 × 720 in 640 × 640 becomes 640 × 384.
    pub fn rect(photo: [usize; 2], target: [usize; 2], stride: usize) -> Self {
        Self::with_border(photo, target, |border| border % stride.max(1))
    }

    fn with_border(photo: [usize; 2], target: [usize; 2], keep: impl Fn(usize) -> usize) -> Self {
        let photo = photo.map(|side| side.max(1));
        let target = target.map(|side| side.max(1));
        let ratio = |axis: usize| target[axis] as f64 / photo[axis] as f64;
        let scale = ratio(0).min(ratio(1));
        let resized = photo.map(|side| round(side as f64 * scale).max(1));
        let border = [0, 1].map(|axis| keep(target[axis].saturating_sub(resized[axis])));
        Self {
            photo,
            resized,
            pad: border.map(|b| round(b as f64 / 2.0 - 0.1)),
            input: [resized[0] + border[0], resized[1] + border[1]],
        }
    }

    /// The network input: `3 × height × width` bytes, planes red, green, blue.
    ///
    /// # Panics
    /// If `photo` has another size than this letterbox was made for.
    pub fn apply(&self, photo: &Photo) -> Vec<u8> {
        assert_eq!(
            [photo.width, photo.height],
            self.photo,
            "another photograph"
        );
        let [width, height] = self.input;
        let plane = width * height;
        let mut out = vec![FILL; 3 * plane];

        let first = self.pad[1] * width;
        let inside = first..first + self.resized[1] * width;
        let (red, rest) = out.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        let resize = Resize::new(self.photo, self.resized);
        // Bands rather than rows: neighbouring rows share their source rows when enlarging.
        let band = BAND_ROWS * width;
        let bands = red[inside.clone()]
            .par_chunks_mut(band)
            .zip(green[inside.clone()].par_chunks_mut(band))
            .zip(blue[inside].par_chunks_mut(band));
        bands.enumerate().for_each(|(index, ((red, green), blue))| {
            let mut rows = SourceRows::new(&resize, &photo.rgb);
            let y = index * BAND_ROWS;
            let planes = red
                .chunks_mut(width)
                .zip(green.chunks_mut(width))
                .zip(blue.chunks_mut(width));
            for (row, ((red, green), blue)) in planes.enumerate() {
                let columns = self.pad[0]..self.pad[0] + self.resized[0];
                let target = [red, green, blue].map(|plane| &mut plane[columns.clone()]);
                rows.write(&resize.rows[y + row], target);
            }
        });
        out
    }

    /// A box of the network input in pixels of the photograph, clipped to it.
    pub fn to_photo(&self, [x1, y1, x2, y2]: [f32; 4]) -> [f32; 4] {
        let [width, height] = self.photo.map(|side| side as f32);
        let ([x1, y1], [x2, y2]) = (self.point_to_photo(x1, y1), self.point_to_photo(x2, y2));
        [
            x1.clamp(0.0, width),
            y1.clamp(0.0, height),
            x2.clamp(0.0, width),
            y2.clamp(0.0, height),
        ]
    }

    /// A point of the network input in pixels of the photograph; outside of it for the border.
    pub fn point_to_photo(&self, x: f32, y: f32) -> [f32; 2] {
        let [sx, sy] = self.scale();
        [(x - self.pad[0] as f32) / sx, (y - self.pad[1] as f32) / sy]
    }

    /// A point of the photograph in pixels of the network input.
    pub fn point_to_input(&self, x: f32, y: f32) -> [f32; 2] {
        let [sx, sy] = self.scale();
        [x * sx + self.pad[0] as f32, y * sy + self.pad[1] as f32]
    }

    /// The whole network input, border included, in pixels of the photograph: `[x1, y1, x2, y2]`.
    /// This is the extent of a map that covers the input.
    pub fn extent(&self) -> [f32; 4] {
        let [x1, y1] = self.point_to_photo(0.0, 0.0);
        let [x2, y2] = self.point_to_photo(self.input[0] as f32, self.input[1] as f32);
        [x1, y1, x2, y2]
    }

    /// The photograph in pixels of the network input: `[x1, y1, x2, y2]`.
    pub fn content(&self) -> [f32; 4] {
        let [x, y] = self.pad;
        let [width, height] = self.resized;
        [x, y, x + width, y + height].map(|v| v as f32)
    }

    /// Input pixels per photograph pixel along each axis. They differ a little, because the resized
    /// sides are whole numbers.
    fn scale(&self) -> [f32; 2] {
        [0, 1].map(|axis| (self.resized[axis] as f64 / self.photo[axis] as f64) as f32)
    }
}

/// Half to even, as Python's `round`; negative values become 0.
fn round(value: f64) -> usize {
    value.round_ties_even() as usize
}

const BAND_ROWS: usize = 16;

/// Two source positions and their weights, which add up to 2048 (give or take rounding).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tap {
    at: [usize; 2],
    weight: [i32; 2],
}

/// The taps of a resize from one size to another.
struct Resize {
    /// Positions in bytes of an RGB row.
    columns: Vec<Tap>,
    /// Row numbers.
    rows: Vec<Tap>,
    source_width: usize,
}

impl Resize {
    fn new(from: [usize; 2], to: [usize; 2]) -> Self {
        let mut columns = taps(from[0], to[0]);
        for tap in &mut columns {
            // At the left and right border OpenCV drops the neighbour beyond it; at the top and
            // bottom it keeps both weights on the same row, which can round one lower.
            if tap.at[0] == tap.at[1] {
                tap.weight = [2048, 0];
            }
            tap.at = tap.at.map(|x| 3 * x);
        }
        Self {
            columns,
            rows: taps(from[1], to[1]),
            source_width: from[0],
        }
    }
}

/// Half-pixel centres, clamped at the ends; weights in 1/2048, rounded half to even.
fn taps(from: usize, to: usize) -> Vec<Tap> {
    let scale = from as f64 / to as f64;
    let last = from as i64 - 1;
    let weight = |w: f32| (w * 2048.0).round_ties_even() as i32;
    (0..to)
        .map(|i| {
            // OpenCV stores the position as f32 before splitting it.
            let position = ((i as f64 + 0.5) * scale - 0.5) as f32;
            let whole = position.floor();
            let part = position - whole;
            let clamp = |at: i64| at.clamp(0, last) as usize;
            Tap {
                at: [clamp(whole as i64), clamp(whole as i64 + 1)],
                weight: [weight(1.0 - part), weight(part)],
            }
        })
        .collect()
}

/// The two source rows in use, already resized horizontally, in units of 1/2048.
struct SourceRows<'a> {
    resize: &'a Resize,
    rgb: &'a [u8],
    /// Row number and its values, three per output column.
    slots: [(Option<usize>, Vec<i32>); 2],
}

impl<'a> SourceRows<'a> {
    fn new(resize: &'a Resize, rgb: &'a [u8]) -> Self {
        let row = || (None, vec![0; 3 * resize.columns.len()]);
        Self {
            resize,
            rgb,
            slots: [row(), row()],
        }
    }

    /// Writes one output row into the three planes.
    fn write(&mut self, tap: &Tap, [red, green, blue]: [&mut [u8]; 3]) {
        // Going down, the former lower row is often the upper one now.
        if self.slots[1].0 == Some(tap.at[0]) {
            self.slots.swap(0, 1);
        }
        for slot in 0..2 {
            self.load(slot, tap.at[slot]);
        }
        let [(_, upper), (_, lower)] = &self.slots;
        let [w0, w1] = tap.weight;
        let mix = |t0: i32, t1: i32| {
            let sum = ((w0 * (t0 >> 4)) >> 16) + ((w1 * (t1 >> 4)) >> 16);
            ((sum + 2) >> 2) as u8
        };
        let pairs = upper
            .as_chunks::<3>()
            .0
            .iter()
            .zip(lower.as_chunks::<3>().0);
        let planes = red.iter_mut().zip(green).zip(blue);
        for ((u, l), ((red, green), blue)) in pairs.zip(planes) {
            *red = mix(u[0], l[0]);
            *green = mix(u[1], l[1]);
            *blue = mix(u[2], l[2]);
        }
    }

    fn load(&mut self, slot: usize, y: usize) {
        let (row, values) = &mut self.slots[slot];
        if *row == Some(y) {
            return;
        }
        *row = Some(y);
        let stride = 3 * self.resize.source_width;
        let source = &self.rgb[y * stride..(y + 1) * stride];
        for (tap, value) in self
            .resize
            .columns
            .iter()
            .zip(values.as_chunks_mut::<3>().0)
        {
            let [w0, w1] = tap.weight;
            let (left, right) = (&source[tap.at[0]..][..3], &source[tap.at[1]..][..3]);
            for channel in 0..3 {
                value[channel] = w0 * i32::from(left[channel]) + w1 * i32::from(right[channel]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometry_rounds_half_to_even_and_splits_odd_borders() {
        let square = Letterbox::new([1280, 720], [640, 640]);
        assert_eq!(
            (square.resized, square.pad, square.input),
            ([640, 360], [0, 140], [640, 640])
        );
        // 427 · 640/640: the border of 213 rows splits into 106 and 107.
        let odd = Letterbox::new([640, 427], [640, 640]);
        assert_eq!((odd.resized, odd.pad), ([640, 427], [0, 106]));
        // 425 · 0.5 = 212.5 rounds down to the even 212; 427 · 0.5 = 213.5 up to 214.
        assert_eq!(Letterbox::new([640, 425], [320, 320]).resized, [320, 212]);
        assert_eq!(Letterbox::new([640, 427], [320, 320]).resized, [320, 214]);
    }

    #[test]
    fn rect_keeps_the_border_modulo_the_stride() {
        let rect = Letterbox::rect([1280, 720], [640, 640], 32);
        assert_eq!(
            (rect.resized, rect.pad, rect.input),
            ([640, 360], [0, 12], [640, 384])
        );
        let fits = Letterbox::rect([640, 640], [640, 640], 32);
        assert_eq!((fits.pad, fits.input), ([0, 0], [640, 640]));
    }

    #[test]
    fn thin_pictures_keep_at_least_one_pixel() {
        let thin = Letterbox::new([1, 8000], [640, 640]);
        assert_eq!((thin.resized, thin.pad), ([1, 640], [319, 0]));
        let flat = Letterbox::rect([6000, 3], [640, 640], 32);
        assert_eq!((flat.resized, flat.input), ([640, 1], [640, 32]));
    }

    #[test]
    fn points_go_there_and_back() {
        let letterbox = Letterbox::new([1280, 720], [640, 640]);
        assert_eq!(letterbox.point_to_input(0.0, 0.0), [0.0, 140.0]);
        assert_eq!(letterbox.point_to_photo(640.0, 500.0), [1280.0, 720.0]);
        assert_eq!(
            letterbox.to_photo([-5.0, 100.0, 320.0, 320.0]),
            [0.0, 0.0, 640.0, 360.0]
        );
        assert_eq!(letterbox.extent(), [0.0, -280.0, 1280.0, 1000.0]);
        assert_eq!(letterbox.content(), [0.0, 140.0, 640.0, 500.0]);
    }

    #[test]
    fn each_axis_maps_back_with_its_own_scale() {
        // 333 · 320/500 = 213.12 becomes 213, so y scales by 213/333 and x by 0.64.
        let letterbox = Letterbox::new([500, 333], [320, 320]);
        let [x, y] = letterbox.point_to_photo(320.0, 53.0 + 213.0);
        assert_eq!(letterbox.pad, [0, 53]);
        assert!((x - 500.0).abs() < 1e-3 && (y - 333.0).abs() < 1e-3);
    }

    #[test]
    fn border_is_grey_and_same_size_is_a_copy() {
        let rgba = [1, 2, 3, 255, 4, 5, 6, 255];
        let photo = Photo::from_rgba("two pixels", 2, 1, &rgba).unwrap();
        let input = Letterbox::new([2, 1], [2, 2]).apply(&photo);
        assert_eq!(input, [1, 4, 114, 114, 2, 5, 114, 114, 3, 6, 114, 114]);
    }

    #[test]
    fn row_taps_keep_both_weights_at_the_border_and_column_taps_do_not() {
        // Twice as large: positions −0.25, 0.25, 0.75, 1.25.
        let resize = Resize::new([2, 2], [4, 4]);
        assert_eq!(
            resize.rows[0],
            Tap {
                at: [0, 0],
                weight: [512, 1536]
            }
        );
        assert_eq!(
            resize.columns[0],
            Tap {
                at: [0, 0],
                weight: [2048, 0]
            }
        );
        assert_eq!(
            resize.rows[1],
            Tap {
                at: [0, 1],
                weight: [1536, 512]
            }
        );
        assert_eq!(
            resize.columns[3],
            Tap {
                at: [3, 3],
                weight: [2048, 0]
            }
        );
    }
}
