//! The hard partition as lines.

use super::SuperTokenTrace;
use crate::attention::view::label_borders;

/// The hard partition at one iteration.
pub(super) struct Partition {
    /// Between super tokens, in cells of the feature map.
    pub borders: Vec<[f32; 4]>,
    /// Super token of every cell of the padded map, −1 off the grid.
    pub owners: Vec<i32>,
    /// Mean over the map of the weight that is lost.
    pub mean_lost: f32,
}

/// The cells that one super token owns.
pub(super) struct Owned {
    /// Their outline, in cells of the feature map.
    pub outline: Vec<[f32; 4]>,
    /// How many of the map they are, without padding.
    pub count: usize,
}

/// The hard partition at an iteration.
pub(super) fn partition(trace: &SuperTokenTrace, iteration: usize) -> Partition {
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
pub(super) fn owned(trace: &SuperTokenTrace, owners: &[i32], token: usize) -> Owned {
    let [rows, cols] = trace.padded;
    let [h, w] = trace.map;
    // A rim of cells that nobody owns closes the outline at the edge of the map.
    let (wide, tall) = (cols + 2, rows + 2);
    let mut mask = vec![0; wide * tall];
    let mut count = 0;
    for (y, row) in owners.chunks_exact(cols.max(1)).enumerate() {
        for (x, owner) in row.iter().enumerate() {
            if *owner == token as i32 {
                mask[(y + 1) * wide + x + 1] = 1;
                count += usize::from(y < h && x < w);
            }
        }
    }
    let lines = label_borders(&mask, tall, wide);
    Owned {
        outline: lines.into_iter().map(|l| l.map(|v| v - 1.0)).collect(),
        count,
    }
}
