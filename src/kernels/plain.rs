//! The kernels as ordinary candle operations: for other devices and number types, and to test against.

use candle_core::{D, DType, Result, Tensor};

use super::{Activation, AttentionWeights, Cells, Routes, Weighing};

/// Convolution of `x` `[B, in, H, W]` with `weight` `[out, in / groups, k, k]` and `bias` `[out]`.
pub fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    (stride, padding, groups): (usize, usize, usize),
    act: Activation,
) -> Result<Tensor> {
    let (out, group_in, ..) = weight.dims4()?;
    // candle runs groups one by one: hundreds of launches on a GPU for a depthwise convolution.
    let y = if group_in == 1 && groups == out && groups > 1 {
        depthwise(x, weight, stride, padding)?
    } else {
        x.conv2d(weight, padding, stride, 1, groups)?
    };
    let y = y.broadcast_add(&bias.reshape((1, out, 1, 1))?)?;
    match act {
        Activation::None => Ok(y),
        Activation::Silu => y.silu(),
    }
}

/// A depthwise convolution as a sum over the taps of shifted, weighted maps.
fn depthwise(x: &Tensor, weight: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    let kernel = weight.dim(2)?;
    let out_height = (height + 2 * padding - kernel) / stride + 1;
    let out_width = (width + 2 * padding - kernel) / stride + 1;
    // Padded so far that from every tap on there are whole strides.
    let more = |size: usize, out: usize| (out * stride + kernel).saturating_sub(size + padding);
    let x = x
        .pad_with_zeros(2, padding, more(height, out_height))?
        .pad_with_zeros(3, padding, more(width, out_width))?;
    let mut sum: Option<Tensor> = None;
    for ky in 0..kernel {
        for kx in 0..kernel {
            let mut tap =
                x.narrow(2, ky, out_height * stride)?
                    .narrow(3, kx, out_width * stride)?;
            if stride > 1 {
                tap = tap
                    .reshape((batch, channels, out_height, stride, out_width * stride))?
                    .narrow(3, 0, 1)?
                    .reshape((batch, channels, out_height, out_width, stride))?
                    .narrow(4, 0, 1)?
                    .squeeze(4)?;
            }
            let w = weight
                .narrow(2, ky, 1)?
                .narrow(3, kx, 1)?
                .reshape((1, channels, 1, 1))?;
            let part = tap.broadcast_mul(&w)?;
            sum = Some(match sum {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
    }
    sum.ok_or_else(|| candle_core::Error::Msg("a convolution kernel of size 0".into()))
}

/// Maximum over k×k windows at stride 1, `x` and result `[B, C, H, W]`, odd `k`.
///
/// Repeating the edge is the same as padding with −∞ here: every value repeated into a window is in it already.
pub fn max_pool2d_same(x: &Tensor, k: usize) -> Result<Tensor> {
    x.pad_with_same(2, k / 2, k / 2)?
        .pad_with_same(3, k / 2, k / 2)?
        .max_pool2d_with_stride(k, 1)
}

/// Softmax over the last axis.
pub fn softmax_last(x: &Tensor) -> Result<Tensor> {
    let e = x.broadcast_sub(&x.max_keepdim(D::Minus1)?)?.exp()?;
    e.broadcast_div(&e.sum_keepdim(D::Minus1)?)
}

/// Layer norm over the channels at every position of `x` `[B, C, H, W]`.
pub fn layer_norm_channels(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let channels = x.dim(1)?;
    let centred = x.broadcast_sub(&x.mean_keepdim(1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(1)? + eps)?.sqrt()?;
    centred
        .broadcast_div(&deviation)?
        .broadcast_mul(&weight.reshape((1, channels, 1, 1))?)?
        .broadcast_add(&bias.reshape((1, channels, 1, 1))?)
}

/// softmax(`scale`·q·kᵀ)·v with q `[G, N, d]`, k `[G, M, d]`, v `[G, M, e]`; result `[G, N, e]`.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64) -> Result<Tensor> {
    let logits = (q.contiguous()? * scale)?.matmul(&k.t()?.contiguous()?)?;
    softmax_last(&logits)?.matmul(&v.contiguous()?)
}

/// Means over cells of `[height, width]` pixels.
pub fn cell_means(x: &Tensor, [height, width]: [usize; 2]) -> Result<Tensor> {
    x.avg_pool2d_with_stride((height, width), (height, width))
}

/// Every pixel of `x` `[B, C, H, W]` twice in both directions.
pub fn upsample_nearest2x(x: &Tensor) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    x.upsample_nearest2d(2 * height, 2 * width)
}

/// Weights of all queries, a few at a time: the matrix of all of them is never held.
pub fn attention_weights(
    q: &Tensor,
    k: &Tensor,
    scale: f64,
    asked: &[usize],
) -> Result<AttentionWeights> {
    /// Queries at a time.
    const STEP: usize = 128;
    let (groups, queries, _) = q.dims3()?;
    let keys = k.t()?.contiguous()?;
    let mut received = Tensor::zeros((groups, keys.dim(2)?), DType::F32, q.device())?;
    let mut rows = vec![None; queries];
    for start in (0..queries).step_by(STEP) {
        let some = q.narrow(1, start, STEP.min(queries - start))?;
        let weights = softmax_last(&(some.contiguous()?.matmul(&keys)? * scale)?)?;
        let weights = weights.to_dtype(DType::F32)?;
        received = (received + weights.sum(1)?)?;
        for &query in asked.iter().filter(|q| (start..start + STEP).contains(q)) {
            let row = weights.narrow(1, query - start, 1)?.flatten_all()?;
            rows[query] = Some(row.to_vec1::<f32>()?.into());
        }
    }
    let received = (received / queries as f64)?.flatten_all()?.to_vec1()?;
    let of_queries = asked.iter().filter_map(|&query| rows[query].clone());
    Ok(AttentionWeights {
        received,
        of_queries: of_queries.collect(),
    })
}

/// Token attention over routed regions, `qkv` `[1, 2·qk + C, H, W]`; result `[1, C, H, W]`.
pub fn routed_attention(qkv: &Tensor, routes: Routes<'_>) -> Result<Tensor> {
    let (_, channels, height, width) = qkv.dims4()?;
    let Routes {
        n_win: n,
        heads,
        qk_dim,
        ..
    } = routes;
    let (c, k) = (channels - 2 * qk_dim, routes.topk());
    let (h, w) = (height / n, width / n);
    let (regions, tokens) = (n * n, h * w);
    let ids = Tensor::from_slice(routes.routed, regions * k, qkv.device())?;
    // `[S², heads, T, d]` of some channels.
    let part = |start: usize, len: usize| {
        qkv.narrow(1, start, len)?
            .contiguous()?
            .reshape(&[heads, len / heads, n, h, n, w][..])?
            .permute([2, 4, 0, 3, 5, 1])?
            .reshape((regions, heads, tokens, len / heads))
    };
    let gathered = |x: Tensor| {
        let d = x.dim(D::Minus1)?;
        let mut x = x
            .index_select(&ids, 0)?
            .reshape(&[regions, k, heads, tokens, d][..])?;
        if let Some(weights) = routes.weights {
            let weights = Tensor::from_slice(weights, &[regions, k, 1, 1, 1][..], qkv.device())?;
            x = x.broadcast_mul(&weights)?;
        }
        x.transpose(1, 2)?.reshape((regions * heads, k * tokens, d))
    };
    let q = part(0, qk_dim)?.reshape((regions * heads, tokens, qk_dim / heads))?;
    let keys = gathered(part(qk_dim, qk_dim)?)?;
    let values = gathered(part(2 * qk_dim, c)?)?;
    attention(&q, &keys, &values, routes.scale)?
        .reshape(&[n, n, heads, h, w, c / heads][..])?
        .permute([2, 5, 0, 3, 1, 4])?
        .reshape((1, c, height, width))
}

/// Weights `[heads, T, k·T]` of the tokens of one region over those of the regions it is routed to.
pub fn routed_weights(qkv: &Tensor, routes: Routes<'_>, region: usize) -> Result<Tensor> {
    let (_, _, height, width) = qkv.dims4()?;
    let Routes {
        n_win: n,
        heads,
        qk_dim,
        ..
    } = routes;
    let (d, k) = (qk_dim / heads, routes.topk());
    let (h, w) = (height / n, width / n);
    // `[heads, d, T]` of one region.
    let part = |start: usize, region: usize| {
        qkv.narrow(1, start, qk_dim)?
            .narrow(2, region / n * h, h)?
            .narrow(3, region % n * w, w)?
            .contiguous()?
            .reshape((heads, d, h * w))
    };
    let keys = (region * k..(region + 1) * k).map(|route| {
        let factor = routes.weights.map_or(1.0, |w| f64::from(w[route]));
        part(qk_dim, routes.routed[route] as usize)? * factor
    });
    let keys = Tensor::cat(&keys.collect::<Result<Vec<_>>>()?, 2)?;
    let queries = (part(0, region)?.transpose(1, 2)?.contiguous()? * routes.scale)?;
    softmax_last(&queries.matmul(&keys)?)
}

/// Weights of the nine super tokens around each pixel: x `[B, C, H, W]`, tokens `[B, m, C]`; `[B, 9, H, W]`.
pub fn affinity(x: &Tensor, tokens: &Tensor, cells: Cells, scale: f64) -> Result<Tensor> {
    let logits = (by_cell(x, cells)?.matmul(&gather(tokens, cells)?.t()?)? * scale)?;
    from_cells(&softmax_last(&logits)?, x.dim(0)?, cells)
}

/// Weighted means `[B, m, C]` of x `[B, C, H, W]` by weights `[B, 9, H, W]`, and the weights received `[B, m]`.
pub fn weighted_means(x: &Tensor, weights: &Tensor, cells: Cells) -> Result<(Tensor, Tensor)> {
    let (b, c, _, _) = x.dims4()?;
    let [hh, ww] = cells.grid;
    let a = by_cell(weights, cells)?;
    let parts = a.t()?.matmul(&by_cell(x, cells)?)?;
    let sums = scatter(&parts.reshape(&[b, hh, ww, 9, c][..])?)?;
    let mass = scatter(&a.sum(1)?.reshape(&[b, hh, ww, 9, 1][..])?)?;
    let means = sums.broadcast_div(&(&mass + 1e-12)?)?;
    Ok((means.reshape((b, hh * ww, c))?, mass.reshape((b, hh * ww))?))
}

/// Tokens `[B, m, C]` given back along weights `[B, 9, H, W]`: `[B, C, H, W]`.
pub fn spread(weights: &Tensor, tokens: &Tensor, cells: Cells) -> Result<Tensor> {
    let pixels = by_cell(weights, cells)?.matmul(&gather(tokens, cells)?)?;
    from_cells(&pixels, weights.dim(0)?, cells)
}

/// `[B, C, H, W]` to `[B·m, h·w, C]`, cell by cell.
fn by_cell(x: &Tensor, cells: Cells) -> Result<Tensor> {
    let (b, c, _, _) = x.dims4()?;
    let ([hh, ww], [h, w]) = (cells.grid, cells.cell);
    x.reshape(&[b, c, hh, h, ww, w][..])?
        .permute([0, 2, 4, 3, 5, 1])?
        .reshape((b * hh * ww, h * w, c))
}

/// The inverse of [`by_cell`].
fn from_cells(x: &Tensor, batch: usize, cells: Cells) -> Result<Tensor> {
    let ([hh, ww], [h, w]) = (cells.grid, cells.cell);
    let c = x.dim(D::Minus1)?;
    x.reshape(&[batch, hh, ww, h, w, c][..])?
        .permute([0, 5, 1, 3, 2, 4])?
        .reshape((batch, c, hh * h, ww * w))
}

/// The nine neighbours of each super token: `[B, m, C]` to `[B·m, 9, C]`, zero off the grid.
fn gather(tokens: &Tensor, cells: Cells) -> Result<Tensor> {
    let (b, m, c) = tokens.dims3()?;
    let [hh, ww] = cells.grid;
    let tokens = tokens.reshape((b, hh, ww, c))?;
    let padded = tokens.pad_with_zeros(1, 1, 1)?.pad_with_zeros(2, 1, 1)?;
    let around = (0..9)
        .map(|k| padded.narrow(1, k / 3, hh)?.narrow(2, k % 3, ww))
        .collect::<Result<Vec<_>>>()?;
    Tensor::stack(&around, 3)?.reshape((b * m, 9, c))
}

/// The adjoint of [`gather`]: `[B, hh, ww, 9, C]` to `[B, hh, ww, C]`; what would fall off the grid is lost.
fn scatter(parts: &Tensor) -> Result<Tensor> {
    let (_, hh, ww, _, _) = parts.dims5()?;
    let shifted = |k: usize| {
        parts
            .narrow(3, k, 1)?
            .squeeze(3)?
            .pad_with_zeros(1, k / 3, 2 - k / 3)?
            .pad_with_zeros(2, k % 3, 2 - k % 3)
    };
    let mut total = shifted(0)?;
    for k in 1..9 {
        total = (total + shifted(k)?)?;
    }
    total.narrow(1, 1, hh)?.narrow(2, 1, ww)?.contiguous()
}

/// `x` `[B, C, N]` weighed by `channels` `[B, C, 1]` and `places` `[B, 1, N]`.
pub fn weigh(x: &Tensor, channels: &Tensor, places: &Tensor, how: Weighing) -> Result<Tensor> {
    let scaled = x.broadcast_mul(channels)?;
    match how {
        Weighing::Sum => x.broadcast_mul(places)? + scaled,
        Weighing::Product => scaled.broadcast_mul(places),
    }
}
