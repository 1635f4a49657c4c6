//! What is computed from a trace for the picture: kept by the pane until the trace or the choice
//! changes.

use crate::attention::super_token::SuperTokenTrace;
use crate::attention::view::{Heat, label_borders};

/// What is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Mode {
    /// Borders only.
    #[default]
    Partition,
    /// Soft affinity of one super token.
    Affinity,
    /// Mass lost off the grid.
    Lost,
    /// What one super token reads from the others.
    Attention,
}

/// All of them, with name and help.
pub const MODES: [(Mode, &str, &str); 4] = [
    (
        Mode::Partition,
        "partition",
        "Borders between super tokens: each pixel belongs to the one with the largest affinity",
    ),
    (
        Mode::Affinity,
        "affinity",
        "How much of each pixel goes to the pressed super token",
    ),
    (
        Mode::Lost,
        "lost mass",
        "Affinity that border pixels give to neighbours off the grid: it is lost",
    ),
    (
        Mode::Attention,
        "token attention",
        "What the pressed super token reads from the others",
    ),
];

/// The hard partition at one iteration.
pub struct Partition {
    /// Between super tokens, in cells of the feature map.
    pub borders: Vec<[f32; 4]>,
    /// Super token of every cell of the padded map, −1 off the grid.
    pub owners: Vec<i32>,
    /// Mean over the map of the weight that is lost.
    pub mean_lost: f32,
}

/// The cells that one super token owns.
pub struct Owned {
    /// Their outline, in cells of the feature map.
    pub outline: Vec<[f32; 4]>,
    /// How many of the map they are, without padding.
    pub count: usize,
}

/// What decides the map: mode, iteration, super token, head.
pub type Chosen = (Mode, usize, Option<usize>, Option<usize>);

/// The map of a choice, if it has one.
pub fn heat(trace: &SuperTokenTrace, (mode, iteration, token, head): Chosen) -> Option<Heat> {
    match (mode, token) {
        (Mode::Affinity, Some(token)) => Some(trace.soft_map(iteration, token)),
        (Mode::Attention, Some(token)) => Some(trace.reads_from(token, head)),
        (Mode::Lost, _) => Some(trace.lost_mass(iteration)),
        _ => None,
    }
}

/// The hard partition at an iteration.
pub fn partition(trace: &SuperTokenTrace, iteration: usize) -> Partition {
    let lost = trace.lost_mass(iteration);
    let [h, w] = trace.map;
    let sum: f32 = lost
        .values
        .chunks(trace.padded[1].max(1))
        .take(h)
        .map(|row| row.iter().take(w).sum::<f32>())
        .sum();
    let owners = trace.labels(iteration);
    let [rows, cols] = trace.padded;
    Partition {
        borders: label_borders(&owners, rows, cols),
        owners,
        mean_lost: sum / (h * w).max(1) as f32,
    }
}

/// The cells that `token` owns, among the `owners` of all.
pub fn owned(trace: &SuperTokenTrace, owners: &[i32], token: usize) -> Owned {
    let [rows, cols] = trace.padded;
    let [h, w] = trace.map;
    // A rim of cells that nobody owns closes the outline at the edge of the map.
    let (wide, tall) = (cols + 2, rows + 2);
    let mut mask = vec![0; wide * tall];
    let mut count = 0;
    for (i, owner) in owners.iter().enumerate() {
        if *owner == token as i32 {
            let (y, x) = (i / cols, i % cols);
            mask[(y + 1) * wide + x + 1] = 1;
            count += usize::from(y < h && x < w);
        }
    }
    let lines = label_borders(&mask, tall, wide);
    Owned {
        outline: lines.into_iter().map(|l| l.map(|v| v - 1.0)).collect(),
        count,
    }
}
