//! What bi-level routing attention computed, and the maps that follow from it.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor};

use super::overlap::usual_other;
use super::{facts, questions};
use crate::attention::view::{
    Answer, Asked, Fact, Heat, Link, Mark, MarkKind, Question, Turn, Units,
};
use crate::attention::{Array, Indices, MapSize, Mechanism, NamedTensor, Trace, heads, named};

/// The trace of one BRA layer. `S²` regions, `T` tokens and `K` keys a region (as many, unless keys
/// are pooled), `k = topk`.
#[derive(Debug, Clone)]
pub struct RoutingTrace {
    /// Feature map without padding.
    pub map: MapSize,
    /// Feature map with padding, `[H, W]`.
    pub padded: MapSize,
    /// The knob that the regions follow from.
    pub n_win: usize,
    /// Rows and columns of regions: `n_win` each, or more in the variant on NCHW maps.
    pub grid: [usize; 2],
    /// Height and width of a region.
    pub region: [usize; 2],
    /// Rows and columns of a region, `start..end`, that each row and column of keys stands for.
    pub key_windows: [Vec<[usize; 2]>; 2],
    /// Regions that each region reads from.
    pub topk: usize,
    /// `[S², S²]` scaled routing logits, row = the region that reads.
    pub affinity: Array,
    /// `[S², k]` routed regions, largest logit first; equal logits by index.
    pub routed: Indices,
    /// `[S², k]` softmax over the kept logits only. Shown; it enters the output only with soft
    /// routing.
    pub weights: Array,
    /// `[heads, T, k·K]` for the asked-for regions: key column `κ·K + u` is key `u` of the κ-th
    /// routed region.
    pub token_attention: BTreeMap<usize, Array>,
    /// `[C, H0, W0]` input of the attention (after the norm, in a block).
    pub input: Tensor,
    /// `[C, H0, W0]` output of the attention (before the residual, in a block).
    pub output: Tensor,
}

impl RoutingTrace {
    /// Number of regions.
    pub fn regions(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// The region under the cell `(y, x)` of the feature map.
    pub fn region_at(&self, y: usize, x: usize) -> Option<usize> {
        let [h, w] = self.region;
        (y < self.padded[0] && x < self.padded[1]).then(|| (y / h) * self.grid[1] + x / w)
    }

    /// Row and column of a region.
    fn place(&self, region: usize) -> (usize, usize) {
        (region / self.grid[1], region % self.grid[1])
    }

    /// The rectangle of a region, `x0, y0, x1, y1` in cells of the feature map.
    pub fn rect(&self, region: usize) -> [f32; 4] {
        let [h, w] = self.region.map(|v| v as f32);
        let (row, col) = self.place(region);
        let (x, y) = (col as f32 * w, row as f32 * h);
        [x, y, x + w, y + h]
    }

    /// The middle of a region, `x, y` in cells of the feature map.
    pub(super) fn centre(&self, region: usize) -> [f32; 2] {
        let [x0, y0, x1, y1] = self.rect(region);
        [(x0 + x1) / 2.0, (y0 + y1) / 2.0]
    }

    /// Whether a region holds nothing but padding. Such regions tie exactly, so their order among
    /// each other means nothing.
    pub fn is_padding(&self, region: usize) -> bool {
        let (row, col) = self.place(region);
        row * self.region[0] >= self.map[0] || col * self.region[1] >= self.map[1]
    }

    /// The routed regions of `region` with their weights, best first.
    pub fn routes(&self, region: usize) -> Vec<(usize, f32)> {
        let ids = self.routed.row(region).iter().map(|&i| i as usize);
        ids.zip(self.weights.row(region).iter().copied()).collect()
    }

    /// The region affinity row of `region` as a map over the regions.
    pub fn affinity_row(&self, region: usize) -> Heat {
        self.heat("region affinity", self.affinity.row(region).to_vec())
    }

    /// How many regions read from each region.
    pub fn in_degree(&self) -> Heat {
        let mut counts = vec![0.0; self.regions()];
        for &i in self.routed.data() {
            if let Some(c) = counts.get_mut(i as usize) {
                *c += 1.0;
            }
        }
        self.heat("regions that read here", counts)
    }

    /// How many heads there are, if the token attention of any region is there.
    pub fn heads(&self) -> usize {
        let any = self.token_attention.values().next();
        any.and_then(|w| w.shape().first().copied()).unwrap_or(0)
    }

    /// What token `token` of `region` gives to each key of its routed regions, a row per head.
    /// `None` unless the token attention of that region was asked for.
    pub fn rows_of(&self, region: usize, token: usize) -> Option<Vec<&[f32]>> {
        let weights = self.token_attention.get(&region)?;
        let [heads, tokens, keys] = <[usize; 3]>::try_from(weights.shape()).ok()?;
        let row = |h| weights.row(h).get(token * keys..(token + 1) * keys);
        (token < tokens).then(|| (0..heads).filter_map(row).collect())
    }

    /// The cells `x0, y0, x1, y1` of the feature map that a key of the routed regions of `region`
    /// stands for, and the routed region.
    pub fn key_cells(&self, region: usize, key: usize) -> Option<(usize, [usize; 4])> {
        let [tall, wide] = &self.key_windows;
        let keys = (tall.len() * wide.len()).max(1);
        let routed = *self.routed.row(region).get(key / keys)? as usize;
        let [top, bottom] = tall.get(key % keys / wide.len().max(1))?;
        let [left, right] = wide.get(key % keys % wide.len().max(1))?;
        let (row, col) = self.place(routed);
        let (y, x) = (row * self.region[0], col * self.region[1]);
        Some((routed, [x + left, y + top, x + right, y + bottom]))
    }

    /// Where token `token` of `region` looks: one head or the mean of all, on the padded map.
    /// `None` unless the token attention of that region was asked for.
    pub fn token_map(&self, region: usize, token: usize, head: Option<usize>) -> Option<Heat> {
        let weights = heads::one_or_mean(&self.rows_of(region, token)?, head);
        let [height, width] = self.padded;
        let mut values = vec![0.0; height * width];
        for (key, weight) in weights.into_iter().enumerate() {
            let (_, [x0, y0, x1, y1]) = self.key_cells(region, key)?;
            // A key that stands for many cells is shared out among them.
            let share = weight / ((x1 - x0) * (y1 - y0)) as f32;
            for y in y0..y1 {
                for v in &mut values[y * width + x0..y * width + x1] {
                    *v += share;
                }
            }
        }
        let values = values.into();
        Some(Heat::of_cells("token attention", self.padded, values))
    }

    /// The region in the middle of the map.
    pub fn central_region(&self) -> usize {
        let row = self.map[0] / 2 / self.region[0].max(1);
        let col = self.map[1] / 2 / self.region[1].max(1);
        row * self.grid[1] + col
    }

    /// Marks and links of one region: itself, and where it reads from with rank and weight.
    pub fn route_overlay(&self, region: usize) -> (Vec<Mark>, Vec<Link>) {
        let mut marks = Vec::new();
        let mut links = Vec::new();
        for (rank, (routed, weight)) in self.routes(region).into_iter().enumerate() {
            marks.push(Mark {
                rect: self.rect(routed),
                label: format!("{} · {weight:.2}", rank + 1),
                kind: MarkKind::Related,
            });
            links.push(Link {
                from: self.centre(region),
                to: self.centre(routed),
                weight,
            });
        }
        marks.push(Mark {
            rect: self.rect(region),
            label: String::new(),
            kind: MarkKind::Query,
        });
        (marks, links)
    }

    /// Regions that hold only padding, as rectangles.
    pub fn padding_rects(&self) -> Vec<[f32; 4]> {
        (0..self.regions())
            .filter(|&r| self.is_padding(r))
            .map(|r| self.rect(r))
            .collect()
    }

    fn heat(&self, quantity: &'static str, values: Vec<f32>) -> Heat {
        Heat {
            quantity,
            values: values.into(),
            rows: self.grid[0],
            cols: self.grid[1],
            extent: [self.padded[1] as f32, self.padded[0] as f32],
        }
    }
}

impl Trace for RoutingTrace {
    fn mechanism(&self) -> &'static Mechanism {
        &super::MECHANISM
    }

