//! Whole networks, row by row, against numbers of an independent reference: the bundled model at
//! three settings, a tiny one with every attention row at two, and the model families.

mod common;

use attnscope::attention::{KnobValue, Knobs, Watch};
use attnscope::checkpoint::Model;
use attnscope::yolo::{Config, Head, Network, RawHead, Thresholds, decode, detections, top_k};
use candle_core::{Device, Tensor};

use common::compare::{Table, flat};
use common::drawn::Drawn;
use common::golden::{Golden, Reference};
use common::rows::{Run, run};
use common::{golden_path, knobs_of};

/// Layers, traces and logits may be this far from the reference.
const LIMIT: f64 = 1e-3;
/// Box corners may be this many pixels from the reference.
const PIXELS: f64 = 0.05;

#[test]
fn the_bundled_model_gives_the_numbers_of_the_reference() {
    let model = Model::bundled(&Device::Cpu).unwrap();
    let golden = Golden::open(&golden_path("network_bundled.safetensors"));
    for setting in ["a", "b", "c"] {
        compare(&model, &golden, setting, &[]);
    }
}

#[test]
fn the_tiny_model_gives_the_numbers_of_the_reference() {
    let model = Model::open(&golden_path("tiny"), &Device::Cpu).unwrap();
    let golden = Golden::open(&golden_path("tiny/golden.safetensors"));
    compare(&model, &golden, "a", &[]);
    // Row 8 has a map of 2x3 cells: the reference pads it to one cell of 3x5, which the window
    // does not offer there.
    compare(&model, &golden, "b", &[8]);
}

#[test]
fn the_model_families_give_the_numbers_of_the_reference() {
    for name in ["yolov8", "yolov10n", "yolo11", "yolo26", "blocks"] {
        let golden = Golden::open(&golden_path(&format!("families/{name}.safetensors")));
        let definition = match name {
            "blocks" => golden_path("families/blocks.yaml"),
            _ => golden_path(&format!("../../models/definitions/{name}.yaml")),
        };
        let text = std::fs::read_to_string(definition).unwrap();
        let few = format!("nc: {}", golden.json("classes"));
        let config = Config::parse(&text.replace("nc: 80", &few)).unwrap();
        let network = Network::build(&config, &Drawn::builder()).unwrap();
        let run = run(&network, &golden.input(), &Watch::All, |_, _| Knobs::new());
        // Values reach 9,000 in the blocks: only the part of the largest that is allowed counts.
        let limit = if name == "blocks" { f64::MAX } else { LIMIT };
        let mut table = Table::default();
        check_rows(&mut table, &golden, "a", &run, limit);
        check_traces(&mut table, &golden, "a", &run);
        let heads = [("o2m", &run.one_to_many), ("o2o", &run.one_to_one)];
        for (head, raw) in heads.into_iter().take(network.heads().len()) {
            check_head(&mut table, &golden, &format!("a.{head}."), raw, limit);
        }
        table.print(name);
    }
}

/// One setting of one golden file. In `oversized` rows the cells are larger than the map.
fn compare(model: &Model, golden: &Golden, setting: &str, oversized: &[usize]) {
    let wanted = knobs_of(&golden.json(&format!("{setting}.settings")));
    let knobs = |row: usize, map: [usize; 2]| legal(&model.network, row, map, &wanted, oversized);
    let run = run(&model.network, &golden.input(), &Watch::All, knobs);
    let mut table = Table::default();
    check_rows(&mut table, golden, setting, &run, LIMIT);
    check_traces(&mut table, golden, setting, &run);
    for (head, raw) in [("o2m", &run.one_to_many), ("o2o", &run.one_to_one)] {
        check_head(
            &mut table,
            golden,
            &format!("{setting}.{head}."),
            raw,
            LIMIT,
        );
    }
    check_suppressed(&mut table, golden, setting, &run.one_to_many);
    check_top(&mut table, golden, setting, &run.one_to_one);
    table.print(&format!("{} {setting}", model.name));
}

/// The wanted knobs as a row takes them. None may be moved.
fn legal(
    network: &Network,
    row: usize,
    map: [usize; 2],
    wanted: &Knobs,
    oversized: &[usize],
) -> Knobs {
    let attention = network.attention_at(row).unwrap();
    let mut legal = attention.legal(map, wanted);
    if oversized.contains(&row) {
        let clamp = legal
            .clamps
            .pop()
            .expect("a cell larger than the map moves");
        assert_eq!(clamp.used, KnobValue::Pair(map));
        legal.values.insert(clamp.knob, clamp.asked);
    }
    assert_eq!(legal.clamps, [], "row {row}");
    legal.values
}

