//! What is taken out of an attention layer: against plain loops, and through the engine.

mod common;

use std::collections::BTreeMap;

use attnscope::attention::routing::RoutingTrace;
use attnscope::attention::super_token::SuperTokenTrace;
use attnscope::attention::{
    Arg, Attention, Attributes, BuildArgs, Erasure, Knobs, Notes, Trace, Watch, mechanism_of,
};
use attnscope::engine::{Engine, Settings};
use candle_core::{Device, Tensor};

use common::compare::{difference, flat};
use common::drawn::{self, Drawn};
use common::scene::{bits, photo, run, tiny, watched};

const C: usize = 8;
const HEADS: usize = 2;
/// Height and width: neither is a multiple of the cells and regions below.
const MAP: [usize; 2] = [7, 10];

fn build(module: &str, args: &[Arg]) -> Box<dyn Attention> {
    let args = BuildArgs {
        module,
        channels: C,
        args,
        attributes: &Attributes::new(),
        notes: &Notes::default(),
        weights: Drawn::builder(),
    };
    mechanism_of(module).unwrap().build.unwrap()(&args).unwrap()
}

fn features() -> Tensor {
    let shape = (1, C, MAP[0], MAP[1]);
    Tensor::from_vec(
        drawn::values("x", &[1, C, MAP[0], MAP[1]]),
        shape,
        &Device::Cpu,
    )
    .unwrap()
}

fn traced<T: Trace + Clone>(layer: &dyn Attention, erasure: &Erasure) -> (Vec<f32>, T) {
    let knobs = layer.legal(MAP, &Knobs::new()).values;
    let (y, trace) = layer
        .forward_without(&features(), &knobs, erasure, &Watch::All)
        .unwrap();
    // Watching changes nothing here either.
    let alone = layer.forward_without(&features(), &knobs, erasure, &Watch::Off);
    assert!(flat(&alone.unwrap().0) == flat(&y));
    (flat(&y), trace.unwrap().downcast::<T>().unwrap().clone())
}

/// A drawn tensor in f64.
fn weights(name: &str, shape: &[usize]) -> Vec<f64> {
    drawn::values(name, shape)
        .into_iter()
        .map(f64::from)
        .collect()
}

/// `W · x + b` with `W` `[out, in]`.
fn linear(w: &[f64], b: &[f64], x: &[f64]) -> Vec<f64> {
    let rows = w.chunks(x.len()).enumerate();
    rows.map(|(o, row)| {
        row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + b.get(o).unwrap_or(&0.0)
    })
    .collect()
}

/// What `query` reads from keys and values, one head each `d` channels wide.
fn attend(query: &[f64], keys: &[(&[f64], &[f64])], scale: f64) -> Vec<f64> {
    let width = keys.first().map_or(0, |k| k.1.len());
    let dot = |k: &[f64]| query.iter().zip(k).map(|(q, k)| q * k).sum::<f64>() * scale;
    let exps: Vec<f64> = keys.iter().map(|(k, _)| dot(k).exp()).collect();
    let sum: f64 = exps.iter().sum();
    (0..width)
        .map(|c| {
            exps.iter()
                .zip(keys)
                .map(|(e, (_, v))| e / sum * v[c])
                .sum()
        })
        .collect()
}

fn close(ours: &[f32], slow: &[f64], what: &str) {
    let apart = difference(ours, slow);
    assert!(apart < 2e-5, "{what}: {apart:.1e} apart");
}

