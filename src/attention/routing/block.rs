//! What a BiFormer block does around its attention.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::kernels::{self, Activation, Conv2d};

/// `x + dwconv(x)`; `x + attention(norm1(x))`; `x + mlp(norm2(x))`, on NCHW maps.
#[derive(Debug)]
pub(super) struct Block {
    pos_embed: Conv2d,
    norm1: (Tensor, Tensor),
    norm2: (Tensor, Tensor),
    up: Conv2d,
    down: Conv2d,
}

/// LayerNorm epsilon of BiFormer.
const EPS: f64 = 1e-6;

impl Block {
    /// Loads the parts beside `attn.*`; `ratio` is the width of the MLP over the channels.
    pub(super) fn load(c: usize, ratio: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let norm = |name: &str| -> Result<(Tensor, Tensor)> {
            let n = vb.pp(name);
            Ok((n.get(c, "weight")?, n.get(c, "bias")?))
        };
        let linear = |name: &str, from: usize, to: usize| -> Result<Conv2d> {
            let l = vb.pp(name);
            let weight = l.get((to, from), "weight")?.reshape((to, from, 1, 1))?;
            Conv2d::new(weight, Some(l.get(to, "bias")?), 1, 0, 1, Activation::None)
        };
        let pos = vb.pp("pos_embed");
        Ok(Self {
            pos_embed: Conv2d::new(
                pos.get((c, 1, 3, 3), "weight")?,
                Some(pos.get(c, "bias")?),
                1,
                1,
                c,
                Activation::None,
            )?,
            norm1: norm("norm1")?,
            norm2: norm("norm2")?,
            up: linear("mlp.0", c, c * ratio)?,
            down: linear("mlp.3", c * ratio, c)?,
        })
    }

    /// The map with its position embedding, and the same normalised for the attention.
    pub(super) fn before(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let x = (x + self.pos_embed.forward(x)?)?;
        let normed = kernels::layer_norm_channels(&x, &self.norm1.0, &self.norm1.1, EPS)?;
        Ok((x, normed))
    }

    /// The MLP with its residual.
    pub(super) fn after(&self, x: &Tensor) -> Result<Tensor> {
        let normed = kernels::layer_norm_channels(x, &self.norm2.0, &self.norm2.1, EPS)?;
        let hidden = kernels::gelu(&self.up.forward(&normed)?)?;
        x + self.down.forward(&hidden)?
    }
}
