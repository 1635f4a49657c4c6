//! Lines, marks and arrows over a photograph: a light core in a dark casing, legible on bright
//! and on dark pictures.

use egui::epaint::{Mesh, PathShape, PathStroke, QuadraticBezierShape};
use egui::{Color32, Painter, Pos2, Rect, Shape, Stroke, StrokeKind, Vec2, vec2};

use super::projection::Projection;
use crate::attention::view::Link;
use crate::engine::Placement;
use crate::picture::arrow::{self, Arrow};
use crate::picture::palette;

/// Dark rim of everything that is drawn.
pub const CASING: Color32 = Color32::from_rgba_unmultiplied_const(0, 0, 0, 150);
/// Borders and grids.
pub const LINE: Color32 = Color32::from_rgba_unmultiplied_const(255, 255, 255, 215);
/// Borders under a map.
pub const FAINT: Color32 = Color32::from_rgba_unmultiplied_const(255, 255, 255, 95);
/// What was asked about.
pub const QUERY: Color32 = solid(palette::QUERY);
/// What belongs to it.
pub const RELATED: Color32 = solid(palette::RELATED);
/// What means nothing: regions of padding.
const GREYED: Color32 = Color32::from_rgba_unmultiplied_const(70, 70, 74, 205);

const fn solid([r, g, b]: [u8; 3]) -> Color32 {
    Color32::from_rgb(r, g, b)
}

/// Draws in cells of a feature map.
pub struct Pen<'a> {
    painter: &'a Painter,
    at: Projection,
    place: Placement,
}

impl<'a> Pen<'a> {
    /// A pen for maps that lie at `place` on the photograph.
    pub fn new(painter: &'a Painter, at: Projection, place: Placement) -> Self {
        Self { painter, at, place }
    }

    /// A point of the map on the screen.
    pub fn point(&self, [x, y]: [f32; 2]) -> Pos2 {
        self.at.to_screen(self.place.to_photo(x, y))
    }

    /// A rectangle of the map on the screen.
    pub fn rect(&self, rect: [f32; 4]) -> Rect {
        self.at.rect_to_screen(self.place.rect_to_photo(rect))
    }

    /// Horizontal and vertical lines `x0, y0, x1, y1`, `width` pixels wide.
    pub fn borders(&self, lines: &[[f32; 4]], color: Color32, width: f32) {
        let pixel = 1.0 / self.painter.pixels_per_point();
        let clip = self.painter.clip_rect();
        let mut mesh = Mesh::default();
        let rects: Vec<Rect> = lines.iter().map(|l| self.rect(*l)).collect();
        // All casings first: a line must not be cut by the casing of one that it meets.
        let casing = CASING.gamma_multiply(f32::from(color.a()) / 255.0);
        // Between small cells a full casing would hide the picture.
        let rim = (self.rect([0.0, 0.0, 1.0, 1.0]).width() / 4.0).clamp(0.0, 2.0);
        for (reach, color) in [(width + rim.round(), casing), (width, color)] {
            let half = reach * pixel / 2.0;
            for rect in &rects {
                let rect = snapped(rect.expand(half), pixel, reach * pixel);
                if rect.intersects(clip) {
                    mesh.add_colored_rect(rect, color);
                }
            }
        }
        self.painter.add(Shape::mesh(mesh));
    }

    /// A rectangle as a frame.
    pub fn frame(&self, rect: [f32; 4], color: Color32, width: f32) {
        frame(self.painter, self.rect(rect), color, width);
    }

    /// Greys out cells that mean nothing.
    pub fn greyed(&self, rects: &[[f32; 4]]) {
        for rect in rects {
            self.painter.rect_filled(self.rect(*rect), 0, GREYED);
        }
    }

