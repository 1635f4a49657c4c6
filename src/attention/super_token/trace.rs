//! What super token attention computed, and the pictures of it.

use candle_core::{Result, Tensor};

use crate::attention::view::{Body, Heat, Mark, MarkKind, Overlay, View, label_borders};
use crate::attention::{Array, MapSize, Mechanism, NamedTensor, Trace, named};

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

    /// The super token with the largest weight at each pixel, row-major on the padded map;
    /// −1 where the largest weight belongs to a neighbour off the grid.
    pub fn labels(&self, iteration: usize) -> Vec<i32> {
        let [height, width] = self.padded;
        let Some(affinity) = self.affinity.get(iteration) else {
            return (0..height * width).map(|i| i as i32).collect();
        };
        let plane = height * width;
        let data = affinity.data();
        let label = |i: usize| {
            let best = (0..9)
                .max_by(|&a, &b| {
                    // On a tie the first of the nine counts, as argmax does.
                    data[a * plane + i]
                        .total_cmp(&data[b * plane + i])
                        .then(b.cmp(&a))
                })
                .unwrap_or(4);
            self.neighbour(best, i / width, i % width)
                .map_or(-1, |t| t as i32)
        };
        (0..plane).map(label).collect()
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

    /// Borders of the hard partition, in cells of the feature map, cut to the map.
    pub fn partition(&self, iteration: usize) -> Vec<[f32; 4]> {
        let labels = self.labels(iteration);
        let [h, w] = self.map;
        let cropped: Vec<i32> = (0..h)
            .flat_map(|y| labels[y * self.padded[1]..][..w].iter().copied())
            .collect();
        label_borders(&cropped, h, w)
    }

    /// How strongly each pixel belongs to super token `token`: its soft affinity.
    pub fn soft_map(&self, iteration: usize, token: usize) -> Heat {
        let [height, width] = self.padded;
        let mut values = vec![0.0; height * width];
        match self.affinity.get(iteration) {
            Some(affinity) => {
                let plane = height * width;
                for (i, v) in values.iter_mut().enumerate() {
                    let of = |k: &usize| self.neighbour(*k, i / width, i % width) == Some(token);
                    if let Some(k) = (0..9).find(of) {
                        *v = affinity.data()[k * plane + i];
                    }
                }
            }
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
        let [height, width] = self.padded;
        let plane = height * width;
        let mut values = vec![0.0; plane];
        if let Some(affinity) = self.affinity.get(iteration) {
            for (i, v) in values.iter_mut().enumerate() {
                *v = (0..9)
                    .filter(|&k| self.neighbour(k, i / width, i % width).is_none())
                    .map(|k| affinity.data()[k * plane + i])
                    .sum();
            }
        }
        self.heat("lost mass", values)
    }

    /// What super token `query` reads from the others: one head, or the mean of all heads.
    pub fn reads_from(&self, query: usize, head: Option<usize>) -> Heat {
        let n = self.tokens_count();
        let weights = self.token_attention.as_ref();
        let heads = weights
            .and_then(|w| w.shape().first().copied())
            .unwrap_or(0);
        let mut values = vec![0.0; n];
        let chosen: Vec<usize> = match head {
            Some(h) => vec![h],
            None => (0..heads).collect(),
        };
        for &h in &chosen {
            let row = weights.map_or(&[][..], |w| w.row(h));
            if let Some(row) = row.get(query * n..(query + 1) * n) {
                for (v, a) in values.iter_mut().zip(row) {
                    *v += a / chosen.len() as f32;
                }
            }
        }
        Heat {
            quantity: "token attention",
            values: values.into(),
            rows: self.grid[0],
            cols: self.grid[1],
            extent: [self.padded[1] as f32, self.padded[0] as f32],
        }
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

    /// Index of the last iteration.
    pub fn last_iteration(&self) -> usize {
        self.affinity.len().saturating_sub(1)
    }

    fn heat(&self, quantity: &'static str, values: Vec<f32>) -> Heat {
        Heat {
            quantity,
            values: values.into(),
            rows: self.padded[0],
            cols: self.padded[1],
            extent: [self.padded[1] as f32, self.padded[0] as f32],
        }
    }

    fn query_mark(&self, token: usize) -> Mark {
        Mark {
            rect: self.cell(token),
            label: format!("super token {token}"),
            kind: MarkKind::Query,
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

    fn views(&self) -> Vec<View> {
        let last = self.last_iteration();
        let token = self.central_token();
        let borders = self.partition(last);
        let view = |name: &'static str, title: String, caption: &str, heat, marks| View {
            name: name.into(),
            title,
            caption: caption.into(),
            body: Body::Overlay(Overlay {
                heat,
                borders: borders.clone(),
                marks,
                ..Overlay::default()
            }),
        };
        let mut views = vec![
            view(
                "partition",
                format!("{} super tokens, hard partition", self.tokens_count()),
                "Each area belongs to the super token with the largest affinity",
                None,
                Vec::new(),
            ),
            view(
                "affinity",
                format!("Affinity to super token {token}"),
                "Share of each pixel that goes to this super token",
                Some(self.soft_map(last, token)),
                vec![self.query_mark(token)],
            ),
            view(
                "lost_mass",
                "Mass lost off the grid".into(),
                "Weight that border pixels give to super tokens outside the picture",
                Some(self.lost_mass(last)),
                Vec::new(),
            ),
        ];
        if self.token_attention.is_some() {
            views.push(view(
                "token_attention",
                format!("What super token {token} reads from"),
                "Attention between super tokens, mean of all heads",
                Some(self.reads_from(token, None)),
                vec![self.query_mark(token)],
            ));
        }
        views
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
