//! How a map looks.

use serde::{Deserialize, Serialize};

use super::{Colormap, Sampling};

/// How a map looks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Look {
    /// Colours.
    pub colormap: Colormap,
    /// Nearest or smooth.
    pub sampling: Sampling,
    /// 0 shows the photograph, 1 the map.
    pub opacity: f32,
    /// Whether the border around the photograph is shown too: the letterbox and the padding of
    /// the map.
    pub border: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            colormap: Colormap::Viridis,
            sampling: Sampling::Nearest,
            opacity: 0.6,
            border: false,
        }
    }
}
