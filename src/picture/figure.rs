//! Figures: what is to be shown, in words and numbers, and how it becomes a page.
//!
//! A [`Figure`] only describes. It is laid out once, in points (pixels at scale 1), and the same
//! page is drawn as pixels or written as vectors.

use std::sync::Arc;

use image::{DynamicImage, RgbaImage};

use super::bars::Bars;
use super::curves;
use super::gallery::Gallery;
use super::matrix::Matrix;
use super::overlay::Overlay;
use super::page::{Laid, PAGE, Page, Place};
use super::surface::{Raster, png};
use super::svg::Svg;
use super::table;
use crate::attention::view::{Curves, Table};
use crate::{Error, Result};

/// One page: a title, a line on what is chosen, perhaps a badge, a picture and smaller ones beside
/// it, a caption.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What is shown. May be empty.
    pub title: String,
    /// What is chosen: `super token 12 owns 61 cells`. May be empty.
    pub chosen: String,
    /// How it was made: model, layer, settings. May be empty.
    pub caption: String,
    /// A warning that must not be missed, such as "random weights".
    pub badge: Option<String>,
    /// The picture itself.
    pub body: Body,
    /// Smaller ones beside it.
    pub beside: Vec<Panel>,
}

/// A picture beside the main one.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What is shown. May be empty.
    pub title: String,
    /// The picture.
    pub body: Body,
}

/// A picture.
#[derive(Clone, Debug)]
pub enum Body {
    /// A photograph with things drawn over it.
    Overlay(Overlay),
    /// A bar chart.
    Bars(Bars),
    /// Numbers of pairs or of the cells of a small grid.
    Matrix(Matrix),
    /// Numbers over a common axis.
    Curves(Curves),
    /// Words and numbers in columns.
    Table(Table),
    /// Small maps.
    Gallery(Gallery),
}

impl Body {
    pub(super) fn layout(&self, place: Place) -> Laid<'_> {
        match self {
            Self::Overlay(overlay) => overlay.layout(place),
            Self::Bars(bars) => bars.layout(place),
            Self::Matrix(matrix) => matrix.layout(place),
            Self::Curves(curves) => curves::layout(curves, place),
            Self::Table(table) => table::layout(table, place),
            Self::Gallery(gallery) => gallery.layout(place),
        }
    }

    /// How many of its values are not finite.
    fn missing(&self) -> usize {
        let count = |values: &Arc<[f32]>| values.iter().filter(|v| !v.is_finite()).count();
        match self {
            Self::Overlay(overlay) => overlay.heat.as_ref().map_or(0, |h| count(&h.values)),
            Self::Bars(bars) => count(&bars.values),
            _ => 0,
        }
    }
}

impl Figure {
    /// Draws the page. `scale` is pixels per point, between 0.5 and 4 (others are clamped; 2 suits
    /// slides and print). The same figure gives the same pixels, on every machine if its text has
    /// Latin, Greek or Cyrillic letters; others are in fonts of the system.
    pub fn render(&self, scale: f32) -> RgbaImage {
        let scale = match scale.is_nan() {
            true => 1.0,
            false => scale.clamp(0.5, 4.0),
        };
        let page = Page::new(self);
        let mut raster = Raster::new(page.size, scale, PAGE);
        page.draw(&mut raster);
        raster.into_image()
    }

    /// The page as a PNG file, at `scale` pixels per point (see [`Figure::render`]).
    ///
    /// # Errors
    /// [`Error::File`] if the encoder refuses, for want of memory.
    pub fn png(&self, scale: f32) -> Result<Vec<u8>> {
        let page = DynamicImage::ImageRgba8(self.render(scale)).into_rgb8();
        png(&DynamicImage::ImageRgb8(page))
            .map_err(|e| Error::file(&self.title, e, "a figure that fits into a PNG file"))
    }

    /// The page as an SVG file: text, lines and colour bars as vectors, photographs and maps as
    /// embedded pictures, a map with one pixel per cell unless it is smooth.
    pub fn svg(&self) -> String {
        let page = Page::new(self);
        let mut svg = Svg::new(page.size, PAGE, &self.title, &self.full_caption());
        page.draw(&mut svg);
        svg.finish()
    }

    /// Marks the bar of a channel in all bar charts.
    pub fn select_channel(&mut self, channel: Option<usize>) {
        let beside = self.beside.iter_mut().map(|panel| &mut panel.body);
        for body in std::iter::once(&mut self.body).chain(beside) {
            if let Body::Bars(bars) = body {
                bars.select(channel);
            }
        }
    }

    /// The caption, followed by what the body has to add.
    pub(super) fn full_caption(&self) -> String {
        match self.body.missing() {
            0 => self.caption.clone(),
            1 => format!("{} One value is not a finite number.", self.caption),
            n => format!("{} {n} values are not finite numbers.", self.caption),
        }
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
            chosen: String::new(),
            caption: String::new(),
            badge: None,
            body: Body::Overlay(overlay),
            beside: Vec::new(),
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
            selected: false,
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
            selected: true,
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
