//! What a page can be drawn on: pixels (`Raster`) or vectors (the SVG writer). Figures are laid
//! out once, in points, and draw themselves on either.

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageBuffer, Rgb, RgbImage, RgbaImage};

use super::draw::{Canvas, Color, opaque};
use super::heat::Map;
use super::text::Type;
use super::{Coloring, Photo};

/// Where a text stands relative to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// One line of text.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// What it says.
    pub words: &'a str,
    /// The point it stands at, on the upper edge of its line.
    pub at: [f32; 2],
    /// Which part of it stands there.
    pub anchor: Anchor,
    /// Typeface and size.
    pub kind: Type,
    /// Colour.
    pub color: [u8; 3],
}

impl<'a> Text<'a> {
    /// A text that begins at a point.
    pub fn new(words: &'a str, at: [f32; 2], kind: Type, color: [u8; 3]) -> Self {
        Self {
            words,
            at,
            anchor: Anchor::Start,
            kind,
            color,
        }
    }

    /// The same text, standing otherwise.
    pub fn anchored(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }
}

/// A photograph with a map over it.
pub struct Pictured<'a> {
    /// Where the whole map lies.
    pub target: [f32; 4],
    /// Its values.
    pub map: Map<'a>,
    /// Its colours.
    pub coloring: &'a Coloring,
}

