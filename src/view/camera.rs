//! Which part of the photograph is seen.

use serde::{Deserialize, Serialize};

/// Pan and zoom. `zoom` 1 fits the photograph into the pane.
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

impl Camera {
    /// Whether it is one that a hand could have set.
    pub fn is_sound(&self) -> bool {
        let [x, y] = self.centre;
        [self.zoom, x, y].iter().all(|v| v.is_finite()) && self.zoom > 0.0
    }
}
