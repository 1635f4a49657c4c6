//! What super token attention computed, and the maps that follow from it.

use std::ops::Range;

use candle_core::{Result, Tensor};

use super::{facts, questions};
use crate::attention::view::{Answer, Asked, Fact, Heat, Question, Turn, Units};
use crate::attention::{Array, MapSize, Mechanism, NamedTensor, Trace, heads, named};

/// The trace of one STA layer. `H × W` is the map padded to whole cells, `hh × ww` the grid of
/// super tokens, `N = hh · ww`.
#[derive(Debug, Clone)]
pub struct SuperTokenTrace {
    /// Feature map without padding.
    pub map: MapSize,
    /// Feature map with padding, `[H, W]`.
    pub padded: MapSize,
    /// Cell height and width.
    pub stoken_size: [usize; 2],
    /// Super tokens, rows and columns.
    pub grid: [usize; 2],
    /// `[9, H, W]` per iteration: weight of neighbour `k = 3·(dy+1) + (dx+1)` of the pixel's own
    /// cell; the nine sum to 1 and include neighbours off the grid. Empty for cells of one pixel.
    pub affinity: Vec<Array>,
    /// `[C, hh, ww]` super tokens before their attention.
    pub stoken_in: Array,
    /// `[C, hh, ww]` super tokens after their attention.
    pub stoken_out: Array,
    /// `[heads, N, N]`, row = query, rows sum to 1. None where super tokens do not attend to each
    /// other: in a probe, or where the model leaves that out.
    pub token_attention: Option<Array>,
    /// `[hh, ww]` association mass that each super token received in the last iteration.
    pub column_sum: Array,
    /// `[C, H0, W0]` input of the attention (after the norm, in a block).
    pub input: Tensor,
    /// `[C, H0, W0]` output of the attention (before the residual, in a block).
    pub output: Tensor,
}

impl SuperTokenTrace {
    /// The super token that neighbour `k` of the pixel `(y, x)` stands for; `None` off the grid.
    pub fn neighbour(&self, k: usize, y: usize, x: usize) -> Option<usize> {
        let cell = [y / self.stoken_size[0], x / self.stoken_size[1]];
        let row = (cell[0] + k / 3).checked_sub(1)?;
        let col = (cell[1] + k % 3).checked_sub(1)?;
        (k < 9 && row < self.grid[0] && col < self.grid[1]).then(|| row * self.grid[1] + col)
    }

    /// Number of super tokens.
    pub fn tokens_count(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// Calls `each` with a neighbour `k`, the super token that it stands for and a run of pixels
    /// (row-major places on the padded map) for which it does; together the runs cover the map
    /// once for every `k`.
    pub(super) fn runs(&self, mut each: impl FnMut(usize, Option<usize>, Range<usize>)) {
        let [height, width] = self.padded;
        let wide = self.stoken_size[1];
        for k in 0..9 {
            for y in 0..height {
                for x in (0..width).step_by(wide.max(1)) {
                    let start = y * width + x;
                    each(k, self.neighbour(k, y, x), start..start + wide);
                }
            }
        }
    }

    /// The super token with the largest weight at each pixel, row-major on the padded map;
    /// −1 where the largest weight belongs to a neighbour off the grid.
    pub fn labels(&self, iteration: usize) -> Vec<i32> {
        let [height, width] = self.padded;
        let plane = height * width;
        let Some(affinity) = self.affinity.get(iteration) else {
            return (0..plane).map(|i| i as i32).collect();
        };
        let mut most = affinity.row(0).to_vec();
        let mut best = vec![0; plane];
        for k in 1..9 {
            // On a tie the first of the nine counts, as argmax does.
            for ((m, b), &a) in most.iter_mut().zip(&mut best).zip(affinity.row(k)) {
                if a > *m {
                    (*m, *b) = (a, k);
                }
            }
        }
        let mut labels = vec![-1; plane];
        self.runs(|k, token, run| {
            let token = token.map_or(-1, |t| t as i32);
            for (label, &b) in labels[run.clone()].iter_mut().zip(&best[run]) {
                if b == k {
                    *label = token;
                }
            }
        });
        labels
    }

    /// The super token that owns the pixel `(y, x)` in the hard partition.
    pub fn owner(&self, iteration: usize, y: usize, x: usize) -> Option<usize> {
        if y >= self.padded[0] || x >= self.padded[1] {
            return None;
        }
        let Some(affinity) = self.affinity.get(iteration) else {
            return Some(y * self.padded[1] + x);
        };
        let weight = |k: usize| affinity.at(&[k, y, x]);
        let best = (0..9).max_by(|&a, &b| weight(a).total_cmp(&weight(b)).then(b.cmp(&a)))?;
        self.neighbour(best, y, x)
    }

    /// The super token of the pixel `(y, x)`: its owner, or where the largest weight is lost off
    /// the grid, the largest of the others.
    pub fn strongest(&self, iteration: usize, y: usize, x: usize) -> Option<usize> {
        self.owner(iteration, y, x).or_else(|| {
            let weights = self.weights_at(iteration, y, x).into_iter();
            let on_grid = weights.filter_map(|(token, weight)| Some((token?, weight)));
            on_grid.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(t, _)| t)
        })
    }

