//! A canvas with the few shapes figures are made of.
//!
//! Coordinates are pixels with fractions, y down; shapes outside of the canvas or with coordinates
//! that are not numbers are left out. The canvas is opaque: colours are blended onto it.

use image::{Rgba, RgbaImage};

/// Red, green, blue, opacity.
pub type Color = [u8; 4];

/// A colour that hides what lies below.
pub const fn opaque([r, g, b]: [u8; 3]) -> Color {
    [r, g, b, 255]
}

/// A part of a canvas.
pub struct Clip([u32; 4]);

/// An opaque picture to draw on.
pub struct Canvas {
    image: RgbaImage,
    /// Pixels that may change: from the first corner up to but without the second.
    clip: [u32; 4],
}

impl Canvas {
    /// A canvas of one colour.
    pub fn new(width: u32, height: u32, color: [u8; 3]) -> Self {
        Self {
            image: RgbaImage::from_pixel(width, height, Rgba(opaque(color))),
            clip: [0, 0, width, height],
        }
    }

    /// The finished picture.
    pub fn into_image(self) -> RgbaImage {
        self.image
    }

    /// Leaves everything outside of a rectangle untouched from now on; returns what was drawn on
    /// before, for [`Canvas::unclip`].
    pub fn clip_to(&mut self, rect: [f32; 4]) -> Clip {
        let outer = Clip(self.clip);
        self.clip = self.seen(rect);
        outer
    }

    /// Takes a clip back.
    pub fn unclip(&mut self, outer: Clip) {
        self.clip = outer.0;
    }

    /// The pixels of a rectangle, edges rounded, that can be drawn on.
    pub fn seen(&self, rect: [f32; 4]) -> [u32; 4] {
        self.whole_pixels(rect.map(f32::round))
    }

    /// Blends a colour onto one pixel; `coverage` 0 … 1 scales its opacity.
    pub fn blend(&mut self, x: i64, y: i64, color: Color, coverage: f32) {
        let [x1, y1, x2, y2] = self.clip.map(i64::from);
        if (x1..x2).contains(&x) && (y1..y2).contains(&y) {
            let pixel = self.image.get_pixel_mut(x as u32, y as u32);
            let part = coverage.clamp(0.0, 1.0) * f32::from(color[3]) / 255.0;
            for (below, above) in pixel.0.iter_mut().zip(&color[..3]) {
                let (from, to) = (f32::from(*below), f32::from(*above));
                *below = (from + (to - from) * part).round() as u8;
            }
        }
    }

    /// Blends straight RGBA pixels, `width` in a row, with their corner at whole pixel `at`.
    pub fn pixels(&mut self, at: [i64; 2], width: usize, rgba: &[u8]) {
        let lines = rgba.chunks_exact((width * 4).max(1)).zip(at[1]..);
        for (line, y) in lines {
            for (&color, x) in line.as_chunks::<4>().0.iter().zip(at[0]..) {
                self.blend(x, y, color, 1.0);
            }
        }
    }

    /// A filled rectangle with edges on whole pixels.
    pub fn rect(&mut self, rect: [f32; 4], color: Color) {
        let [x1, y1, x2, y2] = self.whole_pixels(rect.map(f32::round));
        for y in y1..y2 {
            for x in x1..x2 {
                self.blend(i64::from(x), i64::from(y), color, 1.0);
            }
        }
    }

    /// A filled rectangle with round corners.
    pub fn rounded(&mut self, rect: [f32; 4], radius: f32, color: Color) {
        let [x1, y1, x2, y2] = rect;
        let half = [(x2 - x1) / 2.0, (y2 - y1) / 2.0];
        let centre = [x1 + half[0], y1 + half[1]];
        let radius = radius.min(half[0]).min(half[1]).max(0.0);
        self.fill(rect, color, |x, y| {
            let dx = ((x - centre[0]).abs() - half[0] + radius).max(0.0);
            let dy = ((y - centre[1]).abs() - half[1] + radius).max(0.0);
            dx.hypot(dy) - radius
        });
    }

