//! The routing as a whole, and beside the routing at another `topk`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::RoutingTrace;
use crate::attention::view::{Link, Mark, MarkKind};

/// Logits that are ranked for the curve over all `topk`: more regions than this allows are sampled.
const CURVE_LOGITS: usize = 1 << 16;

/// The `topk` to compare with if nobody says: twice as many regions, or half as many where there
/// are not so many.
pub(super) fn usual_other(topk: usize, regions: usize) -> usize {
    match 2 * topk <= regions {
        true => 2 * topk,
        false => (topk / 2).max(1),
    }
}

impl RoutingTrace {
    /// How much of the routing each region has in common with that at `topk` = `against`, as a
    /// share of routing weight. The ranking is the same for every `topk`, so the smaller routing
    /// is a part of the larger, and the share is what the softmax over the larger one gives to it.
    pub fn overlap(&self, against: usize) -> Vec<f32> {
        let against = against.clamp(1, self.regions().max(1));
        let mut row = Vec::with_capacity(self.regions());
        let shared = |region: usize| {
            if against <= self.topk {
                return self
                    .weights
                    .row(region)
                    .iter()
                    .take(against)
                    .sum::<f32>()
                    .min(1.0);
            }
            row.clear();
            row.extend_from_slice(self.affinity.row(region));
            if against < row.len() {
                row.select_nth_unstable_by(against - 1, |a, b| b.total_cmp(a));
                row.truncate(against);
            }
            let routed = self.routed.row(region).iter();
            let logits = routed.map(|&i| self.affinity.at(&[region, i as usize]));
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum = |logits: &mut dyn Iterator<Item = f32>| {
                logits.map(|l| f64::from((l - top).exp())).sum::<f64>()
            };
            let [own, all] = [sum(&mut { logits }), sum(&mut row.iter().copied())];
            (own / all).min(1.0) as f32
        };
        (0..self.regions()).map(shared).collect()
    }

    /// The mean of [`RoutingTrace::overlap`] for every `topk` from 1 on, over every `step`-th
    /// region; also `step`.
    pub fn overlap_by_topk(&self) -> (Vec<f32>, usize) {
        let n = self.regions();
        let step = (n * n).div_ceil(CURVE_LOGITS).max(1);
        let mut mean = vec![0.0f64; n];
        let chosen = (0..n).step_by(step);
        let count = chosen.len().max(1) as f64;
        let mut row = Vec::with_capacity(n);
        for region in chosen {
            row.clear();
            row.extend_from_slice(self.affinity.row(region));
            row.sort_unstable_by(|a, b| b.total_cmp(a));
            let top = row.first().copied().unwrap_or(0.0);
            let mut sum = 0.0f64;
            let sums: Vec<f64> = row
                .iter()
                .map(|l| {
                    sum += f64::from((l - top).exp());
                    sum
                })
                .collect();
            let own = sums.get(self.topk.max(1) - 1).copied().unwrap_or(sum);
            for (m, s) in mean.iter_mut().zip(sums) {
                *m += (own / s).min(s / own) / count;
            }
        }
        (mean.into_iter().map(|m| m as f32).collect(), step)
    }

    /// Marks and links of one region: itself, what it reads at both `topk`, with the rank, and
    /// what it reads at the larger one only, with a plus or a minus.
    pub fn overlap_marks(&self, region: usize, against: usize) -> (Vec<Mark>, Vec<Link>) {
        let row = self.affinity.row(region);
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
        order.truncate(self.topk.max(against));
        let top = order.first().map_or(0.0, |&i| row[i]);
        let sum: f32 = order.iter().map(|&i| (row[i] - top).exp()).sum();
        let mut marks = Vec::with_capacity(order.len() + 1);
        let mut links = Vec::with_capacity(order.len());
        for (i, &other) in order.iter().enumerate() {
            let rank = i + 1;
            let label = match (rank <= self.topk, rank <= against) {
                (true, true) => rank.to_string(),
                (false, _) => format!("+{rank}"),
                (_, false) => format!("−{rank}"),
            };
            marks.push(Mark {
                rect: self.rect(other),
                label,
                kind: MarkKind::Related,
            });
            links.push(Link {
                from: self.centre(region),
                to: self.centre(other),
                weight: (row[other] - top).exp() / sum,
            });
        }
        marks.push(Mark {
            rect: self.rect(region),
            label: String::new(),
            kind: MarkKind::Query,
        });
        (marks, links)
    }

    /// The strongest links between different regions, largest weight first, and how many there are
    /// in all. Those of regions that hold only padding are left out: nobody reads what they read.
    pub fn strongest_links(&self, most: usize) -> (Vec<Link>, usize) {
        // The weights of a region fall, so that a heap of one link per region is enough.
        let link = |region: usize, rank: usize| {
            let to = *self.routed.row(region).get(rank)?;
            // Weights are not negative: their bits are in their order.
            let weight = self.weights.row(region).get(rank)?.to_bits();
            Some((weight, Reverse(region), rank, to as usize))
        };
        let readers = || (0..self.regions()).filter(|r| !self.is_padding(*r));
        let mut heap: BinaryHeap<_> = readers().filter_map(|r| link(r, 0)).collect();
        let mut links = Vec::new();
        while links.len() < most
            && let Some((weight, Reverse(from), rank, to)) = heap.pop()
        {
            if from != to {
                links.push(Link {
                    from: self.centre(from),
                    to: self.centre(to),
                    weight: f32::from_bits(weight),
                });
            }
            heap.extend(link(from, rank + 1));
        }
        let others = |r: usize| {
            self.routed
                .row(r)
                .iter()
                .filter(move |to| **to as usize != r)
        };
        (links, readers().map(|r| others(r).count()).sum())
    }
}
