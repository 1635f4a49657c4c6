//! Curves over a common axis.

use super::Range;
use super::draw::opaque;
use super::numbers::{round_ticks, value_label};
use super::page::{GRID, INK, Laid, Place, QUIET, numbers, words};
use super::surface::{Anchor, Surface, Text};
use super::text::Type;
use crate::attention::view::Curves;

const WORDS: Type = words(14.0);
const NUMBER: Type = numbers(13.0);
/// Okabe and Ito's colours that are dark enough for lines on white.
const COLORS: [[u8; 3]; 7] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [230, 159, 0],
    [86, 180, 233],
    [88, 92, 100],
];

/// Curves with their places in points, relative to a corner.
struct Plot<'a> {
    curves: &'a Curves,
    size: [f32; 2],
    axes: [Axis; 2],
    /// `[x1, y1, x2, y2]` of the part that holds the curves.
    area: [f32; 4],
}

struct Axis {
    range: Range,
    ticks: Vec<(f32, String)>,
}

impl Axis {
    fn new(values: impl Iterator<Item = f32>, count: usize) -> Self {
        let mut range = Range::of(&values.collect::<Vec<_>>());
        if range.is_flat() {
            // Something to stand in the middle of.
            let half = (range.middle().abs() * 0.1).max(0.5);
            let middle = range.middle();
            range = Range {
                min: middle - half,
                max: middle + half,
            };
        }
        let ticks = round_ticks(range, count);
        Self {
            range: Range::of(&ticks),
            ticks: ticks.into_iter().map(|t| (t, value_label(t, 3))).collect(),
        }
    }

    fn widest(&self) -> f32 {
        let widths = self.ticks.iter().map(|(_, text)| NUMBER.width(text));
        widths.fold(0.0, f32::max)
    }
}

/// Lays curves out.
pub(super) fn layout(curves: &Curves, place: Place) -> Laid<'_> {
    let plot = Plot::new(curves, place);
    Laid {
        size: plot.size,
        draw: Box::new(move |on, corner| plot.draw(on, corner)),
    }
}

impl<'a> Plot<'a> {
    fn new(curves: &'a Curves, place: Place) -> Self {
        let along = |axis: usize| {
            let points = curves.series.iter().flat_map(|(_, points)| points);
            points.map(move |p| p[axis])
        };
        let [across, up] = place.pick([6, 5], [4, 3]);
        let axes = [Axis::new(along(0), across), Axis::new(along(1), up)];
        let [width, height] = place.pick([640.0, 340.0], [300.0, 180.0]);
        let (line, left) = (WORDS.line_height(), axes[1].widest().ceil() + 8.0);
        let legend = match curves.series.len() {
            0 | 1 => 0.0,
            n => n as f32 * line + 4.0,
        };
        let top = line + 6.0;
        // Half of the last number sticks out.
        let right = left + width;
        let below = NUMBER.line_height() + line + 8.0;
        Self {
            curves,
            size: [
                right + axes[0].widest() / 2.0,
                top + height + below + legend,
            ],
            axes,
            area: [left, top, right, top + height],
        }
    }

    fn draw(&self, on: &mut dyn Surface, corner: [f32; 2]) {
        let [x1, y1, x2, y2] = self.area;
        let [left, right] = [x1, x2].map(|x| x + corner[0]);
        let [top, bottom] = [y1, y2].map(|y| y + corner[1]);
        let [across, up] = &self.axes;
        let x = |value: f32| left + across.range.position(value) * (right - left);
        let y = |value: f32| bottom - up.range.position(value) * (bottom - top);
        for (value, text) in &up.ticks {
            let y = y(*value).round();
            on.rect([left, y, right, y + 1.0], opaque(GRID));
            let at = [left - 8.0, (y - NUMBER.line_height() / 2.0).round()];
            on.text(Text::new(text, at, NUMBER, INK).anchored(Anchor::End));
        }
        for (value, text) in &across.ticks {
            let x = x(*value).round();
            on.rect([x, top, x + 1.0, bottom], opaque(GRID));
            let at = [x, bottom + 4.0];
            on.text(Text::new(text, at, NUMBER, INK).anchored(Anchor::Middle));
        }
        on.rect([left, bottom, right, bottom + 1.0], opaque(QUIET));
        on.text(Text::new(
            self.curves.y_label,
            [left, corner[1]],
            WORDS,
            QUIET,
        ));
        let below = bottom + 4.0 + NUMBER.line_height();
        let middle = [(left + right) / 2.0, below];
        let x_label = Text::new(self.curves.x_label, middle, WORDS, QUIET);
        on.text(x_label.anchored(Anchor::Middle));
        let series = self.curves.series.iter().zip(COLORS.iter().cycle());
        for (i, ((name, points), &color)) in series.enumerate() {
            let points: Vec<[f32; 2]> = points.iter().map(|p| [x(p[0]), y(p[1])]).collect();
            curve(on, &points, color);
            if self.curves.series.len() > 1 {
                let line = below + (i as f32 + 1.0) * WORDS.line_height() + 4.0;
                let middle = line + WORDS.line_height() / 2.0;
                on.lines(&[[left, middle, left + 24.0, middle]], 2.0, opaque(color));
                on.text(Text::new(name, [left + 32.0, line], WORDS, INK));
            }
        }
    }
}

/// One curve, with gaps where a value is not finite, and dots where the points are few.
fn curve(on: &mut dyn Surface, points: &[[f32; 2]], color: [u8; 3]) {
    const FEW: usize = 24;
    let finite = |p: &[f32; 2]| p.iter().all(|v| v.is_finite());
    for part in points.split(|p| !finite(p)) {
        on.polyline(part, 2.0, opaque(color));
    }
    if points.len() <= FEW {
        for &point in points.iter().filter(|p| finite(p)) {
            on.disc(point, 3.5, opaque(color));
        }
    }
}
