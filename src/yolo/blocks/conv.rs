//! Conv: convolution without bias, BatchNorm (eps 1e-3), SiLU unless it is switched off.

use candle_core::{Result, Tensor};

use super::Source;
use super::rows::{Built, MAX_BLOCK_STRIDE, MAX_KERNEL, RowKind, RowSpec};
use crate::attention::{Arg, Given};
use crate::kernels::{Activation, Conv2d};
use crate::yolo::build::gcd;

/// BatchNorm epsilon of every YOLO of this family.
const BN_EPS: f64 = 1e-3;

pub(super) const ROWS: &[RowKind] = &[
    RowKind::once("Conv", conv_row),
    RowKind::once("DWConv", depthwise_row),
];

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
        Self::new(channels, channels, kernel).groups(channels)
    }

    pub(crate) fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    pub(crate) fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    pub(crate) fn act(self, act: Activation) -> Self {
        Self { act, ..self }
    }

    pub(crate) fn no_act(self) -> Self {
        self.act(Activation::None)
    }
}

/// Loads `conv.*` and `bn.*` as one convolution; a fused checkpoint has `conv.bias` and no `bn`.
/// An activation that the checkpoint states wins.
pub(crate) fn load_conv(source: &Source<'_>, s: ConvSpec) -> Result<Conv2d> {
    if s.groups == 0 || !s.from.is_multiple_of(s.groups) || !s.to.is_multiple_of(s.groups) {
        candle_core::bail!(
            "{} groups do not divide {} and {} channels",
            s.groups,
            s.from,
            s.to
        );
    }
    let act = match activation(source.attribute("act")) {
        Ok(act) => act.unwrap_or(s.act),
        Err(message) => candle_core::bail!("{message}"),
    };
    let shape = (s.to, s.from / s.groups, s.kernel, s.kernel);
    let weight = source.get(shape, "conv.weight")?;
    let (weight, bias) = if source.has("conv.bias") && !source.has("bn.weight") {
        (weight, source.get(s.to, "conv.bias")?)
    } else {
        let (factor, bias) = fold(&source.pp("bn"), s.to)?;
        (
            weight.broadcast_mul(&factor.reshape((s.to, 1, 1, 1))?)?,
            bias,
        )
    };
    Conv2d::new(weight, Some(bias), s.stride, s.kernel / 2, s.groups, act)
}

/// Factor and bias that BatchNorm comes down to: `γ/√(σ²+ε)` and `β − μ·γ/√(σ²+ε)`.
fn fold(bn: &Source<'_>, channels: usize) -> Result<(Tensor, Tensor)> {
    let get = |name| bn.get(channels, name);
    let deviation = (get("running_var")? + BN_EPS)?.sqrt()?;
    let factor = (get("weight")? / deviation)?;
    let bias = (get("bias")? - (get("running_mean")? * &factor)?)?;
    Ok((factor, bias))
}

/// Loads a bare convolution with bias, as at the end of each head branch. Without weights the bias
/// starts at `start`.
pub(crate) fn load_plain_conv(
    source: &Source<'_>,
    from: usize,
    to: usize,
    start: f64,
) -> Result<Conv2d> {
    let weight = source.get((to, from, 1, 1), "weight")?;
    let bias = Some(source.get_or(to, "bias", start)?);
    Conv2d::new(weight, bias, 1, 0, 1, Activation::None)
}

/// An activation as a definition or a checkpoint names it: a switch, or a class such as `SiLU`,
/// `nn.SiLU()` or `Identity`.
pub(crate) fn activation(given: Given<'_>) -> std::result::Result<Option<Activation>, String> {
    match given.value {
        None => Ok(None),
        Some(Arg::Bool(true)) => Ok(Some(Activation::Silu)),
        Some(Arg::Bool(false)) => Ok(Some(Activation::None)),
        Some(Arg::Word(word)) => match word.trim_end_matches("()").rsplit('.').next() {
            Some("SiLU") => Ok(Some(Activation::Silu)),
            Some("Identity") => Ok(Some(Activation::None)),
            _ => Err(format!(
                "its activation is {word}; expected SiLU or Identity"
            )),
        },
        Some(other) => Err(format!(
            "its activation is {}; expected SiLU or Identity",
            other.show()
        )),
    }
}

/// `[channels, kernel, stride, padding, groups, dilation, act]`
fn conv_row(r: &RowSpec<'_>) -> std::result::Result<Built, String> {
    let groups = r.arg(4, "groups").count(Some(1), r.from.max(1))?;
    r.arg(5, "dilation").count(Some(1), 1)?;
    row(r, groups, activation(r.arg(6, "act"))?)
}

/// `[channels, kernel, stride, dilation, act]`, in as many groups as in- and output share.
fn depthwise_row(r: &RowSpec<'_>) -> std::result::Result<Built, String> {
    r.arg(3, "dilation").count(Some(1), 1)?;
    row(r, gcd(r.from, r.channels()?), activation(r.arg(4, "act"))?)
}

fn row(
    r: &RowSpec<'_>,
    groups: usize,
    act: Option<Activation>,
) -> std::result::Result<Built, String> {
    let to = r.channels()?;
    let kernel = r.arg(1, "kernel").odd(Some(1), MAX_KERNEL)?;
    let stride = r.arg(2, "stride").count(Some(1), MAX_BLOCK_STRIDE)?;
    if r.row.module == "Conv"
        && let Some(padding) = r.arg(3, "padding").value
        && *padding != Arg::Int(kernel as i64 / 2)
    {
        return Err(format!(
            "padding is {}; expected None or {}",
            padding.show(),
            kernel / 2
        ));
    }
    let spec = ConvSpec::new(r.from, to, kernel)
        .stride(stride)
        .groups(groups)
        .act(act.unwrap_or(Activation::Silu));
    Built::strided(load_conv(&r.source, spec), to, stride as f64)
}
