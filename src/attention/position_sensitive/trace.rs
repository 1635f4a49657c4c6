//! What position-sensitive attention computed, and the maps that follow from it.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor};

use super::questions;
use crate::attention::view::{Answer, Asked, Fact, Heat, Question, Turn, Units};
use crate::attention::{Array, Indices, MapSize, Mechanism, NamedTensor, Trace, heads, named};

/// The trace of one row: every attention inside it, in the order in which they run.
#[derive(Debug, Clone)]
pub struct PositionSensitiveTrace {
    /// Feature map.
    pub map: MapSize,
    /// The attentions inside the row; `C2PSA` and `C3k2` have as many as they have repeats.
    pub attentions: Vec<HeadMaps>,
    /// `[C, H, W]` input of the row.
    pub input: Tensor,
    /// `[C', H, W]` output of the row.
    pub output: Tensor,
}

/// One attention over `N = H · W` positions. Position `(y, x)` is token `y·W + x`.
#[derive(Debug, Clone)]
pub struct HeadMaps {
    /// Heads.
    pub heads: usize,
    /// Channels of a query and of a key in each head.
    pub key_dim: usize,
    /// `[heads, H, W]` weight that each position gets, mean over all queries; a head sums to 1.
    pub received: Array,
    /// `[heads, N]` for the asked-for tokens: what each reads from; a head sums to 1. Empty if
    /// they would exceed the memory for it.
    pub token_attention: BTreeMap<usize, Array>,
}

impl PositionSensitiveTrace {
    /// The token at the cell `(y, x)` of the feature map.
    pub fn token_at(&self, y: usize, x: usize) -> Option<usize> {
        (y < self.map[0] && x < self.map[1]).then(|| y * self.map[1] + x)
    }

    /// The cell of a token, `x0, y0, x1, y1` in cells of the feature map.
    pub fn cell(&self, token: usize) -> [f32; 4] {
        let width = self.map[1].max(1);
        let (y, x) = ((token / width) as f32, (token % width) as f32);
        [x, y, x + 1.0, y + 1.0]
    }

    /// The token in the middle of the map.
    pub fn central_token(&self) -> usize {
        (self.map[0] / 2) * self.map[1] + self.map[1] / 2
    }

    /// How much each position is read: one head of an attention, or the mean of all heads.
    pub fn received_map(&self, attention: usize, head: Option<usize>) -> Option<Heat> {
        let maps = self.attentions.get(attention)?;
        self.heat("received attention", &maps.received, head)
    }

    /// Where a token looks: one head of an attention, or the mean of all heads. `None` unless
    /// that token was asked for.
    pub fn token_map(&self, attention: usize, token: usize, head: Option<usize>) -> Option<Heat> {
        let maps = self.attentions.get(attention)?;
        let weights = maps.token_attention.get(&token)?;
        self.heat("token attention", weights, head)
    }

    /// One head of `[heads, …]`, or the mean of all, as a map.
    fn heat(&self, quantity: &'static str, all: &Array, head: Option<usize>) -> Option<Heat> {
        let heads = all.shape().first().copied()?;
        if head.is_some_and(|h| h >= heads) {
            return None;
        }
        let rows: Vec<&[f32]> = (0..heads).map(|h| all.row(h)).collect();
        let values = heads::one_or_mean(&rows, head).into();
        Some(Heat::of_cells(quantity, self.map, values))
    }
}

impl HeadMaps {
    /// The kept tokens `[T]` and their weights `[T, heads, N]`; none if no token was kept.
    fn stacked(&self) -> Option<(Indices, Array)> {
        let n = self.received.row(0).len();
        let tokens: Vec<u32> = self.token_attention.keys().map(|&t| t as u32).collect();
        let weights: Vec<f32> = self
            .token_attention
            .values()
            .flat_map(|w| w.data().iter().copied())
            .collect();
        let count = tokens.len();
        let all = Array::new(&[count, self.heads, n], weights)?;
        Some((Indices::new(&[count], tokens)?, all)).filter(|_| count > 0)
    }

    fn bytes(&self) -> usize {
        let tokens: usize = self.token_attention.values().map(Array::bytes).sum();
        self.received.bytes() + tokens
    }
}

impl Trace for PositionSensitiveTrace {
    fn mechanism(&self) -> &'static Mechanism {
        &super::MECHANISM
    }

    fn map(&self) -> MapSize {
        self.map
    }

    fn tensors(&self) -> Result<Vec<NamedTensor>> {
        let plain = |name: String, tensor| NamedTensor { name, tensor };
        let mut all = vec![
            plain("in".into(), self.input.clone()),
            plain("out".into(), self.output.clone()),
        ];
        for (i, maps) in self.attentions.iter().enumerate() {
            all.push(named(format!("received{i}"), &maps.received)?);
            if let Some((tokens, weights)) = maps.stacked() {
                all.push(plain(format!("tokens{i}"), tokens.to_tensor(&Device::Cpu)?));
                all.push(named(format!("attn{i}"), &weights)?);
            }
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
            Turn::Unit => self.map[0] * self.map[1],
            Turn::Head => self.attentions.iter().map(|a| a.heads).max().unwrap_or(0),
            Turn::Part => self.attentions.len(),
            Turn::Iteration | Turn::Against => 0,
        }
    }

    fn units(&self) -> Option<Units> {
        Some(Units {
            name: "position",
            grid: self.map,
        })
    }

    fn unit_at(&self, [y, x]: [usize; 2], _iteration: Option<usize>) -> Option<usize> {
        self.token_at(y, x)
    }

    fn unit_rect(&self, unit: usize) -> Option<[f32; 4]> {
        (unit < self.map[0] * self.map[1]).then(|| self.cell(unit))
    }

    fn facts(&self, asked: &Asked) -> Vec<Fact> {
        questions::facts(self, asked)
    }

    fn reads(&self, unit: usize) -> Option<Vec<(usize, f32)>> {
        let read = self.token_map(0, unit, None)?.values;
        Some(read.iter().copied().enumerate().collect())
    }

    fn features(&self) -> Option<&Tensor> {
        Some(&self.input)
    }

    fn bytes(&self) -> usize {
        let maps: usize = self.attentions.iter().map(HeadMaps::bytes).sum();
        maps + 4 * (self.input.elem_count() + self.output.elem_count())
    }
}