    /// The outline of a rectangle, `width` pixels wide, centred on its edges.
    pub fn frame(&mut self, rect: [f32; 4], width: f32, color: Color) {
        if rect.iter().any(|v| v.is_nan()) {
            return;
        }
        let width = width.round().max(1.0);
        let [x1, y1, x2, y2] = rect.map(|v| (v - width / 2.0).round());
        let [inner_y1, inner_y2] = [y1 + width, y2.max(y1 + width)];
        self.rect([x1, y1, x2 + width, inner_y1], color);
        self.rect([x1, inner_y2, x2 + width, inner_y2 + width], color);
        self.rect([x1, inner_y1, x1 + width, inner_y2], color);
        self.rect([x2, inner_y1, x2 + width, inner_y2], color);
    }

    /// A straight line with round ends. Upright and level lines are crisp.
    pub fn line(&mut self, from: [f32; 2], to: [f32; 2], width: f32, color: Color) {
        let ([x1, y1], [x2, y2]) = (from, to);
        if [x1, y1, x2, y2].iter().any(|v| v.is_nan()) {
            return;
        }
        let [left, right] = [x1.min(x2), x1.max(x2)];
        let [top, bottom] = [y1.min(y2), y1.max(y2)];
        let half = width / 2.0;
        if (right - left).min(bottom - top) < 0.01 {
            let crisp = width.round().max(1.0);
            let shift = |v: f32| (v - crisp / 2.0).round();
            let rect = if right - left > bottom - top {
                [left, shift(top), right, shift(top) + crisp]
            } else {
                [shift(left), top, shift(left) + crisp, bottom]
            };
            return self.rect(rect, color);
        }
        let (dx, dy) = (x2 - x1, y2 - y1);
        let square = dx * dx + dy * dy;
        let bounds = [left - half, top - half, right + half, bottom + half];
        self.fill(bounds, color, |x, y| {
            let along = (((x - x1) * dx + (y - y1) * dy) / square).clamp(0.0, 1.0);
            (x - x1 - along * dx).hypot(y - y1 - along * dy) - half
        });
    }

    /// A filled circle.
    pub fn disc(&mut self, [cx, cy]: [f32; 2], radius: f32, color: Color) {
        let bounds = [cx - radius, cy - radius, cx + radius, cy + radius];
        self.fill(bounds, color, |x, y| (x - cx).hypot(y - cy) - radius);
    }

    /// A filled convex polygon.
    pub fn polygon(&mut self, points: &[[f32; 2]], color: Color) {
        if points.len() < 3 || points.iter().flatten().any(|v| !v.is_finite()) {
            return;
        }
        let next = points.iter().cycle().skip(1);
        let edges: Vec<_> = points.iter().zip(next).collect();
        let area: f32 = edges.iter().map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum();
        let bounds = points
            .iter()
            .fold([f32::MAX, f32::MAX, f32::MIN, f32::MIN], |b, p| {
                [
                    b[0].min(p[0]),
                    b[1].min(p[1]),
                    b[2].max(p[0]),
                    b[3].max(p[1]),
                ]
            });
        // Outside of the edge that is the farthest away.
        self.fill(bounds, color, |x, y| {
            let beyond = |([ax, ay], [bx, by]): &(&[f32; 2], &[f32; 2])| {
                let (dx, dy) = (bx - ax, by - ay);
                area.signum() * ((x - ax) * dy - (y - ay) * dx) / dx.hypot(dy).max(1e-6)
            };
            edges.iter().map(beyond).fold(f32::MIN, f32::max)
        });
    }

    /// Fills where `distance` (to the edge, negative inside, at pixel centres) says so, with soft
    /// edges one pixel wide.
    fn fill(&mut self, bounds: [f32; 4], color: Color, distance: impl Fn(f32, f32) -> f32) {
        let [x1, y1, x2, y2] = bounds;
        let grown = [x1 - 1.0, y1 - 1.0, x2 + 1.0, y2 + 1.0];
        let [x1, y1, x2, y2] = self.whole_pixels(grown);
        for y in y1..y2 {
            for x in x1..x2 {
                let coverage = 0.5 - distance(x as f32 + 0.5, y as f32 + 0.5);
                if coverage > 0.0 {
                    self.blend(i64::from(x), i64::from(y), color, coverage);
                }
            }
        }
    }

