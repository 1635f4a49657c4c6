//! Looking at the attentions inside a block while it runs.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::HeadMaps;
use crate::attention::{Array, MapSize, Watch};
use crate::kernels;

/// Weights of single tokens that are kept of one row: 8 M are 32 MB. Beyond it only what every
/// position receives is kept.
const TOKEN_BUDGET: usize = 8 << 20;

/// Sees the attentions of one row in the order in which they run. A closed eye costs nothing.
#[derive(Debug)]
pub struct Eye<'a> {
    watch: &'a Watch,
    seen: Vec<HeadMaps>,
    /// Weights of single tokens that may still be kept.
    left: usize,
}

impl<'a> Eye<'a> {
    /// An eye for what is watched.
    pub fn new(watch: &'a Watch) -> Self {
        Self {
            watch,
            seen: Vec::new(),
            left: TOKEN_BUDGET,
        }
    }

    /// An eye that sees nothing.
    pub fn closed() -> Self {
        Self::new(&Watch::Off)
    }

    /// Whether it sees anything.
    pub fn is_open(&self) -> bool {
        self.watch.is_on()
    }

    /// What it saw, in order.
    pub fn finish(self) -> Vec<HeadMaps> {
        self.seen
    }

    /// Sees one attention: queries and keys `[heads, N, key_dim]` on a map of N positions, and the
    /// factor on their products.
    pub(super) fn look(&mut self, q: &Tensor, k: &Tensor, scale: f64, map: MapSize) -> Result<()> {
        let (heads, n, key_dim) = q.dims3()?;
        let mut focus = self.watch.focus(n);
        let asked = focus.len().saturating_mul(heads * n);
        if asked > self.left {
            focus.clear();
        } else {
            self.left -= asked;
        }
        let weights = kernels::attention_weights(q, k, scale, &focus)?;
        let array = |shape: &[usize], values: Arc<[f32]>| match Array::new(shape, values) {
            Some(array) => Ok(array),
            None => candle_core::bail!("weights of {heads} heads on {map:?} are incomplete"),
        };
        let of_token = |(&token, row)| Ok((token, array(&[heads, n], row)?));
        let token_attention = focus.iter().zip(weights.of_queries).map(of_token);
        self.seen.push(HeadMaps {
            heads,
            key_dim,
            received: array(&[heads, map[0], map[1]], weights.received.into())?,
            token_attention: token_attention.collect::<Result<_>>()?,
        });
        Ok(())
    }
}
