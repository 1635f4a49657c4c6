//! The colour bar beside a map: which colour is which value.

use super::draw::opaque;
use super::numbers::{tick_labels, value_label};
use super::page::{INK, Laid, QUIET, lines, numbers, words};
use super::surface::{Surface, Text};
use super::text::Type;
use super::{Coloring, Range, range_words};

const WIDTH: f32 = 16.0;
/// A bar lower than this cannot be read.
const MIN_HEIGHT: f32 = 140.0;
const TICK: f32 = 5.0;
const LABEL: Type = words(14.0);
const NUMBER: Type = numbers(13.0);
const LABEL_WIDTH: f32 = 110.0;
/// Space between the bar and the text above and below it.
const SPACE: f32 = 6.0;

/// An upright colour bar with its lowest, middle and highest value, what they are above it, and
/// below it the range of the map where other values are shown, and what is hidden.
pub(super) struct ColorBar<'a> {
    pub size: [f32; 2],
    coloring: &'a Coloring,
    label: Vec<String>,
    notes: Vec<String>,
    ticks: Vec<Tick>,
}

struct Tick {
    /// 0 at the bottom, 1 at the top.
    at: f32,
    text: String,
}

impl<'a> ColorBar<'a> {
    /// A bar beside something of this height.
    pub fn new(coloring: &'a Coloring, quantity: &str, height: f32) -> Self {
        let label = LABEL.wrap(quantity, LABEL_WIDTH);
        let raw = coloring
            .is_cut()
            .then(|| format!("map {}", range_words(coloring.raw)));
        let notes = raw.into_iter().chain(coloring.hidden_words());
        let notes: Vec<String> = notes.flat_map(|n| LABEL.wrap(&n, LABEL_WIDTH)).collect();
        let ticks = ticks(coloring.range);
        let widest = |widths: &mut dyn Iterator<Item = f32>| widths.fold(0.0, f32::max);
        let numbers = widest(&mut ticks.iter().map(|t| NUMBER.width(&t.text)));
        let texts = widest(&mut label.iter().chain(&notes).map(|l| LABEL.width(l)));
        let least = text_height(&label) + MIN_HEIGHT + text_height(&notes);
        Self {
            size: [
                (WIDTH + 2.0 * TICK + numbers).max(texts).ceil(),
                height.max(least),
            ],
            coloring,
            label,
            notes,
            ticks,
        }
    }

    /// The bar to the right of a body.
    pub fn beside(self, body: Laid<'a>, gap: f32) -> Laid<'a> {
        let left = body.size[0] + gap;
        Laid {
            size: [left + self.size[0], body.size[1].max(self.size[1])],
            draw: Box::new(move |on, [x, y]| {
                (body.draw)(on, [x, y]);
                self.draw(on, [x + left, y]);
            }),
        }
    }

    pub fn draw(&self, on: &mut dyn Surface, [x, y]: [f32; 2]) {
        lines(on, LABEL, [x, y], &self.label, QUIET);
        let top = y + text_height(&self.label);
        let bottom = y + self.size[1] - text_height(&self.notes);
        lines(on, LABEL, [x, bottom + SPACE], &self.notes, QUIET);
        let right = x + WIDTH;
        on.gradient([x, top, right, bottom], self.coloring);
        for tick in &self.ticks {
            let at = bottom - tick.at * (bottom - top);
            let line = (at - 0.5).round().clamp(top, bottom - 1.0);
            on.rect([right, line, right + TICK, line + 1.0], opaque(QUIET));
            // The outer numbers stay within the bar's height.
            let height = NUMBER.line_height();
            let text = (at - height / 2.0).round().clamp(top, bottom - height);
            let at = [right + 2.0 * TICK, text];
            on.text(Text::new(&tick.text, at, NUMBER, INK));
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

/// Height of a few lines and the space between them and the bar.
fn text_height(lines: &[String]) -> f32 {
    match lines.len() {
        0 => 0.0,
        n => n as f32 * LABEL.line_height() + SPACE,
    }
}