    /// The pixels a rectangle touches, within the clip; empty if a coordinate is not a number.
    fn whole_pixels(&self, rect: [f32; 4]) -> [u32; 4] {
        if rect.iter().any(|v| v.is_nan()) {
            return [0; 4];
        }
        let [left, top, right, bottom] = self.clip;
        let [x1, y1, x2, y2] = rect;
        // `as` saturates: far outside becomes the nearer end.
        let [x1, y1] = [
            (x1.floor() as u32).clamp(left, right),
            (y1.floor() as u32).clamp(top, bottom),
        ];
        [
            x1,
            y1,
            (x2.ceil() as u32).clamp(x1, right),
            (y2.ceil() as u32).clamp(y1, bottom),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLACK: Color = [0, 0, 0, 255];

    /// Red of every pixel, row by row.
    fn reds(canvas: Canvas) -> Vec<u8> {
        canvas.into_image().pixels().map(|p| p.0[0]).collect()
    }

    #[test]
    fn colours_blend_by_opacity_and_coverage() {
        let mut canvas = Canvas::new(2, 1, [200, 100, 0]);
        canvas.blend(0, 0, [0, 200, 0, 255], 0.5);
        canvas.blend(1, 0, [0, 0, 255, 51], 1.0);
        let image = canvas.into_image();
        assert_eq!(image.get_pixel(0, 0).0, [100, 150, 0, 255]);
        assert_eq!(image.get_pixel(1, 0).0, [160, 80, 51, 255]);
    }

    #[test]
    fn frames_are_crisp_and_hollow() {
        let mut canvas = Canvas::new(4, 4, [255; 3]);
        canvas.frame([0.5, 0.5, 3.5, 3.5], 1.0, BLACK);
        assert_eq!(
            reds(canvas),
            [0, 0, 0, 0, 0, 255, 255, 0, 0, 255, 255, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn level_lines_fill_whole_pixels() {
        let mut canvas = Canvas::new(3, 3, [255; 3]);
        canvas.line([0.0, 1.5], [3.0, 1.5], 1.0, BLACK);
        assert_eq!(reds(canvas), [255, 255, 255, 0, 0, 0, 255, 255, 255]);
    }

    #[test]
    fn a_disc_covers_its_area() {
        let mut canvas = Canvas::new(40, 40, [255; 3]);
        canvas.disc([20.0, 20.0], 10.0, BLACK);
        let covered: f64 = reds(canvas)
            .iter()
            .map(|&r| 1.0 - f64::from(r) / 255.0)
            .sum();
        let area = std::f64::consts::PI * 100.0;
        assert!((covered - area).abs() < 0.01 * area, "{covered} of {area}");
    }

    #[test]
    fn a_polygon_covers_its_area_whichever_way_it_runs() {
        let mut points = [[5.0, 5.0], [35.0, 5.0], [5.0, 25.0]];
        for _ in 0..2 {
            let mut canvas = Canvas::new(40, 40, [255; 3]);
            canvas.polygon(&points, BLACK);
            let covered: f64 = reds(canvas)
                .iter()
                .map(|&r| 1.0 - f64::from(r) / 255.0)
                .sum();
            assert!((covered - 300.0).abs() < 3.0, "{covered}");
            points.reverse();
        }
    }

    #[test]
    fn the_clip_protects_and_is_taken_back() {
        let mut canvas = Canvas::new(3, 1, [255; 3]);
        let outer = canvas.clip_to([1.0, 0.0, 2.0, 1.0]);
        canvas.rect([0.0, 0.0, 3.0, 1.0], BLACK);
        canvas.unclip(outer);
        canvas.rect([2.0, 0.0, 9.0, 1.0], [100, 0, 0, 255]);
        assert_eq!(reds(canvas), [255, 0, 100]);
    }

    #[test]
    fn wild_coordinates_draw_nothing_and_end_soon() {
        let mut canvas = Canvas::new(2, 2, [255; 3]);
        canvas.line([f32::NAN, 0.0], [1.0, 1.0], 1.0, BLACK);
        canvas.rect([5.0, 5.0, 1e30, 1e30], BLACK);
        canvas.disc([-1e30, 0.0], 3.0, BLACK);
        canvas.disc([f32::NAN, 0.0], 3.0, BLACK);
        canvas.frame([f32::NAN, 0.0, 1.0, 1.0], 1.0, BLACK);
        canvas.rounded([-1e9, -1e9, -1e8, -1e8], 4.0, BLACK);
        canvas.pixels([i64::from(i32::MAX), 0], 0, &[]);
        assert_eq!(reds(canvas), [255; 4]);
    }
}
