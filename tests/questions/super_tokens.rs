//! Super token attention.

use std::sync::Arc;

use attnscope::attention::Trace;
use attnscope::attention::view::{Body, Curves, Matrix, Turn};

use super::common::golden::Golden;
use super::common::module::Case;
use super::{LIMIT, answer, asked, heads_are, heat, overlay, same, table, traced};

/// The golden numbers of a case as dense tables.
struct Dense {
    /// Weight of every pixel (padded map) for every super token.
    share: Vec<Vec<f64>>,
    /// `[heads][query][key]`; the identity where nothing happens between the super tokens.
    attention: Vec<Vec<Vec<f64>>>,
    padded: [usize; 2],
    grid: [usize; 2],
}

impl Dense {
    fn new(golden: &Golden, iteration: usize) -> Self {
        let shape = &golden.get("stoken_in").shape;
        let grid = [shape[1], shape[2]];
        let n = grid[0] * grid[1];
        let mhsa = golden.find("mhsa");
        let affinity = golden.find(&format!("affinity_it{iteration}"));
        let padded = affinity.map_or(grid, |a| [a.shape[1], a.shape[2]]);
        let cell = [padded[0] / grid[0], padded[1] / grid[1]];
        let pixels = padded[0] * padded[1];
        let mut share = vec![vec![0.0; n]; pixels];
        for (p, share) in share.iter_mut().enumerate() {
            let Some(affinity) = affinity else {
                share[p] = 1.0;
                continue;
            };
            let (cy, cx) = (p / padded[1] / cell[0], p % padded[1] / cell[1]);
            for k in 0..9 {
                let (y, x) = (cy + k / 3, cx + k % 3);
                if (1..=grid[0]).contains(&y) && (1..=grid[1]).contains(&x) {
                    share[(y - 1) * grid[1] + x - 1] = affinity.data[k * pixels + p];
                }
            }
        }
        let identity = || {
            let row = |i| (0..n).map(|j| f64::from(u8::from(i == j))).collect();
            vec![(0..n).map(row).collect()]
        };
        let attention = mhsa.map_or_else(identity, |m| {
            let heads = m.data.chunks(n * n);
            heads
                .map(|h| h.chunks(n).map(<[f64]>::to_vec).collect())
                .collect()
        });
        Self {
            share,
            attention,
            padded,
            grid,
        }
    }

    /// `A · M · Âᵀ` for one pixel and head.
    fn composed(&self, pixel: usize, head: usize) -> Vec<f64> {
        let n = self.grid[0] * self.grid[1];
        let mass: Vec<f64> = (0..n)
            .map(|j| self.share.iter().map(|s| s[j]).sum::<f64>() + 1e-12)
            .collect();
        let reads: Vec<f64> = (0..n)
            .map(|j| {
                let of = |i: usize| self.share[pixel][i] * self.attention[head][i][j];
                (0..n).map(of).sum()
            })
            .collect();
        let weight = |q: &Vec<f64>| (0..n).map(|j| reads[j] * q[j] / mass[j]).sum();
        self.share.iter().map(weight).collect()
    }
}

/// Cases with the number of iterations; the layer of STViT attends to what a norm made of its input.
fn cases() -> Vec<(Case, Arc<dyn Trace>, usize)> {
    let with_iterations = |(case, trace): (Case, _)| {
        let last = (0..10).rfind(|i| case.golden.find(&format!("affinity_it{i}")).is_some());
        (case, trace, last.unwrap_or(0))
    };
    traced("sta").into_iter().map(with_iterations).collect()
}