    /// How strongly each pixel belongs to super token `token`: its soft affinity.
    pub fn soft_map(&self, iteration: usize, token: usize) -> Heat {
        let mut values = vec![0.0; self.padded[0] * self.padded[1]];
        match self.affinity.get(iteration) {
            Some(affinity) => self.runs(|k, of, run| {
                if of == Some(token) {
                    values[run.clone()].copy_from_slice(&affinity.row(k)[run]);
                }
            }),
            None => {
                if let Some(v) = values.get_mut(token) {
                    *v = 1.0;
                }
            }
        }
        self.heat("affinity", values)
    }

    /// The nine weights of the pixel `(y, x)` with the super token each stands for.
    pub fn weights_at(&self, iteration: usize, y: usize, x: usize) -> Vec<(Option<usize>, f32)> {
        match self.affinity.get(iteration) {
            Some(a) if y < self.padded[0] && x < self.padded[1] => (0..9)
                .map(|k| (self.neighbour(k, y, x), a.at(&[k, y, x])))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The weight that each pixel gives to neighbours off the grid and so loses.
    pub fn lost_mass(&self, iteration: usize) -> Heat {
        let mut values = vec![0.0; self.padded[0] * self.padded[1]];
        if let Some(affinity) = self.affinity.get(iteration) {
            self.runs(|k, of, run| {
                if of.is_none() {
                    for (v, a) in values[run.clone()].iter_mut().zip(&affinity.row(k)[run]) {
                        *v += a;
                    }
                }
            });
        }
        self.heat("lost mass", values)
    }

    /// Number of heads; 0 where super tokens do not attend to each other.
    pub fn heads(&self) -> usize {
        let weights = self.token_attention.as_ref();
        weights
            .and_then(|w| w.shape().first().copied())
            .unwrap_or(0)
    }

    /// What super token `query` gives to each of the others, a row per head.
    pub fn rows_of(&self, query: usize) -> Vec<&[f32]> {
        let n = self.tokens_count();
        let weights = self.token_attention.iter();
        let heads = weights.flat_map(|w| (0..self.heads()).map(move |h| w.row(h)));
        heads
            .filter_map(|m| m.get(query * n..(query + 1) * n))
            .collect()
    }

    /// What super token `query` reads from the others: one head, or the mean of all heads.
    pub fn reads_from(&self, query: usize, head: Option<usize>) -> Heat {
        let mut values = heads::one_or_mean(&self.rows_of(query), head);
        values.resize(self.tokens_count(), 0.0);
        self.grid_heat("token attention", values)
    }

    /// What each super token reads from `key`: one head, or the mean of all heads.
    pub fn read_by(&self, key: usize, head: Option<usize>) -> Heat {
        let n = self.tokens_count();
        let heads: Vec<usize> = head.map_or_else(|| (0..self.heads()).collect(), |h| vec![h]);
        let mut values = vec![0.0; n];
        for &h in &heads {
            let matrix = self.token_attention.as_ref().map_or(&[][..], |w| w.row(h));
            let column = matrix.iter().skip(key).step_by(n.max(1));
            for (v, a) in values.iter_mut().zip(column) {
                *v += a / heads.len() as f32;
            }
        }
        self.grid_heat("token attention", values)
    }

    /// The cell of super token `token`, `x0, y0, x1, y1` in cells of the feature map.
    pub fn cell(&self, token: usize) -> [f32; 4] {
        let [h, w] = self.stoken_size.map(|v| v as f32);
        let row = (token / self.grid[1].max(1)) as f32;
        let col = (token % self.grid[1].max(1)) as f32;
        [col * w, row * h, (col + 1.0) * w, (row + 1.0) * h]
    }

    /// The super token in the middle of the grid.
    pub fn central_token(&self) -> usize {
        (self.grid[0] / 2) * self.grid[1] + self.grid[1] / 2
    }

    /// The wanted iteration if there is one, else the last.
    pub(super) fn iteration(&self, wanted: Option<usize>) -> usize {
        let there = wanted.filter(|i| *i < self.affinity.len());
        there.unwrap_or(self.last_iteration())
    }

    /// Index of the last iteration.
    pub fn last_iteration(&self) -> usize {
        self.affinity.len().saturating_sub(1)
    }

    pub(super) fn heat(&self, quantity: &'static str, values: Vec<f32>) -> Heat {
        Heat {
            quantity,
            values: values.into(),
            rows: self.padded[0],
            cols: self.padded[1],
            extent: [self.padded[1] as f32, self.padded[0] as f32],
        }
    }

    fn grid_heat(&self, quantity: &'static str, values: Vec<f32>) -> Heat {
        Heat {
            quantity,
            values: values.into(),
            rows: self.grid[0],
            cols: self.grid[1],
            extent: [self.padded[1] as f32, self.padded[0] as f32],
        }
    }
}

impl Trace for SuperTokenTrace {
    fn mechanism(&self) -> &'static Mechanism {
        &super::MECHANISM
    }

    fn map(&self) -> MapSize {
        self.map
    }

    fn tensors(&self) -> Result<Vec<NamedTensor>> {
        let mut all = vec![
            NamedTensor {
                name: "in".into(),
                tensor: self.input.clone(),
            },
            NamedTensor {
                name: "out".into(),
                tensor: self.output.clone(),
            },
        ];
        for (i, a) in self.affinity.iter().enumerate() {
            all.push(named(format!("affinity_it{i}"), a)?);
        }
        let lost = self.lost_mass(self.last_iteration());
        let lost = Array::new(&self.padded, lost.values);
        for (name, array) in [
            ("stoken_in", Some(&self.stoken_in)),
            ("stoken_out", Some(&self.stoken_out)),
            ("mhsa", self.token_attention.as_ref()),
            ("column_sum", Some(&self.column_sum)),
            ("lost_mass", lost.as_ref()),
        ] {
            if let Some(array) = array {
                all.push(named(name, array)?);
            }
        }
        Ok(all)
    }

    fn questions(&self) -> &'static [Question] {
        questions::of(self)
    }

