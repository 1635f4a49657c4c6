//! Bi-level routing attention (BRA) of BiFormer, as `BiLevelRoutingAttention` and `BiFormerBlock`
//! in forks of YOLO11.
//!
//! The map is cut into `n_win × n_win` regions. Region means decide which `topk` regions each
//! region reads from; tokens then attend to the tokens of those regions only. `n_win` and `topk`
//! carry no weights: both are knobs.
//!
//! Source: Zhu et al., "BiFormer: Vision Transformer with Bi-Level Routing Attention", CVPR 2023.

mod block;
mod trace;

use std::sync::Arc;

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

use super::{
    Arg, Array, Attention, BuildArgs, Indices, Knob, KnobValue, Knobs, Legal, MapSize, Mechanism,
    Watch, Watched, ceil_to, pad_to,
};
use crate::kernels::{self, Activation, Conv2d};

use block::Block;
pub use trace::RoutingTrace;

/// The registry line.
pub static MECHANISM: Mechanism = Mechanism {
    id: "routing",
    short: "bra",
    title: "Routed regions",
    about: "Each region reads only from the few regions that its router ranks highest.",
    modules: &["BiLevelRoutingAttention", "BiFormerBlock"],
    build,
};

/// Largest number of token-to-token weights that one layer may compute.
const ATTENTION_BUDGET: usize = 64 << 20;
/// Most regions per side: their routing table has 45⁴ = 4.1 M logits, ranked on the host.
const MAX_WINDOWS: usize = 45;
/// Gathered keys and values of one chunk of regions: at most this many numbers at a time.
const CHUNK: usize = 2 << 20;

/// The layer: BRA alone, or inside a BiFormer block.
#[derive(Debug)]
pub struct RoutingAttention {
    config: Config,
    /// `[C, 2·qk + C]`.
    qkv: Tensor,
    /// `[2·qk + C]`; padded tokens equal it.
    qkv_bias: Tensor,
    /// Depthwise convolution of the values (local position encoding); none if its side is 0.
    lepe: Option<Conv2d>,
    /// `[C, C]`.
    wo: Tensor,
    wo_bias: Tensor,
    block: Option<Block>,
}

#[derive(Debug, Clone, Copy)]
struct Config {
    channels: usize,
    n_win: usize,
    heads: usize,
    qk_dim: usize,
    topk: usize,
    side_dwconv: usize,
    soft_routing: bool,
}

/// The grid of regions over a padded map.
#[derive(Debug, Clone, Copy)]
struct Regions {
    map: MapSize,
    padded: MapSize,
    n_win: usize,
    /// Height and width of a region.
    region: [usize; 2],
}

impl Regions {
    fn new(map: MapSize, n_win: usize) -> Self {
        let padded = map.map(|side| ceil_to(side, n_win));
        Self {
            map,
            padded,
            n_win,
            region: padded.map(|side| side / n_win),
        }
    }

    fn count(&self) -> usize {
        self.n_win * self.n_win
    }

    fn tokens(&self) -> usize {
        self.region[0] * self.region[1]
    }
}

/// Who reads from whom.
struct Routing {
    /// `[S², S²]`.
    affinity: Array,
    /// `[S², k]`, best first.
    routed: Indices,
    /// `[S², k]`.
    weights: Array,
}

