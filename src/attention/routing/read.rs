//! Token attention over the routed regions.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use super::RoutingAttention;
use super::pool::Pooling;
use super::regions::Regions;
use super::route::Routing;
use crate::attention::{Array, pad_to};
use crate::kernels::{self, Routes};

impl RoutingAttention {
    /// What every token reads: padded `qkv` `[1, 2·qk + C, H, W]` to `[1, C, H, W]`.
    pub(super) fn read(&self, qkv: &Tensor, routing: &Routing, r: Regions) -> Result<Tensor> {
        if self.config.pooling != Pooling::None {
            return self.read_pooled(qkv, routing, r);
        }
        let square = r.squared();
        let routes = |n_win, routed| Routes {
            n_win,
            heads: self.config.heads,
            qk_dim: self.config.qk_dim,
            routed,
            weights: self.config.soft_routing.then(|| routing.weights.data()),
            scale: self.config.scale,
        };
        if square == r {
            return kernels::routed_attention(qkv, routes(r.grid[0], routing.routed.data()));
        }
        // The regions that fill up the grid read something too, which nobody takes.
        let topk = routing.routed.shape()[1];
        let mut routed = vec![0; square.count() * topk];
        for region in 0..r.count() {
            let row = r.on(&square, region) * topk..(r.on(&square, region) + 1) * topk;
            for (to, &from) in routed[row].iter_mut().zip(routing.routed.row(region)) {
                *to = r.on(&square, from as usize) as u32;
            }
        }
        let [height, width] = square.padded;
        let qkv = pad_to(qkv, height, width)?;
        kernels::routed_attention(&qkv, routes(square.grid[0], &routed))?
            .narrow(2, 0, r.padded[0])?
            .narrow(3, 0, r.padded[1])?
            .contiguous()
    }

    /// The same with fewer keys and values than tokens.
    fn read_pooled(&self, qkv: &Tensor, routing: &Routing, r: Regions) -> Result<Tensor> {
        let (heads, qk) = (self.config.heads, self.config.qk_dim);
        let c = qkv.dim(1)? - 2 * qk;
        let (s2, t) = (r.count(), r.tokens());
        let groups = s2 * heads;
        let q = self.by_head(qkv, 0, qk, Pooling::None, r)?;
        let gathered = |start: usize, width: usize| -> Result<Tensor> {
            let all = self.by_head(qkv, start, width, self.config.pooling, r)?;
            let of = (0..s2).map(|region| self.routed_rows(&all, routing, region));
            let of = Tensor::stack(&of.collect::<Result<Vec<_>>>()?, 0)?;
            of.reshape((groups, (), width / heads))
        };
        let q = q.reshape((groups, t, qk / heads))?;
        let (keys, values) = (gathered(qk, qk)?, gathered(2 * qk, c)?);
        let y = kernels::attention(&q, &keys, &values, self.config.scale)?.contiguous()?;
        let ([rows, cols], [h, w]) = (r.grid, r.region);
        y.reshape(&[rows, cols, heads, h, w, c / heads][..])?
            .permute([2, 5, 0, 3, 1, 4])?
            .reshape((1, c, rows * h, cols * w))
    }

    /// The attention weights `[heads, T, k · K]` of the tokens of some regions, `K` keys a region.
    /// The output does not need them as a whole: they are computed for looking at only.
    pub(super) fn weights(
        &self,
        qkv: &Tensor,
        routing: &Routing,
        r: Regions,
        focus: &[usize],
    ) -> Result<BTreeMap<usize, Array>> {
        let mut kept = BTreeMap::new();
        if focus.is_empty() {
            return Ok(kept);
        }
        let qk = self.config.qk_dim;
        let q = (self.by_head(qkv, 0, qk, Pooling::None, r)? * self.config.scale)?;
        let k = self.by_head(qkv, qk, qk, self.config.pooling, r)?;
        for &region in focus {
            let keys = self.routed_rows(&k, routing, region)?;
            let logits = q.get(region)?.matmul(&keys.t()?.contiguous()?)?;
            let weights = kernels::softmax_last(&logits)?;
            kept.insert(region, Array::from_tensor(&weights)?);
        }
        Ok(kept)
    }

    /// Some channels by region and head: `[S², heads, K, d]`.
    fn by_head(
        &self,
        qkv: &Tensor,
        start: usize,
        width: usize,
        pooling: Pooling,
        r: Regions,
    ) -> Result<Tensor> {
        let heads = self.config.heads;
        let tokens = pooling.by_region(&qkv.narrow(1, start, width)?, r)?;
        tokens
            .reshape((r.count(), (), heads, width / heads))?
            .transpose(1, 2)?
            .contiguous()
    }

    /// What one region reads: `[S², heads, K, d]` to `[heads, k · K, d]`, region by region.
    fn routed_rows(&self, all: &Tensor, routing: &Routing, region: usize) -> Result<Tensor> {
        let ids = routing.routed.row(region);
        let (_, heads, keys, d) = all.dims4()?;
        let mut rows = all.index_select(&Tensor::from_slice(ids, ids.len(), all.device())?, 0)?;
        if self.config.soft_routing {
            let w = routing.weights.row(region);
            let w = Tensor::from_slice(w, (ids.len(), 1, 1, 1), all.device())?;
            rows = rows.broadcast_mul(&w)?;
        }
        rows.transpose(0, 1)?.reshape((heads, ids.len() * keys, d))
    }
}
