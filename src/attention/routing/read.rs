//! Token attention over the routed regions.

use std::borrow::Cow;
use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use super::RoutingAttention;
use super::pool::Pooling;
use super::regions::Regions;
use super::route::Routing;
use crate::attention::{Array, pad_to};
use crate::kernels::{self, Routes};

/// Queries, keys and values on a square grid of regions, which is what the kernels take.
struct Square<'a> {
    qkv: Tensor,
    regions: Regions,
    /// `[S², k]` on this grid.
    routed: Cow<'a, [u32]>,
}

impl RoutingAttention {
    /// What every token reads: padded `qkv` `[1, 2·qk + C, H, W]` to `[1, C, H, W]`.
    pub(super) fn read(&self, qkv: &Tensor, routing: &Routing, r: Regions) -> Result<Tensor> {
        if self.config.pooling != Pooling::None {
            return without_silent(self.read_pooled(qkv, routing, r)?, routing, r);
        }
        let square = on_square(qkv, routing, r)?;
        let y = kernels::routed_attention(&square.qkv, self.routes(&square, routing))?;
        let [height, width] = r.padded;
        let y = y.narrow(2, 0, height)?.narrow(3, 0, width)?.contiguous()?;
        without_silent(y, routing, r)
    }

    fn routes<'a>(&self, square: &'a Square<'_>, routing: &'a Routing) -> Routes<'a> {
        Routes {
            n_win: square.regions.grid[0],
            heads: self.config.heads,
            qk_dim: self.config.qk_dim,
            routed: &square.routed,
            weights: self.config.soft_routing.then(|| routing.weights.data()),
            scale: self.config.scale,
        }
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
        if self.config.pooling != Pooling::None {
            return self.pooled_weights(qkv, routing, r, focus);
        }
        let square = on_square(qkv, routing, r)?;
        let t = r.tokens();
        let shape = [self.config.heads, t, routing.routed.row(0).len() * t];
        let places: Vec<usize> = focus.iter().map(|&f| r.on(&square.regions, f)).collect();
        let routes = self.routes(&square, routing);
        let all = kernels::routed_weights(&square.qkv, routes, &places)?;
        let array = |(&region, weights)| match Array::new(&shape, weights) {
            Some(weights) if routing.silent.contains(&region) => Ok((region, zeros(&weights)?)),
            Some(weights) => Ok((region, weights)),
            None => candle_core::bail!("token attention of region {region} is incomplete"),
        };
        focus.iter().zip(all).map(array).collect()
    }

    /// The same over pooled keys.
    fn pooled_weights(
        &self,
        qkv: &Tensor,
        routing: &Routing,
        r: Regions,
        focus: &[usize],
    ) -> Result<BTreeMap<usize, Array>> {
        let qk = self.config.qk_dim;
        let q = (self.by_head(qkv, 0, qk, Pooling::None, r)? * self.config.scale)?;
        let k = self.by_head(qkv, qk, qk, self.config.pooling, r)?;
        let weights = |&region: &usize| {
            let keys = self.routed_rows(&k, routing, region)?;
            let logits = q.get(region)?.matmul(&keys.t()?.contiguous()?)?;
            let weights = Array::from_tensor(&kernels::softmax_last(&logits)?)?;
            match routing.silent.contains(&region) {
                true => Ok((region, zeros(&weights)?)),
                false => Ok((region, weights)),
            }
        };
        focus.iter().map(weights).collect()
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

/// What was read `[1, C, H, W]`, with nothing in the regions that read nothing.
fn without_silent(y: Tensor, routing: &Routing, r: Regions) -> Result<Tensor> {
    if routing.silent.is_empty() {
        return Ok(y);
    }
    let [height, width] = r.padded;
    let mut mask = vec![1.0f32; height * width];
    for &region in &routing.silent {
        let (row, col) = (region / r.grid[1], region % r.grid[1]);
        for line in mask
            .chunks_mut(width)
            .skip(row * r.region[0])
            .take(r.region[0])
        {
            line[col * r.region[1]..][..r.region[1]].fill(0.0);
        }
    }
    y.broadcast_mul(&Tensor::from_vec(mask, (1, 1, height, width), y.device())?)
}

/// Zeros in the shape of `like`.
fn zeros(like: &Array) -> Result<Array> {
    match Array::new(like.shape(), vec![0.0; like.data().len()]) {
        Some(zeros) => Ok(zeros),
        None => candle_core::bail!("zeros of shape {:?} are incomplete", like.shape()),
    }
}

/// The regions as part of the smallest square grid. The regions that fill it up read something
/// too, which nobody takes.
fn on_square<'a>(qkv: &Tensor, routing: &'a Routing, r: Regions) -> Result<Square<'a>> {
    let regions = r.squared();
    if regions == r {
        return Ok(Square {
            qkv: qkv.clone(),
            regions,
            routed: Cow::Borrowed(routing.routed.data()),
        });
    }
    let topk = routing.routed.row(0).len();
    let mut routed = vec![0; regions.count() * topk];
    for region in 0..r.count() {
        let row = routed.iter_mut().skip(r.on(&regions, region) * topk);
        for (to, &from) in row.zip(routing.routed.row(region)) {
            *to = r.on(&regions, from as usize) as u32;
        }
    }
    Ok(Square {
        qkv: pad_to(qkv, regions.padded[0], regions.padded[1])?,
        regions,
        routed: routed.into(),
    })
}