/// Queries, keys and values of one image by region: `[S², heads, T, d]`.
struct Parts {
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

fn build(b: &BuildArgs<'_>) -> std::result::Result<Box<dyn Attention>, String> {
    let c = b.channels;
    let n_win = b.count(0, "n_win", 7, 4096)?;
    let heads = b.count(1, "num_heads", 8, 1024)?;
    let block = b.module == "BiFormerBlock";
    let config = if block {
        Config {
            channels: c,
            n_win,
            heads,
            qk_dim: c,
            topk: b.count(2, "topk", 4, 1 << 24)?,
            side_dwconv: kernel_side(b, 4, 5)?,
            soft_routing: false,
        }
    } else {
        Config {
            channels: c,
            n_win,
            heads,
            qk_dim: b.count(2, "qk_dim", c, 1 << 16)?,
            topk: b.count(8, "topk", 4, 1 << 24)?,
            side_dwconv: kernel_side(b, 13, 3)?,
            soft_routing: b.switch(12, "soft_routing", false)?,
        }
    };
    if !c.is_multiple_of(heads) || !config.qk_dim.is_multiple_of(heads) {
        return Err(format!(
            "{c} channels and qk_dim {} cannot be split into num_heads {heads}",
            config.qk_dim
        ));
    }
    if config.topk > n_win.saturating_mul(n_win) {
        return Err(format!(
            "topk is {}, but n_win {n_win} makes only {} regions",
            config.topk,
            n_win * n_win
        ));
    }
    let vb = if block {
        b.weights.pp("attn")
    } else {
        b.weights.clone()
    };
    let attention = load(config, &vb).map_err(|e| e.to_string())?;
    let block = if block {
        let ratio = b.count(3, "mlp_ratio", 4, 64)?;
        Some(Block::load(c, ratio, &b.weights).map_err(|e| e.to_string())?)
    } else {
        None
    };
    Ok(Box::new(RoutingAttention { block, ..attention }))
}

fn kernel_side(b: &BuildArgs<'_>, i: usize, default: usize) -> std::result::Result<usize, String> {
    if b.args.get(i) == Some(&Arg::Int(0)) {
        return Ok(0);
    }
    let side = b.count(i, "side_dwconv", default, 31)?;
    if side.is_multiple_of(2) {
        return Err(format!(
            "side_dwconv is {side}; expected an odd count, or 0 for none"
        ));
    }
    Ok(side)
}

fn load(config: Config, vb: &VarBuilder<'_>) -> Result<RoutingAttention> {
    let Config {
        channels: c,
        qk_dim,
        side_dwconv: s,
        ..
    } = config;
    let width = 2 * qk_dim + c;
    let lepe = if s > 0 {
        let weight = vb.get((c, 1, s, s), "lepe.weight")?;
        let bias = vb.get(c, "lepe.bias")?;
        Some(Conv2d::new(
            weight,
            Some(bias),
            1,
            s / 2,
            c,
            Activation::None,
        )?)
    } else {
        None
    };
    Ok(RoutingAttention {
        qkv: vb.get((width, c), "qkv.qkv.weight")?.t()?.contiguous()?,
        qkv_bias: vb.get(width, "qkv.qkv.bias")?,
        lepe,
        wo: vb.get((c, c), "wo.weight")?.t()?.contiguous()?,
        wo_bias: vb.get(c, "wo.bias")?,
        block: None,
        config,
    })
}

impl Attention for RoutingAttention {
    fn mechanism(&self) -> &'static Mechanism {
        &MECHANISM
    }

    fn legal(&self, map: MapSize, wanted: &Knobs) -> Legal {
        let mut legal = Legal::default();
        // Weights that even topk 1 would need.
        let least = |n: usize| {
            let r = Regions::new(map, n);
            (r.padded[0] * r.padded[1]).saturating_mul(r.tokens()) * self.config.heads
        };
        let sensible = map[0].max(map[1]).max(self.config.n_win).max(1);
        let longest = sensible.min(MAX_WINDOWS);
        let smallest = (1..=longest)
            .find(|&n| least(n) <= ATTENTION_BUDGET)
            .unwrap_or(longest);
        let budget = format!(
            "more than {} M attention weights would be needed",
            ATTENTION_BUDGET >> 20
        );
        let n_win = legal
            .add(
                Knob {
                    name: "n_win",
                    help: "Regions per side: the map is cut into n_win x n_win regions",
                    default: KnobValue::Int(self.config.n_win),
                    min: KnobValue::Int(smallest),
                    max: KnobValue::Int(longest),
                    why_min: if smallest > 1 {
                        budget.clone()
                    } else {
                        "one region is the whole map".into()
                    },
                    why_max: if longest < sensible {
                        "ranking more regions would take seconds".into()
                    } else {
                        format!("the feature map is {}x{}", map[0], map[1])
                    },
                },
                wanted,
            )
            .int();
        let affordable = (ATTENTION_BUDGET / least(n_win).max(1)).max(1);
        let most = affordable.min(n_win * n_win);
        legal.add(
            Knob {
                name: "topk",
                help: "How many regions each region reads from",
                default: KnobValue::Int(self.config.topk),
                min: KnobValue::Int(1),
                max: KnobValue::Int(most),
                why_min: "each region reads from at least one".into(),
                why_max: if most < n_win * n_win {
                    budget
                } else {
                    format!("n_win {n_win} makes {most} regions")
                },
            },
            wanted,
        );
        legal
    }

    fn forward(&self, x: &Tensor, knobs: &Knobs, watch: &Watch) -> Result<Watched> {
        let n_win = knobs
            .get("n_win")
            .map_or(self.config.n_win, |v| v.int().max(1));
        let topk = knobs.get("topk").map_or(self.config.topk, |v| v.int());
        let topk = topk.clamp(1, n_win * n_win);
        match &self.block {
            None => self.attend(x, n_win, topk, watch),
            Some(block) => {
                let (x, normed) = block.before(x)?;
                let (y, trace) = self.attend(&normed, n_win, topk, watch)?;
                Ok((block.after(&(x + y)?)?, trace))
            }
        }
    }
}

