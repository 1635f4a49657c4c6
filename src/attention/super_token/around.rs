//! What a residual block does around super token attention.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::attention::Watched;
use crate::kernels::{self, Activation, Conv2d};

/// LayerNorm epsilon of STViT.
const EPS: f64 = 1e-6;
/// BatchNorm epsilon: YOLO sets that of every BatchNorm in a model.
pub(super) const BN_EPS: f64 = 1e-3;

/// The form of a row.
#[derive(Debug)]
pub(super) enum Around {
    /// The attention alone.
    Bare,
    /// `x + attention(LayerNorm(x))`; weight and bias of the norm over channels.
    Norm([Tensor; 2]),
    /// The layer of STViT.
    Layer(Box<Layer>),
}

/// `x + dwconv(x)`; `x + γ₁ · attention(norm1(x))`; `x + γ₂ · mlp(norm2(x))`.
#[derive(Debug)]
pub(super) struct Layer {
    pos_embed: Conv2d,
    norm: [Tensor; 2],
    /// 1×1 to the width of the MLP, with the BatchNorm before it folded in.
    up: Conv2d,
    /// Depthwise 3×3 inside the MLP, added to its input.
    inner: Conv2d,
    down: Conv2d,
    /// Layer scale `[1, C, 1, 1]`.
    gamma: Option<[Tensor; 2]>,
}

/// Weight and bias `[C]` of a LayerNorm over the channels.
pub(super) fn norm(vb: &VarBuilder<'_>, c: usize) -> Result<[Tensor; 2]> {
    Ok([vb.get(c, "weight")?, vb.get(c, "bias")?])
}

impl Layer {
    /// Loads all but `attn.*`; `width` is that of the MLP.
    pub(super) fn load(
        vb: &VarBuilder<'_>,
        c: usize,
        width: usize,
        eps: f64,
        scaled: bool,
    ) -> Result<Self> {
        let depthwise = |name: &str, c: usize| {
            let vb = vb.pp(name);
            let bias = Some(vb.get(c, "bias")?);
            Conv2d::new(
                vb.get((c, 1, 3, 3), "weight")?,
                bias,
                1,
                1,
                c,
                Activation::None,
            )
        };
        let mlp = vb.pp("mlp2");
        let pointwise = |weight: Tensor, bias: Tensor| {
            Conv2d::new(weight, Some(bias), 1, 0, 1, Activation::None)
        };
        let up = (
            mlp.get((width, c, 1, 1), "fc1.weight")?,
            mlp.get(width, "fc1.bias")?,
        );
        let up = fold(&vb.pp("norm2"), up, eps)?;
        let gamma = |name: &str| vb.get((1, c, 1, 1), name);
        Ok(Self {
            pos_embed: depthwise("pos_embed.conv", c)?,
            norm: norm(&vb.pp("norm1.norm"), c)?,
            up: pointwise(up.0, up.1)?,
            inner: depthwise("mlp2.conv.conv", width)?,
            down: pointwise(
                mlp.get((c, width, 1, 1), "fc2.weight")?,
                mlp.get(c, "fc2.bias")?,
            )?,
            gamma: match scaled {
                true => Some([gamma("gamma_1")?, gamma("gamma_2")?]),
                false => None,
            },
        })
    }

    fn mlp(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = kernels::gelu(&self.up.forward(x)?)?;
        let hidden = self.inner.forward_plus(&hidden, &hidden)?;
        self.down.forward(&hidden)
    }

    /// A branch by its layer scale, the first or the second.
    fn scaled(&self, branch: Tensor, which: usize) -> Result<Tensor> {
        match &self.gamma {
            Some(gamma) => branch.broadcast_mul(&gamma[which]),
            None => Ok(branch),
        }
    }
}

/// Weight and bias of a 1×1 convolution that stand for a BatchNorm and the convolution after it.
fn fold(
    bn: &VarBuilder<'_>,
    (weight, bias): (Tensor, Tensor),
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    let (out, c, _, _) = weight.dims4()?;
    let get = |name| bn.get(c, name);
    let factor = (get("weight")? / (get("running_var")? + eps)?.sqrt()?)?;
    let shift = (get("bias")? - (get("running_mean")? * &factor)?)?;
    let matrix = weight.reshape((out, c))?;
    let bias = (bias + matrix.matmul(&shift.unsqueeze(1)?)?.squeeze(1)?)?;
    let weight = matrix.broadcast_mul(&factor.unsqueeze(0)?)?;
    Ok((weight.reshape((out, c, 1, 1))?, bias))
}

impl Around {
    /// Runs the attention with what is around it; the trace is that of the attention.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        attend: impl FnOnce(&Tensor) -> Result<Watched>,
    ) -> Result<Watched> {
        let normed = |x: &Tensor, [weight, bias]: &[Tensor; 2]| {
            kernels::layer_norm_channels(x, weight, bias, EPS)
        };
        match self {
            Self::Bare => attend(x),
            Self::Norm(norm) => {
                let (y, trace) = attend(&normed(x, norm)?)?;
                Ok(((x + y)?, trace))
            }
            Self::Layer(layer) => {
                let x = layer.pos_embed.forward_plus(x, x)?;
                let (y, trace) = attend(&normed(&x, &layer.norm)?)?;
                let x = (x + layer.scaled(y, 0)?)?;
                let y = layer.scaled(layer.mlp(&x)?, 1)?;
                Ok(((x + y)?, trace))
            }
        }
    }
}
