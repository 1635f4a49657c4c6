//! The few operations that candle's own are too slow for, each with a plain-candle twin.
use candle_core::{Result, Tensor};

/// What follows a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// `x · sigmoid(x)`.
    Silu,
}

/// Convolution with bias and activation.
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    stride: usize,
    padding: usize,
    groups: usize,
    act: Activation,
}

impl Conv2d {
    /// Weight `[out, in/groups, k, k]`.
    pub fn new(
        weight: Tensor,
        bias: Option<Tensor>,
        stride: usize,
        padding: usize,
        groups: usize,
        act: Activation,
    ) -> Result<Self> {
        let out = weight.dim(0)?;
        let bias = match bias {
            Some(b) => b,
            None => Tensor::zeros(out, weight.dtype(), weight.device())?,
        };
        Ok(Self {
            weight,
            bias,
            stride,
            padding,
            groups,
            act,
        })
    }

    /// `[B, in, H, W]` to `[B, out, H', W']`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = x.conv2d(&self.weight, self.padding, self.stride, 1, self.groups)?;
        let y = y.broadcast_add(&self.bias.reshape((1, (), 1, 1))?)?;
        match self.act {
            Activation::None => Ok(y),
            Activation::Silu => y.silu(),
        }
    }
}

/// Stride 1, odd k, −∞ padding.
pub fn max_pool2d_same(x: &Tensor, k: usize) -> Result<Tensor> {
    let p = k / 2;
    x.pad_with_same(2, p, p)?
        .pad_with_same(3, p, p)?
        .max_pool2d_with_stride(k, 1)
}

/// Softmax over the last axis.
pub fn softmax_last(x: &Tensor) -> Result<Tensor> {
    candle_nn::ops::softmax_last_dim(x)
}

/// LayerNorm over C at every position of `[B, C, H, W]`.
pub fn layer_norm_channels(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let mean = x.mean_keepdim(1)?;
    let c = x.broadcast_sub(&mean)?;
    let var = c.sqr()?.mean_keepdim(1)?;
    c.broadcast_div(&(var + eps)?.sqrt()?)?
        .broadcast_mul(&weight.reshape((1, (), 1, 1))?)?
        .broadcast_add(&bias.reshape((1, (), 1, 1))?)
}

/// `softmax(q·kᵀ·scale)·v`: q `[G, N, d]`, k `[G, M, d]`, v `[G, M, dv]`.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64) -> Result<Tensor> {
    let a = softmax_last(&(q.contiguous()?.matmul(&k.t()?.contiguous()?)? * scale)?)?;
    a.matmul(&v.contiguous()?)
}
