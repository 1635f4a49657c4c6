//! What super tokens do among each other before they are given back.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::kernels::{self, Activation, Conv2d};

/// The mixer of super tokens.
#[derive(Debug)]
pub(super) enum Refine {
    /// Nothing: every super token stays what its pixels made it.
    Identity,
    /// Multi-head attention.
    Attention(TokenAttention),
    /// 1×1, depthwise 5×5 and 1×1 convolution over the grid of super tokens.
    Mixer(Box<[Conv2d; 3]>),
}

/// Multi-head attention among super tokens.
#[derive(Debug)]
pub(super) struct TokenAttention {
    heads: usize,
    /// Factor on the logits.
    scale: f64,
    /// `[C, 3C]`, columns per head: q, k, v.
    qkv: Tensor,
    qkv_bias: Option<Tensor>,
    /// `[C, C]`.
    proj: Tensor,
    proj_bias: Tensor,
}

impl Refine {
    /// Multi-head attention with the parameters `qkv.*`, `biased` or not, and `proj.*`. Without a
    /// scale it is that of one head.
    pub(super) fn attention(
        vb: &VarBuilder<'_>,
        c: usize,
        heads: usize,
        scale: Option<f64>,
        biased: bool,
    ) -> Result<Self> {
        let linear = |name: &str, out: usize| -> Result<Tensor> {
            let w = vb.pp(name).get((out, c, 1, 1), "weight")?;
            w.reshape((out, c))?.t()?.contiguous()
        };
        Ok(Self::Attention(TokenAttention {
            heads,
            scale: scale.unwrap_or_else(|| ((c / heads) as f64).powf(-0.5)),
            qkv: linear("qkv", 3 * c)?,
            qkv_bias: biased.then(|| vb.get(3 * c, "qkv.bias")).transpose()?,
            proj: linear("proj", c)?,
            proj_bias: vb.get(c, "proj.bias")?,
        }))
    }

    /// The convolutional mixer with the parameters `0.*`, `1.*` and `2.*`.
    pub(super) fn mixer(vb: &VarBuilder<'_>, c: usize) -> Result<Self> {
        let conv = |name: &str, inner: usize, kernel: usize, groups: usize| {
            let vb = vb.pp(name);
            let weight = vb.get((c, inner, kernel, kernel), "weight")?;
            let bias = Some(vb.get(c, "bias")?);
            Conv2d::new(weight, bias, 1, kernel / 2, groups, Activation::None)
        };
        Ok(Self::Mixer(Box::new([
            conv("0", c, 1, 1)?,
            conv("1", 1, 5, c)?,
            conv("2", c, 1, 1)?,
        ])))
    }

    /// Attention weights for `n` super tokens.
    pub(super) fn weights(&self, n: usize) -> usize {
        match self {
            Self::Attention(a) => n.saturating_mul(n).saturating_mul(a.heads),
            _ => 0,
        }
    }

    /// Super tokens `[B, N, C]` on a grid of `[rows, columns]` to the same shape, and the weights
    /// `[B, heads, N, N]` (row = query) if there are some and they are wanted. With `keys` super
    /// tokens attend to these only.
    pub(super) fn forward(
        &self,
        tokens: &Tensor,
        [rows, cols]: [usize; 2],
        keys: Option<&[u32]>,
        want_weights: bool,
    ) -> Result<(Tensor, Option<Tensor>)> {
        match self {
            Self::Identity => Ok((tokens.clone(), None)),
            Self::Attention(a) => a.forward(tokens, keys, want_weights),
            Self::Mixer(convs) => {
                let (b, _, c) = tokens.dims3()?;
                let mut map = tokens.transpose(1, 2)?.reshape((b, c, rows, cols))?;
                for conv in convs.iter() {
                    map = conv.forward(&map)?;
                }
                let tokens = map.flatten_from(2)?.transpose(1, 2)?.contiguous()?;
                Ok((tokens, None))
            }
        }
    }
}

impl TokenAttention {
    fn forward(
        &self,
        tokens: &Tensor,
        keys: Option<&[u32]>,
        want_weights: bool,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let (b, n, c) = tokens.dims3()?;
        let d = c / self.heads;
        let none = || Tensor::zeros((b * self.heads, n, n), tokens.dtype(), tokens.device());
        if keys.is_some_and(<[u32]>::is_empty) {
            let weights = want_weights.then(|| none()?.reshape((b, self.heads, n, n)));
            return Ok((tokens.zeros_like()?, weights.transpose()?));
        }
        let mut qkv = tokens.broadcast_matmul(&self.qkv)?;
        if let Some(bias) = &self.qkv_bias {
            qkv = qkv.broadcast_add(bias)?;
        }
        // Channels are laid out per head: q, k, v of head 0, then of head 1, …
        let qkv = qkv
            .reshape(&[b, n, self.heads, 3, d][..])?
            .permute([3, 0, 2, 1, 4])?
            .contiguous()?;
        let part = |i: usize| qkv.get(i)?.reshape((b * self.heads, n, d));
        let (q, mut k, mut v) = (part(0)?, part(1)?, part(2)?);
        let keys = keys.map(|ids| Tensor::from_slice(ids, ids.len(), tokens.device()));
        let keys = keys.transpose()?;
        if let Some(ids) = &keys {
            (k, v) = (k.index_select(ids, 1)?, v.index_select(ids, 1)?);
        }
        // The output comes from the same kernel whether or not anyone watches: same bytes.
        let out = kernels::attention(&q, &k, &v, self.scale)?;
        let weights = if want_weights {
            let logits = (q.matmul(&k.t()?)? * self.scale)?;
            let mut weights = kernels::softmax_last(&logits)?;
            if let Some(ids) = &keys {
                weights = none()?.index_add(ids, &weights, 2)?;
            }
            Some(weights.reshape((b, self.heads, n, n))?)
        } else {
            None
        };
        let out = out
            .reshape((b, self.heads, n, d))?
            .transpose(1, 2)?
            .reshape((b, n, c))?
            .broadcast_matmul(&self.proj)?
            .broadcast_add(&self.proj_bias)?;
        Ok((out, weights))
    }
}
