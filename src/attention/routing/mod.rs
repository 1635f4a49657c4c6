//! Bi-level routing attention (BRA) of BiFormer, as `BiLevelRoutingAttention` and `BiFormerBlock`
//! in forks of YOLO11.
//!
//! The map is cut into `n_win × n_win` regions. Region means decide which `topk` regions each
//! region reads from; tokens then attend to the tokens of those regions only. `n_win` and `topk`
//! carry no weights: both are knobs.
//!
//! Source: Zhu et al., "BiFormer: Vision Transformer with Bi-Level Routing Attention", CVPR 2023.

mod block;
mod build;
mod facts;
mod open;
mod overlap;
mod pool;
mod project;
mod questions;
mod read;
mod regions;
mod route;
mod trace;

use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::view::Units;
use super::{
    Attention, Erasable, Erasure, Knob, KnobValue, Knobs, Legal, MapSize, Mechanism, Trace, Watch,
    Watched, pad_to,
};

use block::Block;
use open::Open;
use pool::Pooling;
use project::Projections;
use regions::{Cut, Regions};
pub use trace::RoutingTrace;

/// The registry line.
pub static MECHANISM: Mechanism = Mechanism {
    id: "routing",
    short: "bra",
    title: "Routed regions",
    about: "Each region reads only from the few regions that its router ranks highest.",
    modules: &["BiLevelRoutingAttention", "BiFormerBlock", "nchwBRA"],
    build: Some(build::build),
    probe: Some(build::probe),
};

/// Largest number of token-to-token weights that one layer may compute.
const ATTENTION_BUDGET: usize = 64 << 20;
/// Most regions per side: their routing table has 45⁴ = 4.1 M logits, ranked on the host.
const MAX_WINDOWS: usize = 45;

/// The layer: BRA alone, or inside a BiFormer block.
#[derive(Debug)]
pub struct RoutingAttention {
    config: Config,
    projections: Projections,
    block: Option<Block>,
}

/// What is not learnt.
#[derive(Debug, Clone, Copy)]
struct Config {
    channels: usize,
    n_win: usize,
    heads: usize,
    qk_dim: usize,
    /// Factor on the logits, for routing and for tokens alike.
    scale: f64,
    topk: usize,
    soft_routing: bool,
    /// Whether maps that the regions do not divide are padded.
    auto_pad: bool,
    cut: Cut,
    pooling: Pooling,
}

impl Config {
    fn regions(&self, map: MapSize, n_win: usize) -> Regions {
        Regions::new(map, n_win, self.cut)
    }

    /// Whether padding goes through the projection, and so counts in the means.
    fn pads_before(&self) -> bool {
        self.cut == Cut::Exact
    }

    /// Weights that even topk 1 would need.
    fn least(&self, map: MapSize, n_win: usize) -> usize {
        let r = self.regions(map, n_win);
        (r.padded[0] * r.padded[1]).saturating_mul(r.tokens()) * self.heads
    }

    /// Most regions per side on a map, and why not more.
    fn most_windows(&self, map: MapSize) -> (usize, String) {
        let sides = format!("the feature map is {}x{}", map[0], map[1]);
        let slow = "ranking more regions would take seconds".to_owned();
        match self.cut {
            Cut::Exact => {
                let sensible = map[0].max(map[1]).max(self.n_win).max(1);
                let longest = sensible.min(MAX_WINDOWS);
                (longest, if longest < sensible { slow } else { sides })
            }
            // A region has at least one cell; fewer cells make more regions.
            Cut::Floored => {
                let sensible = map[0].min(map[1]).max(1);
                let affordable = |n: &usize| {
                    let [rows, cols] = self.regions(map, *n).grid;
                    rows.max(cols) <= MAX_WINDOWS
                };
                let longest = (1..=sensible).rev().find(affordable).unwrap_or(1);
                (longest, if longest < sensible { slow } else { sides })
            }
        }
    }

    /// Why regions cannot be cut like this, if they cannot.
    fn refuses(&self, map: MapSize, n_win: usize) -> Option<String> {
        let r = self.regions(map, n_win);
        let least = self.pooling.least_side();
        if !self.auto_pad && r.padded != map {
            let [h, w] = map;
            return Some(format!(
                "auto_pad is off, so that n_win must divide the feature map of {h}x{w}"
            ));
        }
        (r.region[0].min(r.region[1]) < least)
            .then(|| format!("a region needs {least}x{least} cells for one key"))
    }
}