    fn answer(&self, question: &str, asked: &Asked) -> Option<Answer> {
        questions::answer(self, question, asked)
    }

    fn choices(&self, turn: Turn) -> usize {
        match turn {
            Turn::Unit => self.tokens_count(),
            Turn::Head => self.heads(),
            Turn::Iteration => self.affinity.len(),
            Turn::Part | Turn::Against => 0,
        }
    }

    fn units(&self) -> Option<Units> {
        Some(Units {
            name: "super token",
            grid: self.grid,
        })
    }

    fn unit_at(&self, [y, x]: [usize; 2], iteration: Option<usize>) -> Option<usize> {
        self.strongest(self.iteration(iteration), y, x)
    }

    fn unit_rect(&self, unit: usize) -> Option<[f32; 4]> {
        (unit < self.tokens_count()).then(|| self.cell(unit))
    }

    fn facts(&self, asked: &Asked) -> Vec<Fact> {
        facts::facts(self, asked)
    }

    fn reads(&self, unit: usize) -> Option<Vec<(usize, f32)>> {
        self.token_attention.as_ref()?;
        let read = self.reads_from(unit, None).values;
        Some(read.iter().copied().enumerate().collect())
    }

    fn features(&self) -> Option<&Tensor> {
        Some(&self.input)
    }

    fn bytes(&self) -> usize {
        let arrays = [&self.stoken_in, &self.stoken_out, &self.column_sum];
        let arrays = arrays.into_iter().chain(&self.token_attention);
        let maps: usize = self.affinity.iter().map(Array::bytes).sum();
        arrays.map(Array::bytes).sum::<usize>()
            + maps
            + 4 * (self.input.elem_count() + self.output.elem_count())
    }
}
