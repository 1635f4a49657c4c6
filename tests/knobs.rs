//! Knobs: any raw value becomes a legal one with a reason, what is legal can be afforded, and at
//! every position of a slider the output is finite and the trace is what it says it is.

mod common;

use std::collections::BTreeMap;

use attnscope::attention::polarized::PolarizedTrace;
use attnscope::attention::position_sensitive::PositionSensitiveTrace;
use attnscope::attention::routing::RoutingTrace;
use attnscope::attention::super_token::SuperTokenTrace;
use attnscope::attention::{
    Arg, Attention, Attributes, BuildArgs, KnobValue, Knobs, Legal, MapSize, Notes, Trace, Watch,
    mechanism_of,
};
use attnscope::checkpoint::Model;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use common::compare::flat;
use common::golden::Golden;
use common::{golden_path, rows};

/// Most weights that one layer may compute at any legal setting, and most routing logits.
const MAX_WEIGHTS: usize = 64 << 20;
const MAX_LOGITS: usize = 4 << 20;
/// How far a sum of weights in f32 may be from 1.
const SUM: f64 = 1e-5;

fn models() -> [Model; 2] {
    let tiny = Model::open(&golden_path("tiny"), &Device::Cpu).unwrap();
    [Model::bundled(&Device::Cpu).unwrap(), tiny]
}

fn int(name: &str, value: usize) -> (String, KnobValue) {
    (name.to_owned(), KnobValue::Int(value))
}

fn pair(h: usize, w: usize) -> (String, KnobValue) {
    ("stoken_size".to_owned(), KnobValue::Pair([h, w]))
}

/// Wanted values around a raw slider value, some of them absurd.
fn wishes(raw: usize) -> Vec<Knobs> {
    let mut wishes = vec![
        Knobs::from([pair(raw, 8), int("n_iter", raw)]),
        Knobs::from([pair(8, raw)]),
        Knobs::from([pair(raw, 200 - raw), int("n_iter", 200 - raw)]),
        Knobs::from([int("stoken_size", raw), int("topk", raw)]),
        Knobs::from([("topk".to_owned(), KnobValue::Pair([raw, 3]))]),
        Knobs::from([int("no such knob", raw)]),
    ];
    let topk = [1, 4, raw * raw, usize::MAX];
    wishes.extend(topk.map(|k| Knobs::from([int("n_win", raw), int("topk", k)])));
    wishes
}

