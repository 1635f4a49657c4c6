//! What is pressed, in the whole window.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is pressed. Indices may outlive the map they were pressed on: who reads one passes over
/// what its trace does not have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selection {
    /// The attention row looked at, by id of the mechanism.
    pub rows: BTreeMap<String, usize>,
    /// The row whose feature maps are looked at.
    pub layer: Option<usize>,
    /// Point of the photograph, in its pixels.
    pub point: Option<[f32; 2]>,
    /// Super token, region or token, by attention row. A row without one has that under the point.
    pub units: BTreeMap<usize, usize>,
    /// Iteration of the association; `None` is the last.
    pub iteration: Option<usize>,
    /// Channel.
    pub channel: Option<usize>,
    /// Detection, by its place in the list.
    pub detection: Option<usize>,
}

impl Selection {
    /// Presses a point of the photograph: what lies there is what is selected, in every row.
    pub fn press(&mut self, point: [f32; 2]) {
        self.point = Some(point);
        self.units.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_press_lets_go_of_what_was_pressed_before() {
        let mut selection = Selection {
            channel: Some(3),
            ..Selection::default()
        };
        selection.units.insert(5, 12);
        selection.press([5.0, 6.0]);
        assert!(selection.units.is_empty());
        assert_eq!(selection.point, Some([5.0, 6.0]));
        assert_eq!(selection.channel, Some(3), "a channel lies everywhere");
    }
}
