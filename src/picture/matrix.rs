//! Numbers of pairs, or of the cells of a small grid, as coloured cells.

use super::colorbar::ColorBar;
use super::draw::opaque;
use super::heat::Map;
use super::numbers::value_label;
use super::page::{INK, Laid, Place, QUIET, numbers, words};
use super::palette::ink_on;
use super::surface::{Anchor, Pictured, Surface, Text};
use super::text::Type;
use super::{Coloring, Sampling};
use crate::attention::view;

const WORDS: Type = words(14.0);
const NUMBER: Type = numbers(13.0);
const LABEL: Type = words(12.0);
/// A cell with a number in it.
const NUMBERED: f32 = 68.0;
/// Largest cell without one.
const LARGEST: f32 = 40.0;
const BAR_GAP: f32 = 16.0;
/// Between the cells and what is written beside them.
const SPACE: f32 = 6.0;
const FRAME: [u8; 3] = [213, 94, 0];

/// A table of numbers as colours; with labels, the numbers are written into the cells.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// The numbers and the names of the axes.
    pub of: view::Matrix,
    /// The colours.
    pub coloring: Coloring,
}

impl Matrix {
    /// A matrix in these colours: opaque and by cells, whatever a map over a photograph is.
    pub fn new(of: view::Matrix, coloring: Coloring) -> Self {
        let coloring = Coloring {
            opacity: 1.0,
            sampling: Sampling::Nearest,
            ..coloring
        };
        Self { of, coloring }
    }

    pub(super) fn layout(&self, place: Place) -> Laid<'_> {
        let Some(map) = Map::new(&self.of.values, self.of.rows, self.of.cols) else {
            let draw = |on: &mut dyn Surface, at: [f32; 2]| {
                on.text(Text::new("no numbers", at, WORDS, QUIET));
            };
            return Laid {
                size: [WORDS.width("no numbers"), WORDS.line_height()],
                draw: Box::new(draw),
            };
        };
        let cells = Cells::new(self, map, place);
        let body = Laid {
            size: cells.size,
            draw: Box::new(move |on, corner| cells.draw(on, corner)),
        };
        // The numbers themselves say more than a bar.
        match self.is_numbered() {
            true => body,
            false => {
                let bar = ColorBar::new(&self.coloring, self.of.quantity, body.size[1]);
                bar.beside(body, BAR_GAP)
            }
        }
    }

    fn is_numbered(&self) -> bool {
        !self.of.labels.is_empty()
    }
}

/// The cells with their axes, in points relative to a corner.
struct Cells<'a> {
    matrix: &'a Matrix,
    map: Map<'a>,
    size: [f32; 2],
    /// Upper left corner of the cells.
    origin: [f32; 2],
    cell: [f32; 2],
}

impl<'a> Cells<'a> {
    fn new(matrix: &'a Matrix, map: Map<'a>, place: Place) -> Self {
        let of = &matrix.of;
        let counts = [of.cols, of.rows].map(|n| n as f32);
        let longest = counts[0].max(counts[1]);
        let side = match matrix.is_numbered() {
            true => NUMBERED,
            // The shorter side of a slim matrix must be seen too.
            false => (place.pick(560.0, 280.0) / longest).min(LARGEST),
        };
        let size = counts.map(|n| (n * side).max(8.0).round());
        let left = NUMBER
            .width(&last(of, of.rows))
            .max(NUMBER.width("0"))
            .ceil()
            + SPACE;
        let top = 2.0 * WORDS.line_height() + SPACE;
        let names = of.col_label.len().max(of.row_label.len()) > 0 && !matrix.is_numbered();
        let origin = if names { [left, top] } else { [0.0, 0.0] };
        let least = match names {
            true => WORDS.width(&row_words(of)).max(WORDS.width(&col_words(of))),
            false => 0.0,
        };
        Self {
            matrix,
            map,
            size: [(origin[0] + size[0]).max(least), origin[1] + size[1] + 2.0],
            origin,
            cell: [size[0] / counts[0], size[1] / counts[1]],
        }
    }