/// Super token attention with these super tokens erased, from the affinity that nothing was erased
/// of: zeros in its columns, weighted means, attention among those that are left, and back.
fn slow_super_tokens(full: &SuperTokenTrace, erased: &[usize]) -> Vec<f64> {
    let ([height, width], n) = (full.padded, full.tokens_count());
    let x = features();
    let at = |c: usize, y: usize, x0: usize| -> f64 {
        match y < MAP[0] && x0 < MAP[1] {
            true => f64::from(flat(&x)[(c * MAP[0] + y) * MAP[1] + x0]),
            false => 0.0,
        }
    };
    let affinity = full.affinity.last().unwrap();
    let mut share = BTreeMap::new();
    for (y, x0) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        for k in 0..9 {
            if let Some(t) = full.neighbour(k, y, x0)
                && !erased.contains(&t)
            {
                share.insert((y, x0, t), f64::from(affinity.at(&[k, y, x0])));
            }
        }
    }
    let mut tokens = vec![vec![0.0; C]; n];
    let mut mass = vec![1e-12; n];
    for (&(y, x0, t), a) in &share {
        mass[t] += a;
        (0..C).for_each(|c| tokens[t][c] += a * at(c, y, x0));
    }
    for (token, mass) in tokens.iter_mut().zip(&mass) {
        token.iter_mut().for_each(|v| *v /= mass);
    }
    let qkv = weights("stoken_refine.qkv.weight", &[3 * C, C, 1, 1]);
    let proj = weights("stoken_refine.proj.weight", &[C, C, 1, 1]);
    let bias = weights("stoken_refine.proj.bias", &[C]);
    let d = C / HEADS;
    let projected: Vec<Vec<f64>> = tokens.iter().map(|t| linear(&qkv, &[], t)).collect();
    let part = |t: usize, head: usize, which: usize| {
        let start = head * 3 * d + which * d;
        &projected[t][start..start + d]
    };
    let left: Vec<usize> = (0..n).filter(|t| !erased.contains(t)).collect();
    let refined: Vec<Vec<f64>> = (0..n)
        .map(|t| {
            let head = |h: usize| {
                let keys: Vec<_> = left
                    .iter()
                    .map(|&j| (part(j, h, 1), part(j, h, 2)))
                    .collect();
                attend(part(t, h, 0), &keys, (d as f64).powf(-0.5))
            };
            let heads: Vec<f64> = (0..HEADS).flat_map(head).collect();
            linear(&proj, &bias, &heads)
        })
        .collect();
    let mut out = vec![0.0; C * MAP[0] * MAP[1]];
    for (&(y, x0, t), a) in &share {
        if y < MAP[0] && x0 < MAP[1] {
            (0..C).for_each(|c| out[(c * MAP[0] + y) * MAP[1] + x0] += a * refined[t][c]);
        }
    }
    out
}

fn sta(iterations: i64) -> Box<dyn Attention> {
    let size = Arg::List(vec![Arg::Int(3), Arg::Int(4)]);
    let heads = Arg::Int(HEADS as i64);
    build("StokenAttention", &[size, Arg::Int(iterations), heads])
}

