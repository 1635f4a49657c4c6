//! YOLO's own attention as a watched layer: looking at it changes nothing, and what is kept is
//! what was asked for.

mod common;

use std::sync::Arc;

use attnscope::attention::position_sensitive::{self, PositionSensitiveTrace};
use attnscope::attention::{Attention, Knobs, Trace, Watch};
use attnscope::yolo::{Config, Network};
use candle_core::{Device, Tensor};

use common::compare::flat;
use common::drawn::{self, Drawn};

/// Rows 1 to 4 attend: twice, twice one after the other, twice and once.
const ROWS: &str = "
nc: 2
scales:
  n: [1.0, 1.0, 1024]
backbone:
  - [-1, 1, Conv, [128, 3, 8]]
  - [-1, 2, C2PSA, [128]]
  - [-1, 2, PSA, [128]]
  - [-1, 2, C3k2, [256, False, 0.5, True]]
  - [-1, 1, PSABlock, [256, 0.5, 4]]
head:
  - [[0, 2, 4], 1, Detect, [nc]]
";

fn network() -> Network {
    Network::build(&Config::parse(ROWS).unwrap(), &Drawn::builder()).unwrap()
}

/// Input of an attention row on a map of `[h, w]`.
fn input(row: usize, [h, w]: [usize; 2]) -> Tensor {
    let c = if row == 4 { 256 } else { 128 };
    let values = drawn::values("input", &[1, c, h, w]);
    Tensor::from_vec(values, (1, c, h, w), &Device::Cpu).unwrap()
}

fn watched(layer: &dyn Attention, x: &Tensor, watch: &Watch) -> (Vec<u32>, Option<Arc<dyn Trace>>) {
    let (y, trace) = layer.forward(x, &Knobs::new(), watch).unwrap();
    let bits = flat(&y).iter().map(|v| v.to_bits()).collect();
    (bits, trace)
}

fn trace(layer: &dyn Attention, x: &Tensor, watch: &Watch) -> PositionSensitiveTrace {
    let trace = watched(layer, x, watch).1.unwrap();
    trace.downcast::<PositionSensitiveTrace>().unwrap().clone()
}

fn near(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6)
}

#[test]
fn every_block_that_attends_is_an_attention_layer() {
    let network = network();
    let found: Vec<_> = network.attention().collect();
    let rows: Vec<usize> = found.iter().map(|(row, _)| *row).collect();
    assert_eq!(rows, [1, 2, 3, 4]);
    for (row, layer) in found {
        assert_eq!(layer.mechanism().id, position_sensitive::MECHANISM.id);
        assert_eq!(layer.legal([20, 20], &Knobs::new()), Default::default());
        let t = trace(layer, &input(row, [4, 5]), &Watch::All);
        let heads: Vec<_> = t.attentions.iter().map(|a| (a.heads, a.key_dim)).collect();
        let expected: &[(usize, usize)] = match row {
            1 => &[(1, 32), (1, 32)],
            2 => &[(1, 32), (1, 32)],
            3 => &[(2, 32), (2, 32)],
            _ => &[(4, 32)],
        };
        assert_eq!(heads, expected, "row {row}");
    }
}

#[test]
fn watching_changes_no_byte_of_the_output() {
    for (row, layer) in network().attention() {
        let x = input(row, [9, 17]);
        let (alone, none) = watched(layer, &x, &Watch::Off);
        assert!(none.is_none());
        for watch in [Watch::All, Watch::Focus(vec![]), Watch::Focus(vec![3])] {
            assert!(
                watched(layer, &x, &watch).0 == alone,
                "row {row}, {watch:?}"
            );
        }
    }
}

#[test]
fn what_is_received_is_the_mean_of_what_all_positions_give() {
    // 153 positions: the queries are taken in two parts.
    let map = [9, 17];
    for (row, layer) in network().attention() {
        let t = trace(layer, &input(row, map), &Watch::All);
        for maps in &t.attentions {
            let n = map[0] * map[1];
            assert_eq!(maps.token_attention.len(), n);
            assert_eq!(maps.received.shape(), [maps.heads, map[0], map[1]]);
            for head in 0..maps.heads {
                let mut mean = vec![0.0; n];
                for weights in maps.token_attention.values() {
                    let sum: f32 = weights.row(head).iter().sum();
                    assert!((sum - 1.0).abs() < 1e-5, "row {row}: {sum}");
                    let pairs = mean.iter_mut().zip(weights.row(head));
                    pairs.for_each(|(m, w)| *m += w / n as f32);
                }
                assert!(near(&mean, maps.received.row(head)), "row {row}");
            }
        }
        assert!(t.bytes() > 0 && t.map() == map);
    }
}

#[test]
fn the_focus_keeps_just_its_tokens() {
    let network = network();
    let layer = network.attention_at(3).unwrap();
    let x = input(3, [9, 17]);
    let all = trace(layer, &x, &Watch::All);
    let some = trace(layer, &x, &Watch::Focus(vec![150, 2, 150, 1000]));
    for (all, some) in all.attentions.iter().zip(&some.attentions) {
        let kept: Vec<usize> = some.token_attention.keys().copied().collect();
        assert_eq!(kept, [2, 150]);
        assert_eq!(some.received, all.received);
        for (token, weights) in &some.token_attention {
            assert_eq!(weights, &all.token_attention[token]);
        }
    }
    let names = |t: &PositionSensitiveTrace| -> Vec<String> {
        let names = t.tensors().unwrap().into_iter().map(|t| t.name);
        names.collect()
    };
    let expected = "in out received0 tokens0 attn0 received1 tokens1 attn1";
    assert_eq!(names(&some).join(" "), expected);
    let views: Vec<_> = all.views().into_iter().map(|v| v.name).collect();
    let expected = "token_attention_0 received_0 heads_0 token_attention_1 received_1 heads_1";
    assert_eq!(views.join(" "), expected);
}

#[test]
fn more_tokens_than_the_memory_allows_leave_only_what_is_received() {
    // Two attentions of 2 heads over 2000 positions: 8 M weights each. The first fits, the second
    // no longer does.
    let network = network();
    let layer = network.attention_at(3).unwrap();
    let t = trace(layer, &input(3, [40, 50]), &Watch::All);
    assert_eq!(t.attentions[0].token_attention.len(), 2000);
    assert!(t.attentions[1].token_attention.is_empty());
    for maps in &t.attentions {
        let sum: f32 = maps.received.row(0).iter().sum();
        assert!((sum - 1.0).abs() < 1e-4, "{sum}");
    }
    assert!(t.token_map(0, 7, None).is_some() && t.token_map(1, 7, None).is_none());
}
