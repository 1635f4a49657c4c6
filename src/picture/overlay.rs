//! A photograph with things drawn over it: a heat map, borders, links, boxes, marks.

use std::sync::Arc;

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Rgb};

use super::colorbar::ColorBar;
use super::draw::{Canvas, Color, opaque};
use super::figure::{Laid, Scale};
use super::heat::Map;
use super::palette::ink_on;
use super::{Coloring, Look, Photo};

/// Longest side of the photograph on the page, in points.
const LONGEST: f32 = 960.0;
/// Longest side of a small photograph, which is enlarged.
const SHORTEST: f32 = 320.0;
/// A side is drawn at least this long: a picture one pixel wide must be seen.
const THINNEST: f32 = 8.0;
const LABEL: f32 = 15.0;
/// Between the edge of a label and its text.
const INSET: f32 = 4.0;
/// Beside a slim photograph, labels get at most this width.
const LABEL_WIDTH: f32 = 200.0;
/// Between the photograph and the colour bar.
const BAR_GAP: f32 = 16.0;

/// A photograph with things drawn over it. All coordinates are pixels of the photograph.
#[derive(Clone, Debug)]
pub struct Overlay {
    /// The photograph.
    pub photo: Arc<Photo>,
    /// A map over it, with its colour bar beside it.
    pub heat: Option<Heat>,
    /// Line segments `[x1, y1, x2, y2]`, such as the borders of regions.
    pub borders: Vec<[f32; 4]>,
    /// Detections, the most important first: its label lies on top.
    pub boxes: Vec<LabelledBox>,
    /// Connections, such as from a region to those it reads.
    pub links: Vec<Link>,
    /// Places that were chosen.
    pub marks: Vec<Mark>,
}

/// A map of values over the photograph.
#[derive(Clone, Debug)]
pub struct Heat {
    /// `rows × cols` values, row by row.
    pub values: Arc<[f32]>,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Where the map lies: `[x1, y1, x2, y2]`; may reach beyond the photograph.
    pub extent: [f32; 4],
    /// Colours.
    pub coloring: Coloring,
    /// What the values are, above the colour bar. May be empty.
    pub label: String,
}

/// A box with a label.
#[derive(Clone, Debug)]
pub struct LabelledBox {
    /// `[x1, y1, x2, y2]`.
    pub rect: [f32; 4],
    /// Class and score, say.
    pub label: String,
    /// Colour of frame and label.
    pub color: [u8; 3],
}

/// A connection between two places.
#[derive(Clone, Debug)]
pub struct Link {
    /// Start.
    pub from: [f32; 2],
    /// End, drawn as a dot.
    pub to: [f32; 2],
    /// Strength, at least 0: the strongest link is drawn the thickest.
    pub weight: f32,
}

/// A place that was chosen.
#[derive(Clone, Debug)]
pub struct Mark {
    /// `[x1, y1, x2, y2]`.
    pub rect: [f32; 4],
    /// May be empty.
    pub label: String,
    /// Colour of frame and label.
    pub color: [u8; 3],
}

impl Overlay {
    /// The photograph with nothing over it yet.
    pub fn new(photo: Arc<Photo>) -> Self {
        Self {
            photo,
            heat: None,
            borders: Vec::new(),
            boxes: Vec::new(),
            links: Vec::new(),
            marks: Vec::new(),
        }
    }

    pub(super) fn layout(&self, scale: Scale) -> Laid<'_> {
        let size = photo_size(&self.photo, scale);
        let room = self.label_room(scale);
        let place = [size[0].max(room[0]), size[1].max(room[1])];
        let bar = self
            .heat
            .as_ref()
            .map(|heat| ColorBar::new(heat, place[1], scale));
        let bar_size = bar.as_ref().map_or([0.0; 2], |bar| bar.size);
        let gap = if bar.is_some() {
            scale.px(BAR_GAP)
        } else {
            0.0
        };
        Laid {
            size: [place[0] + gap + bar_size[0], place[1].max(bar_size[1])],
            draw: Box::new(move |canvas, corner| {
                Pen::new(self, corner, size, place, scale).draw(canvas, self);
                if let Some(bar) = bar {
                    bar.draw(canvas, [corner[0] + place[0] + gap, corner[1]]);
                }
            }),
        }
    }

    /// Room that the labels need even where the photograph is slim.
    fn label_room(&self, scale: Scale) -> [f32; 2] {
        let boxes = self.boxes.iter().map(|b| &b.label);
        let labels = boxes.chain(self.marks.iter().map(|m| &m.label));
        let kind = scale.words(LABEL);
        let widths = labels
            .filter(|label| !label.is_empty())
            .map(|label| kind.width(label));
        match widths.reduce(f32::max) {
            Some(widest) => {
                let width = widest + 2.0 * scale.px(INSET);
                [width.ceil().min(scale.px(LABEL_WIDTH)), kind.line_height()]
            }
            None => [0.0; 2],
        }
    }
}