impl RoutingAttention {
    /// BRA proper on `[B, C, H0, W0]`.
    fn attend(&self, x: &Tensor, n_win: usize, topk: usize, watch: &Watch) -> Result<Watched> {
        let (b, c, h0, w0) = x.dims4()?;
        if c != self.config.channels {
            candle_core::bail!(
                "BRA was built for {} channels, got {c}",
                self.config.channels
            );
        }
        let regions = Regions::new([h0, w0], n_win);
        let padded = pad_to(x, regions.padded[0], regions.padded[1])?;
        let mut outputs = Vec::with_capacity(b);
        let mut trace = None;
        for image in 0..b {
            let watch = if image == 0 { watch } else { &Watch::Off };
            let (y, t) = self.attend_one(&padded.narrow(0, image, 1)?, regions, topk, watch)?;
            outputs.push(y);
            trace = trace.or(t);
        }
        let y = Tensor::cat(&outputs, 0)?
            .narrow(2, 0, h0)?
            .narrow(3, 0, w0)?
            .contiguous()?;
        let trace = trace.map(|mut t| -> Result<Arc<dyn super::Trace>> {
            t.input = x.get(0)?;
            t.output = y.get(0)?;
            Ok(Arc::new(t))
        });
        Ok((y, trace.transpose()?))
    }

    /// One padded image `[1, C, H, W]`.
    fn attend_one(
        &self,
        x: &Tensor,
        regions: Regions,
        topk: usize,
        watch: &Watch,
    ) -> Result<(Tensor, Option<RoutingTrace>)> {
        let Config {
            channels: c,
            qk_dim,
            ..
        } = self.config;
        let (s2, t) = (regions.count(), regions.tokens());
        let tokens = to_regions(x, regions)?.reshape((s2 * t, c))?;
        let qkv = tokens.matmul(&self.qkv)?.broadcast_add(&self.qkv_bias)?;
        let slice = |start, len| qkv.narrow(1, start, len)?.reshape((s2, t, len));
        let (q, k, v) = (
            slice(0, qk_dim)?,
            slice(qk_dim, qk_dim)?,
            slice(2 * qk_dim, c)?,
        );

        let routing = self.route(&q.mean(1)?, &k.mean(1)?, topk)?;
        let parts = Parts {
            q: self.by_head(&q)?,
            k: self.by_head(&k)?,
            v: self.by_head(&v)?,
        };
        let out = self.token_attention(&parts, &routing, topk)?;
        let mut y = from_regions(&out, regions)?;
        if let Some(lepe) = &self.lepe {
            y = (y + lepe.forward(&from_regions(&v, regions)?)?)?;
        }
        let y = y
            .flatten_from(2)?
            .transpose(1, 2)?
            .contiguous()?
            .broadcast_matmul(&self.wo)?
            .broadcast_add(&self.wo_bias)?
            .transpose(1, 2)?
            .reshape((1, c, regions.padded[0], regions.padded[1]))?
            .contiguous()?;

        if !watch.is_on() {
            return Ok((y, None));
        }
        let mut kept = std::collections::BTreeMap::new();
        for region in watch.focus(s2) {
            kept.insert(region, self.weights_of(&parts, &routing, topk, region)?);
        }
        let trace = RoutingTrace {
            map: regions.map,
            padded: regions.padded,
            n_win: regions.n_win,
            region: regions.region,
            topk,
            affinity: routing.affinity,
            routed: routing.routed,
            weights: routing.weights,
            token_attention: kept,
            // Replaced by the caller, who has the unpadded tensors.
            input: x.get(0)?,
            output: y.get(0)?,
        };
        Ok((y, Some(trace)))
    }

    /// The scale of BRA uses the whole query width, for routing and for tokens alike.
    fn scale(&self) -> f64 {
        (self.config.qk_dim as f64).powf(-0.5)
    }

    /// `[S², T, d]` to `[S², heads, T, d / heads]`.
    fn by_head(&self, x: &Tensor) -> Result<Tensor> {
        let (s2, t, d) = x.dims3()?;
        let heads = self.config.heads;
        x.reshape((s2, t, heads, d / heads))?
            .transpose(1, 2)?
            .contiguous()
    }