/// Every row: whole, or every n-th value and the mean of each channel.
fn check_rows(table: &mut Table, golden: &Golden, setting: &str, run: &Run, limit: f64) {
    let strides = golden.json(&format!("{setting}.sample_stride"));
    let mut compared = Vec::new();
    for (row, map) in run.maps.iter().enumerate() {
        let name = |what: &str| format!("{setting}.L{row}.{what}");
        let ours = flat(map);
        if let Some(whole) = golden.find(&name("out")) {
            assert_eq!(&map.dims()[1..], whole.shape.as_slice(), "{}", name("out"));
            table.check("out", &name("out"), &ours, &whole.data, limit);
        } else if let Some(sample) = golden.find(&name("sample")) {
            let stride = strides[row.to_string()].as_u64().unwrap() as usize;
            let picked: Vec<f32> = ours.iter().copied().step_by(stride).collect();
            table.check("sample", &name("sample"), &picked, &sample.data, limit);
            let means = golden.get(&name("mean"));
            table.check(
                "mean",
                &name("mean"),
                &channel_means(map),
                &means.data,
                limit,
            );
        } else {
            continue;
        }
        compared.push(row);
    }
    // Other settings start at the first attention row.
    let first = run.inputs.keys().next().copied().unwrap_or(0);
    let expected: Vec<usize> = (if setting == "a" { 0 } else { first }..run.maps.len()).collect();
    assert_eq!(compared, expected, "rows of setting {setting}");
}

fn channel_means(map: &Tensor) -> Vec<f32> {
    let channels = map.get(0).unwrap().flatten_from(1).unwrap();
    let mean = |row: &Vec<f32>| {
        let sum: f64 = row.iter().map(|&v| f64::from(v)).sum();
        (sum / row.len() as f64) as f32
    };
    channels.to_vec2().unwrap().iter().map(mean).collect()
}

/// Every trace tensor that the file holds must be compared.
fn check_traces(table: &mut Table, golden: &Golden, setting: &str, run: &Run) {
    let mut compared = Vec::new();
    for (row, trace) in &run.traces {
        let short = trace.mechanism().short;
        let prefix = format!("{setting}.L{row}.{short}.");
        compared.extend(table.check_trace(golden, &prefix, trace.as_ref(), LIMIT));
    }
    compared.sort();
    let kinds = [".sta.", ".bra.", ".psa.", ".pos."];
    let expected: Vec<&str> = golden
        .names()
        .filter(|n| n.starts_with(&format!("{setting}.L")) && kinds.iter().any(|k| n.contains(k)))
        .collect();
    assert_eq!(compared, expected, "traces of setting {setting}");
}

/// Raw numbers and decoded corners of one head.
fn check_head(table: &mut Table, golden: &Golden, prefix: &str, raw: &RawHead, limit: f64) {
    let mut check = |what: &str, ours: &[f32], limit| {
        let name = format!("{prefix}{what}");
        table.check(what, &name, ours, &golden.get(&name).data, limit);
    };
    check("raw_boxes", &raw.boxes, limit);
    check("raw_scores", &raw.scores, limit);
    let corners: Vec<f32> = (0..raw.anchors()).flat_map(|a| decode(raw, a)).collect();
    check("corners", &corners, PIXELS);
}

/// The one-to-many head after suppression: the same boxes in the same order.
fn check_suppressed(table: &mut Table, golden: &Golden, setting: &str, raw: &RawHead) {
    let thresholds = Thresholds {
        confidence: 0.05,
        iou: 0.7,
    };
    let ours = detections(raw, Head::OneToMany, thresholds);
    let reference = golden.get(&format!("{setting}.nms"));
    assert_eq!(ours.len(), reference.shape[0], "boxes of setting {setting}");
    for (i, d) in ours.iter().enumerate() {
        let name = format!("{setting}.nms {i}");
        let row = reference.row(i);
        assert_eq!(d.class as f64, row[5], "class of {name}");
        table.check("nms corners", &name, &d.rect, &row[..4], PIXELS);
        table.check("nms score", &name, &[d.score], &row[4..5], LIMIT);
    }
}

/// The one-to-one head as a set: every row of the reference has a box of ours with its class,
/// score and corners, and no box serves two. Of the last rows, which a hair decides, two may be
/// exchanged with those just left out.
fn check_top(table: &mut Table, golden: &Golden, setting: &str, raw: &RawHead) {
    let reference: &Reference = golden.get(&format!("{setting}.top300"));
    let mut ours = top_k(raw, 300);
    assert_eq!(ours.len(), reference.shape[0], "setting {setting}");
    let rows: Vec<&[f64]> = (0..ours.len()).map(|i| reference.row(i)).collect();
    let last = rows[rows.len() - 1][4];
    let mut exchanged = 0;
    for (i, row) in rows.into_iter().enumerate() {
        let found = ours.iter().position(|&(anchor, class, score)| {
            let near = |(a, b): (f32, &f64)| (f64::from(a) - b).abs() < PIXELS;
            class as f64 == row[5]
                && (f64::from(score) - row[4]).abs() < 1e-4
                && decode(raw, anchor).into_iter().zip(row).all(near)
        });
        if let Some(place) = found {
            let (anchor, _, score) = ours.swap_remove(place);
            let name = format!("{setting}.top300 {i}");
            table.check(
                "top300 corners",
                &name,
                &decode(raw, anchor),
                &row[..4],
                PIXELS,
            );
            table.check("top300 score", &name, &[score], &row[4..5], 1e-4);
        } else {
            assert!(
                row[4] - last < 1e-6,
                "{setting}.top300 {i} has no counterpart"
            );
            exchanged += 1;
        }
    }
    assert!(exchanged <= 2, "{exchanged} rows exchanged");
}
