//! Super token attention (STA) of STViT, as `StokenAttention` in forks of YOLO26.
//!
//! Pixels are softly assigned to the nine super tokens around them, the super tokens attend to
//! each other, and the result is given back along the same assignment. Cell size and number of
//! iterations carry no weights: both are knobs.
//!
//! Source: Huang et al., "Vision Transformer with Super Token Sampling", CVPR 2023.

mod around;
mod build;
mod composed;
mod erased;
mod facts;
mod parts;
mod questions;
mod refine;
mod trace;

use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::view::Units;
use super::{
    Array, Attention, Erasable, Erasure, Knob, KnobValue, Knobs, Legal, MapSize, Mechanism, Watch,
    Watched, ceil_to, pad_to,
};
use crate::kernels::{self, Cells};

use around::Around;
use erased::Erased;
use refine::Refine;
pub use trace::SuperTokenTrace;

/// The registry line.
pub static MECHANISM: Mechanism = Mechanism {
    id: "super_token",
    short: "sta",
    title: "Super tokens",
    about: "Pixels join the nine super tokens around them; the super tokens attend to each other.",
    modules: &["StokenAttention", "StokenBlock", "StokenAttentionLayer"],
    build: Some(build::build),
    probe: Some(build::probe),
};

/// Largest `heads · N²` (N super tokens) that is computed: 32 M weights are 128 MB.
const ATTENTION_BUDGET: usize = 32 << 20;
/// Longest side of a model's own cells: a smaller map is padded to a whole cell.
const MAX_SIDE: usize = 256;
/// More iterations than this no longer move the assignment visibly.
const MAX_ITERATIONS: usize = 10;

/// The layer: STA alone, or with what a residual block has around it.
#[derive(Debug)]
pub struct SuperTokenAttention {
    channels: usize,
    default_size: [usize; 2],
    default_iterations: usize,
    refine: Refine,
    around: Around,
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

impl Attention for SuperTokenAttention {
    fn mechanism(&self) -> &'static Mechanism {
        &MECHANISM
    }

    fn legal(&self, map: MapSize, wanted: &Knobs) -> Legal {
        let mut legal = Legal::default();
        let fits = |s: usize| {
            let n = map[0].div_ceil(s) * map[1].div_ceil(s);
            self.refine.weights(n) <= ATTENTION_BUDGET
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
        self.forward_without(x, knobs, &Erasure::default(), watch)
    }

    fn erasable(&self, map: MapSize, knobs: &Knobs) -> Option<Erasable> {
        let size = self.size(knobs);
        let units = Units {
            name: "super token",
            grid: [0, 1].map(|i| map[i].div_ceil(size[i])),
        };
        Some(Erasable {
            units,
            routes: false,
        })
    }

    fn forward_without(
        &self,
        x: &Tensor,
        knobs: &Knobs,
        erasure: &Erasure,
        watch: &Watch,
    ) -> Result<Watched> {
        let n_iter = knobs
            .get("n_iter")
            .map_or(self.default_iterations, |v| v.int().max(1));
        self.around.forward(x, |x| {
            self.attend(x, self.size(knobs), n_iter, erasure, watch)
        })
    }
}

impl SuperTokenAttention {
    /// Height and width of a cell.
    fn size(&self, knobs: &Knobs) -> [usize; 2] {
        knobs
            .get("stoken_size")
            .map_or(self.default_size, |v| v.pair().map(|s| s.max(1)))
    }