impl Heat {
    /// A map that stands alone, in the default look.
    pub fn new(values: Arc<[f32]>, rows: usize, cols: usize, extent: [f32; 4]) -> Self {
        Self {
            coloring: Look::default().coloring(&values, None),
            values,
            rows,
            cols,
            extent,
            label: String::new(),
        }
    }

    /// A part of the photograph `[x1, y1, x2, y2]` in cells of the map.
    fn cells(&self, [x1, y1, x2, y2]: [f32; 4]) -> [f32; 4] {
        let [left, top, right, bottom] = self.extent;
        let column = |x: f32| (x - left) / (right - left) * self.cols as f32;
        let row = |y: f32| (y - top) / (bottom - top) * self.rows as f32;
        [column(x1), row(y1), column(x2), row(y2)]
    }
}

/// Size of the photograph on the page, in pixels.
fn photo_size(photo: &Photo, scale: Scale) -> [f32; 2] {
    let sides = [photo.width, photo.height].map(|side| side as f32);
    let longest = sides[0].max(sides[1]);
    let factor = longest.clamp(SHORTEST, LONGEST) / longest;
    sides.map(|side| scale.px((side * factor).max(THINNEST)))
}

/// The photograph's place on the page.
struct Pen {
    corner: [f32; 2],
    size: [f32; 2],
    /// Size of the place for labels, at least that of the photograph.
    place: [f32; 2],
    /// Page pixels per photograph pixel.
    zoom: [f32; 2],
    scale: Scale,
}

const SHADOW: Color = [0, 0, 0, 110];

impl Pen {
    fn new(
        overlay: &Overlay,
        corner: [f32; 2],
        size: [f32; 2],
        place: [f32; 2],
        scale: Scale,
    ) -> Self {
        let photo = [overlay.photo.width, overlay.photo.height];
        let zoom = [0, 1].map(|axis| size[axis] / photo[axis] as f32);
        Self {
            corner,
            size,
            place,
            zoom,
            scale,
        }
    }

    fn draw(&self, canvas: &mut Canvas, overlay: &Overlay) {
        self.photo(canvas, &overlay.photo);
        if let Some(heat) = &overlay.heat {
            self.heat(canvas, heat, &overlay.photo);
        }
        let [x, y] = self.corner;
        canvas.clipped([x, y, x + self.size[0], y + self.size[1]], |canvas| {
            self.borders(canvas, &overlay.borders);
            self.links(canvas, &overlay.links);
            for item in overlay.boxes.iter().rev() {
                self.frame(canvas, item.rect, item.color, 2.0);
            }
            for mark in &overlay.marks {
                self.frame(canvas, mark.rect, mark.color, 3.0);
            }
        });
        for item in overlay.boxes.iter().rev() {
            self.label(canvas, item.rect, &item.label, item.color);
        }
        for mark in &overlay.marks {
            self.label(canvas, mark.rect, &mark.label, mark.color);
        }
    }

    fn photo(&self, canvas: &mut Canvas, photo: &Photo) {
        let [width, height] = self.size.map(|side| side as u32);
        let (from_width, from_height) = (photo.width as u32, photo.height as u32);
        let source: Option<ImageBuffer<Rgb<u8>, &[u8]>> =
            ImageBuffer::from_raw(from_width, from_height, &photo.rgb);
        let Some(source) = source else { return };
        // Averages when shrinking, straight lines between pixels when enlarging.
        let resized = if width <= from_width && height <= from_height {
            imageops::thumbnail(&source, width, height)
        } else {
            imageops::resize(&source, width, height, FilterType::Triangle)
        };
        let rgba: Vec<u8> = resized.pixels().flat_map(|p| opaque(p.0)).collect();
        let at = self.corner.map(|v| v as i64);
        canvas.pixels(at, width as usize, &rgba);
    }