#[test]
fn composed_attention_is_a_m_a_transposed() {
    for (case, trace, last) in cases() {
        if case.name == "sta_mixer" {
            assert!(trace.answer("composed", &asked(|_| {})).is_none());
            continue;
        }
        let dense = Dense::new(&case.golden, last);
        let heads = dense.attention.len();
        for pixel in (0..dense.share.len()).step_by(7) {
            let cell = Some([pixel / dense.padded[1], pixel % dense.padded[1]]);
            let all: Vec<Vec<f64>> = (0..heads).map(|h| dense.composed(pixel, h)).collect();
            let mean: Vec<f64> = (0..dense.share.len())
                .map(|q| all.iter().map(|w| w[q]).sum::<f64>() / heads as f64)
                .collect();
            let given = answer(trace.as_ref(), "composed", &asked(|a| a.cell = cell));
            same(&case.name, &heat(&given).values, &mean);
            // Where nothing happens between the super tokens there are no heads.
            for (head, expected) in all.iter().enumerate().take(trace.choices(Turn::Head)) {
                let wanted = asked(|a| (a.cell, a.head) = (cell, Some(head)));
                let given = answer(trace.as_ref(), "composed", &wanted);
                same(&case.name, &heat(&given).values, expected);
                // What is lost off the grid is missing.
                let sum: f64 = expected.iter().sum();
                let kept: f64 = dense.share[pixel].iter().sum();
                assert!((sum - kept).abs() < LIMIT, "{}: {sum} {kept}", case.name);
            }
        }
    }
}

#[test]
fn only_what_an_iteration_made_follows_the_chosen_one() {
    let settled = |question: &str, iteration| {
        let trace = &cases().remove(1).1;
        let given = answer(
            trace.as_ref(),
            question,
            &asked(|a| a.iteration = iteration),
        );
        overlay(&given).borders.clone()
    };
    assert_ne!(settled("partition", Some(0)), settled("partition", None));
    for question in ["composed", "token_attention", "read_by"] {
        assert_eq!(
            settled(question, Some(0)),
            settled(question, None),
            "{question}"
        );
    }
}

