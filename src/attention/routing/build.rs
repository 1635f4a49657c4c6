//! Bi-level routing attention from a row: what its arguments mean, and what the weights decide.

use candle_core::Result as Tried;
use candle_nn::VarBuilder;

use super::block::{Block, Parts};
use super::pool::Pooling;
use super::project::Projections;
use super::regions::Cut;
use super::{Config, RoutingAttention};
use crate::attention::{Arg, Attention, BuildArgs, Given};
use crate::error::in_words;

/// Largest hyperparameters that are taken at their word; knobs move them further.
const MAX_N_WIN: usize = 4096;
const MAX_HEADS: usize = 1024;
const MAX_TOPK: usize = 1 << 24;

/// Where the hyperparameters stand among the arguments of a row.
struct Places {
    /// Of `n_win` and `num_heads`.
    n_win: usize,
    heads: usize,
    topk: usize,
    side_dwconv: usize,
    auto_pad: usize,
    /// Of `qk_dim`, where there is such a choice; the ten that follow it stand behind.
    qk_dim: Option<usize>,
    /// Of `qk_scale`.
    scale: Option<usize>,
}

/// `n_win, num_heads, qk_dim, qk_scale, kv_per_win, kv_downsample_ratio, kv_downsample_kernel,
/// kv_downsample_mode, topk, param_attention, param_routing, diff_routing, soft_routing,
/// side_dwconv, auto_pad`; BiFormer itself has `num_heads` first.
const BARE: Places = Places {
    n_win: 0,
    heads: 1,
    qk_dim: Some(2),
    scale: Some(3),
    topk: 8,
    side_dwconv: 13,
    auto_pad: 14,
};
/// `n_win, num_heads, topk, mlp_ratio, side_dwconv, auto_pad`
const BLOCK: Places = Places {
    topk: 2,
    side_dwconv: 4,
    auto_pad: 5,
    qk_dim: None,
    scale: None,
    ..BARE
};
/// `num_heads, n_win, qk_scale, topk, side_dwconv`
const NCHW: Places = Places {
    n_win: 1,
    heads: 0,
    scale: Some(2),
    topk: 3,
    side_dwconv: 4,
    auto_pad: 5,
    qk_dim: None,
};

/// A row with the attention inside it.
struct Reader<'a, 'b> {
    b: &'b BuildArgs<'a>,
    places: Places,
    /// Weights of the attention.
    weights: VarBuilder<'a>,
    /// Path of the attention below the row, with a dot behind it.
    inner: &'static str,
}

pub(super) fn build(b: &BuildArgs<'_>) -> Result<Box<dyn Attention>, String> {
    let is_block = b.module == "BiFormerBlock";
    let reader = Reader {
        b,
        places: match b.module {
            "BiFormerBlock" => BLOCK,
            "nchwBRA" => NCHW,
            _ => BARE,
        },
        weights: match is_block {
            true => b.weights.pp("attn"),
            false => b.weights.clone(),
        },
        inner: if is_block { "attn." } else { "" },
    };
    reader.refuse_other_attention()?;
    let config = reader.config()?;
    let projections = reader.projections(&config)?;
    let block = if is_block { Some(block(b)?) } else { None };
    Ok(Box::new(RoutingAttention {
        projections: projections.map_err(|e| in_words(&e))?,
        block: block.transpose().map_err(|e| in_words(&e))?,
        config,
    }))
}

/// One head over the features themselves, nothing projected.
pub(super) fn probe(channels: usize) -> Result<Box<dyn Attention>, String> {
    Ok(Box::new(RoutingAttention {
        config: Config {
            channels,
            n_win: 8,
            heads: 1,
            qk_dim: channels,
            scale: (channels as f64).powf(-0.5),
            topk: 4,
            soft_routing: false,
            auto_pad: true,
            cut: Cut::Exact,
            pooling: Pooling::None,
        },
        projections: Projections::none(),
        block: None,
    }))
}

