//! What follows from the association and the token attention together.

use super::SuperTokenTrace;
use crate::attention::heads;
use crate::attention::view::Heat;

/// What the association adds to the mass of a super token before it divides by it.
const MASS_EPS: f32 = 1e-12;

impl SuperTokenTrace {
    /// The weights with which the output at pixel `(y, x)` reads the values of all pixels of the
    /// padded map: one head, or the mean of all.
    ///
    /// Pixel p gives the share `A[p, i]` to super token i, which reads `M[i, j]` from j, which is
    /// the mean of its pixels q with the weights `A[q, j] / D[j]`. So the weight of q is
    /// `Σᵢⱼ A[p, i] · M[i, j] · A[q, j] / D[j]`: exact, since nothing between is nonlinear once the
    /// weights are known. The weights sum to the share of p that is not lost off the grid. Without
    /// any step between the super tokens `M` is the identity. `None` where they are mixed by
    /// convolutions, and outside the map.
    pub fn composed(&self, [y, x]: [usize; 2], head: Option<usize>) -> Option<Heat> {
        let [height, width] = self.padded;
        if y >= height || x >= width || !self.composes() {
            return None;
        }
        let Some(affinity) = self.affinity.last() else {
            // Every pixel is its own super token.
            return Some(self.reading(y * width + x, head)).map(|r| self.heat("weight", r));
        };
        let mut reading = vec![0.0; self.tokens_count()];
        for k in 0..9 {
            let Some(token) = self.neighbour(k, y, x) else {
                continue;
            };
            let share = affinity.at(&[k, y, x]);
            for (r, m) in reading.iter_mut().zip(self.reading(token, head)) {
                *r += share * m;
            }
        }
        for (r, mass) in reading.iter_mut().zip(self.column_sum.data()) {
            *r /= mass + MASS_EPS;
        }
        let mut values = vec![0.0; height * width];
        self.runs(|k, token, run| {
            let Some(r) = token.and_then(|t| reading.get(t)) else {
                return;
            };
            for (v, a) in values[run.clone()].iter_mut().zip(&affinity.row(k)[run]) {
                *v += a * r;
            }
        });
        Some(self.heat("weight", values))
    }

    /// Whether what happens between the super tokens is known as weights.
    pub fn composes(&self) -> bool {
        self.token_attention.is_some() || self.stoken_in == self.stoken_out
    }

    /// What a super token takes from each: its token attention, or itself alone.
    fn reading(&self, token: usize, head: Option<usize>) -> Vec<f32> {
        match self.token_attention {
            Some(_) => heads::one_or_mean(&self.rows_of(token), head),
            None => (0..self.tokens_count())
                .map(|t| f32::from(u8::from(t == token)))
                .collect(),
        }
    }

    /// For every iteration the mean entropy in bits of the nine weights of a pixel, and for every
    /// one but the first the mean share of its weight that a pixel has moved since the one before
    /// (half the sum of the nine changes). Padding is left out.
    pub fn movement(&self) -> (Vec<f32>, Vec<f32>) {
        let entropies = (0..self.affinity.len()).map(|i| {
            self.mean_over_map(|k, run| {
                let weights = &self.affinity[i].row(k)[run];
                f64::from(heads::entropy(weights.iter().copied()))
            })
        });
        let moved = (1..self.affinity.len()).map(|i| {
            self.mean_over_map(|k, run| {
                let now = &self.affinity[i].row(k)[run.clone()];
                let before = &self.affinity[i - 1].row(k)[run];
                let apart = now.iter().zip(before).map(|(a, b)| (a - b).abs());
                f64::from(apart.sum::<f32>() / 2.0)
            })
        });
        (entropies.collect(), moved.collect())
    }

    /// The sum of `of(k, run)` over the nine neighbours and all rows of the map, by its cells.
    fn mean_over_map(&self, of: impl Fn(usize, std::ops::Range<usize>) -> f64) -> f32 {
        let [h, w] = self.map;
        let rows = (0..h).map(|y| y * self.padded[1]..y * self.padded[1] + w);
        let sum: f64 = rows
            .flat_map(|run| (0..9).map(move |k| (k, run.clone())))
            .map(|(k, run)| of(k, run))
            .sum();
        (sum / (h * w).max(1) as f64) as f32
    }
}
