//! Super token attention (STA) of STViT, as `StokenAttention` in forks of YOLO26.
//!
//! Pixels are softly assigned to the nine super tokens around them, the super tokens attend to
//! each other, and the result is given back along the same assignment. Cell size and number of
//! iterations carry no weights: both are knobs.
//!
//! Source: Huang et al., "Vision Transformer with Super Token Sampling", CVPR 2023.

mod trace;

use std::sync::Arc;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::{
    Arg, Array, Attention, BuildArgs, Knob, KnobValue, Knobs, Legal, MapSize, Mechanism, Watch,
    Watched, ceil_to, pad_to,
};
use crate::kernels::{self, Cells};

pub use trace::SuperTokenTrace;

/// The registry line.
pub static MECHANISM: Mechanism = Mechanism {
    id: "super_token",
    short: "sta",
    title: "Super tokens",
    about: "Pixels join the nine super tokens around them; the super tokens attend to each other.",
    modules: &["StokenAttention", "StokenBlock"],
    build,
    probe: None,
};

/// Largest `heads · N²` (N super tokens) that is computed: 32 M weights are 128 MB.
const ATTENTION_BUDGET: usize = 32 << 20;
/// Longest side of a model's own cells: a smaller map is padded to a whole cell.
const MAX_SIDE: usize = 256;
/// More iterations than this no longer move the assignment visibly.
const MAX_ITERATIONS: usize = 10;

/// The layer: STA alone, or `x + STA(LayerNorm(x))`.
#[derive(Debug)]
pub struct SuperTokenAttention {
    channels: usize,
    heads: usize,
    default_size: [usize; 2],
    default_iterations: usize,
    /// `[C, 3C]`, columns per head: q, k, v.
    qkv: Tensor,
    qkv_bias: Option<Tensor>,
    /// `[C, C]`.
    proj: Tensor,
    proj_bias: Tensor,
    /// Weight and bias of the LayerNorm over channels, in the residual block.
    norm: Option<(Tensor, Tensor)>,
}

/// The association of pixels with super tokens.
struct Association {
    /// One `[B, 9, H, W]` per iteration.
    affinity: Vec<Tensor>,
    /// `[B, m, C]` after the last update.
    tokens: Tensor,
    /// `[B, m]` column sums of the last affinity.
    mass: Tensor,
}

fn build(b: &BuildArgs<'_>) -> std::result::Result<Box<dyn Attention>, String> {
    let default_size = match b.args.first() {
        None | Some(Arg::None) => [8, 8],
        Some(Arg::Int(v)) => [side(*v)?; 2],
        Some(Arg::List(list)) => match list.as_slice() {
            [Arg::Int(h), Arg::Int(w)] => [side(*h)?, side(*w)?],
            _ => return Err("stoken_size takes two counts [height, width]".into()),
        },
        Some(other) => {
            return Err(format!(
                "stoken_size is {}; expected [height, width]",
                other.show()
            ));
        }
    };
    let default_iterations = b.count(1, "n_iter", 1, MAX_ITERATIONS)?;
    let heads = b.count(2, "num_heads", 8, 1024)?;
    let c = b.channels;
    if !c.is_multiple_of(heads) {
        return Err(format!(
            "{c} channels cannot be split into num_heads {heads}"
        ));
    }
    let block = b.module == "StokenBlock";
    let vb = if block {
        b.weights.pp("attn")
    } else {
        b.weights.clone()
    };
    let layer = load(c, heads, &vb).map_err(|e| e.to_string())?;
    let norm = if block {
        let n = b.weights.pp("norm");
        let pair = n.get(c, "weight").and_then(|w| Ok((w, n.get(c, "bias")?)));
        Some(pair.map_err(|e| e.to_string())?)
    } else {
        None
    };
    Ok(Box::new(SuperTokenAttention {
        default_size,
        default_iterations,
        norm,
        ..layer
    }))
}

fn side(v: i64) -> std::result::Result<usize, String> {
    match usize::try_from(v) {
        Ok(v) if (1..=MAX_SIDE).contains(&v) => Ok(v),
        _ => Err(format!(
            "stoken_size is {v}; expected a count from 1 to {MAX_SIDE}"
        )),
    }
}