    /// STA proper on `[B, C, H0, W0]`.
    fn attend(
        &self,
        x: &Tensor,
        size: [usize; 2],
        n_iter: usize,
        erasure: &Erasure,
        watch: &Watch,
    ) -> Result<Watched> {
        let (_, c, h0, w0) = x.dims4()?;
        if c != self.channels {
            candle_core::bail!("STA was built for {} channels, got {c}", self.channels);
        }
        if size == [1, 1] {
            return self.attend_directly(x, erasure, watch);
        }
        let (hp, wp) = (ceil_to(h0, size[0]), ceil_to(w0, size[1]));
        let cells = Cells::new([hp, wp], size)?;
        let [hh, ww] = cells.grid;
        let erased = Erased::new(erasure, cells.grid);
        let a = associate(&pad_to(x, hp, wp)?, cells, n_iter, erased.as_ref())?;
        let (refined, mhsa) = self.refined(&a.tokens, cells.grid, erased.as_ref(), watch)?;
        let y = kernels::spread(&a.affinity[n_iter - 1], &refined, cells)?
            .narrow(2, 0, h0)?
            .narrow(3, 0, w0)?
            .contiguous()?;

        if !watch.is_on() {
            return Ok((y, None));
        }
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
            token_attention: mhsa.as_ref().map(first).transpose()?,
            column_sum: Array::from_tensor(&a.mass.get(0)?.reshape((hh, ww))?)?,
            input: x.get(0)?,
            output: y.get(0)?,
        };
        Ok((y, Some(Arc::new(trace))))
    }

    /// What the super tokens `[B, N, C]` make of each other, and their weights if they are wanted.
    fn refined(
        &self,
        tokens: &Tensor,
        grid: [usize; 2],
        erased: Option<&Erased>,
        watch: &Watch,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let Some(erased) = erased else {
            return self.refine.forward(tokens, grid, None, watch.is_on());
        };
        let (refined, weights) =
            self.refine
                .forward(tokens, grid, Some(erased.keys()), watch.is_on())?;
        Ok((erased.tokens(&refined)?, weights))
    }

    /// Cells of one pixel: plain attention over all pixels, no association.
    fn attend_directly(&self, x: &Tensor, erasure: &Erasure, watch: &Watch) -> Result<Watched> {
        let (b, c, h, w) = x.dims4()?;
        let mut tokens = x.flatten_from(2)?.transpose(1, 2)?.contiguous()?;
        let erased = Erased::new(erasure, [h, w]);
        if let Some(erased) = &erased {
            tokens = erased.tokens(&tokens)?;
        }
        let (refined, mhsa) = self.refined(&tokens, [h, w], erased.as_ref(), watch)?;
        let y = refined
            .transpose(1, 2)?
            .reshape((b, c, h, w))?
            .contiguous()?;
        if !watch.is_on() {
            return Ok((y, None));
        }
        let trace = SuperTokenTrace {
            map: [h, w],
            padded: [h, w],
            stoken_size: [1, 1],
            grid: [h, w],
            affinity: Vec::new(),
            stoken_in: Array::from_tensor(&x.get(0)?)?,
            stoken_out: Array::from_tensor(&y.get(0)?)?,
            token_attention: mhsa.map(|m| Array::from_tensor(&m.get(0)?)).transpose()?,
            column_sum: Array::from_tensor(&Tensor::ones((h, w), x.dtype(), x.device())?)?,
            input: x.get(0)?,
            output: y.get(0)?,
        };
        Ok((y, Some(Arc::new(trace))))
    }
}

/// Steps 2 to 5 of the mechanism: block means, then `n_iter` affinities, each followed by a
/// weighted mean.
fn associate(
    x: &Tensor,
    cells: Cells,
    n_iter: usize,
    erased: Option<&Erased>,
) -> Result<Association> {
    let scale = (x.dim(1)? as f64).powf(-0.5);
    let mut tokens = kernels::cell_means(x, cells.cell)?
        .flatten_from(2)?
        .transpose(1, 2)?
        .contiguous()?;
    let mut mass = tokens.clone();
    let mut affinity = Vec::with_capacity(n_iter);
    for i in 0..n_iter {
        let mut a = kernels::affinity(x, &tokens, cells, scale)?;
        if let (Some(erased), true) = (erased, i + 1 == n_iter) {
            a = erased.weights(&a, cells)?;
        }
        (tokens, mass) = kernels::weighted_means(x, &a, cells)?;
        affinity.push(a);
    }
    Ok(Association {
        affinity,
        tokens,
        mass,
    })
}
