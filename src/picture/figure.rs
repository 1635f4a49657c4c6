//! Figures: what is to be shown, in words and numbers, and how it becomes a picture.
//!
//! A [`Figure`] only describes; the same description can be drawn here as pixels or written
//! elsewhere as vectors. Sizes below are in points: pixels at scale 1.

use std::io::Cursor;
use std::sync::Arc;

use image::{DynamicImage, ImageFormat, RgbaImage};

use super::bars::Bars;
use super::draw::{Canvas, opaque};
use super::overlay::Overlay;
use super::text::{Face, Type};
use crate::{Error, Result};

const PAGE: [u8; 3] = [255, 255, 255];
/// Titles and numbers.
pub(super) const INK: [u8; 3] = [28, 30, 34];
/// Captions, labels, axes.
pub(super) const QUIET: [u8; 3] = [88, 92, 100];
const BADGE_BACK: [u8; 3] = [255, 221, 150];
const BADGE_INK: [u8; 3] = [92, 52, 0];

const MARGIN: f32 = 24.0;
const GAP: f32 = 12.0;
/// Between the edge of a badge and its text.
const BADGE_INSET: f32 = 9.0;
const TITLE: f32 = 22.0;
const SMALL: f32 = 15.0;
/// Narrowest column of text, so that a slim photograph does not break its title into letters.
const MIN_TEXT: f32 = 420.0;

/// One page: a title, perhaps a badge, a body, a caption.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What is shown. May be empty.
    pub title: String,
    /// How it was made: model, layer, settings. May be empty.
    pub caption: String,
    /// A warning that must not be missed, such as "random weights".
    pub badge: Option<String>,
    /// The picture itself.
    pub body: Body,
}

/// The picture itself.
#[derive(Clone, Debug)]
pub enum Body {
    /// A photograph with things drawn over it.
    Overlay(Overlay),
    /// A bar chart.
    Bars(Bars),
}

/// Points to pixels: everything on a page is multiplied by one number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale(f32);

impl Scale {
    /// Whole pixels of a number of points.
    pub fn px(self, points: f32) -> f32 {
        (points * self.0).round()
    }

    pub fn words(self, points: f32) -> Type {
        Type {
            face: Face::Words,
            size: points * self.0,
        }
    }

    pub fn numbers(self, points: f32) -> Type {
        Type {
            face: Face::Numbers,
            size: points * self.0,
        }
    }
}

impl Figure {
    /// Draws the page. `scale` is pixels per point, between 0.5 and 4 (others are clamped; 2 suits
    /// slides and print). The same figure gives the same pixels on every machine.
    pub fn render(&self, scale: f32) -> RgbaImage {
        let scale = Scale(if scale.is_nan() {
            1.0
        } else {
            scale.clamp(0.5, 4.0)
        });
        let body = match &self.body {
            Body::Overlay(overlay) => overlay.layout(scale),
            Body::Bars(bars) => bars.layout(scale),
        };
        let frame = Frame::new(self, body.size, scale);
        let mut canvas = Canvas::new(frame.size[0] as u32, frame.size[1] as u32, PAGE);
        frame.draw(&mut canvas);
        (body.draw)(&mut canvas, frame.body);
        canvas.into_image()
    }

    /// The page as a PNG file.
    ///
    /// # Errors
    /// [`Error::File`] if the encoder refuses, for want of memory.
    pub fn png(&self, scale: f32) -> Result<Vec<u8>> {
        let page = DynamicImage::ImageRgba8(self.render(scale)).into_rgb8();
        let mut bytes = Cursor::new(Vec::new());
        page.write_to(&mut bytes, ImageFormat::Png)
            .map_err(|e| Error::file(&self.title, e, "a figure that fits into a PNG file"))?;
        Ok(bytes.into_inner())
    }

    /// The caption, followed by what the body has to add.
    fn full_caption(&self) -> String {
        let without_value = match &self.body {
            Body::Overlay(overlay) => overlay
                .heat
                .as_ref()
                .map_or(0, |h| count_missing(&h.values)),
            Body::Bars(bars) => count_missing(&bars.values),
        };
        match without_value {
            0 => self.caption.clone(),
            1 => format!("{} One value is not a finite number.", self.caption),
            n => format!("{} {n} values are not finite numbers.", self.caption),
        }
    }
}

fn count_missing(values: &Arc<[f32]>) -> usize {
    values.iter().filter(|v| !v.is_finite()).count()
}

/// A body that knows its size in pixels and waits for its place.
pub(super) struct Laid<'a> {
    pub size: [f32; 2],
    pub draw: Draw<'a>,
}

/// Draws with the upper left corner at a place.
type Draw<'a> = Box<dyn FnOnce(&mut Canvas, [f32; 2]) + 'a>;

