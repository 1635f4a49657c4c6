//! Words and numbers in columns.

use super::draw::opaque;
use super::page::{GRID, INK, Laid, Place, QUIET, lines, words};
use super::surface::{Anchor, Surface, Text};
use super::text::Type;
use crate::attention::view::Table;

const CELL: Type = words(14.0);
const SPACE: f32 = 18.0;
/// Longer texts are shortened.
const WIDEST: f32 = 280.0;

/// Lays a table out; of a long one, the first rows.
pub(super) fn layout(table: &Table, place: Place) -> Laid<'_> {
    let most = place.pick(40, 12);
    let shown = table.rows.get(..most).unwrap_or(&table.rows);
    let columns: Vec<Column> = (0..table.columns.len())
        .map(|c| Column::new(table, shown, c))
        .collect();
    let width = columns.iter().map(|c| c.width + SPACE).sum::<f32>() - SPACE;
    let mut note = match table.rows.len() - shown.len() {
        0 => String::new(),
        1 => "One more row. ".to_owned(),
        n => format!("{n} more rows. "),
    };
    note += &table.note;
    let width = width.max(place.pick(320.0, 220.0));
    let note = CELL.wrap(&note, width);
    let line = CELL.line_height() + 4.0;
    let rows = (shown.len() + 1) as f32 * line + 4.0;
    Laid {
        size: [width, rows + note.len() as f32 * CELL.line_height()],
        draw: Box::new(move |on, [x, y]| {
            let mut left = x;
            for (head, column) in table.columns.iter().zip(&columns) {
                column.draw(on, [left, y], head, QUIET);
                for (i, row) in column.cells.iter().enumerate() {
                    let top = y + (i as f32 + 1.0) * line + 2.0;
                    column.draw(on, [left, top], row, INK);
                }
                left += column.width + SPACE;
            }
            for i in 0..=shown.len() {
                let at = y + (i as f32 + 1.0) * line - 1.0;
                let color = if i == 0 { QUIET } else { GRID };
                on.rect([x, at, x + width, at + 1.0], opaque(color));
            }
            lines(on, CELL, [x, y + rows], &note, QUIET);
        }),
    }
}

/// A column: numbers stand on the right.
struct Column {
    cells: Vec<String>,
    width: f32,
    is_numbers: bool,
}

impl Column {
    fn new(table: &Table, rows: &[Vec<String>], number: usize) -> Self {
        let cell = |row: &Vec<String>| row.get(number).cloned().unwrap_or_default();
        let full: Vec<String> = rows.iter().map(cell).collect();
        let filled = || full.iter().filter(|c| !c.is_empty());
        let is_numbers = filled().count() > 0 && filled().all(|c| c.parse::<f64>().is_ok());
        let cells: Vec<String> = full.iter().map(|c| CELL.shorten(c, WIDEST)).collect();
        let head = table.columns.get(number).map_or(0.0, |h| CELL.width(h));
        let width = cells.iter().map(|c| CELL.width(c)).fold(head, f32::max);
        Self {
            cells,
            width: width.ceil(),
            is_numbers,
        }
    }

    fn draw(&self, on: &mut dyn Surface, [x, y]: [f32; 2], text: &str, color: [u8; 3]) {
        let text = match self.is_numbers {
            true => Text::new(text, [x + self.width, y], CELL, color).anchored(Anchor::End),
            false => Text::new(text, [x, y], CELL, color),
        };
        on.text(text);
    }
}
