//! Polarized self-attention (PSA), as `PolarizedSelfAttention` in forks of YOLOv10. Not to be
//! confused with YOLO's own position-sensitive blocks `PSA` and `C2PSA`.
//!
//! A channel weight and a spatial weight, each between 0 and 1, scale the feature map: side by
//! side (parallel, a factor between 0 and 2) or one after the other (sequential).
//!
//! Source: Liu et al., "Polarized Self-Attention: Towards High-quality Pixel-wise Regression",
//! 2021, in the form with LayerNorm and a softmax over the pooled query.

mod original;
mod questions;
mod trace;

use std::sync::Arc;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::{Array, Attention, BuildArgs, Knobs, Legal, MapSize, Mechanism, Watch, Watched};
use crate::error::in_words;
use crate::kernels::{self, Weighing};

pub use trace::PolarizedTrace;

/// The registry line.
pub static MECHANISM: Mechanism = Mechanism {
    id: "polarized",
    short: "psa",
    title: "Polarized weights",
    about: "One weight per channel and one per position scale the feature map.",
    modules: &[
        "PolarizedSelfAttention",
        "ParallelPolarizedSelfAttention",
        "SequentialPolarizedSelfAttention",
        "PSA_p",
        "PSA_s",
    ],
    build: Some(build),
    probe: None,
};

/// LayerNorm epsilon over the channel logits.
const EPS: f64 = 1e-5;

/// How the two weights are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `spatial · x + channel · x`.
    Parallel,
    /// `spatial · (channel · x)`, the spatial weight computed on `channel · x`.
    Sequential,
}

impl Form {
    /// The factor on a value of a channel at a position, from the two weights.
    pub fn factor(self, spatial: f32, channel: f32) -> f32 {
        match self {
            Self::Parallel => spatial + channel,
            Self::Sequential => spatial * channel,
        }
    }
}

/// A 1×1 convolution as a matrix and a bias.
#[derive(Debug)]
struct Linear {
    /// `[out, in]`.
    weight: Tensor,
    /// `[out]`.
    bias: Tensor,
}

impl Linear {
    fn load(vb: &VarBuilder<'_>, name: &str, from: usize, to: usize) -> Result<Self> {
        let vb = vb.pp(name);
        Ok(Self {
            weight: vb.get((to, from, 1, 1), "weight")?.reshape((to, from))?,
            bias: vb.get(to, "bias")?,
        })
    }

    /// `[B, in, N]` to `[B, out, N]`.
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        self.weight
            .unsqueeze(0)?
            .broadcast_matmul(x)?
            .broadcast_add(&self.bias.unsqueeze(1)?)
    }
}

/// The layer.
#[derive(Debug)]
pub struct PolarizedAttention {
    channels: usize,
    form: Form,
    channel_value: Linear,
    channel_query: Linear,
    channel_out: Linear,
    norm: (Tensor, Tensor),
    spatial_value: Linear,
    spatial_query: Linear,
}

fn build(b: &BuildArgs<'_>) -> std::result::Result<Box<dyn Attention>, String> {
    let c = b.channels;
    if c < 2 || !c.is_multiple_of(2) {
        return Err(format!("{c} channels; expected an even number"));
    }
    if let "PSA_p" | "PSA_s" = b.module {
        return original::build(b);
    }
    let form = match b.module {
        "SequentialPolarizedSelfAttention" => Form::Sequential,
        _ => Form::Parallel,
    };
    let layer = load(c, form, &b.weights).map_err(|e| in_words(&e))?;
    if b.weights.contains_tensor("sp_wq.weight") {
        b.notes.add(
            "read in its current form, with a softmax over the pooled query; older copies of the \
             module have the same tensors",
        );
    }
    Ok(Box::new(layer))
}

