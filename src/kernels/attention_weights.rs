//! The weights of attention over all positions, for looking at: [`super::attention`] never has them as a whole.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, Storage, Tensor, bail};
use rayon::prelude::*;

use super::attention::Matrices;
use super::isa::Isa;
use super::micro::{LANE, MR, NR, Strided, pack_rows, packed_len, tile_product};
use super::scratch::with_scratch;
use super::softmax::softmax_rows;
use super::{is_fast, plain};

/// The queries are cut into at most so many parts, however many threads there are: sums stay the same.
const PARTS: usize = 32;

/// What attention reads.
#[derive(Debug)]
pub struct AttentionWeights {
    /// `[G, M]` row-major: the weight that each key gets, mean over all queries; a group sums to 1.
    pub received: Vec<f32>,
    /// `[G, M]` for each query that was asked for: what it reads from; a group sums to 1.
    pub of_queries: Vec<Arc<[f32]>>,
}

/// softmax(`scale`·q·kᵀ) for every group: the mean over all queries, and whole rows of some.
///
/// q `[G, N, d]` and k `[G, M, d]`, with any strides; `asked` are queries, each below N.
///
/// # Errors
/// When the shapes do not fit together, there is no query or no key, or a query that is asked for is none.
pub fn attention_weights(
    q: &Tensor,
    k: &Tensor,
    scale: f64,
    asked: &[usize],
) -> Result<AttentionWeights> {
    let ((groups, queries, depth), (kg, keys, kd)) = (q.dims3()?, k.dims3()?);
    if (kg, kd) != (groups, depth) || queries == 0 || keys == 0 {
        bail!(
            "weights of queries {:?} on keys {:?}: expected [G, N, d] and [G, M, d]",
            q.shape(),
            k.shape()
        );
    }
    if let Some(query) = asked.iter().find(|&&query| query >= queries) {
        bail!("query {query} of {queries}");
    }
    if !(is_fast(q) && is_fast(k)) {
        return plain::attention_weights(q, k, scale, asked);
    }
    let ((qs, ql), (ks, kl)) = (q.storage_and_layout(), k.storage_and_layout());
    let (Storage::Cpu(qs), Storage::Cpu(ks)) = (&*qs, &*ks) else {
        bail!("the kernel needs tensors on the CPU");
    };
    let (q, k) = (Matrices::new(qs, ql)?, Matrices::new(ks, kl)?);
    let mut kept = vec![false; queries];
    for &query in asked {
        kept[query] = true;
    }
    let cols = keys.next_multiple_of(LANE);
    let parts: Vec<Part> = with_scratch(groups * depth * cols, |panels| {
        for (row, out) in panels.chunks_exact_mut(cols).enumerate() {
            let (group, c) = (row / depth, row % depth);
            for (key, v) in out.iter_mut().enumerate() {
                *v = if key < keys { k.at(group, key, c) } else { 0.0 };
            }
        }
        let run = Run {
            q: &q,
            panels,
            groups,
            keys,
            cols,
            scale: scale as f32,
            kept: &kept,
        };
        let blocks = queries.div_ceil(MR);
        let step = blocks.div_ceil(PARTS);
        let part = |first: usize| run.part(first * MR..((first + step) * MR).min(queries));
        (0..blocks)
            .into_par_iter()
            .step_by(step)
            .map(part)
            .collect()
    });
    let mut received = vec![0.0; groups * keys];
    let mut rows: Vec<Option<Arc<[f32]>>> = vec![None; queries];
    for part in parts {
        for (all, part) in received.iter_mut().zip(&part.received) {
            *all += part;
        }
        for (query, row) in part.rows {
            rows[query] = Some(row.into());
        }
    }
    received.iter_mut().for_each(|v| *v /= queries as f32);
    let of_queries = asked.iter().filter_map(|&query| rows[query].clone());
    Ok(AttentionWeights {
        received,
        of_queries: of_queries.collect(),
    })
}

struct Run<'a> {
    q: &'a Matrices<'a>,
    /// `[G, d, cols]`: the keys, as columns.
    panels: &'a [f32],
    groups: usize,
    keys: usize,
    cols: usize,
    scale: f32,
    /// Whose weights are kept, by query.
    kept: &'a [bool],
}

