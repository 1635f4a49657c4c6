//! Softmax attention for a tile of queries at a time: the matrix of all logits is never written.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::activation::exp;
use super::isa::{Isa, vectorised};
use super::micro::{LANE, MR, NR, Strided, pack_rows, packed_len, tile_product};
use super::output::{Parts, filled};
use super::scratch::with_scratch;
use super::{is_fast, plain};

/// softmax(`scale`·q·kᵀ)·v for every group (batch × head).
///
/// q `[G, N, d]`, k `[G, M, d]`, v `[G, M, e]`; the result is `[G, N, e]`. All three may be views with any strides (a
/// transposed `[G, d, N]` costs nothing extra); where the rows of `v` are such a view, so is the result, and
/// its transpose is contiguous.
///
/// # Errors
/// When the shapes do not fit together or there is no key.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64) -> Result<Tensor> {
    let ((groups, _, d), (kg, keys, kd), (vg, vkeys, _)) = (q.dims3()?, k.dims3()?, v.dims3()?);
    if (kg, kd) != (groups, d) || (vg, vkeys) != (groups, keys) || keys == 0 {
        bail!(
            "attention of queries {:?}, keys {:?}, values {:?}: expected [G, N, d], [G, M, d], [G, M, e]",
            q.shape(),
            k.shape(),
            v.shape()
        );
    }
    if !(is_fast(q) && is_fast(k) && is_fast(v)) {
        return plain::attention(q, k, v, scale);
    }
    let transposed = v.stride()[1] == 1 && v.stride()[2] != 1;
    let run = Run {
        scale: scale as f32,
        transposed,
    };
    let y = q.apply_op3_no_bwd(k, v, &run)?;
    if transposed { y.transpose(1, 2) } else { Ok(y) }
}

struct Run {
    scale: f32,
    /// Write `[G, e, N]` instead of `[G, N, e]`.
    transposed: bool,
}

/// A matrix per group, with any strides.
pub(super) struct Matrices<'a> {
    values: &'a [f32],
    rows: usize,
    pub(super) cols: usize,
    stride: [usize; 3],
}

impl<'a> Matrices<'a> {
    pub(super) fn new(storage: &'a CpuStorage, layout: &Layout) -> Result<Self> {
        let values = &storage.as_slice::<f32>()?[layout.start_offset()..];
        let (_, rows, cols) = layout.shape().dims3()?;
        match *layout.stride() {
            [group, row, col] => Ok(Self {
                values,
                rows,
                cols,
                stride: [group, row, col],
            }),
            ref other => bail!("strides {other:?} of a tensor of rank 3"),
        }
    }

    pub(super) fn at(&self, group: usize, row: usize, col: usize) -> f32 {
        let [g, r, c] = self.stride;
        self.values[group * g + row * r + col * c]
    }
}

/// Keys and values of all groups in the order the tiles read them.
struct Packed<'a> {
    keys: &'a [f32],
    values: &'a [f32],
}

impl CustomOp3 for Run {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (q, k, v) = (
            Matrices::new(s1, l1)?,
            Matrices::new(s2, l2)?,
            Matrices::new(s3, l3)?,
        );
        let (groups, queries, width) = (l1.dims()[0], q.rows, v.cols);
        let shape = if self.transposed {
            (groups, width, queries)
        } else {
            (groups, queries, width)
        };
        let (key_len, value_len) = (packed_len(k.rows, k.cols), packed_len(width, v.rows));
        let y = with_scratch(groups * (key_len + value_len), |scratch| {
            let (keys, values) = scratch.split_at_mut(groups * key_len);
            // At least 1: rayon refuses chunks of nothing.
            keys.par_chunks_mut(key_len.max(1))
                .enumerate()
                .for_each(|(g, keys)| pack_rows(k.rows, k.cols, keys, |row, c| k.at(g, row, c)));
            values
                .par_chunks_mut(value_len.max(1))
                .enumerate()
                .for_each(|(g, values)| {
                    pack_rows(width, v.rows, values, |col, row| v.at(g, row, col))
                });
            let packed = Packed { keys, values };
            let tiles = queries.div_ceil(NR);
            let run = |out: Parts<'_>| {
                (0..groups * tiles).into_par_iter().for_each(|task| {
                    let (group, first) = (task / tiles, task % tiles * NR);
                    self.tile(&q, &packed, (group, first), (v.rows, width), out);
                });
            };
            // SAFETY: `tile` writes every column of its queries.
            unsafe { filled(groups * queries * width, run) }
        });
        Ok((CpuStorage::F32(y), Shape::from(shape)))
    }
}

impl Run {
    /// The queries from `first` of one group.
    fn tile(
        &self,
        q: &Matrices<'_>,
        packed: &Packed<'_>,
        (group, first): (usize, usize),
        (keys, width): (usize, usize),
        out: Parts<'_>,
    ) {
        let sizes = Sizes {
            depth: q.cols,
            keys,
            width,
        };
        let count = NR.min(q.rows - first);
        let (key_len, value_len) = (packed_len(keys, q.cols), packed_len(width, keys));
        attend_tile(
            sizes,
            (
                &packed.keys[group * key_len..(group + 1) * key_len],
                &packed.values[group * value_len..(group + 1) * value_len],
            ),
            count,
            |i, c| q.at(group, first + i, c) * self.scale,
            |column, tile| self.write(tile, column, (group, first, count), (q.rows, width), out),
        );
    }