/// Where everything around the body goes, in pixels.
struct Frame {
    scale: Scale,
    size: [f32; 2],
    /// Upper left corner of the body.
    body: [f32; 2],
    title: Vec<String>,
    /// Lines and upper edge.
    badge: (Vec<String>, f32),
    /// Lines and upper edge.
    caption: (Vec<String>, f32),
}

impl Frame {
    fn new(figure: &Figure, body: [f32; 2], scale: Scale) -> Self {
        let (title_type, small) = (scale.words(TITLE), scale.words(SMALL));
        let [margin, gap] = [MARGIN, GAP].map(|v| scale.px(v));
        let width = body[0].max(scale.px(MIN_TEXT));

        let mut y = margin;
        let title = title_type.wrap(&figure.title, width);
        if !title.is_empty() {
            y += title.len() as f32 * title_type.line_height() + gap / 2.0;
        }
        let top = y;
        let badge = figure.badge.as_deref().unwrap_or_default();
        let badge = small.wrap(badge, width - 2.0 * scale.px(BADGE_INSET));
        if !badge.is_empty() {
            y += badge.len() as f32 * small.line_height() + scale.px(4.0) + gap / 2.0;
        }
        if y > margin {
            y += gap / 2.0;
        }
        let corner = [margin, y.round()];
        y += body[1];
        let caption = small.wrap(&figure.full_caption(), width);
        if !caption.is_empty() {
            y += gap;
        }
        let height = y + caption.len() as f32 * small.line_height() + margin;
        Self {
            scale,
            size: [width + 2.0 * margin, height.round()],
            body: corner,
            title,
            badge: (badge, top),
            caption: (caption, y),
        }
    }

    fn draw(&self, canvas: &mut Canvas) {
        let (title, small) = (self.scale.words(TITLE), self.scale.words(SMALL));
        let margin = self.scale.px(MARGIN);
        lines(canvas, title, [margin, margin], &self.title, INK);
        let (badge, top) = &self.badge;
        if !badge.is_empty() {
            let inset = self.scale.px(BADGE_INSET);
            let widest = badge
                .iter()
                .map(|line| small.width(line))
                .fold(0.0, f32::max);
            let height = badge.len() as f32 * small.line_height() + self.scale.px(4.0);
            let back = [margin, *top, margin + widest + 2.0 * inset, top + height];
            canvas.rounded(back, self.scale.px(5.0), opaque(BADGE_BACK));
            let at = [margin + inset, top + self.scale.px(2.0)];
            lines(canvas, small, at, badge, BADGE_INK);
        }
        let (caption, top) = &self.caption;
        lines(canvas, small, [margin, *top], caption, QUIET);
    }
}

