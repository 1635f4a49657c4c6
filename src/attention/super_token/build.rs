//! Super token attention from a row: what its arguments mean, and what the weights decide.

use candle_core::Result as Tried;
use candle_nn::VarBuilder;

use super::around::{Around, BN_EPS, Layer, norm};
use super::refine::Refine;
use super::{MAX_ITERATIONS, MAX_SIDE, SuperTokenAttention};
use crate::attention::{Arg, Attention, BuildArgs, Given};
use crate::error::in_words;

/// Where the hyperparameters stand among the arguments of a row.
struct Places {
    stoken_size: usize,
    n_iter: usize,
    /// `refine`; `refine_attention` follows it.
    refine: Option<usize>,
    /// `num_heads`; of the bare attention `qkv_bias` and `qk_scale` follow it.
    heads: usize,
}

/// The order of a fork: `stoken_size, n_iter, num_heads, qkv_bias, qk_scale`.
const FORK: Places = Places {
    stoken_size: 0,
    n_iter: 1,
    refine: None,
    heads: 2,
};
/// The order of STViT: `stoken_size, n_iter, refine, refine_attention, num_heads, …`.
const ORIGINAL: Places = Places {
    refine: Some(2),
    heads: 4,
    ..FORK
};
/// The order of its layer: `n_iter, stoken_size, num_heads, mlp_ratio, qkv_bias, qk_scale, …`.
const LAYER: Places = Places {
    stoken_size: 1,
    n_iter: 0,
    ..FORK
};
/// Where the layer has `layerscale`.
const LAYER_SCALE: usize = 10;

impl Places {
    fn of(b: &BuildArgs<'_>) -> Self {
        let list_first = matches!(b.args.first(), Some(Arg::List(_)));
        match (b.module, b.args.get(2)) {
            ("StokenAttentionLayer", _) if !list_first => LAYER,
            (_, Some(Arg::Bool(_))) => ORIGINAL,
            _ => FORK,
        }
    }
}

pub(super) fn build(b: &BuildArgs<'_>) -> Result<Box<dyn Attention>, String> {
    let is_layer = b.module == "StokenAttentionLayer";
    let is_bare = b.module == "StokenAttention";
    let places = Places::of(b);
    let size = hyper(
        b,
        Some(places.stoken_size),
        "stoken_size",
        "attn.stoken_size",
    );
    let n_iter = hyper(b, Some(places.n_iter), "n_iter", "attn.n_iter");
    let weights = if is_bare {
        b.weights.clone()
    } else {
        b.weights.pp("attn")
    };
    let around = match b.module {
        "StokenBlock" => norm(&b.weights.pp("norm"), b.channels).map(Around::Norm),
        "StokenAttentionLayer" => layer(b)?.map(|l| Around::Layer(Box::new(l))),
        _ => Ok(Around::Bare),
    };
    // Constant one-hot kernels: part of every state dict, not needed by gather and scatter.
    for constant in ["unfold.weights", "fold.weights"] {
        if weights.contains_tensor(constant) {
            let taken = weights.get((9, 1, 3, 3), constant);
            taken.map_err(|e| in_words(&e))?;
        }
    }
    Ok(Box::new(SuperTokenAttention {
        channels: b.channels,
        default_size: size.size([8, 8], MAX_SIDE)?,
        default_iterations: n_iter.count(Some(1), MAX_ITERATIONS)?,
        refine: refine(b, &places, &weights, if is_layer { 1 } else { 8 })?,
        around: around.map_err(|e| in_words(&e))?,
    }))
}

/// The attention on the features themselves: super tokens are made and given back, and nothing
/// happens between.
pub(super) fn probe(channels: usize) -> Result<Box<dyn Attention>, String> {
    Ok(Box::new(SuperTokenAttention {
        channels,
        default_size: [8, 8],
        default_iterations: 1,
        refine: Refine::Identity,
        around: Around::Bare,
    }))
}

/// A hyperparameter of the attention: the checkpoint may state it as that of the row or of the
/// attention inside.
fn hyper<'a>(b: &BuildArgs<'a>, i: Option<usize>, name: &'a str, inner: &'a str) -> Given<'a> {
    let stated = b.attribute(name).or_else(b.attribute(inner));
    stated.or(i.and_then(|i| b.args.get(i)))
}

/// What the super tokens do among each other: as stated, or else as the weights have it.
fn refine(
    b: &BuildArgs<'_>,
    places: &Places,
    weights: &VarBuilder<'_>,
    heads: usize,
) -> Result<Refine, String> {
    let vb = weights.pp("stoken_refine");
    let c = b.channels;
    let switch = |i: Option<usize>, name, inner| hyper(b, i, name, inner).choice();
    let wanted = switch(places.refine, "refine", "attn.refine")?;
    let second = places.refine.map(|i| i + 1);
    let attends = switch(second, "refine_attention", "attn.refine_attention")?;
    let has_attention = vb.contains_tensor("qkv.weight");
    let has_mixer = vb.contains_tensor("0.weight");
    let has_nothing = weights.contains_tensor("unfold.weights") && !has_attention && !has_mixer;
    if wanted == Some(false) {
        return Ok(Refine::Identity);
    }
    if wanted.is_none() && has_nothing {
        b.notes
            .add("super tokens are not refined: the weights have no stoken_refine");
        return Ok(Refine::Identity);
    }
    if attends == Some(false) || (attends.is_none() && has_mixer && !has_attention) {
        return Refine::mixer(&vb, c).map_err(|e| in_words(&e));
    }
    let heads = hyper(
        b,
        Some(places.heads),
        "num_heads",
        "stoken_refine.num_heads",
    )
    .or_else(b.attribute("attn.stoken_refine.num_heads"))
    .count(Some(heads), 1024)?;
    if !c.is_multiple_of(heads) {
        return Err(format!(
            "{c} channels cannot be split into num_heads {heads}"
        ));
    }
    // The layer has its MLP's ratio between.
    let next = places.heads
        + if b.module == "StokenAttentionLayer" {
            2
        } else {
            1
        };
    let bias = b.arg(next, "qkv_bias").switch(false)?;
    let scale = hyper(b, None, "stoken_refine.scale", "attn.stoken_refine.scale")
        .or(b.args.get(next + 1))
        .number()?;
    let biased = bias || vb.contains_tensor("qkv.bias");
    Refine::attention(&vb, c, heads, scale, biased).map_err(|e| in_words(&e))
}

/// What the layer of STViT has around its attention.
fn layer(b: &BuildArgs<'_>) -> Result<Tried<Layer>, String> {
    let c = b.channels;
    let stated = b.arg(3, "mlp_ratio");
    let ratio = stated.factor(4.0, 64.0)?;
    let width = match b.shape("mlp2.fc1.weight").as_deref() {
        Some([width, from, ..]) if *from == c && stated.value.is_none() => *width,
        _ => (c as f64 * ratio) as usize,
    };
    let eps = b.attribute("norm2.eps").number()?.unwrap_or(BN_EPS);
    let stated = b.arg(LAYER_SCALE - 1, "layerscale").choice();
    let scaled = stated?.unwrap_or(false) || b.weights.contains_tensor("gamma_1");
    Ok(Layer::load(&b.weights, c, width.max(1), eps, scaled))
}