    /// Arrows between the middles of areas of `area` (height, width) cells each; they end at the edge
    /// of the area they point to. The weakest first, so that the strongest lie on top.
    pub fn links(&self, links: &[Link], [h, w]: [f32; 2]) {
        let half = self.rect([0.0, 0.0, w, h]).size() * (0.85 / 2.0);
        let mut links = links.to_vec();
        links.sort_by(|a, b| a.weight.total_cmp(&b.weight));
        let strongest = links.last().map_or(0.0, |l| l.weight).max(1e-9);
        let mut cores = Vec::new();
        for link in &links {
            let [width, opacity] = arrow::strength(link.weight / strongest, links.len());
            let (color, casing) = (
                RELATED.gamma_multiply(opacity),
                CASING.gamma_multiply(opacity),
            );
            let (from, middle) = (self.point(link.from), self.point(link.to));
            let to = arrow::entry(from.into(), middle.into(), half.into());
            if (middle - from).length() < 2.0 {
                // A region that reads from itself.
                let ring = |width, color| {
                    Shape::circle_stroke(from, arrow::RING, Stroke::new(width, color))
                };
                self.painter.add(ring(width + 2.0, casing));
                cores.push(ring(width, color));
                continue;
            }
            let shapes = |width, color, grow| {
                let arrow = Arrow::new(from.into(), to, width, grow);
                drawn(&arrow, width, color)
            };
            self.painter.extend(shapes(width + 2.0, casing, 1.5));
            cores.extend(shapes(width, color, 0.0));
        }
        self.painter.extend(cores);
    }
}

/// A frame with a casing.
pub fn frame(painter: &Painter, rect: Rect, color: Color32, width: f32) {
    let casing = Stroke::new(width + 2.0, CASING);
    painter.rect_stroke(rect, 0, casing, StrokeKind::Middle);
    painter.rect_stroke(rect, 0, Stroke::new(width, color), StrokeKind::Middle);
}

/// A small cross that leaves its middle free.
pub fn cross(painter: &Painter, at: Pos2) {
    for (width, color) in [(3.5, CASING), (1.5, QUERY)] {
        let grow = (width - 1.5) / 2.0;
        for way in [Vec2::X, -Vec2::X, Vec2::Y, -Vec2::Y] {
            let line = [at + (3.0 - grow) * way, at + (9.0 + grow) * way];
            painter.line_segment(line, Stroke::new(width, color));
        }
    }
}

/// Moves a thin rectangle to whole pixels without changing its thickness.
fn snapped(rect: Rect, pixel: f32, thickness: f32) -> Rect {
    let round = |v: f32| (v / pixel).round() * pixel;
    let min = Pos2::new(round(rect.min.x), round(rect.min.y));
    let mut size = vec2(round(rect.max.x) - min.x, round(rect.max.y) - min.y);
    if rect.width() < rect.height() {
        size.x = thickness;
    } else {
        size.y = thickness;
    }
    Rect::from_min_size(min, size)
}

/// An arrow as shapes.
fn drawn(arrow: &Arrow, width: f32, color: Color32) -> [Shape; 2] {
    [
        Shape::QuadraticBezier(QuadraticBezierShape::from_points_stroke(
            arrow.curve.map(Pos2::from),
            false,
            Color32::TRANSPARENT,
            Stroke::new(width, color),
        )),
        Shape::Path(PathShape::convex_polygon(
            arrow.head.map(Pos2::from).to_vec(),
            color,
            PathStroke::NONE,
        )),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui::pos2;

    #[test]
    fn lines_fall_on_whole_pixels_and_keep_their_width() {
        let line = Rect::from_min_max(pos2(3.2, 10.4), pos2(50.7, 11.4));
        let rect = snapped(line, 1.0, 1.0);
        assert_eq!(rect, Rect::from_min_max(pos2(3.0, 10.0), pos2(51.0, 11.0)));
        let upright = Rect::from_min_max(pos2(3.2, 10.4), pos2(6.2, 80.0));
        assert_eq!(snapped(upright, 0.5, 3.0).width(), 3.0);
    }
}
