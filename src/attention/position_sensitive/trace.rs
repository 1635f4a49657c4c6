//! What position-sensitive attention computed, and the pictures of it.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor};

use crate::attention::view::{Body, Heat, Mark, MarkKind, Overlay, View};
use crate::attention::{Array, Indices, MapSize, Mechanism, NamedTensor, Trace, named};

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
        let chosen = match head {
            Some(head) if head >= heads => return None,
            Some(head) => head..head + 1,
            None => 0..heads,
        };
        let mut values = vec![0.0; self.map[0] * self.map[1]];
        for head in chosen.clone() {
            for (v, weight) in values.iter_mut().zip(all.row(head)) {
                *v += weight / chosen.len() as f32;
            }
        }
        Some(Heat {
            quantity,
            values: values.into(),
            rows: self.map[0],
            cols: self.map[1],
            extent: [self.map[1] as f32, self.map[0] as f32],
        })
    }

    /// The pictures of one attention; `place` follows their names where there are several.
    fn views_of(&self, attention: usize, place: &str) -> Vec<View> {
        let overlay = |heat, marks| {
            Body::Overlay(Overlay {
                heat: Some(heat),
                marks,
                ..Overlay::default()
            })
        };
        let mut views = Vec::new();
        if let Some(heat) = self.received_map(attention, None) {
            views.push(View {
                name: format!("received{place}").into(),
                title: "Positions that everybody reads".into(),
                caption: "Mean over all queries and heads of the weight each position gets".into(),
                body: overlay(heat, Vec::new()),
            });
        }
        let token = self.central_token();
        if let Some(heat) = self.token_map(attention, token, None) {
            let mark = Mark {
                rect: self.cell(token),
                label: String::new(),
                kind: MarkKind::Query,
            };
            views.push(View {
                name: format!("token_attention{place}").into(),
                title: "Where the middle position looks".into(),
                caption: "Attention of one position to all others, mean of all heads".into(),
                body: overlay(heat, vec![mark]),
            });
        }
        views
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

    fn views(&self) -> Vec<View> {
        let place = |i: usize| match self.attentions.len() {
            1 => String::new(),
            _ => format!("_{i}"),
        };
        (0..self.attentions.len())
            .flat_map(|i| self.views_of(i, &place(i)))
            .collect()
    }

    fn bytes(&self) -> usize {
        let maps: usize = self.attentions.iter().map(HeadMaps::bytes).sum();
        maps + 4 * (self.input.elem_count() + self.output.elem_count())
    }
}
