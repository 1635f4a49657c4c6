//! How the room of a pane is divided, and the lines of text at its bottom.

use egui::{Align, Label, Layout, Rect, RichText, Ui, UiBuilder, pos2, vec2};

use crate::app::color_bar;

/// From this width on a pane has room for a column beside the picture.
pub const WIDE: f32 = 540.0;
const GAP: f32 = 6.0;

/// What lies beside the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Side {
    /// Nothing.
    None,
    /// A column of this width, where the pane is wide; otherwise nothing.
    Column(f32),
    /// A column of this share of the width, or below the picture this share of the height.
    Share(f32, f32),
}

/// The parts of a pane.
#[derive(Debug, Clone, Copy)]
pub struct Areas {
    /// The picture.
    pub canvas: Rect,
    /// The colour bar.
    pub bar: Option<Rect>,
    /// What lies beside or below.
    pub side: Option<Rect>,
    /// The two lines at the bottom.
    pub lines: Rect,
}

/// Takes all that is left of the pane and divides it. The lines keep their place, whatever they
/// say.
pub fn divide(ui: &mut Ui, bar: bool, side: Side) -> Areas {
    let all = ui.available_rect_before_wrap();
    let all = Rect::from_min_size(all.min, all.size().max(vec2(60.0, 60.0)));
    ui.advance_cursor_after_rect(all);
    let line = ui.text_style_height(&egui::TextStyle::Body) + 2.0;
    let cut = (all.bottom() - 2.0 * line).max(all.top() + 20.0);
    let lines = Rect::from_min_max(pos2(all.left(), cut), all.max);
    let mut rest = Rect::from_min_max(all.min, pos2(all.right(), cut - 2.0));
    let wide = all.width() >= WIDE;
    let side = match side {
        Side::Column(width) if wide => Some(take_right(&mut rest, width)),
        Side::Share(share, _) if wide => {
            let width = share * rest.width();
            Some(take_right(&mut rest, width))
        }
        Side::Share(_, share) => {
            let height = share * rest.height();
            let below = Rect::from_min_max(pos2(rest.left(), rest.bottom() - height), rest.max);
            rest.set_bottom(below.top() - GAP);
            Some(below)
        }
        _ => None,
    };
    let bar = bar.then(|| take_right(&mut rest, color_bar::WIDTH));
    Areas {
        canvas: rest,
        bar,
        side,
        lines,
    }
}

fn take_right(rest: &mut Rect, width: f32) -> Rect {
    let width = width.min(rest.width() / 2.0);
    let taken = Rect::from_min_max(pos2(rest.right() - width, rest.top()), rest.max);
    rest.set_right(taken.left() - GAP);
    taken
}

/// A part of the pane as a user interface of its own.
pub fn part<R>(ui: &mut Ui, rect: Rect, name: &str, add: impl FnOnce(&mut Ui) -> R) -> R {
    let builder = UiBuilder::new()
        .max_rect(rect)
        .id_salt(name)
        .layout(Layout::top_down(Align::Min));
    ui.scope_builder(builder, |ui| {
        ui.shrink_clip_rect(rect.expand(1.0));
        add(ui)
    })
    .inner
}

/// The two lines at the bottom: what is selected, with a remark, and what is under the pointer.
pub fn lines(ui: &mut Ui, rect: Rect, selected: &str, remark: &str, pointer: &str) {
    let half = rect.height() / 2.0;
    let upper = Rect::from_min_size(rect.min, vec2(rect.width(), half));
    let lower = upper.translate(vec2(0.0, half));
    line(ui, upper, "selected", |ui| {
        if !selected.is_empty() {
            text(ui, RichText::new(selected).strong());
        }
        if !remark.is_empty() {
            text(ui, RichText::new(remark));
        }
    });
    line(ui, lower, "pointer", |ui| {
        text(ui, RichText::new(pointer));
    });
}

fn line(ui: &mut Ui, rect: Rect, name: &str, add: impl FnOnce(&mut Ui)) {
    let builder = UiBuilder::new()
        .max_rect(rect)
        .id_salt(name)
        .layout(Layout::left_to_right(Align::Center));
    ui.scope_builder(builder, add);
}

fn text(ui: &mut Ui, text: RichText) {
    ui.add(Label::new(text).truncate());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(size: [f32; 2], bar: bool, side: Side) -> Areas {
        let ctx = egui::Context::default();
        let mut areas = None;
        let mut output = ctx.run_ui(egui::RawInput::default(), |ui| {
            let rect = Rect::from_min_size(pos2(0.0, 0.0), size.into());
            areas = Some(part(ui, rect, "p", |ui| divide(ui, bar, side)));
        });
        output.textures_delta.clear();
        areas.unwrap()
    }

    #[test]
    fn the_lines_keep_their_place_whatever_lies_beside() {
        let plain = divided([700.0, 400.0], false, Side::None);
        let full = divided([700.0, 400.0], true, Side::Column(200.0));
        assert_eq!(plain.lines, full.lines);
        assert!(full.canvas.width() > 380.0 && full.side.is_some());
        assert!(full.bar.unwrap().left() >= full.canvas.right());
    }

    #[test]
    fn a_narrow_pane_puts_its_share_below() {
        let areas = divided([350.0, 300.0], true, Side::Share(0.4, 0.4));
        assert!(areas.side.unwrap().top() > areas.canvas.bottom());
        assert_eq!(areas.side.unwrap().width(), 350.0);
        assert!(
            divided([350.0, 300.0], false, Side::Column(200.0))
                .side
                .is_none()
        );
    }

    #[test]
    fn a_tiny_pane_has_no_negative_parts() {
        let areas = divided([5.0, 5.0], true, Side::Share(0.4, 0.4));
        assert!(areas.canvas.width() >= 0.0);
    }
}
