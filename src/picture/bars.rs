//! Bar charts, such as the weights of channels.

use std::sync::Arc;

use super::Range;
use super::draw::opaque;
use super::numbers::{round_ticks, value_label};
use super::page::{GRID, INK, Laid, Place, QUIET, numbers, words};
use super::surface::{Anchor, Surface, Text};
use super::text::Type;

const WORDS: Type = words(14.0);
const NUMBER: Type = numbers(13.0);
const BAR: [u8; 3] = [58, 110, 165];
const SELECTED: [u8; 3] = [213, 94, 0];
/// Labels of bars get at most this width.
const LABEL_ROOM: f32 = 120.0;

/// A bar for every value, from the left in the order given.
#[derive(Clone, Debug)]
pub struct Bars {
    /// Heights; those that are not finite have no bar.
    pub values: Arc<[f32]>,
    /// A name for each bar, as many of them shown as fit; may be empty.
    pub labels: Vec<String>,
    /// What the bars are.
    pub x_label: String,
    /// What the heights are.
    pub y_label: String,
    /// What the axis must hold, besides 0 and all values.
    pub range: Range,
    /// The place of the chosen bar.
    pub selected: Option<usize>,
}

impl Bars {
    /// Bars with the highest first, each labelled with its place in `values`.
    pub fn sorted(values: &[f32], x_label: &str, y_label: &str) -> Self {
        let mut order: Vec<usize> = (0..values.len()).collect();
        // A NaN goes last, whatever its sign.
        let key = |i: usize| {
            if values[i].is_nan() {
                f32::NEG_INFINITY
            } else {
                values[i]
            }
        };
        order.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
        Self {
            values: order.iter().map(|&i| values[i]).collect(),
            labels: order.iter().map(ToString::to_string).collect(),
            x_label: x_label.to_owned(),
            y_label: y_label.to_owned(),
            range: Range::of(values),
            selected: None,
        }
    }

    /// Marks the bar with the label of a channel.
    pub fn select(&mut self, channel: Option<usize>) {
        let name = channel.map(|c| c.to_string());
        self.selected = name.and_then(|name| self.labels.iter().position(|l| *l == name));
    }

    pub(super) fn layout(&self, place: Place) -> Laid<'_> {
        let plot = Plot::new(self, place);
        Laid {
            size: plot.size,
            draw: Box::new(move |on, corner| plot.draw(on, corner)),
        }
    }

    /// The selected bar: `channel 17: 0.5312`.
    fn selected_words(&self) -> Option<String> {
        let place = self.selected?;
        let (label, value) = (self.labels.get(place)?, self.values.get(place)?);
        Some(format!(
            "{} {label}: {}",
            self.x_label,
            value_label(*value, 4)
        ))
    }

    /// What the axis holds: 0, all values and the range asked for; never flat.
    fn axis(&self) -> Range {
        let zero = Range { min: 0.0, max: 0.0 };
        let asked = [self.range.min, self.range.max]
            .into_iter()
            .filter(|v| v.is_finite());
        let asked = Range::of(&asked.collect::<Vec<_>>());
        let axis = Range::of(&self.values).union(asked).union(zero);
        if axis.is_flat() { Range::UNIT } else { axis }
    }
}

/// A bar chart with its places in points, relative to its corner.
struct Plot<'a> {
    bars: &'a Bars,
    size: [f32; 2],
    axis: Range,
    /// Values on the axis and how they are written.
    ticks: Vec<(f32, String)>,
    /// `[x1, y1, x2, y2]` of the part that holds the bars.
    area: [f32; 4],
}

impl<'a> Plot<'a> {
    fn new(bars: &'a Bars, place: Place) -> Self {
        let ticks = round_ticks(bars.axis(), place.pick(5, 3));
        let axis = Range::of(&ticks);
        let ticks: Vec<_> = ticks.into_iter().map(|t| (t, value_label(t, 3))).collect();
        let widths = ticks.iter().map(|(_, text)| NUMBER.width(text));
        let widest = widths.fold(0.0, f32::max);
        let line = WORDS.line_height();
        let (left, top) = (widest.ceil() + 8.0, line + 6.0);
        let [width, height] = place.pick([720.0, 320.0], [320.0, 170.0]);
        Self {
            bars,
            size: [left + width, top + height + 2.0 * line + 8.0],
            axis,
            ticks,
            area: [left, top, left + width, top + height],
        }
    }