#[test]
fn any_raw_value_becomes_a_legal_one() {
    let mut checked = 0;
    for model in models() {
        for (row, layer) in model.network.attention() {
            let inputs = (64..=640).step_by(model.network.stride());
            let mut maps: Vec<MapSize> = inputs
                .map(|side| model.network.map_size(row, [side, side]))
                .collect();
            maps.extend([
                [1, 1],
                [1, 40],
                [40, 1],
                [7, 10],
                [3, 200],
                [160, 160],
                [320, 200],
            ]);
            for map in maps {
                for wanted in (0..=200).flat_map(wishes) {
                    check_legal(&model, row, layer, map, &wanted);
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 100_000, "{checked} wishes");
}

fn check_legal(model: &Model, row: usize, layer: &dyn Attention, map: MapSize, wanted: &Knobs) {
    let legal = layer.legal(map, wanted);
    let what = format!("{} row {row}, map {map:?}, {wanted:?}", model.name);
    assert_eq!(legal.values.len(), legal.knobs.len(), "{what}");
    for knob in &legal.knobs {
        let value = legal.values[knob.name];
        let (value, low, high) = (value.pair(), knob.min.pair(), knob.max.pair());
        for axis in [0, 1] {
            assert!(low[axis] >= 1, "{what}");
            assert!((low[axis]..=high[axis]).contains(&value[axis]), "{what}");
        }
        // Moved exactly if it had to be, and then with a reason.
        let asked = wanted.get(knob.name).copied().unwrap_or(knob.default);
        let clamp = legal.clamps.iter().find(|c| c.knob == knob.name);
        let kept = asked.pair() == value;
        assert_eq!(kept, clamp.is_none(), "{what}");
        assert!(clamp.is_none_or(|c| !c.reason.is_empty()), "{what}");
    }
    check_cost(&what, map, &legal, heads(model, row));
    // A legal value stays.
    let again = layer.legal(map, &legal.values);
    assert_eq!(
        (again.values, again.clamps),
        (legal.values.clone(), vec![]),
        "{what}"
    );
}

/// Heads of an attention row, from its arguments.
fn heads(model: &Model, row: usize) -> usize {
    let row = &model.config.rows[row];
    let place = if row.module.starts_with("Stoken") {
        2
    } else {
        1
    };
    match row.args.get(place) {
        Some(Arg::Int(heads)) => *heads as usize,
        _ => 8,
    }
}

/// Weights and routing logits at legal values stay within their limits.
fn check_cost(what: &str, map: MapSize, legal: &Legal, heads: usize) {
    let value = |name: &str| legal.values.get(name);
    let tokens = |cells: [usize; 2]| map[0].div_ceil(cells[0]) * map[1].div_ceil(cells[1]);
    let (weights, logits) = if let Some(size) = value("stoken_size") {
        (heads * tokens(size.pair()).pow(2), 0)
    } else if let (Some(n_win), Some(topk)) = (value("n_win"), value("topk")) {
        let regions = n_win.int().pow(2);
        // Tokens of a region: the map is padded to whole regions.
        let tokens = tokens(n_win.pair());
        (regions * heads * tokens.pow(2) * topk.int(), regions.pow(2))
    } else {
        (0, 0)
    };
    assert!(weights <= MAX_WEIGHTS, "{what}: {weights} weights");
    assert!(logits <= MAX_LOGITS, "{what}: {logits} routing logits");
}

#[test]
fn absurd_hyperparameters_of_a_file_are_moved_like_slider_values() {
    let args = BuildArgs {
        module: "BiFormerBlock",
        channels: 8,
        args: &[4096, 2, 1 << 20].map(Arg::Int),
        attributes: &Attributes::new(),
        notes: &Notes::default(),
        weights: VarBuilder::zeros(DType::F32, &Device::Cpu),
    };
    let layer = (mechanism_of(args.module).unwrap().build.unwrap())(&args).unwrap();
    for map in [[1, 1], [8, 8], [40, 40], [160, 160]] {
        let legal = layer.legal(map, &Knobs::new());
        let moved: Vec<&str> = legal.clamps.iter().map(|c| c.knob.as_str()).collect();
        assert_eq!(moved, ["n_win", "topk"]);
        check_cost("absurd", map, &legal, 2);
    }
}

/// The input map of every attention row of a model on the drawn picture of 128×160.
fn features(model: &Model) -> BTreeMap<usize, Tensor> {
    let input = Golden::open(&golden_path("network_bundled.safetensors")).input();
    let defaults = |row: usize, map| {
        let layer = model.network.attention_at(row).unwrap();
        layer.legal(map, &Knobs::new()).values
    };
    rows::run(&model.network, &input, &Watch::Off, defaults).inputs
}

/// Slider positions of a layer: all of the knob that decides most, some of the others.
fn positions(legal: &Legal) -> Vec<Knobs> {
    let knob = |name: &str| legal.knobs.iter().find(|k| k.name == name);
    let mut all = Vec::new();
    if let Some(size) = knob("stoken_size") {
        let ([low_h, low_w], [high_h, high_w]) = (size.min.pair(), size.max.pair());
        for h in low_h..=high_h {
            for w in [low_w, 2, 3, 5, 8, high_w] {
                for n_iter in 1..=3 {
                    all.push(Knobs::from([pair(h, w), int("n_iter", n_iter)]));
                }
            }
        }
    }
    if let Some(n_win) = knob("n_win") {
        for n in n_win.min.int()..=n_win.max.int() {
            for topk in [1, 2, n, n * n / 2 + 1, n * n] {
                all.push(Knobs::from([int("n_win", n), int("topk", topk)]));
            }
        }
    }
    if legal.knobs.is_empty() {
        all.push(Knobs::new());
    }
    all
}

#[test]
fn every_slider_position_gives_a_sound_output_and_trace() {
    let mut run = 0;
    for model in models() {
        for (row, x) in features(&model) {
            let layer = model.network.attention_at(row).unwrap();
            let (_, _, h, w) = x.dims4().unwrap();
            let legal = layer.legal([h, w], &Knobs::new());
            for wanted in positions(&legal) {
                let legal = layer.legal([h, w], &wanted);
                let what = format!("{} row {row}, {:?}", model.name, legal.values);
                let (y, trace) = layer.forward(&x, &legal.values, &Watch::All).unwrap();
                let channels = model.network.layers()[row].channels;
                assert_eq!(y.dims(), [1, channels, h, w], "{what}");
                assert!(flat(&y).iter().all(|v| v.is_finite()), "{what}");
                check_trace(&what, trace.unwrap().as_ref(), [h, w]);
                run += 1;
            }
        }
    }
    assert!(run > 500, "{run} positions");
}

fn check_trace(what: &str, trace: &dyn Trace, map: MapSize) {
    assert_eq!(trace.map(), map, "{what}");
    for t in trace.tensors().unwrap() {
        let finite = flat(&t.tensor).iter().all(|v| v.is_finite());
        assert!(finite, "{what}: {}", t.name);
    }
    if let Some(trace) = trace.downcast::<SuperTokenTrace>() {
        check_super_tokens(what, trace);
    } else if let Some(trace) = trace.downcast::<RoutingTrace>() {
        check_routing(what, trace);
    } else if let Some(trace) = trace.downcast::<PositionSensitiveTrace>() {
        check_position_sensitive(what, trace);
    } else {
        check_polarized(what, trace.downcast::<PolarizedTrace>().unwrap());
    }
}

/// Every `n` values sum to 1 and none is negative.
fn sum_to_one(what: &str, weights: &[f32], n: usize) {
    assert!(weights.iter().all(|&w| w >= 0.0), "{what}");
    for row in weights.chunks(n) {
        let sum: f64 = row.iter().map(|&v| f64::from(v)).sum();
        assert!((sum - 1.0).abs() < SUM, "{what}: {sum}");
    }
}

fn check_super_tokens(what: &str, t: &SuperTokenTrace) {
    let n = t.tokens_count();
    let pixels = t.padded[0] * t.padded[1];
    sum_to_one(what, t.token_attention.as_ref().unwrap().data(), n);
    for a in &t.affinity {
        assert_eq!(a.shape(), [9, t.padded[0], t.padded[1]], "{what}");
        let by_pixel = |i: usize| (0..9).map(move |k| a.data()[k * pixels + i]);
        let by_pixel: Vec<f32> = (0..pixels).flat_map(by_pixel).collect();
        sum_to_one(what, &by_pixel, 9);
    }
    let lost = t.lost_mass(t.last_iteration()).values;
    let within = |v: &f32| (0.0..=1.0 + SUM as f32).contains(v);
    assert!(lost.iter().all(within), "{what}");
    // What is not lost arrives: every pixel has one unit to give.
    let sum = |values: &[f32]| values.iter().map(|&v| f64::from(v)).sum::<f64>();
    let all = sum(&lost) + sum(t.column_sum.data());
    assert!(
        (all / pixels as f64 - 1.0).abs() < SUM,
        "{what}: {all} of {pixels}"
    );
    let labels = t.labels(t.last_iteration());
    let known = |&l: &i32| (-1..n as i32).contains(&l);
    assert!(labels.len() == pixels && labels.iter().all(known), "{what}");
}

fn check_routing(what: &str, t: &RoutingTrace) {
    let regions = t.regions();
    sum_to_one(what, t.weights.data(), t.topk);
    for region in 0..regions {
        let routed = t.routed.row(region);
        let mut ids = routed.to_vec();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), t.topk, "{what}: a region twice");
        assert!(ids.iter().all(|&i| (i as usize) < regions), "{what}");
        // Best first, and no region left out is better than the last one taken.
        let logits = t.affinity.row(region);
        let taken: Vec<f32> = routed.iter().map(|&i| logits[i as usize]).collect();
        assert!(taken.is_sorted_by(|a, b| a >= b), "{what}");
        let better = logits.iter().filter(|&&v| v > taken[t.topk - 1]).count();
        assert!(better < t.topk, "{what}");
    }
    assert_eq!(t.token_attention.len(), regions, "{what}");
    for weights in t.token_attention.values() {
        sum_to_one(what, weights.data(), weights.shape()[2]);
    }
}

fn check_position_sensitive(what: &str, t: &PositionSensitiveTrace) {
    let n = t.map[0] * t.map[1];
    for maps in &t.attentions {
        sum_to_one(what, maps.received.data(), n);
        assert_eq!(maps.token_attention.len(), n, "{what}");
        for weights in maps.token_attention.values() {
            assert_eq!(weights.shape(), [maps.heads, n], "{what}");
            sum_to_one(what, weights.data(), n);
        }
    }
}

fn check_polarized(what: &str, t: &PolarizedTrace) {
    for weights in [&t.channel_weight, &t.spatial_weight] {
        let within = |v: &f32| (0.0..=1.0).contains(v);
        assert!(weights.data().iter().all(within), "{what}");
    }
    for query in [&t.channel_query, &t.spatial_query] {
        sum_to_one(what, query.data(), query.data().len());
    }
}