    fn rect(&self, [x, y]: [f32; 2], row: usize, col: usize) -> [f32; 4] {
        let left = x + self.origin[0] + col as f32 * self.cell[0];
        let top = y + self.origin[1] + row as f32 * self.cell[1];
        [left, top, left + self.cell[0], top + self.cell[1]]
    }

    fn draw(&self, on: &mut dyn Surface, corner: [f32; 2]) {
        let of = &self.matrix.of;
        let [left, top, ..] = self.rect(corner, 0, 0);
        let [right, bottom, ..] = self.rect(corner, of.rows, of.cols);
        on.heat(&Pictured {
            target: [left, top, right, bottom],
            map: self.map,
            coloring: &self.matrix.coloring,
        });
        if self.matrix.is_numbered() {
            self.write_numbers(on, corner);
        } else {
            self.axes(on, corner, [left, top, right, bottom]);
        }
        on.frame([left, top, right, bottom], 1.0, opaque(QUIET));
        if let Some(row) = of.row.filter(|row| *row < of.rows) {
            let [_, y1, _, y2] = self.rect(corner, row, 0);
            let middle = (y1 + y2) / 2.0;
            // A row may be thinner than a line.
            let (y1, y2) = (y1.min(middle - 2.0), y2.max(middle + 2.0));
            on.frame([left - 1.0, y1, right + 1.0, y2], 2.0, opaque(FRAME));
        }
    }

    /// The number and the label of each cell, in its middle.
    fn write_numbers(&self, on: &mut dyn Surface, corner: [f32; 2]) {
        let of = &self.matrix.of;
        for (i, &value) in of.values.iter().enumerate() {
            let [x1, y1, x2, y2] = self.rect(corner, i / of.cols, i % of.cols);
            let color = self.matrix.coloring.color(value);
            let ink = match color[3] {
                0 => QUIET,
                _ => ink_on([color[0], color[1], color[2]]),
            };
            let number = match value.is_nan() {
                true => "–".to_owned(),
                false => value_label(value, 3),
            };
            let label = of.labels.get(i).map_or("", String::as_str);
            let label = LABEL.shorten(label, self.cell[0] - 4.0);
            let height = NUMBER.line_height()
                + if label.is_empty() {
                    0.0
                } else {
                    LABEL.line_height()
                };
            let (middle, top) = ((x1 + x2) / 2.0, ((y1 + y2 - height) / 2.0).round());
            let number = Text::new(&number, [middle, top], NUMBER, ink);
            on.text(number.anchored(Anchor::Middle));
            let below = [middle, top + NUMBER.line_height()];
            on.text(Text::new(&label, below, LABEL, ink).anchored(Anchor::Middle));
        }
    }

    /// What rows and columns are, and the first and last number of each.
    fn axes(&self, on: &mut dyn Surface, [x, y]: [f32; 2], [left, top, _, bottom]: [f32; 4]) {
        let of = &self.matrix.of;
        let line = WORDS.line_height();
        for (i, words) in [row_words(of), col_words(of)].iter().enumerate() {
            let at = [x, y + i as f32 * line - SPACE / 2.0];
            on.text(Text::new(words, at, WORDS, QUIET));
        }
        let height = NUMBER.line_height();
        let mut number = |text: &str, at: [f32; 2], anchor| {
            on.text(Text::new(text, at, NUMBER, INK).anchored(anchor));
        };
        number("0", [left - SPACE, top], Anchor::End);
        if bottom - top > 2.0 * height {
            number(
                &last(of, of.rows),
                [left - SPACE, bottom - height],
                Anchor::End,
            );
        }
    }
}

/// The number of the unit that the last of `n` rows or columns begins with.
fn last(of: &view::Matrix, n: usize) -> String {
    (n.saturating_sub(1) * of.step).to_string()
}

fn row_words(of: &view::Matrix) -> String {
    format!("rows, 0 to {}: {}", last(of, of.rows), of.row_label)
}

fn col_words(of: &view::Matrix) -> String {
    format!("columns, 0 to {}: {}", last(of, of.cols), of.col_label)
}
