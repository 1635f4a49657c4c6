//! Lines, marks and arrows over a photograph: a light core in a dark casing, legible on bright
//! and on dark pictures.

use egui::epaint::{Mesh, PathShape, PathStroke, QuadraticBezierShape};
use egui::{Color32, Painter, Pos2, Rect, Shape, Stroke, StrokeKind, Vec2, vec2};

use super::projection::Projection;
use crate::attention::view::Link;
use crate::engine::Placement;

/// Dark rim of everything that is drawn.
pub const CASING: Color32 = Color32::from_rgba_unmultiplied_const(0, 0, 0, 150);
/// Borders and grids.
pub const LINE: Color32 = Color32::from_rgba_unmultiplied_const(255, 255, 255, 215);
/// Borders under a map.
pub const FAINT: Color32 = Color32::from_rgba_unmultiplied_const(255, 255, 255, 95);
/// What was asked about.
pub const QUERY: Color32 = Color32::from_rgb(255, 255, 255);
/// What belongs to it.
pub const RELATED: Color32 = Color32::from_rgb(255, 138, 48);
/// What means nothing: regions of padding.
const GREYED: Color32 = Color32::from_rgba_unmultiplied_const(70, 70, 74, 205);

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
    /// of the area they point to. The strongest is drawn in full, weaker ones thinner and paler.
    pub fn links(&self, links: &[Link], [h, w]: [f32; 2]) {
        let half = self.rect([0.0, 0.0, w, h]).size() / 2.0;
        let strongest = links.iter().map(|l| l.weight).fold(1e-9, f32::max);
        let mut cores = Vec::new();
        for link in links {
            let share = (link.weight / strongest).clamp(0.0, 1.0);
            let width = 1.25 + 2.25 * share;
            let strength = 0.55 + 0.45 * share;
            let (color, casing) = (
                RELATED.gamma_multiply(strength),
                CASING.gamma_multiply(strength),
            );
            let (from, middle) = (self.point(link.from), self.point(link.to));
            let to = entry(from, middle, 0.85 * half);
            if (middle - from).length() < 2.0 {
                // A region that reads from itself.
                self.painter
                    .circle_stroke(from, 7.0, Stroke::new(width + 2.0, casing));
                cores.push(Shape::circle_stroke(from, 7.0, Stroke::new(width, color)));
                continue;
            }
            self.painter
                .extend(arrow(from, to, width + 2.0, casing, 1.5));
            cores.extend(arrow(from, to, width, color, 0.0));
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

/// Where the way from `from` to `middle` enters the rectangle around `middle`.
fn entry(from: Pos2, middle: Pos2, half: Vec2) -> Pos2 {
    let back = from - middle;
    let reach = vec2(
        half.x / back.x.abs().max(1e-3),
        half.y / back.y.abs().max(1e-3),
    );
    middle + reach.min_elem().min(1.0) * back
}

/// A slightly bent arrow with a filled head; `grow` widens the head.
fn arrow(from: Pos2, to: Pos2, width: f32, color: Color32, grow: f32) -> [Shape; 2] {
    let along = to - from;
    let bend = 0.12 * along.rot90();
    let control = from + along / 2.0 + bend;
    let way = (to - control).normalized();
    let head = (5.0 + 1.5 * width).min(0.4 * along.length()) + grow;
    let tip = to + grow * way;
    let neck = tip - head * way;
    let side = 0.5 * head * way.rot90();
    let stroke = Stroke::new(width, color);
    [
        Shape::QuadraticBezier(QuadraticBezierShape::from_points_stroke(
            [from, control, neck],
            false,
            Color32::TRANSPARENT,
            stroke,
        )),
        Shape::Path(PathShape::convex_polygon(
            vec![tip, neck + side, neck - side],
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

    #[test]
    fn an_arrow_enters_at_the_edge() {
        let half = vec2(10.0, 5.0);
        let at = |x, y| entry(pos2(x, y), pos2(100.0, 100.0), half);
        assert_eq!(at(0.0, 100.0), pos2(90.0, 100.0));
        assert_eq!(at(100.0, 300.0), pos2(100.0, 105.0));
        assert_eq!(at(99.0, 100.0), pos2(99.0, 100.0), "from inside");
    }

    #[test]
    fn an_arrow_ends_where_it_points() {
        let to = pos2(100.0, 40.0);
        let [_, head] = arrow(pos2(0.0, 0.0), to, 2.0, RELATED, 0.0);
        let Shape::Path(head) = head else {
            panic!("the head is a path");
        };
        assert!((head.points[0] - to).length() < 1e-3);
    }
}