/// The output at a pixel is the sum of all values with the composed weights, head by head, through
/// the output matrix.
#[test]
fn composed_attention_makes_the_output() {
    let mut checked = 0;
    for (case, trace, _) in cases() {
        // The layer adds its own input and an MLP; the mixer is not made of weights.
        if ["sta_layer", "sta_mixer"].contains(&case.name.as_str()) {
            continue;
        }
        let golden = &case.golden;
        let (x, y) = (golden.get("x"), golden.get("y"));
        let [c, h, w] = [x.shape[1], x.shape[2], x.shape[3]];
        let heads = trace.choices(Turn::Head);
        let matrix = |name: &str| golden.find(&format!("p.stoken_refine.{name}"));
        for pixel in (0..h * w).step_by(3) {
            let cell = Some([pixel / w, pixel % w]);
            // What the weights gather from the input: padding holds zeros.
            let gathered = |head| {
                let wanted = asked(|a| (a.cell, a.head) = (cell, head));
                let given = answer(trace.as_ref(), "composed", &wanted);
                let map = heat(&given).clone();
                let sum: f64 = map.values.iter().map(|v| f64::from(*v)).sum();
                let of = |c: usize| -> f64 {
                    let place = |p: usize| f64::from(map.values[p / w * map.cols + p % w]);
                    (0..h * w).map(|p| place(p) * x.data[c * h * w + p]).sum()
                };
                ((0..c).map(of).collect::<Vec<f64>>(), sum)
            };
            let ours: Vec<f32> = match (matrix("qkv.weight"), matrix("proj.weight")) {
                (Some(qkv), Some(proj)) => {
                    let bias = |name: &str, i: usize| matrix(name).map_or(0.0, |b| b.data[i]);
                    let d = c / heads;
                    let mut values = vec![0.0; c];
                    let mut kept = 0.0;
                    for head in 0..heads {
                        let (x, sum) = gathered(Some(head));
                        kept = sum;
                        for i in 0..d {
                            let row = head * 3 * d + 2 * d + i;
                            let value: f64 = (0..c).map(|j| qkv.data[row * c + j] * x[j]).sum();
                            values[head * d + i] = value + sum * bias("qkv.bias", row);
                        }
                    }
                    let out = |o: usize| -> f64 {
                        let sum: f64 = (0..c).map(|j| proj.data[o * c + j] * values[j]).sum();
                        sum + kept * bias("proj.bias", o)
                    };
                    (0..c).map(|o| out(o) as f32).collect()
                }
                _ => gathered(None).0.iter().map(|v| *v as f32).collect(),
            };
            let expected: Vec<f64> = (0..c).map(|o| y.data[o * h * w + pixel]).collect();
            same(&format!("{} pixel {pixel}", case.name), &ours, &expected);
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked} pixels");
}

#[test]
fn affinity_and_lost_mass_are_the_golden_ones() {
    for (case, trace, last) in cases() {
        for iteration in 0..=last {
            let dense = Dense::new(&case.golden, iteration);
            for token in 0..dense.grid[0] * dense.grid[1] {
                let wanted = asked(|a| (a.unit, a.iteration) = (Some(token), Some(iteration)));
                let given = answer(trace.as_ref(), "affinity", &wanted);
                let expected: Vec<f64> = dense.share.iter().map(|s| s[token]).collect();
                same(&case.name, &heat(&given).values, &expected);
                let label = &overlay(&given).marks[0].label;
                assert_eq!(label, &format!("super token {token}"));
            }
            let given = answer(
                trace.as_ref(),
                "lost_mass",
                &asked(|a| a.iteration = Some(iteration)),
            );
            let lost: Vec<f64> = dense
                .share
                .iter()
                .map(|s| 1.0 - s.iter().sum::<f64>())
                .collect();
            same(&case.name, &heat(&given).values, &lost);
        }
    }
}

#[test]
fn every_cell_is_owned_once_or_lost() {
    for (case, trace, last) in cases() {
        let dense = Dense::new(&case.golden, last);
        let map = trace.map();
        let mut owned = 0;
        for token in 0..dense.grid[0] * dense.grid[1] {
            let wanted = asked(|a| a.unit = Some(token));
            let chosen = answer(trace.as_ref(), "partition", &wanted).chosen;
            let words: Vec<&str> = chosen.split_whitespace().collect();
            assert_eq!(words[..4], ["super", "token", &token.to_string(), "owns"]);
            owned += words[4].parse::<usize>().unwrap();
        }
        let lost = (0..map[0] * map[1]).filter(|i| {
            let (y, x) = (i / map[1], i % map[1]);
            let most = dense.share[y * dense.padded[1] + x].iter().copied();
            let most = most.fold(0.0, f64::max);
            let affinity = case.golden.find(&format!("affinity_it{last}"));
            affinity.is_some_and(|a| {
                let plane = dense.padded[0] * dense.padded[1];
                (0..9).any(|k| a.data[k * plane + y * dense.padded[1] + x] > most)
            })
        });
        assert_eq!(owned + lost.count(), map[0] * map[1], "{}", case.name);
    }
}

#[test]
fn token_attention_is_read_by_rows_and_columns() {
    for (case, trace, last) in cases() {
        let Some(mhsa) = case.golden.find("mhsa") else {
            assert!(trace.answer("token_attention", &asked(|_| {})).is_none());
            continue;
        };
        let dense = Dense::new(&case.golden, last);
        let (heads, n) = (mhsa.shape[0], mhsa.shape[1]);
        for head in (0..heads).map(Some).chain([None]) {
            let weight = |i: usize, j: usize| match head {
                Some(h) => dense.attention[h][i][j],
                None => dense.attention.iter().map(|a| a[i][j]).sum::<f64>() / heads as f64,
            };
            for token in 0..n {
                let wanted = asked(|a| (a.unit, a.head) = (Some(token), head));
                let row: Vec<f64> = (0..n).map(|j| weight(token, j)).collect();
                let given = answer(trace.as_ref(), "token_attention", &wanted);
                same(&case.name, &heat(&given).values, &row);
                let column: Vec<f64> = (0..n).map(|i| weight(i, token)).collect();
                let given = answer(trace.as_ref(), "read_by", &wanted);
                same(&case.name, &heat(&given).values, &column);
            }
            let wanted = asked(|a| (a.unit, a.head) = (Some(n - 1), head));
            let given = answer(trace.as_ref(), "token_matrix", &wanted);
            let Body::Matrix(matrix) = &given.view.body else {
                panic!("a matrix");
            };
            let all: Vec<f64> = (0..n * n).map(|i| weight(i / n, i % n)).collect();
            same(&case.name, &matrix.values, &all);
            assert_eq!((matrix.rows, matrix.cols, matrix.step), (n, n, 1));
            assert_eq!(matrix.row, Some(n - 1));
        }
        for token in 0..n {
            let given = answer(trace.as_ref(), "heads", &asked(|a| a.unit = Some(token)));
            let rows: Vec<Vec<f64>> = dense.attention.iter().map(|a| a[token].clone()).collect();
            let name = |t| format!("super token {t}");
            heads_are(&case.name, table(&given.view.body), &rows, name);
        }
    }
}

fn curve(body: &Body) -> &[[f32; 2]] {
    match body {
        Body::Curves(Curves { series, .. }) => &series[0].1,
        other => panic!("{other:?}"),
    }
}

#[test]
fn entropy_and_change_follow_the_iterations() {
    for (case, trace, last) in cases() {
        let all: Vec<_> = (0..=last)
            .filter_map(|i| case.golden.find(&format!("affinity_it{i}")))
            .collect();
        let Some(first) = all.first() else {
            assert!(trace.answer("affinity_moved", &asked(|_| {})).is_none());
            continue;
        };
        let (plane, width) = (first.shape[1] * first.shape[2], first.shape[2]);
        let [h, w] = trace.map();
        let mean = |of: &dyn Fn(usize) -> f64| {
            let cells = (0..h * w).flat_map(|p| (0..9).map(move |k| (k, p)));
            let places = cells.map(|(k, p)| k * plane + p / w * width + p % w);
            places.map(of).sum::<f64>() / (h * w) as f64
        };
        let entropies: Vec<f64> = all
            .iter()
            .map(|a| mean(&|i| -a.data[i] * a.data[i].log2()))
            .collect();
        let moved: Vec<f64> = all
            .windows(2)
            .map(|a| mean(&|i| (a[1].data[i] - a[0].data[i]).abs() / 2.0))
            .collect();
        let given = answer(trace.as_ref(), "affinity_moved", &asked(|_| {}));
        let points = curve(&given.view.body);
        let values = |points: &[[f32; 2]]| points.iter().map(|p| p[1]).collect::<Vec<f32>>();
        same(&case.name, &values(points), &entropies);
        assert_eq!(points[0][0], 1.0, "iterations count from 1");
        match given.beside.first() {
            Some(view) => {
                let points = curve(&view.body);
                same(&case.name, &values(points), &moved);
                assert_eq!(points[0][0], 2.0, "nothing moves in the first");
            }
            None => assert_eq!(moved.len(), 0, "{}", case.name),
        }
    }
}

#[test]
fn nine_weights_stand_beside_a_pressed_cell() {
    for (case, trace, last) in cases() {
        let Some(affinity) = case.golden.find(&format!("affinity_it{last}")) else {
            continue;
        };
        let plane = affinity.shape[1] * affinity.shape[2];
        let given = answer(
            trace.as_ref(),
            "partition",
            &asked(|a| a.cell = Some([0, 0])),
        );
        let Body::Matrix(Matrix { values, labels, .. }) = &given.beside[0].body else {
            panic!("a matrix");
        };
        let nine: Vec<f64> = (0..9).map(|k| affinity.data[k * plane]).collect();
        same(&case.name, values, &nine);
        // Above and to the left of the first cell there is nothing.
        assert_eq!(labels[0], "off grid");
        assert_eq!(labels[4], "0");
        assert_eq!(given.beside[0].title, "weights of cell 0, 0");
        let lost: f64 = 1.0 - Dense::new(&case.golden, last).share[0].iter().sum::<f64>();
        let facts = trace.facts(&asked(|a| a.cell = Some([0, 0])));
        let says = facts.iter().find(|f| f.name == "lost share").unwrap();
        let apart = (says.value.parse::<f64>().unwrap() - lost).abs();
        assert!(apart < 1e-3, "{}: {} {lost}", case.name, says.value);
    }
    let without = answer(cases()[0].1.as_ref(), "partition", &asked(|_| {}));
    assert!(without.beside.is_empty() && overlay(&without).outline.is_empty());
}
