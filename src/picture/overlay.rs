//! A photograph with things drawn over it: a heat map, borders, links, boxes, marks.

use std::sync::Arc;

use super::arrow::{Arrow, RING, strength};
use super::colorbar::ColorBar;
use super::draw::{Color, opaque};
use super::heat::Map;
use super::letterbox;
use super::page::{Laid, Place, words};
use super::palette::{self, ink_on};
use super::surface::{Pictured, Surface, Text};
use super::text::Type;
use super::{Coloring, Look, Photo};

/// Longest side of the photograph on the page, in points.
const LONGEST: f32 = 960.0;
/// Longest side of a small photograph, which is enlarged.
const SHORTEST: f32 = 320.0;
/// Longest side beside another picture.
const BESIDE: f32 = 360.0;
/// A side is drawn at least this long: a picture one pixel wide must be seen.
const THINNEST: f32 = 8.0;
const LABEL: Type = words(15.0);
/// Between the edge of a label and its text.
const INSET: f32 = 4.0;
/// Beside a slim photograph, labels get at most this width.
const LABEL_WIDTH: f32 = 200.0;
/// Between the photograph and the colour bar.
const BAR_GAP: f32 = 16.0;
/// Dark casing and light core of borders and contours …
const THIN: [(f32, Color); 2] = [(3.0, [0, 0, 0, 70]), (1.0, [255, 255, 255, 200])];
/// … and of what was asked about.
const STRONG: [(f32, Color); 2] = [(5.0, [0, 0, 0, 130]), (3.0, [255, 255, 255, 255])];
/// Over what means nothing.
const GREYED: Color = [70, 70, 74, 205];

/// A photograph with things drawn over it. All coordinates are pixels of the photograph.
#[derive(Clone, Debug)]
pub struct Overlay {
    /// The photograph.
    pub photo: Arc<Photo>,
    /// A map over it, with its colour bar beside it.
    pub heat: Option<Heat>,
    /// Area around the photograph that is shown too.
    pub beyond: Option<[f32; 4]>,
    /// The grey border of the network input, with the photograph in it, where it is to be seen.
    pub border: Option<[f32; 4]>,
    /// Line segments `[x1, y1, x2, y2]`, such as the borders of regions.
    pub borders: Vec<[f32; 4]>,
    /// Strong line segments around what was asked about.
    pub outline: Vec<[f32; 4]>,
    /// Rectangles that mean nothing, such as padding.
    pub greyed: Vec<[f32; 4]>,
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
    /// Whether it is the chosen one: its frame is stronger.
    pub selected: bool,
}

