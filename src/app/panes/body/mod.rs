//! What an answer holds beside maps over the photograph: bars, matrices, curves, tables and small
//! maps, each drawn in the room it gets.

mod bars;
mod curves;
mod gallery;
mod matrix;
mod table;

use egui::Ui;

use self::bars::Ordered;
use super::memo::Memo;
use crate::app::canvas::HeatLayer;
use crate::app::pane::Look;
use crate::attention::view::{Body, Turn};
use crate::picture::Coloring;

/// What the hand does with a body.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hand {
    /// The unit that was pressed.
    pub unit: Option<usize>,
    /// The channel that was pressed.
    pub channel: Option<usize>,
    /// The choice that was pressed.
    pub turn: Option<(Turn, usize)>,
    /// What is under the pointer, in words.
    pub under: String,
}

/// What is chosen, to be marked.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Chosen {
    /// Unit.
    pub unit: Option<usize>,
    /// Channel.
    pub channel: Option<usize>,
}

/// Draws bodies; keeps what it made for the last one.
pub struct Bodies {
    heats: Vec<HeatLayer>,
    bars: Memo<(usize, bool), Ordered>,
    sorted: bool,
}

impl Default for Bodies {
    fn default() -> Self {
        Self {
            heats: Vec::new(),
            bars: Memo::default(),
            sorted: true,
        }
    }
}

impl Bodies {
    /// Draws a body in all the room there is. Overlays are drawn on a canvas, not here.
    pub fn show(&mut self, ui: &mut Ui, body: &Body, look: &Look, chosen: Chosen) -> Hand {
        match body {
            Body::Overlay(_) => Hand::default(),
            Body::Bars(bars) => self.bars(ui, bars, chosen),
            Body::Matrix(matrix) => matrix::show(ui, matrix, look, self.heat(0)),
            Body::Curves(curves) => curves::show(ui, curves),
            Body::Table(table) => table::show(ui, table, chosen.unit),
            Body::Gallery(gallery) => {
                self.heat(gallery.maps.len());
                gallery::show(ui, gallery, look, &mut self.heats, chosen.channel)
            }
        }
    }

    /// The colours of the maps that were drawn last, which all maps of a body share.
    pub fn coloring(&self) -> Option<&Coloring> {
        self.heats.first()?.coloring()
    }

    /// The painter of the `i`-th map.
    fn heat(&mut self, i: usize) -> &mut HeatLayer {
        if self.heats.len() <= i {
            self.heats.resize_with(i + 1, HeatLayer::default);
        }
        &mut self.heats[i]
    }

    fn bars(&mut self, ui: &mut Ui, bars: &crate::attention::view::Bars, chosen: Chosen) -> Hand {
        ui.checkbox(&mut self.sorted, "sorted")
            .on_hover_text("Largest first; otherwise in the order of the channels");
        // Half of the topmost number of the axis sticks out.
        ui.add_space(3.0);
        let sorted = self.sorted;
        let key = (bars.values.as_ptr() as usize, sorted);
        let ordered = self.bars.get(key, || Ordered::new(bars.clone(), sorted));
        let pointed = ordered.show(ui, chosen.channel);
        let describe = |channel| ordered.describe(channel);
        Hand {
            channel: pointed.pressed,
            under: pointed.hover.and_then(describe).unwrap_or_default(),
            ..Hand::default()
        }
    }
}
