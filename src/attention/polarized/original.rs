//! The original modules `PSA_p` and `PSA_s` of the paper's authors.
//!
//! They share neither names nor numbers with the form in forks: no biases in the four branches, no
//! softmax over the pooled query, and a softmax over positions before the spatial sigmoid, which
//! therefore hardly leaves 0.5.

use std::sync::Arc;

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

use super::{EPS, Form, MECHANISM, PolarizedTrace};
use crate::attention::{
    Array, Attention, BuildArgs, Knobs, Legal, MapSize, Mechanism, Watch, Watched,
};
use crate::error::in_words;
use crate::kernels;

/// The layer.
#[derive(Debug)]
struct Original {
    channels: usize,
    form: Form,
    /// `[1, C]`, then `[C/2, C]` each.
    channel_query: Tensor,
    channel_value: Tensor,
    spatial_query: Tensor,
    spatial_value: Tensor,
    up: Up,
}

/// From the pooled value `[B, C/2, 1]` to the channel logits `[B, C, 1]`.
#[derive(Debug)]
enum Up {
    /// `PSA_p`: one matrix `[C, C/2]`.
    Single(Tensor),
    /// `PSA_s`: a bottleneck of C/8 with LayerNorm and ReLU.
    Bottleneck {
        down: (Tensor, Tensor),
        norm: (Tensor, Tensor),
        up: (Tensor, Tensor),
    },
}

pub(super) fn build(b: &BuildArgs<'_>) -> std::result::Result<Box<dyn Attention>, String> {
    let form = match b.module {
        "PSA_s" => Form::Sequential,
        _ => Form::Parallel,
    };
    if form == Form::Sequential && !b.channels.is_multiple_of(8) {
        return Err(format!("{} channels; expected a multiple of 8", b.channels));
    }
    let layer = load(b.channels, form, &b.weights).map_err(|e| in_words(&e))?;
    Ok(Box::new(layer))
}

fn load(c: usize, form: Form, vb: &VarBuilder<'_>) -> Result<Original> {
    let matrix = |name: &str, from: usize, to: usize| -> Result<Tensor> {
        let weight = vb.pp(name).get((to, from, 1, 1), "weight")?;
        weight.reshape((to, from))
    };
    let half = c / 2;
    let up = match form {
        Form::Parallel => Up::Single(matrix("conv_up", half, c)?),
        Form::Sequential => {
            let inner = c / 8;
            let norm = vb.pp("conv_up.1");
            let part = |name| norm.get((inner, 1, 1), name)?.reshape((inner, 1));
            let bias = |name: &str, n: usize| vb.pp(name).get(n, "bias")?.reshape((n, 1));
            Up::Bottleneck {
                down: (matrix("conv_up.0", half, inner)?, bias("conv_up.0", inner)?),
                norm: (part("weight")?, part("bias")?),
                up: (matrix("conv_up.3", inner, c)?, bias("conv_up.3", c)?),
            }
        }
    };
    Ok(Original {
        channels: c,
        form,
        channel_query: matrix("conv_q_right", c, 1)?,
        channel_value: matrix("conv_v_right", c, half)?,
        spatial_query: matrix("conv_q_left", c, half)?,
        spatial_value: matrix("conv_v_left", c, half)?,
        up,
    })
}

/// A matrix `[out, in]` on `[B, in, N]`.
fn apply(matrix: &Tensor, x: &Tensor) -> Result<Tensor> {
    matrix.unsqueeze(0)?.broadcast_matmul(x)
}

impl Attention for Original {
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
        let channel_query = kernels::softmax_last(&apply(&self.channel_query, &flat)?)?;
        let value = apply(&self.channel_value, &flat)?;
        let pooled = value
            .broadcast_mul(&channel_query)?
            .sum_keepdim(D::Minus1)?;
        let channel = candle_nn::ops::sigmoid(&self.up.apply(&pooled)?)?;
        let scaled = flat.broadcast_mul(&channel)?;
        let (spatial, spatial_query) = self.spatial_weight(match self.form {
            Form::Parallel => &flat,
            Form::Sequential => &scaled,
        })?;
        let y = match self.form {
            Form::Parallel => (flat.broadcast_mul(&spatial)? + &scaled)?,
            Form::Sequential => scaled.broadcast_mul(&spatial)?,
        };
        let y = y.reshape((b, c, h, w))?;
        if !watch.is_on() {
            return Ok((y, None));
        }
        let map = |t: &Tensor| Array::from_tensor(&t.get(0)?.reshape((h, w))?);
        let trace = PolarizedTrace {
            map: [h, w],
            form: self.form,
            channel_weight: Array::from_tensor(&channel.get(0)?.flatten_all()?)?,
            spatial_weight: map(&spatial)?,
            channel_query: map(&channel_query)?,
            spatial_query: Array::from_tensor(&spatial_query.get(0)?.flatten_all()?)?,
            query_is_softmax: false,
            input: x.get(0)?,
            output: y.get(0)?,
        };
        Ok((y, Some(Arc::new(trace))))
    }
}