/// A connection between two places.
#[derive(Clone, Debug)]
pub struct Link {
    /// Start.
    pub from: [f32; 2],
    /// End, where the head of the arrow is.
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
            beyond: None,
            border: None,
            borders: Vec::new(),
            outline: Vec::new(),
            greyed: Vec::new(),
            boxes: Vec::new(),
            links: Vec::new(),
            marks: Vec::new(),
        }
    }

    pub(super) fn layout(&self, place: Place) -> Laid<'_> {
        let pen = Pen::new(self, place);
        let body = Laid {
            size: pen.place,
            draw: Box::new(move |on, corner| Pen { corner, ..pen }.draw(on, self)),
        };
        match &self.heat {
            Some(heat) => {
                let bar = ColorBar::new(&heat.coloring, &heat.label, body.size[1]);
                bar.beside(body, BAR_GAP)
            }
            None => body,
        }
    }

    /// What is shown: the photograph, or more.
    fn area(&self) -> [f32; 4] {
        let [width, height] = [self.photo.width, self.photo.height].map(|side| side as f32);
        match self.beyond {
            Some([x1, y1, x2, y2]) if [x1, y1, x2, y2].iter().all(|v| v.is_finite()) => {
                [x1.min(0.0), y1.min(0.0), x2.max(width), y2.max(height)]
            }
            _ => [0.0, 0.0, width, height],
        }
    }

    /// Room that the labels need even where the photograph is slim.
    fn label_room(&self) -> [f32; 2] {
        let boxes = self.boxes.iter().map(|b| &b.label);
        let labels = boxes.chain(self.marks.iter().map(|m| &m.label));
        let widths = labels
            .filter(|label| !label.is_empty())
            .map(|label| LABEL.width(label));
        match widths.reduce(f32::max) {
            Some(widest) => {
                let width = (widest + 2.0 * INSET).ceil();
                [width.min(LABEL_WIDTH), LABEL.line_height()]
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
}

/// The photograph's place on the page.
#[derive(Clone, Copy)]
struct Pen {
    /// Upper left corner of what is shown.
    corner: [f32; 2],
    /// Size of what is shown.
    size: [f32; 2],
    /// Size of the place for labels, at least that of what is shown.
    place: [f32; 2],
    /// What is shown, in pixels of the photograph.
    area: [f32; 4],
    /// Points per photograph pixel.
    zoom: [f32; 2],
}

const SHADOW: Color = [0, 0, 0, 110];

impl Pen {
    fn new(overlay: &Overlay, place: Place) -> Self {
        let area = overlay.area();
        let sides = [area[2] - area[0], area[3] - area[1]];
        let longest = sides[0].max(sides[1]);
        let [least, most] = place.pick([SHORTEST, LONGEST], [BESIDE, BESIDE]);
        let factor = longest.clamp(least, most) / longest;
        let size = sides.map(|side| (side * factor).max(THINNEST).round());
        let room = overlay.label_room();
        Self {
            corner: [0.0; 2],
            size,
            place: [size[0].max(room[0]), size[1].max(room[1])],
            area,
            zoom: [size[0] / sides[0], size[1] / sides[1]],
        }
    }

    fn draw(&self, on: &mut dyn Surface, overlay: &Overlay) {
        let [x, y] = self.corner;
        let seen = [x, y, x + self.size[0], y + self.size[1]];
        on.clipped(seen, &mut |on| self.picture(on, overlay));
        for item in overlay.boxes.iter().rev() {
            self.label(on, item.rect, &item.label, item.color);
        }
        for mark in &overlay.marks {
            self.label(on, mark.rect, &mark.label, mark.color);
        }
    }

    /// Everything that ends where the photograph ends.
    fn picture(&self, on: &mut dyn Surface, overlay: &Overlay) {
        if let Some(border) = overlay.border {
            on.rect(self.rect(border), opaque([letterbox::FILL; 3]));
        }
        let photo = &overlay.photo;
        let whole = [0.0, 0.0, photo.width as f32, photo.height as f32];
        on.photo(self.rect(whole), photo);
        if let Some(heat) = &overlay.heat {
            self.heat(on, heat);
        }
        for &rect in &overlay.greyed {
            on.rect(self.rect(rect), GREYED);
        }
        self.lines(on, &overlay.borders, THIN);
        self.lines(on, &overlay.outline, STRONG);
        for item in overlay.boxes.iter().rev() {
            let width = if item.selected { 4.0 } else { 2.0 };
            self.frame(on, item.rect, item.color, width);
        }
        for mark in &overlay.marks {
            self.frame(on, mark.rect, mark.color, 3.0);
        }
        // Above the frames that they lead to.
        self.links(on, &overlay.links);
    }

    fn heat(&self, on: &mut dyn Surface, heat: &Heat) {
        let Some(map) = Map::new(&heat.values, heat.rows, heat.cols) else {
            return;
        };
        let target = self.rect(heat.extent);
        on.heat(&Pictured {
            target,
            map,
            coloring: &heat.coloring,
        });
        let [left, top, right, bottom] = target;
        let cell = [
            (right - left) / heat.cols as f32,
            (bottom - top) / heat.rows as f32,
        ];
        let on_page = |[x1, y1, x2, y2]: [f32; 4]| {
            let (x, y) = (|x| left + x * cell[0], |y| top + y * cell[1]);
            [x(x1), y(y1), x(x2), y(y2)]
        };
        let contours = map.contours(&heat.coloring.levels);
        let contours: Vec<_> = contours.into_iter().map(on_page).collect();
        for (width, color) in THIN {
            on.lines(&contours, width, color);
        }
    }

    /// A point of the photograph on the page.
    fn point(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [
            self.corner[0] + (x - self.area[0]) * self.zoom[0],
            self.corner[1] + (y - self.area[1]) * self.zoom[1],
        ]
    }

    fn rect(&self, [x1, y1, x2, y2]: [f32; 4]) -> [f32; 4] {
        let ([x1, y1], [x2, y2]) = (self.point([x1, y1]), self.point([x2, y2]));
        [x1, y1, x2, y2]
    }

    /// Light lines with dark edges: seen on any ground.
    fn lines(&self, on: &mut dyn Surface, lines: &[[f32; 4]], passes: [(f32, Color); 2]) {
        let lines: Vec<_> = lines.iter().map(|&line| self.rect(line)).collect();
        for (width, color) in passes {
            on.lines(&lines, width, color);
        }
    }

    fn links(&self, on: &mut dyn Surface, links: &[Link]) {
        let weight = |link: &Link| match link.weight.is_finite() {
            true => link.weight.max(0.0),
            false => 0.0,
        };
        let strongest = links.iter().map(weight).fold(0.0, f32::max);
        // The weakest first, so that the strongest lie on top.
        let mut order: Vec<&Link> = links.iter().collect();
        order.sort_by(|a, b| weight(a).total_cmp(&weight(b)));
        for link in order {
            let share = weight(link) / strongest.max(1e-9);
            let [width, opacity] = strength(share, links.len());
            let (from, to) = (self.point(link.from), self.point(link.to));
            let faded = |[r, g, b]: [u8; 3], most: f32| [r, g, b, (most * opacity) as u8];
            arrow(on, [from, to], width + 2.0, faded([0; 3], 150.0), 1.5);
            arrow(on, [from, to], width, faded(palette::RELATED, 255.0), 0.0);
        }
    }

    fn frame(&self, on: &mut dyn Surface, rect: [f32; 4], color: [u8; 3], width: f32) {
        let rect = self.rect(rect);
        on.frame(rect, width + 2.0, SHADOW);
        on.frame(rect, width, opaque(color));
    }

    /// A label above a box; inside of it where there is no room above. It stays on the photograph.
    fn label(&self, on: &mut dyn Surface, rect: [f32; 4], label: &str, color: [u8; 3]) {
        let rect = self.rect(rect);
        if label.is_empty() || rect.iter().any(|v| v.is_nan()) {
            return;
        }
        let text = LABEL.shorten(label, (self.place[0] - 2.0 * INSET).max(0.0));
        let (width, height) = (LABEL.width(&text) + 2.0 * INSET, LABEL.line_height());
        let [left, top] = self.corner;
        let [right, bottom] = [left + self.place[0], top + self.place[1]];
        // Flush with the outer edge of the frame.
        let x = (rect[0] - 1.0).min(right - width).max(left);
        let above = rect[1] - height;
        let y = if above >= top { above } else { rect[1] };
        let y = y.min(bottom - height).max(top);
        on.rect([x, y, x + width, y + height], opaque(color));
        on.text(Text::new(&text, [x + INSET, y], LABEL, ink_on(color)));
    }
}

/// An arrow, or the casing around it; a ring where it leads to itself.
fn arrow(on: &mut dyn Surface, [from, to]: [[f32; 2]; 2], width: f32, color: Color, grow: f32) {
    let length = (to[0] - from[0]).hypot(to[1] - from[1]);
    if !length.is_finite() {
        return;
    }
    if length < 2.0 {
        let corner = |i: u8| {
            let (sin, cos) = (f32::from(i) * std::f32::consts::TAU / 32.0).sin_cos();
            [from[0] + RING * cos, from[1] + RING * sin]
        };
        return on.polyline(&(0..=32).map(corner).collect::<Vec<_>>(), width, color);
    }
    let arrow = Arrow::new(from, to, width, grow);
    on.polyline(&arrow.line(16), width, color);
    on.polygon(&arrow.head, color);
}
