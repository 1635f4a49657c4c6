//! How the room of a pane is divided, and the lines of text at its bottom.

use egui::{Align, Label, Layout, Rect, RichText, Ui, UiBuilder, pos2, vec2};

use crate::app::color_bar;

/// From this width on all modes of a pane stand beside the name of its layer.
pub const WIDE: f32 = 540.0;
const GAP: f32 = 6.0;
/// Least width of a picture that has something beside it, and of what is beside it.
const LEAST: [f32; 2] = [160.0, 140.0];
/// Least height of what lies below a picture: less shows a heading and nothing under it.
const LOW: f32 = 40.0;
/// A column may shrink the picture to this share of its size.
const SHRINK: f32 = 0.75;

/// What lies beside the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Side {
    /// Nothing.
    None,
    /// A column of this width, where it costs the picture little; otherwise nothing.
    Column(f32),
    /// A column of this share of the width, or below the picture this share of the height:
    /// whichever leaves the larger picture; nothing where neither has room.
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

/// Takes all that is left of the pane and divides it for a picture of this `aspect` (width by
/// height). The lines keep their place, whatever they say.
pub fn divide(ui: &mut Ui, bar: bool, side: Side, aspect: f32) -> Areas {
    let mut all = ui.available_rect_before_wrap();
    // What did not fit above must not widen what is below.
    all.max.x = all.max.x.min(ui.clip_rect().right());
    let all = Rect::from_min_size(all.min, all.size().max(vec2(60.0, 60.0)));
    ui.advance_cursor_after_rect(all);
    let line = ui.text_style_height(&egui::TextStyle::Body) + 2.0;
    split(all, line, bar, side, aspect)
}

fn split(all: Rect, line: f32, bar: bool, side: Side, aspect: f32) -> Areas {
    let cut = (all.bottom() - 2.0 * line).max(all.top() + 20.0);
    let lines = Rect::from_min_max(pos2(all.left(), cut), all.max);
    let mut rest = Rect::from_min_max(all.min, pos2(all.right(), cut - 2.0));
    let bar_width = if bar { color_bar::WIDTH + GAP } else { 0.0 };
    let [width, height] = [rest.width() - bar_width, rest.height()];
    let picture = |w: f32, h: f32| (w / aspect.max(0.01)).min(h);
    let side = match side {
        Side::None => None,
        Side::Column(column) => {
            let left = width - column - GAP;
            let costs_little = picture(left, height) >= SHRINK * picture(width, height);
            (left >= LEAST[0] && costs_little).then(|| take_right(&mut rest, column))
        }
        Side::Share(across, down) => {
            let column = across * rest.width();
            let beside = picture(width - column - GAP, height);
            let above = picture(width, (1.0 - down) * height - GAP);
            match column >= LEAST[1] && beside >= above {
                true => Some(take_right(&mut rest, column)),
                false => (down * height >= LOW).then(|| take_bottom(&mut rest, down * height)),
            }
        }
    };
    let bar = bar.then(|| take_right(&mut rest, color_bar::WIDTH));
    Areas {
        canvas: rest,
        bar,
        side,
        lines,
    }
}

fn take_bottom(rest: &mut Rect, height: f32) -> Rect {
    let taken = Rect::from_min_max(pos2(rest.left(), rest.bottom() - height), rest.max);
    rest.set_bottom(taken.top() - GAP);
    taken
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
    let whole = text.text().to_owned();
    let shown = ui.add(Label::new(text).truncate());
    // What was cut off is read by pointing at it.
    shown.on_hover_text(whole);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(size: [f32; 2], bar: bool, side: Side, aspect: f32) -> Areas {
        let all = Rect::from_min_size(pos2(0.0, 0.0), size.into());
        split(all, 16.0, bar, side, aspect)
    }

    #[test]
    fn the_lines_keep_their_place_whatever_lies_beside() {
        let plain = divided([700.0, 400.0], false, Side::None, 1.5);
        let full = divided([700.0, 400.0], true, Side::Column(200.0), 1.0);
        assert_eq!(plain.lines, full.lines);
        assert!(full.canvas.width() > 380.0 && full.side.is_some());
        assert!(full.bar.unwrap().left() >= full.canvas.right());
    }

    #[test]
    fn a_column_stands_only_where_the_picture_can_spare_it() {
        // 250 high: a square needs 250 of the 540, a wide photograph all of them.
        let at = |aspect| divided([540.0, 284.0], true, Side::Column(196.0), aspect);
        assert!(at(1.0).side.is_some());
        assert!(at(2.0).side.is_none());
    }

    #[test]
    fn a_share_lies_where_it_leaves_the_larger_picture() {
        let wide = divided([700.0, 400.0], true, Side::Share(0.42, 0.44), 1.5);
        assert!(wide.side.unwrap().left() > wide.bar.unwrap().right());
        let narrow = divided([350.0, 300.0], true, Side::Share(0.42, 0.44), 1.5);
        assert!(narrow.side.unwrap().top() > narrow.canvas.bottom());
        assert_eq!(narrow.side.unwrap().width(), 350.0);
        let low = divided([300.0, 120.0], true, Side::Share(0.42, 0.44), 1.5);
        assert_eq!(low.side, None);
    }

    #[test]
    fn a_tiny_pane_has_no_negative_parts() {
        let areas = divided([60.0, 60.0], true, Side::Share(0.4, 0.4), 1.0);
        assert!(areas.canvas.width() >= 0.0);
    }
}
