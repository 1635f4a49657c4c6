//! The colour bar beside a map: which colour is which value.

use super::draw::{Canvas, opaque};
use super::figure::{INK, QUIET, Scale};
use super::numbers::{tick_labels, value_label};
use super::overlay::Heat;
use super::{Coloring, Range};

const WIDTH: f32 = 16.0;
/// A bar lower than this cannot be read.
const MIN_HEIGHT: f32 = 140.0;
const TICK: f32 = 5.0;
const TEXT: f32 = 14.0;
const LABEL_WIDTH: f32 = 110.0;

/// An upright colour bar with its lowest, middle and highest value, and what they are above it.
pub(super) struct ColorBar {
    pub size: [f32; 2],
    scale: Scale,
    coloring: Coloring,
    flat: bool,
    label: Vec<String>,
    ticks: Vec<Tick>,
}

struct Tick {
    /// 0 at the bottom, 1 at the top.
    at: f32,
    text: String,
}

impl ColorBar {
    pub fn new(heat: &Heat, photo_height: f32, scale: Scale) -> Self {
        let label_type = scale.words(TEXT);
        let label = label_type.wrap(&heat.label, scale.px(LABEL_WIDTH));
        let ticks = ticks(heat.coloring.range);
        let numbers = scale.numbers(TEXT - 1.0);
        let widest = ticks
            .iter()
            .map(|t| numbers.width(&t.text))
            .fold(0.0, f32::max);
        let widest_label = label
            .iter()
            .map(|l| label_type.width(l))
            .fold(0.0, f32::max);
        let width = (scale.px(WIDTH + 2.0 * TICK) + widest).max(widest_label);
        let height = label_height(&label, scale) + scale.px(MIN_HEIGHT);
        Self {
            size: [width.ceil(), photo_height.max(height)],
            scale,
            coloring: heat.coloring.clone(),
            flat: heat.coloring.range.is_flat(),
            label,
            ticks,
        }
    }

    pub fn draw(self, canvas: &mut Canvas, [x, y]: [f32; 2]) {
        let label = self.scale.words(TEXT);
        for (i, line) in self.label.iter().enumerate() {
            let top = y + i as f32 * label.line_height();
            label.draw(canvas, [x, top], line, opaque(QUIET));
        }
        let top = y + label_height(&self.label, self.scale);
        let bottom = y + self.size[1];
        let right = x + self.scale.px(WIDTH);
        self.gradient(canvas, [x, top, right, bottom]);

        let numbers = self.scale.numbers(TEXT - 1.0);
        let length = self.scale.px(TICK);
        let thick = self.scale.px(1.0);
        for tick in &self.ticks {
            let at = bottom - tick.at * (bottom - top);
            let line = (at - thick / 2.0).round().clamp(top, bottom - thick);
            canvas.rect([right, line, right + length, line + thick], opaque(QUIET));
            // The outer numbers stay within the bar's height.
            let height = numbers.line_height();
            let text = (at - height / 2.0).round().clamp(top, bottom - height);
            numbers.draw(
                canvas,
                [right + 2.0 * length, text],
                &tick.text,
                opaque(INK),
            );
        }
    }

    fn gradient(&self, canvas: &mut Canvas, [x1, y1, x2, y2]: [f32; 4]) {
        let rows = (y2 - y1) as usize;
        for row in 0..rows {
            let t = if self.flat {
                0.5
            } else {
                1.0 - (row as f32 + 0.5) / rows as f32
            };
            let y = y1 + row as f32;
            canvas.rect([x1, y, x2, y + 1.0], opaque(self.coloring.sample(t)));
        }
    }
}

/// A flat range has one value and says so.
fn ticks(range: Range) -> Vec<Tick> {
    if range.is_flat() {
        let text = format!("{} (flat)", value_label(range.min, 6));
        return vec![Tick { at: 0.5, text }];
    }
    let labels = [0.0, 0.5, 1.0].into_iter().zip(tick_labels(range));
    labels.map(|(at, text)| Tick { at, text }).collect()
}

/// Height of the label and the space below it.
fn label_height(label: &[String], scale: Scale) -> f32 {
    match label.len() {
        0 => 0.0,
        n => n as f32 * scale.words(TEXT).line_height() + scale.px(6.0),
    }
}
