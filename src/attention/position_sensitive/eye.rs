//! Looking at the attentions inside a block while it runs.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use super::HeadMaps;
use crate::attention::{Array, MapSize, Watch};
use crate::kernels;

/// Weights of single tokens that are kept of one row: 8 M are 32 MB. Beyond it only what every
/// position receives is kept.
const TOKEN_BUDGET: usize = 8 << 20;
/// Queries whose weights are computed at a time.
const QUERIES: usize = 128;

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

    /// Sees one attention: scaled queries and keys `[heads, N, key_dim]` on a map of N positions.
    pub(super) fn look(&mut self, q: &Tensor, k: &Tensor, map: MapSize) -> Result<()> {
        let (heads, n, key_dim) = q.dims3()?;
        let mut focus = self.watch.focus(n);
        let asked = focus.len().saturating_mul(heads * n);
        if asked > self.left {
            focus.clear();
        } else {
            self.left -= asked;
        }
        let keys = k.t()?.contiguous()?;
        let mut received: Option<Tensor> = None;
        let mut token_attention = BTreeMap::new();
        // A few queries at a time: the matrix of all weights is never held.
        for start in (0..n).step_by(QUERIES) {
            let queries = q.narrow(1, start, QUERIES.min(n - start))?;
            let logits = queries.contiguous()?.matmul(&keys)?;
            let weights = kernels::softmax_last(&logits)?;
            let sum = weights.sum(1)?;
            received = Some(match received {
                Some(all) => (all + sum)?,
                None => sum,
            });
            for &token in focus
                .iter()
                .filter(|t| (start..start + QUERIES).contains(t))
            {
                let row = weights.narrow(1, token - start, 1)?.squeeze(1)?;
                token_attention.insert(token, Array::from_tensor(&row)?);
            }
        }
        let Some(received) = received else {
            candle_core::bail!("attention over an empty map");
        };
        let received = (received / n as f64)?.reshape((heads, map[0], map[1]))?;
        self.seen.push(HeadMaps {
            heads,
            key_dim,
            received: Array::from_tensor(&received)?,
            token_attention,
        });
        Ok(())
    }
}