impl Original {
    /// `[B, C, N]` to the spatial weight `[B, 1, N]` and the mean query `[B, 1, C/2]`.
    fn spatial_weight(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let query = apply(&self.spatial_query, &x.mean_keepdim(2)?)?;
        let query = query.transpose(1, 2)?.contiguous()?;
        let value = apply(&self.spatial_value, x)?;
        // The parallel module takes the softmax of the product, the sequential one of the values.
        let logits = match self.form {
            Form::Parallel => kernels::softmax_last(&query.matmul(&value)?)?,
            Form::Sequential => query.matmul(&kernels::softmax_last(&value)?)?,
        };
        Ok((candle_nn::ops::sigmoid(&logits)?, query))
    }
}

impl Up {
    fn apply(&self, pooled: &Tensor) -> Result<Tensor> {
        match self {
            Self::Single(matrix) => apply(matrix, pooled),
            Self::Bottleneck { down, norm, up } => {
                let x = apply(&down.0, pooled)?.broadcast_add(&down.1)?;
                let centred = x.broadcast_sub(&x.mean_keepdim(1)?)?;
                let deviation = (centred.sqr()?.mean_keepdim(1)? + EPS)?.sqrt()?;
                let x = centred
                    .broadcast_div(&deviation)?
                    .broadcast_mul(&norm.0)?
                    .broadcast_add(&norm.1)?
                    .relu()?;
                apply(&up.0, &x)?.broadcast_add(&up.1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::{DType, Device};

    use super::*;
    use crate::attention::{Attributes, Notes, mechanism_of};

    /// Runs a module of 8 channels, all of whose weights are `weight`, on `x` `[1, 8, 1, 2]`.
    fn run(module: &str, weight: f32, x: [f32; 2]) -> Vec<f32> {
        let full = |shape: &[usize]| Tensor::full(weight, shape, &Device::Cpu).unwrap();
        let mut all: HashMap<String, Tensor> = HashMap::new();
        for (name, to) in [("q_right", 1), ("v_right", 4), ("q_left", 4), ("v_left", 4)] {
            all.insert(format!("conv_{name}.weight"), full(&[to, 8, 1, 1]));
        }
        all.insert("conv_up.weight".into(), full(&[8, 4, 1, 1]));
        for (name, shape) in [
            ("0.weight", &[1, 4, 1, 1][..]),
            ("0.bias", &[1]),
            ("1.weight", &[1, 1, 1]),
            ("1.bias", &[1, 1, 1]),
            ("3.weight", &[8, 1, 1, 1]),
            ("3.bias", &[8]),
        ] {
            all.insert(format!("conv_up.{name}"), full(shape));
        }
        let args = BuildArgs {
            module,
            channels: 8,
            args: &[],
            attributes: &Attributes::new(),
            notes: &Notes::default(),
            weights: VarBuilder::from_tensors(all, DType::F32, &Device::Cpu),
        };
        let build = mechanism_of(module).unwrap().build.unwrap();
        let layer = build(&args).unwrap();
        let x = Tensor::from_vec(x.repeat(8), (1, 8, 1, 2), &Device::Cpu).unwrap();
        let (y, trace) = layer.forward(&x, &Knobs::new(), &Watch::All).unwrap();
        assert!(trace.is_some());
        y.get(0)
            .unwrap()
            .get(0)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap()
    }

    #[test]
    fn without_weights_both_masks_are_known() {
        // Channel mask 1/2; spatial mask sigmoid(1/2) of the uniform softmax, or 1/2.
        let half = 1.0 / (1.0 + (-0.5f32).exp());
        let y = run("PSA_p", 0.0, [1.0, 2.0]);
        assert!((y[0] - (half + 0.5)).abs() < 1e-6 && (y[1] - 2.0 * (half + 0.5)).abs() < 1e-6);
        let y = run("PSA_s", 0.0, [1.0, 2.0]);
        assert!((y[0] - 0.25).abs() < 1e-6 && (y[1] - 0.5).abs() < 1e-6);
    }

    #[test]
    fn the_parallel_module_by_hand() {
        // All weights 1/8 on x = 1, 2 in every channel: every projection is x itself. Positions:
        // softmax(1, 2) = 0.26894, 0.73106, pooled 1.73106, channel logit 4/8 of it. Mean query
        // 1.5 in four channels: logits 6 and 12, softmax 0.0024726, 0.9975274.
        let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
        let channel = sigmoid(1.731_058_6 / 2.0);
        let y = run("PSA_p", 0.125, [1.0, 2.0]);
        for (y, (x, share)) in y.iter().zip([(1.0, 0.002_472_6), (2.0, 0.997_527_4)]) {
            let want = x * (sigmoid(share) + channel);
            assert!((f64::from(*y) - want).abs() < 1e-6, "{y} {want}");
        }
    }
}