    fn heat(&self, canvas: &mut Canvas, heat: &Heat, photo: &Photo) {
        let Some(map) = Map::new(&heat.values, heat.rows, heat.cols) else {
            return;
        };
        let [width, height] = self.size.map(|side| side as usize);
        let window = heat.cells([0.0, 0.0, photo.width as f32, photo.height as f32]);
        let rgba = map.window_rgba(&heat.coloring, window, width, height);
        canvas.pixels(self.corner.map(|v| v as i64), width, &rgba);
    }

    /// A point of the photograph on the page.
    fn point(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [
            self.corner[0] + x * self.zoom[0],
            self.corner[1] + y * self.zoom[1],
        ]
    }

    fn rect(&self, [x1, y1, x2, y2]: [f32; 4]) -> [f32; 4] {
        let ([x1, y1], [x2, y2]) = (self.point([x1, y1]), self.point([x2, y2]));
        [x1, y1, x2, y2]
    }

    /// Light lines with dark edges: seen on any ground.
    fn borders(&self, canvas: &mut Canvas, borders: &[[f32; 4]]) {
        let passes = [(3.0, [0, 0, 0, 70]), (1.0, [255, 255, 255, 200])];
        for (width, color) in passes {
            for &border in borders {
                let [x1, y1, x2, y2] = self.rect(border);
                canvas.line([x1, y1], [x2, y2], self.scale.px(width), color);
            }
        }
    }

    fn links(&self, canvas: &mut Canvas, links: &[Link]) {
        let weight = |link: &Link| {
            if link.weight.is_finite() {
                link.weight.max(0.0)
            } else {
                0.0
            }
        };
        let strongest = links.iter().map(weight).fold(0.0, f32::max);
        // The weakest first, so that the strongest lie on top.
        let mut order: Vec<&Link> = links.iter().collect();
        order.sort_by(|a, b| weight(a).total_cmp(&weight(b)));
        for link in order {
            let strength = if strongest > 0.0 {
                weight(link) / strongest
            } else {
                1.0
            };
            let width = self.scale.px(2.0) * (0.75 + 1.25 * strength);
            let alpha = (110.0 + 145.0 * strength) as u8;
            let (from, to) = (self.point(link.from), self.point(link.to));
            let (casing, dot) = (self.scale.px(2.0), width + self.scale.px(2.0));
            canvas.line(from, to, width + casing, [0, 0, 0, alpha / 2]);
            canvas.disc(to, dot + casing / 2.0, [0, 0, 0, alpha / 2]);
            canvas.line(from, to, width, [255, 255, 255, alpha]);
            canvas.disc(to, dot, [255, 255, 255, alpha]);
        }
    }

    fn frame(&self, canvas: &mut Canvas, rect: [f32; 4], color: [u8; 3], width: f32) {
        let rect = self.rect(rect);
        canvas.frame(rect, self.scale.px(width + 2.0), SHADOW);
        canvas.frame(rect, self.scale.px(width), opaque(color));
    }

    /// A label above a box; inside of it where there is no room above. It stays on the photograph.
    fn label(&self, canvas: &mut Canvas, rect: [f32; 4], label: &str, color: [u8; 3]) {
        let rect = self.rect(rect);
        if label.is_empty() || rect.iter().any(|v| v.is_nan()) {
            return;
        }
        let kind = self.scale.words(LABEL);
        let inset = self.scale.px(INSET);
        let text = kind.shorten(label, (self.place[0] - 2.0 * inset).max(0.0));
        let (width, height) = (kind.width(&text) + 2.0 * inset, kind.line_height());
        let [left, top] = self.corner;
        let [right, bottom] = [left + self.place[0], top + self.place[1]];
        // Flush with the outer edge of the frame.
        let x = (rect[0] - self.scale.px(1.0)).min(right - width).max(left);
        let above = rect[1] - height;
        let y = if above >= top { above } else { rect[1] };
        let y = y.min(bottom - height).max(top);
        canvas.rect([x, y, x + width, y + height], opaque(color));
        kind.draw(canvas, [x + inset, y], &text, opaque(ink_on(color)));
    }
}