/// What some queries read.
struct Part {
    /// `[G, M]`, summed over them.
    received: Vec<f32>,
    /// `[G, M]` of those that are kept.
    rows: Vec<(usize, Vec<f32>)>,
}

impl Run<'_> {
    fn part(&self, queries: Range<usize>) -> Part {
        let (keys, cols, depth) = (self.keys, self.cols, self.q.cols);
        let mut received = vec![0.0; self.groups * keys];
        let kept = queries.clone().filter(|&query| self.kept[query]);
        let mut rows: Vec<(usize, Vec<f32>)> = kept
            .map(|query| (query, Vec::with_capacity(self.groups * keys)))
            .collect();
        let packed = packed_len(MR, depth);
        with_scratch(packed + MR * cols, |scratch| {
            let (block, logits) = scratch.split_at_mut(packed);
            for group in 0..self.groups {
                let panel = &self.panels[group * depth * cols..][..depth * cols];
                let received = &mut received[group * keys..][..keys];
                let mut rows = rows.iter_mut().peekable();
                for first in queries.clone().step_by(MR) {
                    let count = MR.min(queries.end - first);
                    pack_rows(count, depth, block, |i, c| {
                        self.q.at(group, first + i, c) * self.scale
                    });
                    weights_of_block(block, panel, [depth, keys], logits);
                    for (i, row) in logits.chunks_exact(cols).take(count).enumerate() {
                        let row = &row[..keys];
                        received.iter_mut().zip(row).for_each(|(r, v)| *r += v);
                        if let Some((_, kept)) = rows.next_if(|(query, _)| *query == first + i) {
                            kept.extend_from_slice(row);
                        }
                    }
                }
            }
        });
        Part { received, rows }
    }
}

/// AttentionWeights of a packed block of [`MR`] queries over the keys that are the columns of `panel` `[depth][cols]`, `cols`
/// whole lanes: the first `keys` of each row of `logits` `[MR][cols]`.
pub(super) fn weights_of_block(
    block: &[f32],
    panel: &[f32],
    [depth, keys]: [usize; 2],
    logits: &mut [f32],
) {
    let cols = keys.next_multiple_of(LANE);
    for first in (0..cols).step_by(NR) {
        tile_product(
            Isa::best(),
            depth,
            (&[0.0; MR], block),
            Strided(&panel[first..], cols),
            (cols - first).min(NR) / LANE,
            (&mut logits[first..], cols),
        );
    }
    for row in logits.chunks_exact_mut(cols) {
        softmax_rows(&mut row[..keys], keys);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{difference, noise};
    use super::*;

    #[test]
    fn weights_equal_their_twin() {
        // Fewer queries than a block, keys that are no whole lanes, more blocks than parts.
        for (groups, queries, keys, depth) in [
            (1, 1, 1, 1),
            (2, 25, 25, 32),
            (3, 7, 50, 5),
            (2, 300, 17, 8),
        ] {
            let q = noise(&[groups, depth, queries], 3).transpose(1, 2).unwrap();
            let k = noise(&[groups, keys, depth], 4);
            let asked = [queries - 1, 0, queries / 2];
            let weights = attention_weights(&q, &k, 0.4, &asked).unwrap();
            let twin = plain::attention_weights(&q, &k, 0.4, &asked).unwrap();
            let tensor = |values: &[f32]| Tensor::new(values, q.device()).unwrap();
            let received = tensor(&weights.received);
            assert!(difference(&received, &tensor(&twin.received)) < 1e-5);
            assert_eq!(weights.of_queries.len(), asked.len());
            for (row, twin) in weights.of_queries.iter().zip(&twin.of_queries) {
                assert!(difference(&tensor(row), &tensor(twin)) < 1e-5);
            }
            let none = attention_weights(&q, &k, 0.4, &[]).unwrap();
            assert_eq!(none.received, weights.received);
            assert!(none.of_queries.is_empty());
            assert!(attention_weights(&q, &k, 0.4, &[queries]).is_err());
        }
        let q = noise(&[1, 2, 3], 3);
        assert!(attention_weights(&q, &noise(&[1, 2, 4], 3), 1.0, &[]).is_err());
        assert!(attention_weights(&q, &noise(&[1, 0, 3], 3), 1.0, &[]).is_err());
    }
}