#[test]
fn an_erased_super_token_is_neither_read_nor_given_back() {
    for iterations in [1, 3] {
        let layer = sta(iterations);
        let (_, full) = traced::<SuperTokenTrace>(layer.as_ref(), &Erasure::default());
        assert_eq!(full.grid, [3, 3]);
        for erased in [vec![], vec![4], vec![0, 7, 8], (1..9).collect::<Vec<_>>()] {
            let erasure = Erasure::of_units([3, 3], erased.iter().copied());
            let (y, trace) = traced::<SuperTokenTrace>(layer.as_ref(), &erasure);
            close(
                &y,
                &slow_super_tokens(&full, &erased),
                &format!("{erased:?}"),
            );
            for &t in &erased {
                assert!(
                    trace
                        .soft_map(trace.last_iteration(), t)
                        .values
                        .iter()
                        .all(|v| *v == 0.0)
                );
                assert_eq!(trace.column_sum.data()[t], 0.0);
                let attention = trace.token_attention.as_ref().unwrap();
                let read = (0..HEADS * 9).map(|row| attention.data()[row * 9 + t]);
                assert!(read.into_iter().all(|a| a == 0.0), "{t} is read");
            }
            let attention = trace.token_attention.as_ref().unwrap();
            for row in attention.data().chunks(9) {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }
        let all = Erasure::of_units([3, 3], 0..9);
        assert!(
            traced::<SuperTokenTrace>(layer.as_ref(), &all)
                .0
                .iter()
                .all(|v| *v == 0.0)
        );
    }
}

#[test]
fn with_cells_of_one_pixel_the_pixel_is_gone() {
    let one = Arg::List(vec![Arg::Int(1), Arg::Int(1)]);
    let layer = build("StokenAttention", &[one, Arg::Int(1), Arg::Int(2)]);
    let (full, _) = traced::<SuperTokenTrace>(layer.as_ref(), &Erasure::default());
    let (y, trace) = traced::<SuperTokenTrace>(layer.as_ref(), &Erasure::of_units(MAP, [23]));
    let cells = MAP[0] * MAP[1];
    for c in 0..C {
        assert_eq!(y[c * cells + 23], 0.0);
        assert!(full[c * cells + 23] != 0.0 && y[c * cells + 24] != full[c * cells + 24]);
    }
    let attention = trace.token_attention.unwrap();
    assert!((0..cells).all(|query| attention.at(&[1, query, 23]) == 0.0));
}

/// Routed attention without position term and output projection, by plain loops.
fn slow_routing(
    erasure: &Erasure,
    [n, topk]: [usize; 2],
    qk: usize,
) -> (Vec<f64>, Vec<Vec<usize>>) {
    let padded = MAP.map(|side| side.div_ceil(n) * n);
    let region = padded.map(|side| side / n);
    let w = weights("qkv.qkv.weight", &[2 * qk + C, C]);
    let b = weights("qkv.qkv.bias", &[2 * qk + C]);
    let x = flat(&features());
    let token = |y: usize, x0: usize| {
        let inside = y < MAP[0] && x0 < MAP[1];
        let v = |c: usize| {
            if inside {
                f64::from(x[(c * MAP[0] + y) * MAP[1] + x0])
            } else {
                0.0
            }
        };
        linear(&w, &b, &(0..C).map(v).collect::<Vec<_>>())
    };
    let tokens: Vec<Vec<Vec<f64>>> = (0..n * n)
        .map(|r| {
            let (top, left) = (r / n * region[0], r % n * region[1]);
            let cells =
                (0..region[0] * region[1]).map(|t| (top + t / region[1], left + t % region[1]));
            cells.map(|(y, x0)| token(y, x0)).collect()
        })
        .collect();
    let mean = |r: usize, from: usize| -> Vec<f64> {
        let sum = |c: usize| tokens[r].iter().map(|t| t[from + c]).sum::<f64>();
        (0..qk).map(|c| sum(c) / tokens[r].len() as f64).collect()
    };
    let open = |from: usize| -> Vec<usize> {
        let closed =
            |to: &usize| erasure.units.contains(to) || erasure.routes.contains(&[from, *to]);
        (0..n * n).filter(|to| !closed(to)).collect()
    };
    let fewest = (0..n * n)
        .map(|r| open(r).len())
        .filter(|n| *n > 0)
        .min()
        .unwrap_or(1);
    let scale = (qk as f64).powf(-0.5);
    let (cells, d) = (MAP[0] * MAP[1], C / HEADS);
    let (mut out, mut routes) = (vec![0.0; C * cells], Vec::new());
    for r in 0..n * n {
        let q = mean(r, 0);
        let logit = |to: usize| q.iter().zip(mean(to, qk)).map(|(q, k)| q * k).sum::<f64>();
        let mut to = open(r);
        to.sort_by(|&a, &b| logit(b).total_cmp(&logit(a)));
        to.truncate(topk.min(fewest));
        for (t, query) in tokens[r].iter().enumerate() {
            let (y, x0) = (
                r / n * region[0] + t / region[1],
                r % n * region[1] + t % region[1],
            );
            for h in 0..if y < MAP[0] && x0 < MAP[1] { HEADS } else { 0 } {
                let width = qk / HEADS;
                let keys = to
                    .iter()
                    .flat_map(|&o| &tokens[o])
                    .map(|t| (&t[qk + h * width..][..width], &t[2 * qk + h * d..][..d]));
                let keys: Vec<_> = keys.collect();
                let read = attend(&query[h * width..][..width], &keys, scale);
                for (c, v) in read.into_iter().enumerate() {
                    out[(h * d + c) * cells + y * MAP[1] + x0] = v;
                }
            }
        }
        routes.push(to);
    }
    (out, routes)
}

fn bra(mode: &str) -> Box<dyn Attention> {
    let mut args = vec![Arg::None; 15];
    (args[0], args[1], args[2]) = (Arg::Int(3), Arg::Int(HEADS as i64), Arg::Int(4));
    (args[7], args[8]) = (Arg::Word(mode.into()), Arg::Int(2));
    (args[9], args[13]) = (Arg::Word("qkv".into()), Arg::Int(0));
    build("BiLevelRoutingAttention", &args)
}

#[test]
fn an_erased_region_is_read_by_nobody_and_the_next_best_takes_its_place() {
    let layer = bra("identity");
    let mut routes = Erasure::of_units([3, 3], []);
    routes.routes.extend([[4, 1], [4, 2], [0, 0]]);
    let mut alone = Erasure::of_units([3, 3], [8]);
    alone.routes.extend((0..9).map(|to| [5, to]));
    for (erasure, topk, words) in [
        (Erasure::of_units([3, 3], []), 2, vec![]),
        (Erasure::of_units([3, 3], [4]), 2, vec!["region 4 erased"]),
        (
            Erasure::of_units([3, 3], [0, 4, 8]),
            2,
            vec!["regions 0, 4, 8 erased"],
        ),
        (routes, 2, vec!["3 routes closed"]),
        // Only one is left to read.
        (
            Erasure::all_but([3, 3], 3),
            1,
            vec![
                "only region 3 of 9 kept",
                "topk 1: no more regions are left to read",
            ],
        ),
        // Region 5 reads nothing; the others read on.
        (alone, 2, vec!["region 8 erased", "9 routes closed"]),
    ] {
        let (y, trace) = traced::<RoutingTrace>(layer.as_ref(), &erasure);
        let (slow, routes) = slow_routing(&erasure, [3, 2], 4);
        close(&y, &slow, &format!("{erasure:?}"));
        assert_eq!(trace.topk, topk);
        for (region, expected) in routes.iter().enumerate() {
            let read: Vec<usize> = trace.routes(region).into_iter().map(|(to, _)| to).collect();
            let weight: f32 = trace.weights.row(region).iter().sum();
            match expected.is_empty() {
                false => assert!(read == *expected && (weight - 1.0).abs() < 1e-6),
                true => {
                    assert_eq!((region, weight), (5, 0.0));
                    assert!(trace.token_attention[&5].data().iter().all(|a| *a == 0.0));
                }
            }
        }
        let knobs = layer.legal(MAP, &Knobs::new()).values;
        assert_eq!(layer.erased(MAP, &knobs, &erasure), words);
    }
    // With nothing left for anyone, nothing is read.
    let all = Erasure::of_units([3, 3], 0..9);
    assert!(
        traced::<RoutingTrace>(layer.as_ref(), &all)
            .0
            .iter()
            .all(|v| *v == 0.0)
    );
}

#[test]
fn pooled_keys_of_an_erased_region_are_gone_too() {
    let layer = bra("ada_avgpool");
    let (_, full) = traced::<RoutingTrace>(layer.as_ref(), &Erasure::default());
    let best = full.routes(4)[0].0;
    let (_, trace) = traced::<RoutingTrace>(layer.as_ref(), &Erasure::of_units([3, 3], [best]));
    assert!((0..9).all(|r| trace.routes(r).iter().all(|(to, _)| *to != best)));
    let map = trace.token_map(4, 0, None).unwrap();
    let [x0, y0, x1, y1] = trace.rect(best).map(|v| v as usize);
    assert!((map.values.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    for y in y0..y1 {
        assert!((x0..x1).all(|x| map.values[y * map.cols + x] == 0.0));
    }
}

#[test]
fn erasing_nothing_changes_no_byte() {
    let other_grid = Erasure::of_units([4, 4], [1, 2]);
    let beyond = Erasure::of_units([3, 3], [9, 100]);
    for layer in [sta(2), bra("identity"), bra("ada_maxpool")] {
        let knobs = layer.legal(MAP, &Knobs::new()).values;
        let (plain, _) = layer.forward(&features(), &knobs, &Watch::All).unwrap();
        for erasure in [&Erasure::default(), &other_grid, &beyond] {
            let (y, _) = layer
                .forward_without(&features(), &knobs, erasure, &Watch::All)
                .unwrap();
            assert!(flat(&y) == flat(&plain), "{erasure:?}");
            assert_eq!(layer.erased(MAP, &knobs, erasure), [""; 0]);
        }
    }
    let layer = build("PolarizedSelfAttention", &[]);
    assert_eq!(layer.erasable(MAP, &Knobs::new()), None);
}

/// The settings with a unit of a row erased.
fn without(
    settings: &Settings,
    model: &attnscope::checkpoint::Model,
    row: usize,
    unit: usize,
) -> Settings {
    let mut settings = settings.clone();
    let grid = settings.erasable(model, row).unwrap().units.grid;
    settings.erased.insert(row, Erasure::of_units(grid, [unit]));
    settings
}

#[test]
fn the_engine_runs_only_what_follows_and_remembers() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let settings = watched(&model);
    let mut engine = Engine::default();
    let first = run(&mut engine, &photo, &model, &settings);
    let rows: Vec<usize> = model.network.attention().map(|(row, _)| row).collect();
    let mut acted = 0;
    for &row in &rows {
        let Some(what) = settings.erasable(&model, row) else {
            continue;
        };
        let unit = what.units.grid[0] / 2 * what.units.grid[1] + what.units.grid[1] / 2;
        let erased = without(&settings, &model, row, unit);
        let run_of =
            |engine: &mut Engine, settings: &Settings| run(engine, &photo, &model, settings);
        let second = run_of(&mut engine, &erased);
        assert!(second.timing.by_row.keys().all(|r| *r >= row), "row {row}");
        assert!(second.timing.ran > 0 && bits(&second) != bits(&first));
        assert!(bits(&run_of(&mut Engine::default(), &erased)) == bits(&second));
        let name = what.units.name;
        let badge = format!("{name} {unit} erased");
        assert!(second.traces[&row].badges.contains(&badge));
        assert!(
            second
                .detected
                .badges
                .contains(&format!("layer {row}: {badge}"))
        );
        for again in [&settings, &erased] {
            assert_eq!(run_of(&mut engine, again).timing.ran, 0, "row {row}");
        }
        // Numbers of another grid change nothing: not even a key.
        let mut idle = settings.clone();
        idle.erased.insert(row, Erasure::of_units([99, 1], [unit]));
        let same = run_of(&mut engine, &idle);
        assert_eq!(same.timing.ran, 0);
        assert!(bits(&same) == bits(&first));
        acted += 1;
    }
    assert!(acted >= 3, "rows of two mechanisms");
}

#[test]
fn settings_with_erasures_are_written_and_read() {
    let model = tiny();
    let row = model
        .network
        .attention()
        .find(|(_, a)| a.mechanism().id == "routing")
        .unwrap()
        .0;
    let mut settings = without(&Settings::default(), &model, row, 2);
    settings.erased.get_mut(&row).unwrap().routes.insert([0, 1]);
    let text = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
    let plain = serde_json::to_string(&Settings::default()).unwrap();
    assert!(!plain.contains("erased"));
}