    /// Writes columns `column..` of the result for `count` queries, from the rows of `tile`.
    fn write(
        &self,
        tile: &[f32],
        column: usize,
        (group, first, count): (usize, usize, usize),
        (queries, width): (usize, usize),
        out: Parts<'_>,
    ) {
        let cols = count.div_ceil(LANE) * LANE;
        if self.transposed {
            for (r, row) in tile.chunks_exact(cols).enumerate() {
                let to = (group * width + column + r) * queries + first;
                // SAFETY: no other task has these queries.
                unsafe { out.write(to, &row[..count]) };
            }
            return;
        }
        let rows = tile.len() / cols;
        for i in 0..count {
            let mut values = [0.0; MR];
            for (v, row) in values.iter_mut().zip(tile.chunks_exact(cols)) {
                *v = row[i];
            }
            let to = (group * queries + first + i) * width + column;
            // SAFETY: no other task has these queries.
            unsafe { out.write(to, &values[..rows]) };
        }
    }
}

/// Sizes of the attention of one group.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    /// Width of a query and of a key.
    pub(super) depth: usize,
    /// Number of keys.
    pub(super) keys: usize,
    /// Width of a value.
    pub(super) width: usize,
}

/// Attention of up to [`NR`] queries over packed keys and values.
///
/// `query(i, c)` is channel `c` of the scaled query `i`. `write(column, rows)` gets the result
/// from channel `column` on: rows of as many values as there are queries, filled up to whole lanes.
/// Queries are the columns here, so that softmax runs down the rows.
pub(super) fn attend_tile(
    Sizes { depth, keys, width }: Sizes,
    (packed_keys, packed_values): (&[f32], &[f32]),
    count: usize,
    query: impl Fn(usize, usize) -> f32,
    mut write: impl FnMut(usize, &[f32]),
) {
    let lanes = count.div_ceil(LANE);
    let cols = lanes * LANE;
    let blocks = keys.div_ceil(MR);
    let isa = Isa::best();
    let need = depth * cols + blocks * MR * cols + (MR + 1) * cols;
    with_scratch(need, |scratch| {
        let (panel, rest) = scratch.split_at_mut(depth * cols);
        let (logits, rest) = rest.split_at_mut(blocks * MR * cols);
        let (tile, sums) = rest.split_at_mut(MR * cols);
        for (c, row) in panel.chunks_exact_mut(cols).enumerate() {
            for (i, v) in row.iter_mut().enumerate() {
                *v = if i < count { query(i, c) } else { 0.0 };
            }
        }
        for (block, out) in logits.chunks_exact_mut(MR * cols).enumerate() {
            tile_product(
                isa,
                depth,
                (&[0.0; MR], &packed_keys[block * MR * depth..]),
                Strided(panel, cols),
                lanes,
                (out, cols),
            );
        }
        // The rows that fill up the last block are no keys.
        softmax_columns(&mut logits[..keys * cols], sums);
        for (block, v) in packed_values.chunks_exact(MR * keys).enumerate() {
            tile_product(
                isa,
                keys,
                (&[0.0; MR], v),
                Strided(logits, cols),
                lanes,
                (tile, cols),
            );
            scale_rows(tile, sums);
            let rows = MR.min(width - block * MR);
            write(block * MR, &tile[..rows * cols]);
        }
    });
}

vectorised! {
    /// Replaces logits `[keys][cols]` by e^(logit − largest of the column) and leaves the inverse of the sum of each column in
    /// `inverse` `[cols]`.
    fn softmax_columns(logits: &mut [f32], inverse: &mut [f32]) {
        for lane in 0..inverse.len() / LANE {
            let cols = inverse.len();
            let at = lane * LANE;
            let mut max = [f32::NEG_INFINITY; LANE];
            for row in logits.chunks_exact(cols) {
                for (m, v) in max.iter_mut().zip(&row[at..at + LANE]) {
                    *m = if *v > *m { *v } else { *m };
                }
            }
            let mut sum = [0.0f32; LANE];
            for row in logits.chunks_exact_mut(cols) {
                for ((v, m), s) in row[at..at + LANE].iter_mut().zip(&max).zip(&mut sum) {
                    *v = exp::<FUSED>(*v - m);
                    *s += *v;
                }
            }
            inverse[at..at + LANE].iter_mut().zip(&sum).for_each(|(i, s)| *i = 1.0 / s);
        }
    }

    /// Multiplies every row of `tile` by `factors`.
    fn scale_rows(tile: &mut [f32], factors: &[f32]) {
        for row in tile.chunks_exact_mut(factors.len()) {
            row.iter_mut().zip(factors).for_each(|(v, f)| *v *= f);
        }
    }
}
