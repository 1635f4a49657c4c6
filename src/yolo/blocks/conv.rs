//! Conv: convolution without bias, BatchNorm (eps 1e-3), SiLU unless it is switched off.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::kernels::{Activation, Conv2d};

/// BatchNorm epsilon of every YOLO of this family.
const BN_EPS: f64 = 1e-3;

/// Shape of a Conv.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvSpec {
    pub from: usize,
    pub to: usize,
    pub kernel: usize,
    pub stride: usize,
    pub groups: usize,
    pub act: Activation,
}

impl ConvSpec {
    /// A convolution with SiLU, stride 1, one group.
    pub(crate) fn new(from: usize, to: usize, kernel: usize) -> Self {
        Self {
            from,
            to,
            kernel,
            stride: 1,
            groups: 1,
            act: Activation::Silu,
        }
    }

    /// A depthwise convolution with SiLU.
    pub(crate) fn depthwise(channels: usize, kernel: usize) -> Self {
        Self {
            groups: channels,
            ..Self::new(channels, channels, kernel)
        }
    }

    pub(crate) fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    pub(crate) fn no_act(self) -> Self {
        Self {
            act: Activation::None,
            ..self
        }
    }
}

/// Loads `conv.*` and `bn.*` as one convolution; a fused checkpoint has `conv.bias` and no `bn`.
pub(crate) fn load_conv(vb: &VarBuilder<'_>, s: ConvSpec) -> Result<Conv2d> {
    let shape = (s.to, s.from / s.groups, s.kernel, s.kernel);
    let weight = vb.get(shape, "conv.weight")?;
    let (weight, bias) = if vb.contains_tensor("conv.bias") && !vb.contains_tensor("bn.weight") {
        (weight, vb.get(s.to, "conv.bias")?)
    } else {
        let (factor, bias) = fold(vb, s.to)?;
        (
            weight.broadcast_mul(&factor.reshape((s.to, 1, 1, 1))?)?,
            bias,
        )
    };
    Conv2d::new(weight, Some(bias), s.stride, s.kernel / 2, s.groups, s.act)
}

/// Factor and bias that BatchNorm comes down to: `γ/√(σ²+ε)` and `β − μ·γ/√(σ²+ε)`.
fn fold(vb: &VarBuilder<'_>, channels: usize) -> Result<(Tensor, Tensor)> {
    let bn = vb.pp("bn");
    let get = |name| bn.get(channels, name);
    let deviation = (get("running_var")? + BN_EPS)?.sqrt()?;
    let factor = (get("weight")? / deviation)?;
    let bias = (get("bias")? - (get("running_mean")? * &factor)?)?;
    Ok((factor, bias))
}

/// Loads a bare convolution with bias, as at the end of each head branch.
pub(crate) fn load_plain_conv(vb: &VarBuilder<'_>, from: usize, to: usize) -> Result<Conv2d> {
    let weight = vb.get((to, from, 1, 1), "weight")?;
    Conv2d::new(weight, Some(vb.get(to, "bias")?), 1, 0, 1, Activation::None)
}