impl<'a> Reader<'a, '_> {
    /// A hyperparameter as the checkpoint states it, or else as argument `i`.
    fn given(&self, i: Option<usize>, name: &'a str) -> Given<'a> {
        let inner = match self.inner {
            "" => None,
            inner => self.b.attributes.get(&format!("{inner}{name}")),
        };
        let stated = self.b.attribute(name).or(inner);
        stated.or(i.and_then(|i| self.b.args.get(i)))
    }

    /// The argument so many places behind `qk_dim`.
    fn beyond(&self, more: usize, name: &'a str) -> Given<'a> {
        self.given(self.places.qk_dim.map(|i| i + more), name)
    }

    fn has(&self, name: &str) -> bool {
        self.weights.contains_tensor(name)
    }

    /// The shape of a tensor of the attention.
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.b.shape(&format!("{}{name}", self.inner))
    }

    /// BiFormer has blocks with other attention in the place of routing.
    fn refuse_other_attention(&self) -> Result<(), String> {
        let topk = self.given(Some(self.places.topk), "topk");
        let what = match topk.value {
            Some(Arg::Int(-1)) => "plain attention",
            Some(Arg::Int(-2)) => "plain attention with a position term",
            Some(Arg::Int(0)) => "convolutions",
            _ if self.has("qkv.weight") && !self.has("qkv.qkv.weight") => "plain attention",
            _ => return Ok(()),
        };
        Err(format!(
            "it has {what} in the place of routing; expected topk from 1"
        ))
    }

    fn config(&self) -> Result<Config, String> {
        let c = self.b.channels;
        let nchw = self.b.module == "nchwBRA";
        let qk_dim = self.qk_dim()?;
        let topk = self
            .given(Some(self.places.topk), "topk")
            .count(Some(4), MAX_TOPK)?;
        let Order { n_win, heads } = self.order(qk_dim)?;
        if topk > n_win.saturating_mul(n_win) {
            return Err(format!(
                "topk is {topk}, but n_win {n_win} makes only {} regions",
                n_win * n_win
            ));
        }
        let soft_routing = self.beyond(10, "soft_routing").switch(false)?;
        if self.beyond(9, "diff_routing").switch(false)? && !soft_routing {
            return Err(
                "diff_routing has no output in BiFormer; expected soft_routing with it".into(),
            );
        }
        let mode = self.beyond(5, "kv_downsample_mode");
        let side = self.beyond(2, "kv_per_win");
        let ratio = self.beyond(3, "kv_downsample_ratio");
        // BiFormer's own default is off: then a map that the regions do not divide stops it. What
        // has run on any map was padded.
        let auto_pad = self.given(Some(self.places.auto_pad), "auto_pad");
        let scale = self
            .b
            .attribute("scale")
            .or(self.b.attributes.get("attn.scale"));
        let scale = scale.or_else(self.given(self.places.scale, "qk_scale"));
        Ok(Config {
            channels: c,
            n_win,
            heads,
            qk_dim,
            // Of the whole query width, not of one head: so were the published weights made.
            scale: scale
                .number()?
                .unwrap_or_else(|| (qk_dim as f64).powf(-0.5)),
            topk,
            soft_routing,
            auto_pad: auto_pad.switch(true)? || nchw,
            cut: if nchw { Cut::Floored } else { Cut::Exact },
            pooling: Pooling::read(mode, side, ratio)?,
        })
    }

    /// Width of queries and keys: as given, or else as the weights have it.
    fn qk_dim(&self) -> Result<usize, String> {
        let c = self.b.channels;
        let known = match self.shape("qkv.qkv.weight").as_deref() {
            Some([width, from]) if *from == c && *width > c => (width - c) / 2,
            _ => c,
        };
        self.given(self.places.qk_dim, "qk_dim")
            .count(Some(known), 1 << 16)
    }

    fn projections(&self, config: &Config) -> Result<Tried<Projections>, String> {
        let default = if self.inner.is_empty() { 3 } else { 5 };
        let known = match self.shape("lepe.weight").as_deref() {
            Some([_, _, side, _]) => *side,
            _ if self.has("qkv.qkv.weight") && !self.has("lepe.weight") => 0,
            _ => default,
        };
        let side = self.given(Some(self.places.side_dwconv), "side_dwconv");
        let side = match side.value {
            None => known,
            Some(Arg::Int(0)) => 0,
            Some(_) => match side.count(None, 31)? {
                side if side.is_multiple_of(2) => {
                    return Err(format!(
                        "side_dwconv is {side}; expected an odd count, or 0 for none"
                    ));
                }
                side => side,
            },
        };
        if config.cut == Cut::Floored {
            return Ok(Projections::load_nchw(config, side, &self.weights));
        }
        let output = match self.beyond(7, "param_attention").word("qkvo")? {
            "qkvo" => self.has("wo.weight") || !self.has("qkv.qkv.weight"),
            "qkv" => false,
            other => {
                return Err(format!("param_attention is {other}; expected qkv or qkvo"));
            }
        };
        let stated = self.beyond(8, "param_routing").switch(false)?;
        let routed = stated || self.has("router.emb.weight");
        Ok(Projections::load(
            config,
            side,
            output,
            routed,
            &self.weights,
        ))
    }

    /// `n_win` and `num_heads`. Forks write them in this order, BiFormer itself the other way
    /// round; a pickled checkpoint states both.
    fn order(&self, qk_dim: usize) -> Result<Order, String> {
        let c = self.b.channels;
        let read = |n_win: usize, heads: usize| -> Result<Order, String> {
            Ok(Order {
                n_win: self.given(Some(n_win), "n_win").count(Some(7), MAX_N_WIN)?,
                heads: self
                    .given(Some(heads), "num_heads")
                    .count(Some(8), MAX_HEADS)?,
            })
        };
        let (n_win, heads) = (self.places.n_win, self.places.heads);
        let as_written = read(n_win, heads)?;
        let splits = |o: &Order| c.is_multiple_of(o.heads) && qk_dim.is_multiple_of(o.heads);
        // Only the bare module has been seen in both orders.
        let other = match self.b.module {
            "BiLevelRoutingAttention" => read(heads, n_win).ok().filter(splits),
            _ => None,
        };
        let Order { n_win, heads, .. } = as_written;
        match other {
            Some(o) if !splits(&as_written) => {
                self.b.notes.add(format_args!(
                    "num_heads {}, n_win {}, as BiFormer orders them: {heads} heads do not divide \
                     {c} channels",
                    o.heads, o.n_win
                ));
                Ok(o)
            }
            Some(o) if (o.n_win, o.heads) != (n_win, heads) => {
                self.b.notes.add(format_args!(
                    "n_win {n_win}, num_heads {heads}, as forks order them; the weights would \
                     also allow num_heads {}, n_win {}",
                    o.heads, o.n_win
                ));
                Ok(as_written)
            }
            _ if splits(&as_written) => Ok(as_written),
            _ => Err(format!(
                "{c} channels and qk_dim {qk_dim} cannot be split into num_heads {heads}"
            )),
        }
    }
}

/// `n_win` and `num_heads`, in whatever order they were written.
struct Order {
    n_win: usize,
    heads: usize,
}

/// What a BiFormer block has around its attention.
fn block(b: &BuildArgs<'_>) -> Result<Tried<Block>, String> {
    let stated = b.arg(3, "mlp_ratio");
    let ratio = stated.factor(4.0, 64.0)?;
    let width = match b.shape("mlp.0.weight").as_deref() {
        Some([width, from]) if *from == b.channels && stated.value.is_none() => *width,
        _ => (b.channels as f64 * ratio) as usize,
    };
    let has = |name: &str| b.shape(name).is_some();
    let parts = Parts {
        channels: b.channels,
        width: width.max(1),
        // Only weights that have the rest can tell that it is left out.
        pos_embed: has("pos_embed.weight") || !has("norm1.weight"),
        mlp_dwconv: has("mlp.1.dwconv.weight"),
        gamma: has("gamma1"),
        pre_norm: b.attribute("pre_norm").switch(true)?,
    };
    Ok(Block::load(parts, &b.weights))
}
