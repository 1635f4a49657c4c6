//! What a BiFormer block does around its attention.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::kernels::{self, Activation, Conv2d};

/// `x + dwconv(x)`; `x + γ₁ · attention(norm1(x))`; `x + γ₂ · mlp(norm2(x))`, on NCHW maps. With
/// the norms behind: `norm1(x + γ₁ · attention(x))`; `norm2(x + γ₂ · mlp(x))`.
#[derive(Debug)]
pub(super) struct Block {
    pos_embed: Option<Conv2d>,
    norms: [Norm; 2],
    /// Whether the norms stand before what they norm.
    pre_norm: bool,
    up: Conv2d,
    /// Depthwise 3×3 inside the MLP.
    inner: Option<Conv2d>,
    down: Conv2d,
    /// Layer scale `[1, C, 1, 1]`.
    gamma: Option<[Tensor; 2]>,
}

/// Weight and bias of a LayerNorm over the channels.
#[derive(Debug)]
struct Norm(Tensor, Tensor);

/// LayerNorm epsilon of BiFormer.
const EPS: f64 = 1e-6;

/// Width of the MLP and what else is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    pub channels: usize,
    pub width: usize,
    pub pos_embed: bool,
    pub mlp_dwconv: bool,
    pub gamma: bool,
    pub pre_norm: bool,
}

impl Block {
    /// Loads the parts beside `attn.*`.
    pub(super) fn load(parts: Parts, vb: &VarBuilder<'_>) -> Result<Self> {
        let (c, width) = (parts.channels, parts.width);
        let norm = |name: &str| -> Result<Norm> {
            let n = vb.pp(name);
            Ok(Norm(n.get(c, "weight")?, n.get(c, "bias")?))
        };
        let linear = |name: &str, from: usize, to: usize| -> Result<Conv2d> {
            let l = vb.pp(name);
            let weight = l.get((to, from), "weight")?.reshape((to, from, 1, 1))?;
            Conv2d::new(weight, Some(l.get(to, "bias")?), 1, 0, 1, Activation::None)
        };
        let depthwise = |there: bool, name: &str, c: usize| -> Result<Option<Conv2d>> {
            if !there {
                return Ok(None);
            }
            let d = vb.pp(name);
            let (weight, bias) = (d.get((c, 1, 3, 3), "weight")?, d.get(c, "bias")?);
            Conv2d::new(weight, Some(bias), 1, 1, c, Activation::None).map(Some)
        };
        let gamma = |name: &str| vb.get(c, name)?.reshape((1, c, 1, 1));
        Ok(Self {
            pos_embed: depthwise(parts.pos_embed, "pos_embed", c)?,
            norms: [norm("norm1")?, norm("norm2")?],
            pre_norm: parts.pre_norm,
            up: linear("mlp.0", c, width)?,
            inner: depthwise(parts.mlp_dwconv, "mlp.1.dwconv", width)?,
            down: linear("mlp.3", width, c)?,
            gamma: match parts.gamma {
                true => Some([gamma("gamma1")?, gamma("gamma2")?]),
                false => None,
            },
        })
    }

    /// The map with its position embedding, and what the attention gets of it.
    pub(super) fn before(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let x = match &self.pos_embed {
            Some(conv) => conv.forward_plus(x, x)?,
            None => x.clone(),
        };
        let asked = self.ahead(0, &x)?;
        Ok((x, asked))
    }

    /// The output of the block from the map and what the attention made of it.
    pub(super) fn after(&self, x: &Tensor, attended: Tensor) -> Result<Tensor> {
        let x = self.join(0, x, attended)?;
        let mut hidden = self.up.forward(&self.ahead(1, &x)?)?;
        if let Some(conv) = &self.inner {
            hidden = conv.forward(&hidden)?;
        }
        let hidden = kernels::gelu(&hidden)?;
        match (&self.gamma, self.pre_norm) {
            (None, true) => self.down.forward_plus(&hidden, &x),
            _ => self.join(1, &x, self.down.forward(&hidden)?),
        }
    }

    /// What branch `i` gets.
    fn ahead(&self, i: usize, x: &Tensor) -> Result<Tensor> {
        match self.pre_norm {
            true => self.norms[i].forward(x),
            false => Ok(x.clone()),
        }
    }

    /// The map with branch `i` added.
    fn join(&self, i: usize, x: &Tensor, branch: Tensor) -> Result<Tensor> {
        let branch = match &self.gamma {
            Some(gamma) => branch.broadcast_mul(&gamma[i])?,
            None => branch,
        };
        let sum = (x + branch)?;
        match self.pre_norm {
            true => Ok(sum),
            false => self.norms[i].forward(&sum),
        }
    }
}

impl Norm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        kernels::layer_norm_channels(x, &self.0, &self.1, EPS)
    }
}
