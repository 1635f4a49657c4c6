//! Super tokens that are taken out of the association.
//!
//! The weight of every pixel for an erased super token is set to 0 in the last iteration, the one
//! that pixels are read and given back along, and no super token attends to it. The other weights
//! stay as they are: what a pixel gave to it is lost, as what is given to neighbours off the grid
//! always is. With the weights made to sum to 1 again, every pixel around it would change twice.

use candle_core::{Result, Tensor};

use crate::attention::Erasure;
use crate::kernels::Cells;

/// The erased super tokens of one run.
pub(super) struct Erased {
    /// 1 for a super token that is left, 0 for one that is not.
    left: Vec<f32>,
    /// Those that are left.
    keys: Vec<u32>,
}

impl Erased {
    /// `None` if all super tokens of the grid are left.
    pub(super) fn new(erasure: &Erasure, grid: [usize; 2]) -> Option<Self> {
        let n = grid[0] * grid[1];
        if erasure.grid != grid || !erasure.units.iter().any(|u| *u < n) {
            return None;
        }
        let is_left = |u: &usize| !erasure.units.contains(u);
        Some(Self {
            left: (0..n).map(|u| f32::from(is_left(&u))).collect(),
            keys: (0..n).filter(is_left).map(|u| u as u32).collect(),
        })
    }

    /// The super tokens that are left.
    pub(super) fn keys(&self) -> &[u32] {
        &self.keys
    }

    /// Weights `[B, 9, H, W]` with those for erased super tokens set to 0.
    pub(super) fn weights(&self, weights: &Tensor, cells: Cells) -> Result<Tensor> {
        let (_, _, height, width) = weights.dims4()?;
        let mut mask = Vec::with_capacity(9 * height * width);
        for k in 0..9 {
            for y in 0..height {
                for x in 0..width {
                    let cell = y / cells.cell[0] * cells.grid[1] + x / cells.cell[1];
                    let token = cells.neighbour(cell, k);
                    mask.push(token.map_or(1.0, |t| self.left[t]));
                }
            }
        }
        let mask = Tensor::from_vec(mask, (1, 9, height, width), weights.device())?;
        weights.broadcast_mul(&mask)
    }

    /// Super tokens `[B, N, C]` with zeros in the place of erased ones.
    pub(super) fn tokens(&self, tokens: &Tensor) -> Result<Tensor> {
        let n = self.left.len();
        tokens.broadcast_mul(&Tensor::from_slice(&self.left, (1, n, 1), tokens.device())?)
    }
}
