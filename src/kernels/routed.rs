//! Attention of the tokens of each region over the tokens of the regions it is routed to.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::attention::{Sizes, attend_tile};
use super::micro::{LANE, NR, pack_rows, packed_len};
use super::output::{Parts, filled};
use super::scratch::with_scratch;
use super::{is_fast, plain, values};

/// Who reads from whom, on a map that is cut into `n_win × n_win` regions.
#[derive(Debug, Clone, Copy)]
pub struct Routes<'a> {
    /// Regions per side; it divides both sides of the map.
    pub n_win: usize,
    /// Heads; they divide queries and values into contiguous channels.
    pub heads: usize,
    /// Channels of the queries, and of the keys.
    pub qk_dim: usize,
    /// `[S², k]` row-major: the regions that each region reads from.
    pub routed: &'a [u32],
    /// `[S², k]` factors on keys and values, or none.
    pub weights: Option<&'a [f32]>,
    /// Factor on the logits.
    pub scale: f64,
}

impl Routes<'_> {
    /// Regions that each region reads from.
    pub(super) fn topk(&self) -> usize {
        self.routed.len() / (self.n_win * self.n_win).max(1)
    }

    /// Channels of the values of `qkv`, if the routes fit it.
    pub(super) fn channels(&self, qkv: &Tensor) -> Result<usize> {
        let (batch, channels, height, width) = qkv.dims4()?;
        let regions = self.n_win * self.n_win;
        let c = channels.saturating_sub(2 * self.qk_dim);
        let fits = batch == 1
            && regions > 0
            && height.is_multiple_of(self.n_win)
            && width.is_multiple_of(self.n_win)
            && self.heads > 0
            && c > 0
            && c.is_multiple_of(self.heads)
            && self.qk_dim.is_multiple_of(self.heads)
            && !self.routed.is_empty()
            && self.routed.len().is_multiple_of(regions)
            && self.routed.iter().all(|&r| (r as usize) < regions)
            && self.weights.is_none_or(|w| w.len() == self.routed.len());
        if !fits {
            bail!("routes {self:?} do not fit a map {:?}", qkv.shape());
        }
        Ok(c)
    }
}

/// Token attention over routed regions.
///
/// `qkv` `[1, 2·qk + C, H, W]` holds queries, keys and values one after the other; the result is
/// `[1, C, H, W]`.
///
/// # Errors
/// When the routes do not fit the map.
pub fn routed_attention(qkv: &Tensor, routes: Routes<'_>) -> Result<Tensor> {
    let channels = routes.channels(qkv)?;
    if !is_fast(qkv) {
        return plain::routed_attention(qkv, routes);
    }
    qkv.contiguous()?
        .apply_op1_no_bwd(&Run { routes, channels })
}

struct Run<'a> {
    routes: Routes<'a>,
    /// Channels of the values.
    channels: usize,
}

impl CustomOp1 for Run<'_> {
    fn name(&self) -> &'static str {
        "routed-attention"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, _, height, width) = layout.shape().dims4()?;
        let map = Map::new(values(storage, layout)?, [height, width], self.routes.n_win);
        let tasks = self.routes.n_win * self.routes.n_win * self.routes.heads;
        let fill = |out: Parts<'_>| {
            (0..tasks).into_par_iter().for_each(|task| {
                self.attend(
                    &map,
                    task / self.routes.heads,
                    task % self.routes.heads,
                    out,
                )
            });
        };
        // SAFETY: `attend` writes every token of its region in every channel of its head.
        let y = unsafe { filled(self.channels * map.plane, fill) };
        Ok((
            CpuStorage::F32(y),
            Shape::from((1, self.channels, height, width)),
        ))
    }
}

/// The map by region.
pub(super) struct Map<'a> {
    qkv: &'a [f32],
    width: usize,
    plane: usize,
    /// Height and width of a region.
    region: [usize; 2],
    n_win: usize,
}

impl<'a> Map<'a> {
    pub(super) fn new(qkv: &'a [f32], [height, width]: [usize; 2], n_win: usize) -> Self {
        Self {
            qkv,
            width,
            plane: height * width,
            region: [height / n_win, width / n_win],
            n_win,
        }
    }

