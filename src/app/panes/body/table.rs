//! Words and numbers in columns.

use egui::{Grid, RichText, ScrollArea, Ui};

use super::Hand;
use crate::app::canvas::SMALL;
use crate::attention::view::Table;

/// Draws a table; a row that stands for a unit can be pressed.
pub fn show(ui: &mut Ui, table: &Table, chosen: Option<usize>) -> Hand {
    let mut hand = Hand::default();
    let columns = table.columns.len().max(1);
    let grid = Grid::new("table").num_columns(columns).spacing([8.0, 2.0]);
    let width = ui.available_width();
    ScrollArea::both().show(ui, |ui| {
        grid.show(ui, |ui| {
            for title in &table.columns {
                ui.label(RichText::new(title).size(SMALL).weak());
            }
            ui.end_row();
            for (i, row) in table.rows.iter().enumerate() {
                let unit = table.units.get(i).copied();
                for (j, text) in row.iter().enumerate() {
                    // The first column is a rank where rows stand for units.
                    if let (Some(unit), true) = (unit, j == row.len().min(2) - 1) {
                        let link = ui.link(text).on_hover_text("Select this one");
                        if link.clicked() {
                            hand.unit = Some(unit);
                        }
                    } else if unit.is_some() && unit == chosen {
                        ui.strong(text);
                    } else {
                        ui.label(text);
                    }
                }
                ui.end_row();
            }
        });
        if !table.note.is_empty() {
            ui.add_space(6.0);
            // As wide as the room, not as the columns.
            ui.set_max_width(width);
            ui.label(RichText::new(&table.note).size(SMALL).weak());
        }
    });
    hand
}
