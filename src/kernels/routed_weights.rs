//! The weights of token attention over routed regions, for looking at: [`super::routed_attention`] never has them as
//! a whole.

use std::mem::MaybeUninit;
use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use super::attention_weights::weights_of_block;
use super::maps::Held;
use super::micro::{LANE, MR, pack_rows, packed_len};
use super::routed::{Map, Routes};
use super::scratch::with_scratch;
use super::{is_fast, plain};

/// `[heads, T, k·T]` row-major for each of some regions: how much each token of the region reads from each token of the
/// regions it is routed to. `qkv` is as for [`super::routed_attention`].
///
/// # Errors
/// When the routes do not fit the map, or a region is none.
pub fn routed_weights(
    qkv: &Tensor,
    routes: Routes<'_>,
    regions: &[usize],
) -> Result<Vec<Arc<[f32]>>> {
    routes.channels(qkv)?;
    let count = routes.n_win * routes.n_win;
    if let Some(region) = regions.iter().find(|&&r| r >= count) {
        bail!("region {region} of {count}");
    }
    if !is_fast(qkv) {
        let weights = |&region: &usize| {
            let weights = plain::routed_weights(qkv, routes, region)?;
            let weights = weights.to_dtype(candle_core::DType::F32)?;
            Ok(weights.flatten_all()?.to_vec1::<f32>()?.into())
        };
        return regions.iter().map(weights).collect();
    }
    let (_, _, height, width) = qkv.dims4()?;
    let contiguous = [qkv.contiguous()?];
    let held = Held::new(&contiguous);
    let values = held.values()?;
    let map = Map::new(values[0], [height, width], routes.n_win);
    let (tokens, keys) = (map.tokens(), routes.topk() * map.tokens());
    let weights = regions.par_iter().map(|&region| {
        let mut all = Arc::new_uninit_slice(routes.heads * tokens * keys);
        // Nobody else has it yet.
        let out = Arc::get_mut(&mut all).into_iter();
        for (head, out) in out
            .flat_map(|out| out.chunks_exact_mut(tokens * keys))
            .enumerate()
        {
            weights_of(&map, routes, [region, head], out);
        }
        // SAFETY: every head was written as a whole.
        unsafe { all.assume_init() }
    });
    Ok(weights.collect())
}

/// One head of one region, all of whose weights are written.
fn weights_of(
    map: &Map<'_>,
    routes: Routes<'_>,
    [region, head]: [usize; 2],
    out: &mut [MaybeUninit<f32>],
) {
    let (depth, topk, tokens) = (routes.qk_dim / routes.heads, routes.topk(), map.tokens());
    let keys = topk * tokens;
    let cols = keys.next_multiple_of(LANE);
    let query_len = packed_len(tokens, depth);
    with_scratch(query_len + (depth + MR) * cols, |scratch| {
        let (queries, rest) = scratch.split_at_mut(query_len);
        let (panel, logits) = rest.split_at_mut(depth * cols);
        let places: Vec<usize> = (0..tokens).map(|t| map.position(region, t)).collect();
        pack_rows(tokens, depth, queries, |token, c| {
            map.plane(head * depth + c)[places[token]] * routes.scale as f32
        });
        for (c, row) in panel.chunks_exact_mut(cols).enumerate() {
            let channel = routes.qk_dim + head * depth + c;
            for (route, row) in row[..keys].chunks_exact_mut(tokens).enumerate() {
                let route = region * topk + route;
                map.copy_region(channel, routes.routed[route] as usize, row);
                if let Some(weights) = routes.weights {
                    row.iter_mut().for_each(|v| *v *= weights[route]);
                }
            }
            row[keys..].fill(0.0);
        }
        for (block, out) in out.chunks_mut(MR * keys).enumerate() {
            let queries = &queries[block * MR * depth..];
            weights_of_block(queries, panel, [depth, keys], logits);
            for (out, row) in out.chunks_exact_mut(keys).zip(logits.chunks_exact(cols)) {
                out.write_copy_of_slice(&row[..keys]);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::tests::{difference, noise};
    use super::*;

    #[test]
    fn weights_equal_their_twin() {
        // Regions of one to many tokens, rows that are not whole lanes, soft routing.
        for (n_win, [h, w], heads, qk, topk, soft) in [
            (2, [3, 5], 2, 8, 3, false),
            (4, [1, 1], 4, 8, 16, true),
            (3, [2, 7], 1, 5, 1, false),
            (2, [7, 7], 3, 6, 4, true),
        ] {
            let qkv = noise(&[1, 2 * qk + heads, n_win * h, n_win * w], 7);
            let regions = n_win * n_win;
            let routed: Vec<u32> = (0..regions * topk)
                .map(|i| ((i * 5 + i / topk) % regions) as u32)
                .collect();
            let factors: Vec<f32> = (0..regions * topk).map(|i| 0.1 + (i % 7) as f32).collect();
            let routes = Routes {
                n_win,
                heads,
                qk_dim: qk,
                routed: &routed,
                weights: soft.then_some(&factors[..]),
                scale: 0.3,
            };
            let asked = [regions - 1, 0];
            let all = routed_weights(&qkv, routes, &asked).unwrap();
            assert_eq!(all.len(), asked.len());
            for (weights, region) in all.iter().zip(asked) {
                let twin = plain::routed_weights(&qkv, routes, region).unwrap();
                assert_eq!(twin.dims(), [heads, h * w, topk * h * w]);
                let weights = Tensor::from_slice(weights, twin.dims(), qkv.device()).unwrap();
                assert!(
                    difference(&weights, &twin) < 1e-5,
                    "region {region} of {n_win}"
                );
            }
            assert!(routed_weights(&qkv, routes, &[regions]).is_err());
            assert!(routed_weights(&qkv, routes, &[]).unwrap().is_empty());
        }
    }
}
