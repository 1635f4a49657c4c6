//! What every pane gets and gives back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::{LayerTrace, Settings, Snapshot};

pub use crate::picture::Look;

/// One pane of the window. It draws what the snapshot holds and writes what the hand does into
/// the context; it computes no attention.
pub trait Pane {
    /// Stable name, used in the kept layout.
    fn id(&self) -> &'static str;
    /// Title on the tab.
    fn title(&self) -> &'static str;
    /// What is seen and how to use it, for the help hover.
    fn help(&self) -> &'static str;
    /// What it wants to see: the id of a mechanism, and of which regions or tokens the attention.
    /// Only asked while the pane is on the screen.
    fn watch(&self, _selection: &Selection) -> Option<(&'static str, Vec<usize>)> {
        None
    }
    /// Draws the pane.
    fn ui(&mut self, ui: &mut egui::Ui, cx: &mut Context<'_>);
}

/// What a pane draws from and writes to.
pub struct Context<'a> {
    /// The newest results.
    pub snapshot: &'a Snapshot,
    /// Number of the newest wish: a piece that answers an older one is stale.
    pub newest: u64,
    /// What is set; a change is sent as the next wish.
    pub settings: &'a mut Settings,
    /// What is pressed.
    pub selection: &'a mut Selection,
    /// How maps look, by pane.
    pub looks: &'a mut BTreeMap<String, Look>,
    /// Pan and zoom, shared by all panes that show the photograph.
    pub camera: &'a mut Camera,
}

impl<'a> Context<'a> {
    /// The trace of the layer that is chosen for a mechanism: the selected row, or the first.
    pub fn trace_of(&self, mechanism: &str) -> Option<&'a LayerTrace> {
        let mut of = self
            .snapshot
            .traces
            .values()
            .filter(|t| t.trace.mechanism().id == mechanism);
        let chosen = self.selection.rows.get(mechanism);
        let first = of.next();
        let matching = first.into_iter().chain(of).find(|t| Some(&t.row) == chosen);
        matching.or(first).map(AsRef::as_ref)
    }
}

/// What is pressed, in the whole window. Indices may outlive the map they were pressed on: a
/// pane passes over one that its trace does not have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// The attention row looked at, by mechanism.
    pub rows: BTreeMap<String, usize>,
    /// Point of the photograph, in its pixels.
    pub point: Option<[f32; 2]>,
    /// Super token.
    pub super_token: Option<usize>,
    /// Iteration of the association; `None` is the last.
    pub iteration: Option<usize>,
    /// Region.
    pub region: Option<usize>,
    /// Channel.
    pub channel: Option<usize>,
    /// Detection, by its place in the list.
    pub detection: Option<usize>,
}

impl Selection {
    /// Presses a point of the photograph. What lies there in each layer is selected by the panes
    /// of these layers, so that all of them follow one press.
    pub fn press(&mut self, point: [f32; 2]) {
        self.point = Some(point);
        self.super_token = None;
        self.region = None;
    }
}

/// Which part of the photograph is seen. `zoom` 1 fits the photograph into the pane.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Camera {
    /// Magnification over the fit.
    pub zoom: f32,
    /// Point of the photograph in the middle of the pane, 0..1 along each axis.
    pub centre: [f32; 2],
}

impl Default for Camera {
    fn default() -> Self {
        Self {
            zoom: 1.0,
            centre: [0.5, 0.5],
        }
    }
}
