//! What a run gives back, and the place of a map on its photograph.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::FeatureMaps;
use crate::attention::{Legal, MapSize, Trace};
use crate::checkpoint::Model;
use crate::picture::{Letterbox, Photo};
use crate::yolo::{Detection, Head, Thresholds};

/// What traces and detections belong to.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The photograph.
    pub photo: Arc<Photo>,
    /// The model.
    pub model: Arc<Model>,
    /// How the photograph lies in the network input.
    pub letterbox: Letterbox,
}

/// Where the cells of a feature map lie on the photograph.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placement {
    letterbox: Letterbox,
    /// Input pixels per cell along x and y.
    cell: [f32; 2],
}

impl Scene {
    /// The place of a feature map of `[height, width]` cells.
    pub fn place(&self, map: MapSize) -> Placement {
        let [w, h] = self.letterbox.input.map(|side| side as f32);
        Placement {
            letterbox: self.letterbox,
            cell: [w / map[1].max(1) as f32, h / map[0].max(1) as f32],
        }
    }
}

impl Placement {
    /// A point of the map, in cells, as a point of the photograph, in pixels.
    pub fn to_photo(&self, x: f32, y: f32) -> [f32; 2] {
        self.letterbox
            .point_to_photo(x * self.cell[0], y * self.cell[1])
    }

    /// A point of the photograph, in pixels, as a point of the map, in cells.
    pub fn to_map(&self, x: f32, y: f32) -> [f32; 2] {
        let [x, y] = self.letterbox.point_to_input(x, y);
        [x / self.cell[0], y / self.cell[1]]
    }

    /// The cell under a point of the photograph: row, column. `None` above and left of the map;
    /// below and to the right there may be no such cell.
    pub fn cell(&self, [x, y]: [f32; 2]) -> Option<[usize; 2]> {
        let [x, y] = self.to_map(x, y);
        (x >= 0.0 && y >= 0.0).then_some([y as usize, x as usize])
    }

    /// A rectangle of the map as one of the photograph (not clipped).
    pub fn rect_to_photo(&self, [x0, y0, x1, y1]: [f32; 4]) -> [f32; 4] {
        let ([a, b], [c, d]) = (self.to_photo(x0, y0), self.to_photo(x1, y1));
        [a, b, c, d]
    }
}

/// The trace of one attention row.
#[derive(Debug, Clone)]
pub struct LayerTrace {
    /// The wish that it answers.
    pub wish: u64,
    /// Row of the network.
    pub row: usize,
    /// What was computed.
    pub trace: Arc<dyn Trace>,
    /// The knobs in use, their ranges, and what was moved.
    pub legal: Legal,
    /// Why the maps should be read with care: untrained values, random weights.
    pub badges: Vec<String>,
}

/// The detections of one run.
#[derive(Debug, Clone)]
pub struct Detected {
    /// The wish that they answer.
    pub wish: u64,
    /// Boxes in pixels of the photograph, best first.
    pub list: Vec<Detection>,
    /// The head that was read.
    pub head: Head,
    /// The thresholds that were used.
    pub thresholds: Thresholds,
    /// Why the boxes should be read with care: random weights.
    pub badges: Vec<String>,
}

/// How long a run took and how much of it was new.
#[derive(Debug, Clone, Default)]
pub struct Timing {
    /// From wish to detections.
    pub total: Duration,
    /// Rows that ran.
    pub ran: usize,
    /// Rows of the network.
    pub rows: usize,
    /// Levels of the detect head that ran, counted from its first.
    pub levels: Vec<usize>,
    /// Time of each row that ran.
    pub by_row: BTreeMap<usize, Duration>,
}

/// Everything that one wish led to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What it belongs to.
    pub scene: Arc<Scene>,
    /// Traces by row.
    pub traces: BTreeMap<usize, Arc<LayerTrace>>,
    /// Detections.
    pub detected: Arc<Detected>,
    /// The feature maps that were wanted.
    pub features: Option<Arc<FeatureMaps>>,
    /// Times.
    pub timing: Timing,
}