    fn map(&self) -> MapSize {
        self.map
    }

    fn tensors(&self) -> Result<Vec<NamedTensor>> {
        let plain = |name: &str, tensor| NamedTensor {
            name: name.into(),
            tensor,
        };
        let mut all = vec![
            plain("in", self.input.clone()),
            plain("out", self.output.clone()),
            named("affinity_r", &self.affinity)?,
            plain("r_idx", self.routed.to_tensor(&Device::Cpu)?),
            named("r_weight", &self.weights)?,
        ];
        for (region, weights) in &self.token_attention {
            all.push(named(format!("attn_region{region}"), weights)?);
        }
        Ok(all)
    }

    fn questions(&self) -> &'static [Question] {
        &questions::ALL
    }

    fn answer(&self, question: &str, asked: &Asked) -> Option<Answer> {
        questions::answer(self, question, asked)
    }

    fn choices(&self, turn: Turn) -> usize {
        match turn {
            Turn::Unit | Turn::Against => self.regions(),
            Turn::Head => self.heads(),
            Turn::Iteration | Turn::Part => 0,
        }
    }

    fn usual(&self, turn: Turn) -> usize {
        match turn {
            Turn::Against => usual_other(self.topk, self.regions()),
            _ => 1,
        }
    }

    fn units(&self) -> Option<Units> {
        Some(Units {
            name: "region",
            grid: self.grid,
        })
    }

    fn unit_at(&self, [y, x]: [usize; 2], _iteration: Option<usize>) -> Option<usize> {
        self.region_at(y, x)
    }

    fn unit_rect(&self, unit: usize) -> Option<[f32; 4]> {
        (unit < self.regions()).then(|| self.rect(unit))
    }

    fn facts(&self, asked: &Asked) -> Vec<Fact> {
        facts::facts(self, asked)
    }

    /// Each routed region alike: how much of it is read only token attention says.
    fn reads(&self, unit: usize) -> Option<Vec<(usize, f32)>> {
        let reads = unit < self.regions() && self.weights.row(unit).iter().any(|w| *w > 0.0);
        let share = 1.0 / self.topk.max(1) as f32;
        let routes = || self.routes(unit).into_iter().map(|(to, _)| (to, share));
        reads.then(|| routes().collect())
    }

    fn features(&self) -> Option<&Tensor> {
        Some(&self.input)
    }

    fn bytes(&self) -> usize {
        let tokens: usize = self.token_attention.values().map(Array::bytes).sum();
        self.affinity.bytes()
            + self.routed.bytes()
            + self.weights.bytes()
            + tokens
            + 4 * (self.input.elem_count() + self.output.elem_count())
    }
}