impl Attention for RoutingAttention {
    fn mechanism(&self) -> &'static Mechanism {
        &MECHANISM
    }

    fn legal(&self, map: MapSize, wanted: &Knobs) -> Legal {
        let config = &self.config;
        let mut legal = Legal::default();
        let (longest, why_max) = config.most_windows(map);
        let smallest = (1..=longest)
            .find(|&n| config.least(map, n) <= ATTENTION_BUDGET)
            .unwrap_or(longest);
        let budget = format!(
            "more than {} M attention weights would be needed",
            ATTENTION_BUDGET >> 20
        );
        let mut n_win = legal
            .add(
                Knob {
                    name: "n_win",
                    help: "Regions per side: the map is cut into n_win x n_win regions",
                    default: KnobValue::Int(config.n_win),
                    min: KnobValue::Int(smallest),
                    max: KnobValue::Int(longest),
                    why_min: if smallest > 1 {
                        budget.clone()
                    } else {
                        "one region is the whole map".into()
                    },
                    why_max,
                },
                wanted,
            )
            .int();
        if let Some(reason) = config.refuses(map, n_win) {
            let fits = |n: &usize| config.refuses(map, *n).is_none();
            let nearest = (smallest..=longest)
                .filter(fits)
                .min_by_key(|n| n.abs_diff(n_win));
            if let Some(nearest) = nearest {
                legal.settle("n_win", KnobValue::Int(nearest), reason);
                n_win = nearest;
            }
        }
        let affordable = (ATTENTION_BUDGET / config.least(map, n_win).max(1)).max(1);
        let regions = config.regions(map, n_win).count();
        let most = affordable.min(regions);
        legal.add(
            Knob {
                name: "topk",
                help: "How many regions each region reads from",
                default: KnobValue::Int(config.topk),
                min: KnobValue::Int(1),
                max: KnobValue::Int(most),
                why_min: "each region reads from at least one".into(),
                why_max: if most < regions {
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
        self.forward_without(x, knobs, &Erasure::default(), watch)
    }

    fn erasable(&self, map: MapSize, knobs: &Knobs) -> Option<Erasable> {
        let (n_win, _) = self.used(knobs);
        let units = Units {
            name: "region",
            grid: self.config.regions(map, n_win).grid,
        };
        Some(Erasable {
            units,
            routes: true,
        })
    }

    fn erased(&self, map: MapSize, knobs: &Knobs, erasure: &Erasure) -> Vec<String> {
        let what = self.erasable(map, knobs);
        let Some(what) = what.filter(|what| erasure.acts_on(what)) else {
            return Vec::new();
        };
        let (n_win, topk) = self.used(knobs);
        let mut words = erasure.words(&what);
        let regions = self.config.regions(map, n_win);
        let used = Open::new(erasure, regions).topk(topk);
        if used < topk.min(regions.count()) {
            words.push(format!("topk {used}: no more regions are left to read"));
        }
        words
    }

    fn forward_without(
        &self,
        x: &Tensor,
        knobs: &Knobs,
        erasure: &Erasure,
        watch: &Watch,
    ) -> Result<Watched> {
        let (n_win, topk) = self.used(knobs);
        let Some(block) = &self.block else {
            return self.attend(x, n_win, topk, erasure, watch);
        };
        let (x, asked) = block.before(x)?;
        let (y, trace) = self.attend(&asked, n_win, topk, erasure, watch)?;
        Ok((block.after(&x, y)?, trace))
    }
}

impl RoutingAttention {
    /// `n_win` and `topk` in use.
    fn used(&self, knobs: &Knobs) -> (usize, usize) {
        let value = |name: &str, default: usize| knobs.get(name).map_or(default, |v| v.int());
        let n_win = value("n_win", self.config.n_win).max(1);
        (n_win, value("topk", self.config.topk))
    }

    /// BRA proper on `[B, C, H0, W0]`.
    fn attend(
        &self,
        x: &Tensor,
        n_win: usize,
        topk: usize,
        erasure: &Erasure,
        watch: &Watch,
    ) -> Result<Watched> {
        let (b, c, h0, w0) = x.dims4()?;
        if c != self.config.channels {
            candle_core::bail!(
                "BRA was built for {} channels, got {c}",
                self.config.channels
            );
        }
        let regions = self.config.regions([h0, w0], n_win);
        let open = Open::new(erasure, regions);
        let topk = open.topk(topk);
        let mut outputs = Vec::with_capacity(b);
        let mut trace: Option<Arc<dyn Trace>> = None;
        for image in 0..b {
            let watch = if image == 0 { watch } else { &Watch::Off };
            let x = x.narrow(0, image, 1)?;
            let (y, t) = self.attend_one(&x, n_win, (regions, topk, &open), watch)?;
            outputs.push(y);
            trace = trace.or(t.map(|t| Arc::new(t) as Arc<dyn Trace>));
        }
        Ok((Tensor::cat(&outputs, 0)?, trace))
    }

    /// One image `[1, C, H0, W0]`.
    fn attend_one(
        &self,
        x: &Tensor,
        n_win: usize,
        (regions, topk, open): (Regions, usize, &Open<'_>),
        watch: &Watch,
    ) -> Result<(Tensor, Option<RoutingTrace>)> {
        let [h0, w0] = regions.map;
        let padded = |t: &Tensor| pad_to(t, regions.padded[0], regions.padded[1]);
        let cropped = |t: Tensor| t.narrow(2, 0, h0)?.narrow(3, 0, w0)?.contiguous();
        let (y, qkv, routing) = if self.config.pads_before() {
            let qkv = self.projections.project(&padded(x)?)?;
            let routing = self.route(&qkv, regions, topk, open)?;
            let y = self.read(&qkv, &routing, regions)?;
            let y = self.projections.add_lepe(y, &qkv)?;
            (cropped(self.projections.output(y)?)?, qkv, routing)
        } else {
            let bare = self.projections.project(x)?;
            let qkv = padded(&bare)?;
            let routing = self.route(&qkv, regions, topk, open)?;
            let y = cropped(self.read(&qkv, &routing, regions)?)?;
            let y = self.projections.add_lepe(y, &bare)?;
            (self.projections.output(y)?, qkv, routing)
        };
        if !watch.is_on() {
            return Ok((y, None));
        }
        let focus = watch.focus(regions.count());
        let trace = RoutingTrace {
            map: regions.map,
            padded: regions.padded,
            n_win,
            grid: regions.grid,
            region: regions.region,
            key_windows: regions.region.map(|side| self.config.pooling.windows(side)),
            topk,
            token_attention: self.weights(&qkv, &routing, regions, &focus)?,
            affinity: routing.affinity,
            routed: routing.routed,
            weights: routing.weights,
            input: x.get(0)?,
            output: y.get(0)?,
        };
        Ok((y, Some(trace)))
    }
}