    fn draw(&self, on: &mut dyn Surface, corner: [f32; 2]) {
        let [x1, y1, x2, y2] = self.area;
        let [left, right] = [x1, x2].map(|x| x + corner[0]);
        let [top, bottom] = [y1, y2].map(|y| y + corner[1]);
        let height = |value: f32| bottom - self.axis.position(value) * (bottom - top);
        for (value, text) in &self.ticks {
            let y = height(*value).round();
            on.rect([left, y, right, y + 1.0], opaque(GRID));
            let above = (y - NUMBER.line_height() / 2.0).round();
            let text = Text::new(text, [left - 8.0, above], NUMBER, INK);
            on.text(text.anchored(Anchor::End));
        }
        let pitch = (right - left) / self.bars.values.len().max(1) as f32;
        // Space between bars, where there is room for it.
        let space = match pitch >= 4.0 {
            true => (pitch * 0.2).max(1.0),
            false => 0.0,
        };
        let zero = height(0.0);
        for (i, &value) in self.bars.values.iter().enumerate() {
            if value.is_finite() {
                let x = left + i as f32 * pitch;
                let [y1, y2] = [height(value).min(zero), height(value).max(zero)];
                let color = match self.bars.selected == Some(i) {
                    true => SELECTED,
                    false => BAR,
                };
                let end = (x + pitch - space).max(x + 0.5);
                on.rect([x, y1, end, y2], opaque(color));
            }
        }
        let zero = zero.round();
        on.rect([left, zero, right, zero + 1.0], opaque(QUIET));
        self.words(on, [left, right], corner[1], bottom, pitch);
    }

    /// The labels of the axes and of as many bars as fit, and the value of the selected one.
    fn words(
        &self,
        on: &mut dyn Surface,
        [left, right]: [f32; 2],
        top: f32,
        bottom: f32,
        pitch: f32,
    ) {
        let bars = self.bars;
        on.text(Text::new(&bars.y_label, [left, top], WORDS, QUIET));
        if let Some(text) = bars.selected_words() {
            let text = Text::new(&text, [right, top], WORDS, SELECTED);
            on.text(text.anchored(Anchor::End));
        }
        let widths = bars.labels.iter().map(|l| NUMBER.width(l));
        let widest = widths.fold(0.0, f32::max).min(LABEL_ROOM);
        let every = ((widest + 8.0) / pitch).ceil().max(1.0) as usize;
        let y = bottom + 4.0;
        let labels = bars.labels.iter().take(bars.values.len()).enumerate();
        for (i, label) in labels.step_by(every) {
            let text = NUMBER.shorten(label, LABEL_ROOM);
            let half = NUMBER.width(&text) / 2.0;
            let x = (left + (i as f32 + 0.5) * pitch).min(right - half);
            on.text(Text::new(&text, [x, y], NUMBER, INK).anchored(Anchor::Middle));
        }
        let at = [(left + right) / 2.0, y + WORDS.line_height()];
        on.text(Text::new(&bars.x_label, at, WORDS, QUIET).anchored(Anchor::Middle));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_bars_keep_their_numbers() {
        let bars = Bars::sorted(&[0.2, -f32::NAN, 0.9, 0.5], "channel", "weight");
        assert_eq!(bars.values[..3], [0.9, 0.5, 0.2]);
        assert_eq!(bars.labels, ["2", "3", "0", "1"]);
        let mut bars = bars;
        bars.select(Some(3));
        assert_eq!(bars.selected_words().unwrap(), "channel 3: 0.5");
        bars.select(Some(4));
        assert_eq!(bars.selected_words(), None);
    }

    #[test]
    fn the_axis_holds_zero_and_everything_else() {
        let mut bars = Bars::sorted(&[0.4, 0.6, f32::NAN], "", "");
        assert_eq!(bars.axis(), Range { min: 0.0, max: 0.6 });
        bars.range = Range {
            min: f32::NAN,
            max: 1.0,
        };
        assert_eq!(bars.axis(), Range::UNIT);
        assert_eq!(Bars::sorted(&[0.0, 0.0], "", "").axis(), Range::UNIT);
        assert_eq!(
            Bars::sorted(&[-2.0], "", "").axis(),
            Range {
                min: -2.0,
                max: 0.0
            }
        );
    }
}