fn load(c: usize, heads: usize, vb: &VarBuilder<'_>) -> Result<SuperTokenAttention> {
    // Constant one-hot kernels: part of every state dict, not needed by gather and scatter.
    for constant in ["unfold.weights", "fold.weights"] {
        if vb.contains_tensor(constant) {
            vb.get((9, 1, 3, 3), constant)?;
        }
    }
    let refine = vb.pp("stoken_refine");
    let linear = |name: &str, out: usize| -> Result<Tensor> {
        let w = refine.pp(name).get((out, c, 1, 1), "weight")?;
        w.reshape((out, c))?.t()?.contiguous()
    };
    let qkv_bias = if refine.contains_tensor("qkv.bias") {
        Some(refine.get(3 * c, "qkv.bias")?)
    } else {
        None
    };
    Ok(SuperTokenAttention {
        channels: c,
        heads,
        default_size: [8, 8],
        default_iterations: 1,
        qkv: linear("qkv", 3 * c)?,
        qkv_bias,
        proj: linear("proj", c)?,
        proj_bias: refine.get(c, "proj.bias")?,
        norm: None,
    })
}

impl Attention for SuperTokenAttention {
    fn mechanism(&self) -> &'static Mechanism {
        &MECHANISM
    }

    fn legal(&self, map: MapSize, wanted: &Knobs) -> Legal {
        let mut legal = Legal::default();
        let fits = |s: usize| {
            let n = map[0].div_ceil(s) * map[1].div_ceil(s);
            n.saturating_mul(n).saturating_mul(self.heads) <= ATTENTION_BUDGET
        };
        let longest = map[0].max(map[1]).max(1);
        let smallest = (1..=longest).find(|&s| fits(s)).unwrap_or(longest);
        // A cell larger than the map is padded; only the model's own size may be that large.
        let high = [0, 1].map(|i| map[i].max(self.default_size[i]).max(1));
        let low = high.map(|side| smallest.min(side));
        let why_min = if smallest > 1 {
            format!(
                "smaller cells on a {}x{} map would need more than {} M attention weights",
                map[0],
                map[1],
                ATTENTION_BUDGET >> 20
            )
        } else {
            "a cell has at least one pixel".to_owned()
        };
        legal.add(
            Knob {
                name: "stoken_size",
                help: "Height and width of a super token's cell, in cells of the feature map",
                default: KnobValue::Pair(self.default_size),
                min: KnobValue::Pair(low),
                max: KnobValue::Pair(high),
                why_min,
                why_max: format!("the feature map is {}x{}", map[0], map[1]),
            },
            wanted,
        );
        legal.add(
            Knob {
                name: "n_iter",
                help: "How often pixels are assigned to super tokens anew",
                default: KnobValue::Int(self.default_iterations),
                min: KnobValue::Int(1),
                max: KnobValue::Int(MAX_ITERATIONS),
                why_min: "one assignment is needed".into(),
                why_max: format!("the assignment has settled long before {MAX_ITERATIONS}"),
            },
            wanted,
        );
        legal
    }

    fn forward(&self, x: &Tensor, knobs: &Knobs, watch: &Watch) -> Result<Watched> {
        let size = knobs
            .get("stoken_size")
            .map_or(self.default_size, |v| v.pair().map(|s| s.max(1)));
        let n_iter = knobs
            .get("n_iter")
            .map_or(self.default_iterations, |v| v.int().max(1));
        let Some((weight, bias)) = &self.norm else {
            return self.attend(x, size, n_iter, watch);
        };
        let normed = kernels::layer_norm_channels(x, weight, bias, 1e-6)?;
        let (y, trace) = self.attend(&normed, size, n_iter, watch)?;
        Ok(((x + y)?, trace))
    }
}

