//! The weights of bi-level routing attention.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::Config;
use crate::kernels::{Activation, Conv2d};

/// What is learnt. A probe has nothing of it: queries, keys and values are the features themselves.
#[derive(Debug)]
pub(super) struct Projections {
    /// 1×1, to `2·qk + C` channels. Tokens that were padded before it equal its bias.
    qkv: Option<Conv2d>,
    /// Depthwise convolution of the values (local position encoding).
    lepe: Option<Conv2d>,
    /// 1×1 to the output.
    wo: Option<Conv2d>,
    /// `[qk, qk]` and `[qk]`: turns the region means of queries and keys before they are compared.
    router: Option<(Tensor, Tensor)>,
}

impl Projections {
    pub(super) fn none() -> Self {
        Self {
            qkv: None,
            lepe: None,
            wo: None,
            router: None,
        }
    }

    /// The names of BiFormer: `qkv.qkv`, `lepe` of this side if it is not 0, `wo`, `router.emb`.
    pub(super) fn load(
        config: &Config,
        lepe_side: usize,
        output: bool,
        router: bool,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let (c, qk) = (config.channels, config.qk_dim);
        let linear = |name: &str, to: usize| {
            let l = vb.pp(name);
            pointwise(l.get((to, c), "weight")?, l.get(to, "bias")?)
        };
        let emb = vb.pp("router.emb");
        let router = router.then(|| {
            Ok::<_, candle_core::Error>((emb.get((qk, qk), "weight")?, emb.get(qk, "bias")?))
        });
        Ok(Self {
            qkv: Some(linear("qkv.qkv", 2 * qk + c)?),
            lepe: lepe(c, lepe_side, vb)?,
            wo: output.then(|| linear("wo", c)).transpose()?,
            router: router.transpose()?,
        })
    }

    /// The names of the variant on NCHW maps: `qkv_linear`, `lepe`, `output_linear`.
    pub(super) fn load_nchw(
        config: &Config,
        lepe_side: usize,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let c = config.channels;
        let linear = |name: &str, to: usize| {
            let l = vb.pp(name);
            let weight = l.get((to, c, 1, 1), "weight")?.reshape((to, c))?;
            pointwise(weight, l.get(to, "bias")?)
        };
        Ok(Self {
            qkv: Some(linear("qkv_linear", 3 * c)?),
            lepe: lepe(c, lepe_side, vb)?,
            wo: Some(linear("output_linear", c)?),
            router: None,
        })
    }

    /// Queries, keys and values `[1, 2·qk + C, H, W]` of a map `[1, C, H, W]`.
    pub(super) fn project(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.contiguous()?;
        match &self.qkv {
            Some(qkv) => qkv.forward(&x),
            None => Tensor::cat(&[&x, &x, &x], 1),
        }
    }

    /// The position term of the values in `qkv`, added to what was read.
    pub(super) fn add_lepe(&self, y: Tensor, qkv: &Tensor) -> Result<Tensor> {
        let Some(lepe) = &self.lepe else {
            return Ok(y);
        };
        let c = y.dim(1)?;
        let values = qkv.narrow(1, qkv.dim(1)? - c, c)?;
        lepe.forward_plus(&values.contiguous()?, &y)
    }

    /// The output of what was read.
    pub(super) fn output(&self, y: Tensor) -> Result<Tensor> {
        match &self.wo {
            Some(wo) => wo.forward(&y),
            None => Ok(y),
        }
    }

    /// Region means `[S², qk]` as they are compared.
    pub(super) fn route(&self, means: Tensor) -> Result<Tensor> {
        match &self.router {
            Some((weight, bias)) => means.matmul(&weight.t()?)?.broadcast_add(bias),
            None => Ok(means),
        }
    }
}

/// A matrix `[to, from]` and its bias as a 1×1 convolution.
fn pointwise(weight: Tensor, bias: Tensor) -> Result<Conv2d> {
    let (to, from) = weight.dims2()?;
    let weight = weight.reshape((to, from, 1, 1))?;
    Conv2d::new(weight, Some(bias), 1, 0, 1, Activation::None)
}

fn lepe(c: usize, side: usize, vb: &VarBuilder<'_>) -> Result<Option<Conv2d>> {
    if side == 0 {
        return Ok(None);
    }
    let weight = vb.get((c, 1, side, side), "lepe.weight")?;
    let bias = Some(vb.get(c, "lepe.bias")?);
    Conv2d::new(weight, bias, 1, side / 2, c, Activation::None).map(Some)
}