fn lines(canvas: &mut Canvas, kind: Type, at: [f32; 2], lines: &[String], color: [u8; 3]) {
    for (i, line) in lines.iter().enumerate() {
        let top = at[1] + i as f32 * kind.line_height();
        kind.draw(canvas, [at[0], top], line, opaque(color));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Colormap, Heat, LabelledBox, Link, Look, Mark, Photo, Range, RangeRule};
    use super::*;

    /// A figure without words: its photograph starts at the margin.
    fn bare(overlay: Overlay) -> Figure {
        Figure {
            title: String::new(),
            caption: String::new(),
            badge: None,
            body: Body::Overlay(overlay),
        }
    }

    /// A black photograph.
    fn black(width: usize, height: usize) -> Arc<Photo> {
        let rgba = [0, 0, 0, 255].repeat(width * height);
        Arc::new(Photo::from_rgba("black", width, height, &rgba).unwrap())
    }

    fn pixel(page: &RgbaImage, x: u32, y: u32) -> [u8; 3] {
        let [r, g, b, alpha] = page.get_pixel(x, y).0;
        assert_eq!(alpha, 255, "pages are opaque");
        [r, g, b]
    }

    #[test]
    fn photographs_get_a_sensible_size() {
        let sizes = [
            (640, 480, 688, 528),
            (4000, 3000, 1008, 768),
            (64, 32, 468, 208),
            (1, 8000, 468, 1008),
        ];
        for (width, height, page_width, page_height) in sizes {
            let page = bare(Overlay::new(black(width, height))).render(1.0);
            assert_eq!(
                page.dimensions(),
                (page_width, page_height),
                "{width} × {height}"
            );
            assert_eq!(pixel(&page, 23, 23), PAGE);
            assert_eq!(pixel(&page, 24, 24), [0; 3]);
        }
    }

    #[test]
    fn heat_lies_where_its_extent_says() {
        let mut overlay = Overlay::new(black(400, 400));
        // Two cells over the right half, the lower one half below the photograph.
        let mut heat = Heat::new(vec![0.0, 1.0].into(), 2, 1, [200.0, 0.0, 400.0, 600.0]);
        let range = Range {
            min: -1.0,
            max: 1.0,
        };
        let look = Look {
            colormap: Colormap::Grey,
            rule: RangeRule::Locked(range),
            ..Look::default()
        };
        heat.coloring = look.coloring(&heat.values, None);
        overlay.heat = Some(heat);
        let page = bare(overlay).render(1.0);
        let at = |x: u32, y: u32| pixel(&page, 24 + x, 24 + y)[0];
        assert_eq!(
            [at(199, 100), at(200, 100)],
            [0, 77],
            "half of 255, 0.6 opaque, over black"
        );
        assert_eq!([at(300, 299), at(300, 300)], [77, 153]);
        assert_eq!(at(399, 399), 153);
        // The colour bar: 16 right of the photograph, white at the top, black at the bottom.
        assert_eq!(pixel(&page, 24 + 400 + 17, 24), [255; 3]);
        assert_eq!(pixel(&page, 24 + 400 + 17, 24 + 399), [0; 3]);
    }

    #[test]
    fn boxes_keep_their_colour_and_stay_on_the_photograph() {
        let mut overlay = Overlay::new(black(400, 400));
        let color = [10, 200, 30];
        let rect = [100.0, 100.0, 900.0, 300.0];
        overlay.boxes.push(LabelledBox {
            rect,
            label: "dog 0.90".to_owned(),
            color,
        });
        let page = bare(overlay).render(1.0);
        assert_eq!(pixel(&page, 24 + 100, 24 + 200), color, "left edge");
        assert_eq!(pixel(&page, 24 + 250, 24 + 300), color, "lower edge");
        assert_eq!(
            pixel(&page, 24 + 101, 24 + 85),
            color,
            "label above the box"
        );
        assert_eq!(
            pixel(&page, 24 + 400 + 5, 24 + 300),
            PAGE,
            "nothing beside the photograph"
        );
    }

    #[test]
    fn everything_strange_at_once_is_drawn_without_harm() {
        let wild = [f32::NAN, f32::INFINITY, -1e30, 1e30];
        let mut overlay = Overlay::new(black(1, 1));
        let mut heat = Heat::new(vec![f32::NAN; 4].into(), 2, 2, wild);
        heat.coloring.opacity = f32::NAN;
        overlay.heat = Some(heat.clone());
        overlay.borders = vec![wild, [-1e30, -1e30, 1e30, 1e30]];
        overlay.links = vec![
            Link {
                from: [0.0, 0.0],
                to: [f32::NAN, 1.0],
                weight: f32::NAN,
            },
            Link {
                from: [0.0, 0.0],
                to: [1e30, 1.0],
                weight: -1.0,
            },
        ];
        let label = "路 \u{0} a label wider than any picture, by far, and then some".to_owned();
        overlay.boxes = vec![LabelledBox {
            rect: wild,
            label: label.clone(),
            color: [1; 3],
        }];
        overlay.marks = vec![Mark {
            rect: [1.0, 1.0, 0.0, 0.0],
            label,
            color: [2; 3],
        }];
        let badge = Some("a badge ".repeat(40));
        let figure = Figure {
            badge,
            title: "路".repeat(200),
            ..bare(overlay.clone())
        };
        for scale in [0.0, 1.0, f32::NAN, f32::INFINITY] {
            figure.render(scale);
        }
        // A map whose size does not fit its values is left out.
        heat.rows = 3;
        overlay.heat = Some(heat);
        bare(overlay).render(1.0);
        let bars = Bars::sorted(&[f32::NAN, f32::MAX, f32::MIN], "", "");
        Figure {
            body: Body::Bars(bars),
            ..figure
        }
        .render(1.0);
    }

    #[test]
    fn missing_values_are_reported_in_the_caption() {
        let mut overlay = Overlay::new(black(2, 2));
        overlay.heat = Some(Heat::new(
            vec![0.0, f32::NAN].into(),
            1,
            2,
            [0.0, 0.0, 2.0, 2.0],
        ));
        let figure = Figure {
            caption: "Layer 5.".to_owned(),
            ..bare(overlay)
        };
        assert_eq!(
            figure.full_caption(),
            "Layer 5. One value is not a finite number."
        );
    }

    #[test]
    fn a_png_holds_the_rendered_page() {
        let figure = bare(Overlay::new(black(64, 32)));
        let png = figure.png(1.0).unwrap();
        let back = Photo::decode("figure", None, &png).unwrap();
        let page = DynamicImage::ImageRgba8(figure.render(1.0)).into_rgb8();
        assert_eq!((back.width, back.height), (468, 208));
        assert_eq!(&*back.rgb, page.as_raw().as_slice());
        assert_eq!(
            png,
            figure.png(1.0).unwrap(),
            "the same figure, the same bytes"
        );
    }
}
