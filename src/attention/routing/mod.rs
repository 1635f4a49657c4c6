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

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::{
    Arg, Array, Attention, BuildArgs, Indices, Knob, KnobValue, Knobs, Legal, MapSize, Mechanism,
    Watch, Watched, ceil_to, pad_to,
};
use crate::kernels::{self, Activation, Conv2d, Routes};

use block::Block;
pub use trace::RoutingTrace;

/// The registry line.
pub static MECHANISM: Mechanism = Mechanism {
    id: "routing",
    short: "bra",
    title: "Routed regions",
    about: "Each region reads only from the few regions that its router ranks highest.",
    modules: &["BiLevelRoutingAttention", "BiFormerBlock"],
    build: Some(build),
    probe: Some(probe),
};

/// Largest number of token-to-token weights that one layer may compute.
const ATTENTION_BUDGET: usize = 64 << 20;
/// Most regions per side: their routing table has 45⁴ = 4.1 M logits, ranked on the host.
const MAX_WINDOWS: usize = 45;

/// The layer: BRA alone, or inside a BiFormer block.
#[derive(Debug)]
pub struct RoutingAttention {
    config: Config,
    /// 1×1, to `2·qk + C` channels. Padded tokens equal its bias. A probe has none: queries, keys
    /// and values are the features themselves.
    qkv: Option<Conv2d>,
    /// Depthwise convolution of the values (local position encoding); none if its side is 0.
    lepe: Option<Conv2d>,
    /// 1×1; none in a probe.
    wo: Option<Conv2d>,
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

fn build(b: &BuildArgs<'_>) -> std::result::Result<Box<dyn Attention>, String> {
    let c = b.channels;
    let n_win = b.arg(0, "n_win").count(Some(7), 4096)?;
    let heads = b.arg(1, "num_heads").count(Some(8), 1024)?;
    let block = b.module == "BiFormerBlock";
    let config = if block {
        Config {
            channels: c,
            n_win,
            heads,
            qk_dim: c,
            topk: b.arg(2, "topk").count(Some(4), 1 << 24)?,
            side_dwconv: kernel_side(b, 4, 5)?,
            soft_routing: false,
        }
    } else {
        Config {
            channels: c,
            n_win,
            heads,
            qk_dim: b.arg(2, "qk_dim").count(Some(c), 1 << 16)?,
            topk: b.arg(8, "topk").count(Some(4), 1 << 24)?,
            side_dwconv: kernel_side(b, 13, 3)?,
            soft_routing: b.arg(12, "soft_routing").switch(false)?,
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
        let ratio = b.arg(3, "mlp_ratio").count(Some(4), 64)?;
        Some(Block::load(c, ratio, &b.weights).map_err(|e| e.to_string())?)
    } else {
        None
    };
    Ok(Box::new(RoutingAttention { block, ..attention }))
}

/// One head over the features themselves, nothing projected.
fn probe(channels: usize) -> std::result::Result<Box<dyn Attention>, String> {
    Ok(Box::new(RoutingAttention {
        config: Config {
            channels,
            n_win: 8,
            heads: 1,
            qk_dim: channels,
            topk: 4,
            side_dwconv: 0,
            soft_routing: false,
        },
        qkv: None,
        lepe: None,
        wo: None,
        block: None,
    }))
}

fn kernel_side(b: &BuildArgs<'_>, i: usize, default: usize) -> std::result::Result<usize, String> {
    if b.args.get(i) == Some(&Arg::Int(0)) {
        return Ok(0);
    }
    let side = b.arg(i, "side_dwconv").count(Some(default), 31)?;
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
    let linear = |name: &str, from: usize, to: usize| -> Result<Conv2d> {
        let l = vb.pp(name);
        let weight = l.get((to, from), "weight")?.reshape((to, from, 1, 1))?;
        Conv2d::new(weight, Some(l.get(to, "bias")?), 1, 0, 1, Activation::None)
    };
    Ok(RoutingAttention {
        qkv: Some(linear("qkv.qkv", c, width)?),
        lepe,
        wo: Some(linear("wo", c, c)?),
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
        let x = x.contiguous()?;
        let qkv = match &self.qkv {
            Some(qkv) => qkv.forward(&x)?,
            None => Tensor::cat(&[&x, &x, &x], 1)?,
        };
        let routing = self.route(&qkv, regions, topk)?;
        let mut y = kernels::routed_attention(&qkv, self.routes(&routing, regions))?;
        if let Some(lepe) = &self.lepe {
            y = (y + lepe.forward(&qkv.narrow(1, 2 * qk_dim, c)?.contiguous()?)?)?;
        }
        let y = match &self.wo {
            Some(wo) => wo.forward(&y)?,
            None => y,
        };
        if !watch.is_on() {
            return Ok((y, None));
        }
        let trace = RoutingTrace {
            map: regions.map,
            padded: regions.padded,
            n_win: regions.n_win,
            region: regions.region,
            topk,
            token_attention: self.weights(
                &qkv,
                &routing,
                regions,
                &watch.focus(regions.count()),
            )?,
            affinity: routing.affinity,
            routed: routing.routed,
            weights: routing.weights,
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

    fn routes<'a>(&self, routing: &'a Routing, regions: Regions) -> Routes<'a> {
        Routes {
            n_win: regions.n_win,
            heads: self.config.heads,
            qk_dim: self.config.qk_dim,
            routed: routing.routed.data(),
            weights: self.config.soft_routing.then(|| routing.weights.data()),
            scale: self.scale(),
        }
    }

    /// Who reads from whom, by the region means of queries and keys. Ranked on the host: the
    /// tables are small, and a stable order makes equal logits deterministic.
    fn route(&self, qkv: &Tensor, regions: Regions, topk: usize) -> Result<Routing> {
        let qk = self.config.qk_dim;
        let [h, w] = regions.region;
        let s2 = regions.count();
        let means = qkv
            .narrow(1, 0, 2 * qk)?
            .contiguous()?
            .avg_pool2d_with_stride((h, w), (h, w))?
            .reshape((2 * qk, s2))?;
        let q = (means.narrow(0, 0, qk)?.t()? * self.scale())?;
        let affinity = Array::from_tensor(&q.matmul(&means.narrow(0, qk, qk)?)?)?;
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

    /// The attention weights `[heads, T, k · T]` of the tokens of some regions. The output does
    /// not need them as a whole: they are computed for looking at only.
    fn weights(
        &self,
        qkv: &Tensor,
        routing: &Routing,
        regions: Regions,
        focus: &[usize],
    ) -> Result<BTreeMap<usize, Array>> {
        let routes = self.routes(routing, regions);
        let t = regions.tokens();
        let shape = [self.config.heads, t, routing.routed.row(0).len() * t];
        let all = kernels::routed_weights(qkv, routes, focus)?;
        let array = |(&region, weights)| match Array::new(&shape, weights) {
            Some(weights) => Ok((region, weights)),
            None => candle_core::bail!("token attention of region {region} is incomplete"),
        };
        focus.iter().zip(all).map(array).collect()
    }
}
