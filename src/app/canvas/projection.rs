//! From the photograph to the screen and back.

use egui::{Pos2, Rect, Vec2, pos2, vec2};

use crate::app::pane::Camera;

/// Least and greatest magnification over the fit.
const ZOOM: std::ops::RangeInclusive<f32> = 0.5..=64.0;

/// What is shown at zoom 1, and of what: the part of [`Projection`] that the hand does not move.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// The pane, in points of the screen.
    pub pane: Rect,
    /// Width and height of the photograph, in its pixels.
    pub photo: [f32; 2],
    /// What fits into the pane at zoom 1, in pixels of the photograph; may reach beyond it.
    pub fit: Rect,
}

/// How the photograph lies on the screen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Projection {
    /// Points of the screen per pixel of the photograph.
    pub scale: f32,
    /// Screen position of the photograph's top left corner.
    origin: Pos2,
}

impl Projection {
    /// A point of the photograph on the screen.
    pub fn to_screen(&self, [x, y]: [f32; 2]) -> Pos2 {
        self.origin + self.scale * vec2(x, y)
    }

    /// A point of the screen in pixels of the photograph; may lie outside of it.
    pub fn to_photo(&self, at: Pos2) -> [f32; 2] {
        let d = (at - self.origin) / self.scale;
        [d.x, d.y]
    }

    /// A rectangle `x0, y0, x1, y1` of the photograph on the screen.
    pub fn rect_to_screen(&self, [x0, y0, x1, y1]: [f32; 4]) -> Rect {
        Rect::from_two_pos(self.to_screen([x0, y0]), self.to_screen([x1, y1]))
    }
}

impl Stage {
    fn fit_scale(&self) -> f32 {
        let scale = self.pane.size() / self.fit.size().max(Vec2::splat(1.0));
        scale.min_elem().max(1e-6)
    }

    /// Point of the photograph in the middle of the pane. What reaches beyond the photograph only
    /// counts at low zoom, so that panes with and without it show the same place when close.
    fn middle(&self, camera: &Camera) -> Pos2 {
        let photo = Vec2::from(self.photo);
        let beyond = self.fit.center() - (photo / 2.0).to_pos2();
        let [x, y] = camera.centre;
        (photo * vec2(x, y) + beyond / camera.zoom.max(0.1)).to_pos2()
    }

    /// The projection through a camera.
    pub fn through(&self, camera: &Camera) -> Projection {
        let scale = self.fit_scale() * camera.zoom.clamp(*ZOOM.start(), *ZOOM.end());
        Projection {
            scale,
            origin: self.pane.center() - scale * self.middle(camera).to_vec2(),
        }
    }

    /// Zooms by `factor`; the place under `pointer` stays there.
    pub fn zoom(&self, camera: &mut Camera, pointer: Pos2, factor: f32) {
        let [x, y] = self.through(camera).to_photo(pointer);
        camera.zoom = (camera.zoom * factor).clamp(*ZOOM.start(), *ZOOM.end());
        self.put(camera, pos2(x, y), pointer);
    }

    /// Moves the picture by `delta` points of the screen.
    pub fn pan(&self, camera: &mut Camera, delta: Vec2) {
        let centre = self.pane.center();
        let [x, y] = self.through(camera).to_photo(centre);
        self.put(camera, pos2(x, y), centre + delta);
    }

    /// Moves the camera so that `place` of the photograph lies at `at` on the screen.
    fn put(&self, camera: &mut Camera, place: Pos2, at: Pos2) {
        let now = self.through(camera);
        let moved = place - Vec2::from(now.to_photo(at));
        for (axis, by) in [moved.x, moved.y].into_iter().enumerate() {
            let centre = camera.centre[axis] + by / self.photo[axis].max(1.0);
            camera.centre[axis] = if centre.is_finite() {
                centre.clamp(0.0, 1.0)
            } else {
                0.5
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(fit: Rect) -> Stage {
        Stage {
            pane: Rect::from_min_size(pos2(10.0, 20.0), vec2(300.0, 200.0)),
            photo: [400.0, 200.0],
            fit,
        }
    }

    fn photo_rect() -> Rect {
        Rect::from_min_size(Pos2::ZERO, vec2(400.0, 200.0))
    }

    #[test]
    fn the_photograph_fits_and_lies_in_the_middle() {
        let at = stage(photo_rect()).through(&Camera::default());
        assert_eq!(at.scale, 0.75);
        assert_eq!(at.to_screen([0.0, 0.0]), pos2(10.0, 45.0));
        assert_eq!(at.to_screen([400.0, 200.0]), pos2(310.0, 195.0));
        assert_eq!(at.to_photo(pos2(160.0, 120.0)), [200.0, 100.0]);
    }

    #[test]
    fn the_place_under_the_pointer_stays_there_when_zooming() {
        for fit in [photo_rect(), photo_rect().expand(60.0)] {
            let stage = stage(fit);
            let mut camera = Camera::default();
            let pointer = pos2(190.0, 110.0);
            let before = stage.through(&camera).to_photo(pointer);
            stage.zoom(&mut camera, pointer, 3.0);
            let after = stage.through(&camera).to_photo(pointer);
            assert!((before[0] - after[0]).abs() < 1e-3 && (before[1] - after[1]).abs() < 1e-3);
            assert_eq!(camera.zoom, 3.0);
        }
    }

    #[test]
    fn a_drag_moves_the_picture_as_far_as_the_hand() {
        let stage = stage(photo_rect());
        let mut camera = Camera {
            zoom: 4.0,
            ..Camera::default()
        };
        let before = stage.through(&camera).to_screen([200.0, 100.0]);
        stage.pan(&mut camera, vec2(12.0, -7.0));
        let after = stage.through(&camera).to_screen([200.0, 100.0]);
        assert!((after - before - vec2(12.0, -7.0)).length() < 1e-3);
    }

    #[test]
    fn the_camera_stays_within_the_photograph_and_the_zoom_limits() {
        let stage = stage(photo_rect());
        let mut camera = Camera::default();
        stage.pan(&mut camera, vec2(1e6, 1e6));
        assert_eq!(camera.centre, [0.0, 0.0]);
        stage.zoom(&mut camera, pos2(0.0, 0.0), 1e9);
        assert_eq!(camera.zoom, 64.0);
        stage.zoom(&mut camera, pos2(0.0, 0.0), 0.0);
        assert_eq!(camera.zoom, 0.5);
    }
}