fn load(c: usize, form: Form, vb: &VarBuilder<'_>) -> Result<PolarizedAttention> {
    let half = c / 2;
    let ln = vb.pp("ln");
    Ok(PolarizedAttention {
        channels: c,
        form,
        channel_value: Linear::load(vb, "ch_wv", c, half)?,
        channel_query: Linear::load(vb, "ch_wq", c, 1)?,
        channel_out: Linear::load(vb, "ch_wz", half, c)?,
        norm: (ln.get(c, "weight")?, ln.get(c, "bias")?),
        spatial_value: Linear::load(vb, "sp_wv", c, half)?,
        spatial_query: Linear::load(vb, "sp_wq", c, half)?,
    })
}

impl Attention for PolarizedAttention {
    fn mechanism(&self) -> &'static Mechanism {
        &MECHANISM
    }

    fn legal(&self, _map: MapSize, _wanted: &Knobs) -> Legal {
        Legal::default()
    }

    fn forward(&self, x: &Tensor, _knobs: &Knobs, watch: &Watch) -> Result<Watched> {
        let (b, c, h, w) = x.dims4()?;
        if c != self.channels {
            candle_core::bail!("PSA was built for {} channels, got {c}", self.channels);
        }
        let flat = x.flatten_from(2)?;
        let (channel, channel_query) = self.channel_weight(&flat)?;
        let (how, (spatial, spatial_query)) = match self.form {
            Form::Parallel => (Weighing::Sum, self.spatial_weight(&flat)?),
            Form::Sequential => {
                let scaled = flat.broadcast_mul(&channel)?;
                (Weighing::Product, self.spatial_weight(&scaled)?)
            }
        };
        let y = kernels::weigh(&flat, &channel, &spatial, how)?.reshape((b, c, h, w))?;
        if !watch.is_on() {
            return Ok((y, None));
        }
        let trace = PolarizedTrace {
            map: [h, w],
            form: self.form,
            channel_weight: Array::from_tensor(&channel.get(0)?.flatten_all()?)?,
            spatial_weight: Array::from_tensor(&spatial.get(0)?.reshape((h, w))?)?,
            channel_query: Array::from_tensor(&channel_query.get(0)?.reshape((h, w))?)?,
            spatial_query: Array::from_tensor(&spatial_query.get(0)?.flatten_all()?)?,
            query_is_softmax: true,
            input: x.get(0)?,
            output: y.get(0)?,
        };
        Ok((y, Some(Arc::new(trace))))
    }
}

impl PolarizedAttention {
    /// `[B, C, N]` to the channel weight `[B, C, 1]` and where it looked `[B, 1, N]`.
    fn channel_weight(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let query = kernels::softmax_last(&self.channel_query.apply(x)?)?;
        // The weights of the query sum to 1: the mean of a linear map is the linear map of the mean, at an N-th of the cost.
        let mean = x.matmul(&query.transpose(1, 2)?)?;
        let pooled = self.channel_value.apply(&mean)?;
        let logits = self.channel_out.apply(&pooled)?.squeeze(2)?;
        let centred = logits.broadcast_sub(&logits.mean_keepdim(1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(1)? + EPS)?.sqrt()?;
        let normed = centred
            .broadcast_div(&deviation)?
            .broadcast_mul(&self.norm.0)?
            .broadcast_add(&self.norm.1)?;
        Ok((candle_nn::ops::sigmoid(&normed)?.unsqueeze(2)?, query))
    }

    /// `[B, C, N]` to the spatial weight `[B, 1, N]` and the channels it asked for `[B, 1, C/2]`.
    fn spatial_weight(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let pooled = self.spatial_query.apply(&x.mean_keepdim(2)?)?;
        let query = kernels::softmax_last(&pooled.transpose(1, 2)?.contiguous()?)?;
        // What is asked of the value, asked of its weights: one row in place of half the channels.
        let Linear { weight, bias } = &self.spatial_value;
        let bias = query.broadcast_mul(bias)?.sum_keepdim(2)?;
        let row = query.broadcast_matmul(&weight.unsqueeze(0)?)?;
        let logits = row.matmul(x)?.broadcast_add(&bias)?;
        Ok((candle_nn::ops::sigmoid(&logits)?, query))
    }
}
