//! The blocks of YOLOv8, YOLOv10, YOLO11 and YOLO26, with parameter names as in checkpoints.
//!
//! Each block turns `[B, C, H, W]` into `[B, C', H', W']`. BatchNorm is folded into the
//! convolutions when they are loaded.

mod cib;
mod conv;
mod csp;
mod pool;
mod psa;
mod rows;
mod source;
mod watched;

use std::fmt::Debug;

use candle_core::{Result, Tensor};

use crate::attention::position_sensitive::Eye;
use crate::kernels::Conv2d;
use crate::yolo::Map;

pub(super) use conv::{ConvSpec, activation, load_conv, load_plain_conv};
pub(super) use rows::{Built, MAX_CHANNELS, RowKind, RowSpec};
pub(super) use source::Source;
pub(super) use watched::Watched;

/// A block with one input. What attends inside shows the eye what it computes.
pub(super) trait Block: Send + Sync + Debug {
    fn forward(&self, x: &Tensor, eye: &mut Eye<'_>) -> Result<Tensor>;

    /// The same for a block that need not have its input as one tensor, or does not make one.
    fn forward_map(&self, x: &Map, eye: &mut Eye<'_>) -> Result<Map> {
        Ok(self.forward(&x.tensor()?, eye)?.into())
    }

    /// Whether there is anything for the eye to see.
    fn attends(&self) -> bool {
        false
    }
}

impl Block for Conv2d {
    fn forward(&self, x: &Tensor, _: &mut Eye<'_>) -> Result<Tensor> {
        self.forward(x)
    }
}

/// Blocks one after the other.
#[derive(Debug)]
pub(super) struct Chain(pub Vec<Box<dyn Block>>);

impl Block for Chain {
    fn forward(&self, x: &Tensor, eye: &mut Eye<'_>) -> Result<Tensor> {
        let mut x = x.clone();
        for block in &self.0 {
            x = block.forward(&x, eye)?;
        }
        Ok(x)
    }

    fn attends(&self) -> bool {
        self.0.iter().any(|block| block.attends())
    }
}

/// Channels times an expansion factor, truncated as Python's `int` does.
fn expand(channels: usize, factor: f64) -> usize {
    (channels as f64 * factor) as usize
}
