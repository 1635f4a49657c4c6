//! What every pane gets and gives back.

use std::collections::BTreeMap;

use crate::attention::Mechanism;
use crate::attention::view::Heat;
use crate::engine::{LayerTrace, Settings, Snapshot};
pub use crate::picture::Look;
use crate::picture::{Range, RangeRule};
pub use crate::view::{Asking, Camera, Selection};
use crate::yolo;

/// One pane of the window. It draws what the snapshot holds and writes what the hand does into
/// the context; it computes no attention.
pub trait Pane {
    /// Stable name, used in the kept layout.
    fn id(&self) -> &'static str;
    /// Title on the tab.
    fn title(&self) -> &'static str;
    /// What is seen and how to use it, for the help hover.
    fn help(&self) -> String;
    /// The mechanism that it is the pane of.
    fn mechanism(&self) -> Option<&'static Mechanism> {
        None
    }
    /// All mechanisms whose layers it looks at. Only asked while the pane is on the screen.
    fn mechanisms(&self) -> Vec<&'static Mechanism> {
        self.mechanism().into_iter().collect()
    }
    /// The row whose feature maps it looks at. Only asked while the pane is on the screen.
    fn features(&self, _selection: &Selection) -> Option<usize> {
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
    /// What is asked, by id of the mechanism.
    pub asking: &'a mut BTreeMap<String, Asking>,
    /// How maps look, by pane.
    pub looks: &'a mut BTreeMap<String, Look>,
    /// The range of the maps that share one.
    pub shared: &'a mut Shared,
    /// Pan and zoom, shared by all panes that show the photograph.
    pub camera: &'a mut Camera,
}

/// The range of maps that are compared: those of all panes whose look says so.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shared(BTreeMap<&'static str, Range>);

impl Shared {
    /// Notes the map that a pane shows now, and gives the range that it shares.
    pub fn follow(&mut self, pane: &'static str, look: &Look, map: Option<&Heat>) -> Option<Range> {
        match map.filter(|_| look.rule == RangeRule::Shared) {
            Some(map) => self.0.insert(pane, look.own_range(&map.values)),
            None => self.0.remove(pane),
        };
        self.range()
    }

    /// The range that holds all of them.
    pub fn range(&self) -> Option<Range> {
        self.0.values().copied().reduce(Range::union)
    }

    /// Forgets a pane that is not on the screen any more.
    pub fn retain(&mut self, in_sight: impl Fn(&str) -> bool) {
        self.0.retain(|pane, _| in_sight(pane));
    }
}

impl<'a> Context<'a> {
    /// Presses a point of the photograph: what lies there is selected in every pane, the smallest
    /// box around it too.
    pub fn press(&mut self, point: [f32; 2]) {
        self.selection.press(point);
        let detected = self.snapshot.detected.as_ref();
        self.selection.detection = detected.and_then(|d| yolo::smallest_at(&d.list, point));
    }

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
