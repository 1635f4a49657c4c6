//! Bar charts, such as the weights of channels.

use std::sync::Arc;

use super::Range;
use super::draw::{Canvas, opaque};
use super::figure::{INK, Laid, QUIET, Scale};
use super::numbers::{round_ticks, value_label};

const PLOT: [f32; 2] = [720.0, 320.0];
const TEXT: f32 = 14.0;
const GRID: [u8; 3] = [226, 228, 232];
const BAR: [u8; 3] = [58, 110, 165];

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
        }
    }

    pub(super) fn layout(&self, scale: Scale) -> Laid<'_> {
        let plot = Plot::new(self, scale);
        Laid {
            size: plot.size,
            draw: Box::new(move |canvas, corner| plot.draw(canvas, corner)),
        }
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

/// A bar chart with its places in pixels, relative to its corner.
struct Plot<'a> {
    bars: &'a Bars,
    scale: Scale,
    size: [f32; 2],
    axis: Range,
    /// Values on the axis and how they are written.
    ticks: Vec<(f32, String)>,
    /// `[x1, y1, x2, y2]` of the part that holds the bars.
    area: [f32; 4],
}

impl<'a> Plot<'a> {
    fn new(bars: &'a Bars, scale: Scale) -> Self {
        let ticks = round_ticks(bars.axis(), 5);
        let axis = Range::of(&ticks);
        let ticks: Vec<_> = ticks.into_iter().map(|t| (t, value_label(t, 3))).collect();
        let numbers = scale.numbers(TEXT - 1.0);
        let widest = ticks
            .iter()
            .map(|(_, text)| numbers.width(text))
            .fold(0.0, f32::max);
        let line = scale.words(TEXT).line_height();
        let left = widest.ceil() + scale.px(8.0);
        let top = line + scale.px(6.0);
        let [width, height] = PLOT.map(|v| scale.px(v));
        Self {
            bars,
            scale,
            size: [left + width, top + height + 2.0 * line + scale.px(8.0)],
            axis,
            ticks,
            area: [left, top, left + width, top + height],
        }
    }

    fn draw(&self, canvas: &mut Canvas, corner: [f32; 2]) {
        let [x1, y1, x2, y2] = self.area;
        let [left, right] = [x1, x2].map(|x| x + corner[0]);
        let [top, bottom] = [y1, y2].map(|y| y + corner[1]);
        let height = |value: f32| bottom - self.axis.position(value) * (bottom - top);
        let numbers = self.scale.numbers(TEXT - 1.0);
        let thin = self.scale.px(1.0);

        for (value, text) in &self.ticks {
            let y = height(*value).round();
            canvas.rect([left, y, right, y + thin], opaque(GRID));
            let x = left - self.scale.px(8.0) - numbers.width(text);
            let above = (y - numbers.line_height() / 2.0).round();
            numbers.draw(canvas, [x, above], text, opaque(INK));
        }
        let pitch = (right - left) / self.bars.values.len().max(1) as f32;
        // Space between bars, where there is room for it.
        let space = if pitch >= 4.0 {
            (pitch * 0.2).max(1.0)
        } else {
            0.0
        };
        let zero = height(0.0);
        for (i, &value) in self.bars.values.iter().enumerate() {
            if value.is_finite() {
                let x = left + i as f32 * pitch;
                let [y1, y2] = [height(value).min(zero), height(value).max(zero)];
                let end = (x + pitch - space).round().max(x.round() + 1.0);
                canvas.rect([x, y1, end, y2], opaque(BAR));
            }
        }
        let zero = zero.round();
        canvas.rect([left, zero, right, zero + thin], opaque(QUIET));
        self.words(canvas, [left, right], corner[1], bottom, pitch);
    }

    /// The labels of the axes and of as many bars as fit.
    fn words(
        &self,
        canvas: &mut Canvas,
        [left, right]: [f32; 2],
        top: f32,
        bottom: f32,
        pitch: f32,
    ) {
        let (words, numbers) = (self.scale.words(TEXT), self.scale.numbers(TEXT - 1.0));
        words.draw(canvas, [left, top], &self.bars.y_label, opaque(QUIET));

        let labels = &self.bars.labels;
        let room = self.scale.px(120.0);
        let widest = labels
            .iter()
            .map(|l| numbers.width(l))
            .fold(0.0, f32::max)
            .min(room);
        let every = ((widest + self.scale.px(8.0)) / pitch).ceil().max(1.0) as usize;
        let y = bottom + self.scale.px(4.0);
        let shown = labels
            .iter()
            .take(self.bars.values.len())
            .enumerate()
            .step_by(every);
        for (i, label) in shown {
            let text = numbers.shorten(label, room);
            let x = left + (i as f32 + 0.5) * pitch - numbers.width(&text) / 2.0;
            let x = x.min(right - numbers.width(&text)).round();
            numbers.draw(canvas, [x, y], &text, opaque(INK));
        }
        let x_label = &self.bars.x_label;
        let x = ((left + right - words.width(x_label)) / 2.0).round();
        words.draw(canvas, [x, y + words.line_height()], x_label, opaque(QUIET));
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