    /// Region means `[S², qk]` to who reads from whom. Ranked on the host: the tables are small,
    /// and a stable order makes equal logits deterministic.
    fn route(&self, q: &Tensor, k: &Tensor, topk: usize) -> Result<Routing> {
        let logits = (q * self.scale())?.matmul(&k.t()?)?;
        let affinity = Array::from_tensor(&logits)?;
        let s2 = logits.dim(0)?;
        let mut routed = Vec::with_capacity(s2 * topk);
        let mut weights = Vec::with_capacity(s2 * topk);
        for region in 0..s2 {
            let row = affinity.row(region);
            let mut order: Vec<u32> = (0..s2 as u32).collect();
            order.sort_by(|&a, &b| row[b as usize].total_cmp(&row[a as usize]).then(a.cmp(&b)));
            order.truncate(topk);
            let top = order.first().map_or(0.0, |&i| row[i as usize]);
            let exps: Vec<f32> = order
                .iter()
                .map(|&i| (row[i as usize] - top).exp())
                .collect();
            let sum: f32 = exps.iter().sum();
            weights.extend(exps.iter().map(|e| e / sum));
            routed.extend(order);
        }
        let shape = [s2, topk];
        match (Indices::new(&shape, routed), Array::new(&shape, weights)) {
            (Some(routed), Some(weights)) => Ok(Routing {
                affinity,
                routed,
                weights,
            }),
            _ => candle_core::bail!("routing table of {s2} regions is incomplete"),
        }
    }

    /// Keys or values `[S², heads, T, d]` of the regions that `range` of regions read from:
    /// `[n · heads, k · T, d]`.
    fn gather(
        &self,
        x: &Tensor,
        routing: &Routing,
        topk: usize,
        range: std::ops::Range<usize>,
    ) -> Result<Tensor> {
        let (_, heads, t, d) = x.dims4()?;
        let n = range.len();
        let ids = &routing.routed.data()[range.start * topk..range.end * topk];
        let ids = Tensor::from_slice(ids, n * topk, x.device())?;
        let mut picked = x
            .index_select(&ids, 0)?
            .reshape(&[n, topk, heads, t, d][..])?;
        if self.config.soft_routing {
            let w = &routing.weights.data()[range.start * topk..range.end * topk];
            let w = Tensor::from_slice(w, &[n, topk, 1, 1, 1][..], x.device())?;
            picked = picked.broadcast_mul(&w)?;
        }
        picked
            .transpose(1, 2)?
            .reshape((n * heads, topk * t, d))?
            .contiguous()
    }

    /// Tokens attend to the tokens of the routed regions: `[S², T, C]`.
    fn token_attention(&self, parts: &Parts, routing: &Routing, topk: usize) -> Result<Tensor> {
        let (s2, heads, t, dq) = parts.q.dims4()?;
        let dv = parts.v.dim(D::Minus1)?;
        let per_region = topk * t * heads * (dq + dv);
        let step = (CHUNK / per_region.max(1)).clamp(1, s2);
        let mut outputs = Vec::with_capacity(s2.div_ceil(step));
        for start in (0..s2).step_by(step) {
            let range = start..(start + step).min(s2);
            let n = range.len();
            let q = parts.q.narrow(0, start, n)?.reshape((n * heads, t, dq))?;
            let k = self.gather(&parts.k, routing, topk, range.clone())?;
            let v = self.gather(&parts.v, routing, topk, range)?;
            let out = kernels::attention(&q, &k, &v, self.scale())?;
            outputs.push(out.reshape((n, heads, t, dv))?.transpose(1, 2)?.reshape((
                n,
                t,
                heads * dv,
            ))?);
        }
        Tensor::cat(&outputs, 0)
    }

    /// The attention weights of one region's tokens: `[heads, T, k · T]`.
    fn weights_of(
        &self,
        parts: &Parts,
        routing: &Routing,
        topk: usize,
        region: usize,
    ) -> Result<Array> {
        let k = self.gather(&parts.k, routing, topk, region..region + 1)?;
        let logits = (parts.q.get(region)? * self.scale())?.matmul(&k.t()?)?;
        Array::from_tensor(&kernels::softmax_last(&logits)?)
    }
}

/// `[1, C, H, W]` to `[S², T, C]`, regions and tokens row-major.
fn to_regions(x: &Tensor, r: Regions) -> Result<Tensor> {
    let c = x.dim(1)?;
    let [h, w] = r.region;
    x.reshape(&[c, r.n_win, h, r.n_win, w][..])?
        .permute([1, 3, 2, 4, 0])?
        .reshape((r.count(), h * w, c))
}

/// `[S², T, C]` to `[1, C, H, W]`.
fn from_regions(x: &Tensor, r: Regions) -> Result<Tensor> {
    let c = x.dim(D::Minus1)?;
    let [h, w] = r.region;
    x.reshape(&[r.n_win, r.n_win, h, w, c][..])?
        .permute([4, 0, 2, 1, 3])?
        .reshape((1, c, r.padded[0], r.padded[1]))
}
