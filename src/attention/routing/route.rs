//! The router: which regions each region reads from.

use candle_core::{Result, Tensor};

use super::RoutingAttention;
use super::open::Open;
use super::regions::Regions;
use crate::attention::{Array, Indices};
use crate::kernels;

/// Who reads from whom.
pub(super) struct Routing {
    /// `[S², S²]`.
    pub affinity: Array,
    /// `[S², k]`, best first.
    pub routed: Indices,
    /// `[S², k]`.
    pub weights: Array,
    /// Regions that read nothing, because everything is closed to them. Their routes mean nothing.
    pub silent: Vec<usize>,
}

impl RoutingAttention {
    /// Who reads from whom, by the region means of queries and keys in the padded `qkv`. Ranked on
    /// the host: the tables are small, and a stable order makes equal logits deterministic.
    pub(super) fn route(
        &self,
        qkv: &Tensor,
        regions: Regions,
        topk: usize,
        open: &Open<'_>,
    ) -> Result<Routing> {
        let (q, k) = self.region_means(qkv, regions)?;
        let q = (self.projections.route(q)? * self.config.scale)?;
        let k = self.projections.route(k)?;
        let affinity = Array::from_tensor(&q.matmul(&k.t()?)?)?;
        let s2 = regions.count();
        let mut routed = Vec::with_capacity(s2 * topk);
        let mut weights = Vec::with_capacity(s2 * topk);
        let mut silent = Vec::new();
        for region in 0..s2 {
            let row = affinity.row(region);
            let mut order: Vec<u32> = (0..s2 as u32).collect();
            order.sort_by(|&a, &b| row[b as usize].total_cmp(&row[a as usize]).then(a.cmp(&b)));
            let reads = open.left_to(region) > 0;
            if reads {
                order.retain(|&to| open.is_open(region, to as usize));
            } else {
                silent.push(region);
            }
            order.truncate(topk);
            let top = order.first().map_or(0.0, |&i| row[i as usize]);
            let exps: Vec<f32> = order
                .iter()
                .map(|&i| (row[i as usize] - top).exp())
                .collect();
            let sum: f32 = exps.iter().sum();
            weights.extend(exps.iter().map(|e| if reads { e / sum } else { 0.0 }));
            routed.extend(order);
        }
        let shape = [s2, topk];
        match (Indices::new(&shape, routed), Array::new(&shape, weights)) {
            (Some(routed), Some(weights)) => Ok(Routing {
                affinity,
                routed,
                weights,
                silent,
            }),
            _ => candle_core::bail!("routing table of {s2} regions is incomplete"),
        }
    }

    /// Means `[S², qk]` of the queries and of the keys of each region. Padding counts only where
    /// it went through the projection.
    fn region_means(&self, qkv: &Tensor, regions: Regions) -> Result<(Tensor, Tensor)> {
        let qk = self.config.qk_dim;
        let [h, w] = regions.region;
        let s2 = regions.count();
        let compared = qkv.narrow(1, 0, 2 * qk)?;
        let mut means = kernels::cell_means(&compared, [h, w])?.reshape((2 * qk, s2))?;
        if !self.config.pads_before() {
            let share: Vec<f32> = regions
                .real_cells()
                .into_iter()
                .map(|cells| (h * w) as f32 / cells.max(1.0))
                .collect();
            means = means.broadcast_mul(&Tensor::from_vec(share, (1, s2), means.device())?)?;
        }
        let part = |start| means.narrow(0, start, qk)?.t()?.contiguous();
        Ok((part(0)?, part(qk)?))
    }
}