    /// Tokens of a region.
    pub(super) fn tokens(&self) -> usize {
        self.region[0] * self.region[1]
    }

    /// The values of one channel.
    pub(super) fn plane(&self, channel: usize) -> &'a [f32] {
        &self.qkv[channel * self.plane..][..self.plane]
    }

    /// Copies one channel of a region, token by token.
    pub(super) fn copy_region(&self, channel: usize, region: usize, out: &mut [f32]) {
        let (plane, width) = (self.plane(channel), self.region[1].max(1));
        let first = self.position(region, 0);
        for (y, out) in out.chunks_mut(width).enumerate() {
            out.copy_from_slice(&plane[first + y * self.width..][..out.len()]);
        }
    }

    /// Where token `token` of `region` lies in a plane.
    pub(super) fn position(&self, region: usize, token: usize) -> usize {
        let [h, w] = self.region;
        let y = region / self.n_win * h + token / w;
        let x = region % self.n_win * w + token % w;
        y * self.width + x
    }
}

impl Run<'_> {
    /// One head of one region.
    fn attend(&self, map: &Map<'_>, region: usize, head: usize, out: Parts<'_>) {
        let Routes {
            heads,
            qk_dim,
            routed,
            weights,
            scale,
            ..
        } = self.routes;
        let topk = self.routes.topk();
        let tokens = map.tokens();
        let sizes = Sizes {
            depth: qk_dim / heads,
            keys: topk * tokens,
            width: self.channels / heads,
        };
        let first_q = head * sizes.depth;
        let first_k = qk_dim + head * sizes.depth;
        let first_v = 2 * qk_dim + head * sizes.width;
        let (key_len, value_len) = (
            packed_len(sizes.keys, sizes.depth),
            packed_len(sizes.width, sizes.keys),
        );
        let at = |channel: usize, position: usize| map.qkv[channel * map.plane + position];
        // Where each key lies and the factor on it, worked out once: each is read for every channel.
        let place = |row: usize| {
            let route = region * topk + row / tokens;
            let factor = weights.map_or(1.0, |w| w[route]);
            (map.position(routed[route] as usize, row % tokens), factor)
        };
        let places: Vec<(usize, f32)> = (0..sizes.keys).map(place).collect();
        let asked: Vec<usize> = (0..tokens).map(|t| map.position(region, t)).collect();
        with_scratch(key_len + value_len, |scratch| {
            let (keys, packed_values) = scratch.split_at_mut(key_len);
            pack_rows(sizes.keys, sizes.depth, keys, |row, c| {
                let (position, factor) = places[row];
                factor * at(first_k + c, position)
            });
            pack_rows(sizes.width, sizes.keys, packed_values, |c, row| {
                let (position, factor) = places[row];
                factor * at(first_v + c, position)
            });
            let packed = (&*keys, &*packed_values);
            (0..tokens.div_ceil(NR)).into_par_iter().for_each(|tile| {
                let first = tile * NR;
                let count = NR.min(tokens - first);
                let cols = count.div_ceil(LANE) * LANE;
                let query = |i: usize, c: usize| at(first_q + c, asked[first + i]) * scale as f32;
                attend_tile(sizes, packed, count, query, |column, rows| {
                    for (r, row) in rows.chunks_exact(cols).enumerate() {
                        let plane = (head * sizes.width + column + r) * map.plane;
                        self.write(map, (region, first), plane, &row[..count], out);
                    }
                });
            });
        });
    }

    /// One channel of consecutive tokens of a region: runs within a row of the region.
    fn write(
        &self,
        map: &Map<'_>,
        (region, first): (usize, usize),
        plane: usize,
        row: &[f32],
        out: Parts<'_>,
    ) {
        let w = map.region[1];
        let mut done = 0;
        while done < row.len() {
            let token = first + done;
            let run = (w - token % w).min(row.len() - done);
            // SAFETY: no other task has these tokens in this channel.
            unsafe { out.write(plane + map.position(region, token), &row[done..done + run]) };
            done += run;
        }
    }
}
