//! The photograph in a pane, with pan and zoom, and what is drawn over it.

mod heat;
mod labels;
mod paint;
mod photo;
mod projection;

use egui::accesskit::Role;
use egui::{
    Color32, CursorIcon, EventFilter, Key, Painter, PointerButton, Rect, Response, Sense, Ui,
    WidgetInfo, pos2, vec2,
};

pub use heat::HeatLayer;
pub use labels::{Labels, SMALL, ink_on};
pub use paint::{FAINT, LINE, Pen, QUERY, RELATED, cross, frame};
pub use projection::{Projection, Stage};

use crate::app::pane::Camera;
use crate::engine::Scene;
use crate::picture::letterbox;

/// A photograph to be shown.
pub struct Canvas<'a> {
    /// Accessible name.
    pub name: &'a str,
    /// The photograph and its place in the network input.
    pub scene: &'a Scene,
    /// Area around the photograph that is shown too, `x0, y0, x1, y1` in pixels of the
    /// photograph: where the network input and its padding lie.
    pub beyond: Option<[f32; 4]>,
    /// Whether it is drawn paler, because what lies over it is out of date.
    pub dim: bool,
}

/// A photograph that was shown, ready to be drawn over.
pub struct Shown {
    /// The whole canvas.
    pub response: Response,
    /// Clipped to the canvas.
    pub painter: Painter,
    /// From photograph to screen.
    pub at: Projection,
    /// The photograph on the screen, or with [`Canvas::beyond`] all that.
    pub area: Rect,
    /// Point of the photograph under the pointer.
    pub hover: Option<[f32; 2]>,
    /// Point of the photograph that was pressed.
    pub pressed: Option<[f32; 2]>,
    /// Arrow keys pressed while the canvas had the keyboard: columns, rows.
    pub step: [i32; 2],
}

impl Shown {
    /// The painter cut to what belongs to the picture.
    pub fn clipped(&self) -> Painter {
        self.painter
            .with_clip_rect(self.area.intersect(self.painter.clip_rect()))
    }
}

impl Canvas<'_> {
    /// What fits into the canvas at zoom 1, in pixels of the photograph.
    fn fit(&self) -> Rect {
        let photo = &self.scene.photo;
        let whole = Rect::from_min_size(
            pos2(0.0, 0.0),
            vec2(photo.width as f32, photo.height as f32),
        );
        match self.beyond {
            Some([x0, y0, x1, y1]) => whole.union(Rect::from_min_max(pos2(x0, y0), pos2(x1, y1))),
            None => whole,
        }
    }

    /// Width by height of what fits into the canvas at zoom 1.
    pub fn aspect(&self) -> f32 {
        self.fit().aspect_ratio()
    }

    /// Shows the photograph in `rect`, moves the camera as the hand wants.
    pub fn show(&self, ui: &mut Ui, rect: Rect, camera: &mut Camera) -> Shown {
        let photo = &self.scene.photo;
        let size = [photo.width as f32, photo.height as f32];
        let fit = self.fit();
        let stage = Stage {
            pane: rect,
            photo: size,
            fit,
        };
        let id = ui.scope_id().with(self.name);
        let response = ui.interact(rect, id, Sense::click_and_drag());
        response.widget_info(|| WidgetInfo::labeled(Role::Canvas, ui.is_enabled(), self.name));
        if response.clicked() {
            // What was pressed is what the arrow keys step from.
            response.request_focus();
        }
        let step = keys(ui, &response, &stage, camera);
        hand(ui, &response, &stage, camera);

        let at = stage.through(camera);
        let area = at.rect_to_screen([fit.min.x, fit.min.y, fit.max.x, fit.max.y]);
        let mut painter = ui.painter_at(rect);
        painter.rect_filled(rect, 0, ui.visuals().extreme_bg_color);
        if self.dim {
            painter.multiply_opacity(0.55);
        }
        self.paint_photo(ui, &painter, &at);
        if response.has_focus() {
            let stroke = ui.visuals().selection.stroke;
            painter.rect_stroke(rect, 0, stroke, egui::StrokeKind::Inside);
        }
        let within = |p: egui::Pos2| {
            let [x, y] = at.to_photo(p);
            fit.contains(pos2(x, y)).then_some([x, y])
        };
        let hover = response.hover_pos().and_then(within);
        let pressed = match response.clicked() && !response.double_clicked() {
            true => response.interact_pointer_pos().and_then(within),
            false => None,
        };
        Shown {
            hover,
            pressed,
            step,
            area,
            response: response.on_hover_cursor(CursorIcon::Crosshair),
            painter,
            at,
        }
    }

    fn paint_photo(&self, ui: &Ui, painter: &Painter, at: &Projection) {
        if self.beyond.is_some() {
            let fill = Color32::from_gray(letterbox::FILL);
            painter.rect_filled(at.rect_to_screen(self.scene.letterbox.extent()), 0, fill);
        }
        let photo = &self.scene.photo;
        let target = at.rect_to_screen([0.0, 0.0, photo.width as f32, photo.height as f32]);
        match photo::texture(ui.ctx(), photo) {
            Some(texture) => {
                let uv = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
                painter.image(texture.id(), target, uv, Color32::WHITE);
            }
            None => {
                painter.rect_filled(target, 0, ui.visuals().faint_bg_color);
            }
        }
    }
}

/// Drag, wheel, pinch and double click.
fn hand(ui: &Ui, response: &Response, stage: &Stage, camera: &mut Camera) {
    if response.double_clicked() {
        *camera = Camera::default();
    }
    let buttons = [
        PointerButton::Primary,
        PointerButton::Secondary,
        PointerButton::Middle,
    ];
    if buttons.iter().any(|b| response.dragged_by(*b)) {
        stage.pan(camera, response.drag_delta());
        ui.set_cursor_icon(CursorIcon::Grabbing);
    }
    if let Some(pointer) = response.hover_pos() {
        let factor = ui.input_mut(|i| {
            let scroll = i.smooth_scroll_delta().y;
            // Nothing else may scroll while the wheel zooms here.
            i.smooth_scroll_delta = egui::Vec2::ZERO;
            i.zoom_delta() * (scroll / 240.0).exp()
        });
        if factor != 1.0 {
            stage.zoom(camera, pointer, factor);
        }
    }
}

/// The keyboard: plus and minus zoom, 0 fits, arrows step.
fn keys(ui: &Ui, response: &Response, stage: &Stage, camera: &mut Camera) -> [i32; 2] {
    if !response.has_focus() {
        return [0, 0];
    }
    let filter = EventFilter {
        horizontal_arrows: true,
        vertical_arrows: true,
        ..EventFilter::default()
    };
    ui.memory_mut(|m| m.set_focus_lock_filter(response.id, filter));
    ui.input(|i| {
        let times = |key| i.num_presses(key) as i32;
        let closer = times(Key::Plus) + times(Key::Equals) - times(Key::Minus);
        if closer != 0 {
            stage.zoom(camera, stage.pane.center(), 1.25f32.powi(closer));
        }
        if times(Key::Num0) > 0 {
            *camera = Camera::default();
        }
        [
            times(Key::ArrowRight) - times(Key::ArrowLeft),
            times(Key::ArrowDown) - times(Key::ArrowUp),
        ]
    })
}