impl SuperTokenAttention {
    /// STA proper on `[B, C, H0, W0]`.
    fn attend(
        &self,
        x: &Tensor,
        size: [usize; 2],
        n_iter: usize,
        watch: &Watch,
    ) -> Result<Watched> {
        let (_, c, h0, w0) = x.dims4()?;
        if c != self.channels {
            candle_core::bail!("STA was built for {} channels, got {c}", self.channels);
        }
        if size == [1, 1] {
            return self.attend_directly(x, watch);
        }
        let (hp, wp) = (ceil_to(h0, size[0]), ceil_to(w0, size[1]));
        let cells = Cells::new([hp, wp], size)?;
        let [hh, ww] = cells.grid;
        let a = associate(&pad_to(x, hp, wp)?, cells, n_iter)?;
        let (refined, mhsa) = self.refine(&a.tokens, watch.is_on())?;
        let y = kernels::spread(&a.affinity[n_iter - 1], &refined, cells)?
            .narrow(2, 0, h0)?
            .narrow(3, 0, w0)?
            .contiguous()?;

        let Some(mhsa) = mhsa else {
            return Ok((y, None));
        };
        let grid = |t: &Tensor| -> Result<Array> {
            Array::from_tensor(&t.get(0)?.reshape((hh, ww, ()))?.permute((2, 0, 1))?)
        };
        let first = |t: &Tensor| Array::from_tensor(&t.get(0)?);
        let trace = SuperTokenTrace {
            map: [h0, w0],
            padded: [hp, wp],
            stoken_size: size,
            grid: [hh, ww],
            affinity: a.affinity.iter().map(first).collect::<Result<_>>()?,
            stoken_in: grid(&a.tokens)?,
            stoken_out: grid(&refined)?,
            token_attention: first(&mhsa)?,
            column_sum: Array::from_tensor(&a.mass.get(0)?.reshape((hh, ww))?)?,
            input: x.get(0)?,
            output: y.get(0)?,
        };
        Ok((y, Some(Arc::new(trace))))
    }

    /// Cells of one pixel: plain attention over all pixels, no association.
    fn attend_directly(&self, x: &Tensor, watch: &Watch) -> Result<Watched> {
        let (b, c, h, w) = x.dims4()?;
        let tokens = x.flatten_from(2)?.transpose(1, 2)?.contiguous()?;
        let (refined, mhsa) = self.refine(&tokens, watch.is_on())?;
        let y = refined
            .transpose(1, 2)?
            .reshape((b, c, h, w))?
            .contiguous()?;
        let Some(mhsa) = mhsa else {
            return Ok((y, None));
        };
        let trace = SuperTokenTrace {
            map: [h, w],
            padded: [h, w],
            stoken_size: [1, 1],
            grid: [h, w],
            affinity: Vec::new(),
            stoken_in: Array::from_tensor(&x.get(0)?)?,
            stoken_out: Array::from_tensor(&y.get(0)?)?,
            token_attention: Array::from_tensor(&mhsa.get(0)?)?,
            column_sum: Array::from_tensor(&Tensor::ones((h, w), x.dtype(), x.device())?)?,
            input: x.get(0)?,
            output: y.get(0)?,
        };
        Ok((y, Some(Arc::new(trace))))
    }

    /// Multi-head attention on super tokens `[B, N, C]`; the weights `[B, heads, N, N]` (row =
    /// query) only if they are wanted.
    fn refine(&self, tokens: &Tensor, want_weights: bool) -> Result<(Tensor, Option<Tensor>)> {
        let (b, n, c) = tokens.dims3()?;
        let d = c / self.heads;
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
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let scale = (d as f64).powf(-0.5);
        // The output comes from the same kernel whether or not anyone watches: same bytes.
        let out = kernels::attention(&q, &k, &v, scale)?;
        let weights = if want_weights {
            let logits = (q.matmul(&k.t()?)? * scale)?;
            Some(kernels::softmax_last(&logits)?.reshape((b, self.heads, n, n))?)
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

/// Steps 2 to 5 of the mechanism: block means, then `n_iter` affinities, each followed by a
/// weighted mean.
fn associate(x: &Tensor, cells: Cells, n_iter: usize) -> Result<Association> {
    let [h, w] = cells.cell;
    let scale = (x.dim(1)? as f64).powf(-0.5);
    let mut tokens = x
        .contiguous()?
        .avg_pool2d_with_stride((h, w), (h, w))?
        .flatten_from(2)?
        .transpose(1, 2)?
        .contiguous()?;
    let mut mass = tokens.clone();
    let mut affinity = Vec::with_capacity(n_iter);
    for _ in 0..n_iter {
        let a = kernels::affinity(x, &tokens, cells, scale)?;
        (tokens, mass) = kernels::weighted_means(x, &a, cells)?;
        affinity.push(a);
    }
    Ok(Association {
        affinity,
        tokens,
        mass,
    })
}
