//! Small labels over a picture that keep out of each other's way.

use std::sync::Arc;

use crate::picture::palette;
use egui::{Color32, CornerRadius, FontId, Galley, Painter, Pos2, Rect, Vec2, vec2};

/// Size of small text, in points: egui's own small style cannot be read from the back of a room.
pub const SMALL: f32 = 11.5;
const MARGIN: Vec2 = vec2(4.0, 1.0);

/// Places labels one after the other; earlier ones keep their place.
pub struct Labels<'a> {
    painter: &'a Painter,
    taken: Vec<Rect>,
    font: FontId,
}

impl<'a> Labels<'a> {
    /// Labels within what the painter shows.
    pub fn new(painter: &'a Painter) -> Self {
        Self {
            painter,
            taken: Vec::new(),
            font: FontId::proportional(SMALL),
        }
    }

    /// A label at a corner of `rect`: above it, or else inside, below, and so on. Returns where
    /// it went; `None` where there was no room for it.
    pub fn beside(&mut self, rect: Rect, text: &str, paper: Color32) -> Option<Rect> {
        let (galley, size) = self.lay_out(text, paper);
        let seen = rect.intersect(self.painter.clip_rect());
        if !seen.is_positive() {
            return None;
        }
        let (l, r, t, b) = (seen.left(), seen.right(), seen.top(), seen.bottom());
        let (w, h) = (size.x, size.y);
        let corners = [
            (l, t - h),
            (l, t),
            (r - w, t - h),
            (r - w, t),
            (l, b),
            (l, b - h),
            (r - w, b),
            (r - w, b - h),
        ];
        let place = self.free(size, &corners)?;
        self.put(place, galley, paper);
        Some(place)
    }

    /// The first of `texts` that fits into `rect`, in the free corner farthest from `source`;
    /// `None` where not even the last one does.
    pub fn inside(&mut self, rect: Rect, source: Pos2, texts: &[&str]) -> Option<Rect> {
        // What lies below shall be seen through it.
        let paper = Color32::from_black_alpha(150);
        let seen = rect.intersect(self.painter.clip_rect());
        for text in texts {
            let (galley, size) = self.lay_out(text, paper);
            if size.x > seen.width() || size.y > seen.height() {
                continue;
            }
            let (right, bottom) = (seen.right() - size.x, seen.bottom() - size.y);
            let mut corners = [
                (seen.left(), seen.top()),
                (right, seen.top()),
                (seen.left(), bottom),
                (right, bottom),
            ];
            let away = |&(x, y): &(f32, f32)| source.distance(Pos2::new(x, y) + size / 2.0);
            corners.sort_by(|a, b| away(b).total_cmp(&away(a)));
            if let Some(place) = self.free(size, &corners) {
                self.put(place, galley, paper);
                return Some(place);
            }
        }
        None
    }

    fn lay_out(&self, text: &str, paper: Color32) -> (Arc<Galley>, Vec2) {
        let galley = self
            .painter
            .layout_no_wrap(text.to_owned(), self.font.clone(), ink_on(paper));
        let size = (galley.size() + 2.0 * MARGIN).ceil();
        (galley, size)
    }

    /// The first corner where a label of this size is in view and covers no other.
    fn free(&self, size: Vec2, corners: &[(f32, f32)]) -> Option<Rect> {
        let view = self.painter.clip_rect();
        corners
            .iter()
            .map(|&(x, y)| {
                let x = x.clamp(view.left(), (view.right() - size.x).max(view.left()));
                Rect::from_min_size(Pos2::new(x.round(), y.round()), size)
            })
            .find(|place| {
                view.expand(0.5).contains_rect(*place)
                    && !self.taken.iter().any(|t| t.intersects(place.shrink(0.5)))
            })
    }

    fn put(&mut self, place: Rect, galley: Arc<Galley>, paper: Color32) {
        self.taken.push(place);
        let ink = ink_on(paper);
        self.painter
            .rect_filled(place, CornerRadius::same(2), paper);
        self.painter.galley(place.min + MARGIN, galley, ink);
    }
}

/// Black or white, whichever reads better on `paper`.
pub fn ink_on(paper: Color32) -> Color32 {
    let [r, g, b, _] = paper.to_array();
    let [r, g, b] = palette::ink_on([r, g, b]);
    Color32::from_rgb(r, g, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_equal_boxes_do_not_cover_each_other() {
        let ctx = egui::Context::default();
        let mut placed = Vec::new();
        let mut output = ctx.run_ui(egui::RawInput::default(), |ui| {
            placed.clear();
            let painter = ui
                .painter()
                .with_clip_rect(Rect::from_min_size(Pos2::ZERO, vec2(300.0, 200.0)));
            let mut labels = Labels::new(&painter);
            let rect = Rect::from_min_size(Pos2::new(50.0, 50.0), vec2(120.0, 90.0));
            for _ in 0..20 {
                placed.extend(labels.beside(rect, "cat 0.87", Color32::YELLOW));
            }
        });
        output.textures_delta.clear();
        assert!(placed.len() >= 4, "{placed:?}");
        for (i, a) in placed.iter().enumerate() {
            for b in &placed[i + 1..] {
                assert!(!a.shrink(0.6).intersects(b.shrink(0.6)), "{a:?} {b:?}");
            }
        }
    }
}