/// Something to draw on. Coordinates and widths are points, y down; rectangles are
/// `[x1, y1, x2, y2]`.
pub trait Surface {
    /// A filled rectangle.
    fn rect(&mut self, rect: [f32; 4], color: Color);
    /// A filled rectangle with round corners.
    fn rounded(&mut self, rect: [f32; 4], radius: f32, color: Color);
    /// The outline of a rectangle, centred on its edges.
    fn frame(&mut self, rect: [f32; 4], width: f32, color: Color);
    /// Straight lines `[x1, y1, x2, y2]`.
    fn lines(&mut self, lines: &[[f32; 4]], width: f32, color: Color);
    /// A line through points.
    fn polyline(&mut self, points: &[[f32; 2]], width: f32, color: Color);
    /// A filled convex polygon.
    fn polygon(&mut self, points: &[[f32; 2]], color: Color);
    /// A filled circle.
    fn disc(&mut self, centre: [f32; 2], radius: f32, color: Color);
    /// A line of text.
    fn text(&mut self, text: Text<'_>);
    /// A photograph that fills a rectangle.
    fn photo(&mut self, target: [f32; 4], photo: &Photo);
    /// A map.
    fn heat(&mut self, heat: &Pictured<'_>);
    /// An upright colour bar, its low end below.
    fn gradient(&mut self, rect: [f32; 4], coloring: &Coloring);
    /// Draws with everything outside of a rectangle untouched.
    fn clipped(&mut self, rect: [f32; 4], draw: &mut dyn FnMut(&mut dyn Surface));
}

/// A page of pixels.
pub(super) struct Raster {
    canvas: Canvas,
    /// Pixels per point.
    scale: f32,
}

impl Raster {
    /// A page of so many points.
    pub fn new([width, height]: [f32; 2], scale: f32, color: [u8; 3]) -> Self {
        let [width, height] = [width, height].map(|v| (v * scale).round() as u32);
        Self {
            canvas: Canvas::new(width, height, color),
            scale,
        }
    }

    /// The finished picture.
    pub fn into_image(self) -> RgbaImage {
        self.canvas.into_image()
    }

    fn px<const N: usize>(&self, points: [f32; N]) -> [f32; N] {
        points.map(|v| v * self.scale)
    }
}

impl Surface for Raster {
    fn rect(&mut self, rect: [f32; 4], color: Color) {
        self.canvas.rect(self.px(rect), color);
    }

    fn rounded(&mut self, rect: [f32; 4], radius: f32, color: Color) {
        let radius = radius * self.scale;
        self.canvas.rounded(self.px(rect), radius, color);
    }

    fn frame(&mut self, rect: [f32; 4], width: f32, color: Color) {
        let width = width * self.scale;
        self.canvas.frame(self.px(rect), width, color);
    }

    fn lines(&mut self, lines: &[[f32; 4]], width: f32, color: Color) {
        for &line in lines {
            let [x1, y1, x2, y2] = self.px(line);
            let width = width * self.scale;
            self.canvas.line([x1, y1], [x2, y2], width, color);
        }
    }

    fn polyline(&mut self, points: &[[f32; 2]], width: f32, color: Color) {
        for pair in points.windows(2) {
            let &[[x1, y1], [x2, y2]] = pair else {
                continue;
            };
            self.lines(&[[x1, y1, x2, y2]], width, color);
        }
    }

    fn polygon(&mut self, points: &[[f32; 2]], color: Color) {
        let points: Vec<[f32; 2]> = points.iter().map(|&p| self.px(p)).collect();
        self.canvas.polygon(&points, color);
    }

    fn disc(&mut self, centre: [f32; 2], radius: f32, color: Color) {
        let radius = radius * self.scale;
        self.canvas.disc(self.px(centre), radius, color);
    }

    fn text(&mut self, text: Text<'_>) {
        let kind = text.kind.scaled(self.scale);
        let [x, y] = self.px(text.at);
        let x = match text.anchor {
            Anchor::Start => x,
            Anchor::Middle => (x - kind.width(text.words) / 2.0).round(),
            Anchor::End => x - kind.width(text.words),
        };
        kind.draw(&mut self.canvas, [x, y], text.words, opaque(text.color));
    }

    fn photo(&mut self, target: [f32; 4], photo: &Photo) {
        let [x1, y1, x2, y2] = self.px(target).map(f32::round);
        let (width, height) = ((x2 - x1).max(1.0), (y2 - y1).max(1.0));
        if let Some(resized) = resized(photo, width as u32, height as u32) {
            let rgba: Vec<u8> = resized.pixels().flat_map(|p| opaque(p.0)).collect();
            self.canvas
                .pixels([x1 as i64, y1 as i64], width as usize, &rgba);
        }
    }

    fn heat(&mut self, heat: &Pictured<'_>) {
        let [left, top, right, bottom] = self.px(heat.target);
        // Only what is on the page is coloured: a map may reach far beyond it.
        let [x1, y1, x2, y2] = self.canvas.seen([left, top, right, bottom]);
        let (width, height) = ((x2 - x1) as usize, (y2 - y1) as usize);
        if width == 0 || height == 0 {
            return;
        }
        let column = |x: u32| (x as f32 - left) / (right - left) * heat.map.cols() as f32;
        let row = |y: u32| (y as f32 - top) / (bottom - top) * heat.map.rows() as f32;
        let window = [column(x1), row(y1), column(x2), row(y2)];
        let rgba = heat.map.window_rgba(heat.coloring, window, width, height);
        self.canvas
            .pixels([i64::from(x1), i64::from(y1)], width, &rgba);
    }

    fn gradient(&mut self, rect: [f32; 4], coloring: &Coloring) {
        let [x1, y1, x2, y2] = self.px(rect).map(f32::round);
        let rows = (y2 - y1).max(0.0) as usize;
        for row in 0..rows {
            let t = match coloring.range.is_flat() {
                true => 0.5,
                false => 1.0 - (row as f32 + 0.5) / rows as f32,
            };
            let y = y1 + row as f32;
            let color = opaque(coloring.sample(t));
            self.canvas.rect([x1, y, x2, y + 1.0], color);
        }
    }

    fn clipped(&mut self, rect: [f32; 4], draw: &mut dyn FnMut(&mut dyn Surface)) {
        let outer = self.canvas.clip_to(self.px(rect));
        draw(self);
        self.canvas.unclip(outer);
    }
}

/// A photograph of another size: averages when shrinking, straight lines between pixels when
/// enlarging.
pub(super) fn resized(photo: &Photo, width: u32, height: u32) -> Option<RgbImage> {
    let (from_width, from_height) = (photo.width as u32, photo.height as u32);
    let source: Option<ImageBuffer<Rgb<u8>, &[u8]>> =
        ImageBuffer::from_raw(from_width, from_height, &photo.rgb);
    let source = source?;
    Some(if width <= from_width && height <= from_height {
        imageops::thumbnail(&source, width, height)
    } else {
        imageops::resize(&source, width, height, FilterType::Triangle)
    })
}

/// An encoded PNG.
pub(super) fn png(image: &DynamicImage) -> image::ImageResult<Vec<u8>> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png)?;
    Ok(bytes.into_inner())
}
