//! What `analyze` writes: detections, traces and pictures.

use std::collections::BTreeMap;
use std::process::Command;

use attnscope::picture::Photo;
use candle_core::{DType, Tensor};
use serde_json::json;

use crate::program::{CAT, COFFEE, Out, cat, detections, finish, in_process, numbers};

/// Names and shapes of the bundled model at 320 × 320 as `cli::analyze` documents them.
fn documented() -> BTreeMap<String, Vec<usize>> {
    let all: Vec<(&str, Vec<usize>)> = vec![
        // Row 5: map 40 × 40, 128 channels, 8 heads, 5 × 5 super tokens of 8 × 8.
        ("L5.sta.in", vec![128, 40, 40]),
        ("L5.sta.out", vec![128, 40, 40]),
        ("L5.sta.affinity_it0", vec![9, 40, 40]),
        ("L5.sta.stoken_in", vec![128, 5, 5]),
        ("L5.sta.stoken_out", vec![128, 5, 5]),
        ("L5.sta.mhsa", vec![8, 25, 25]),
        ("L5.sta.column_sum", vec![5, 5]),
        ("L5.sta.lost_mass", vec![40, 40]),
        // Row 8: map 20 × 20 padded to 24 × 24, 8 × 8 regions of 9 tokens, 4 heads, topk 4.
        ("L8.bra.in", vec![128, 20, 20]),
        ("L8.bra.out", vec![128, 20, 20]),
        ("L8.bra.affinity_r", vec![64, 64]),
        ("L8.bra.r_idx", vec![64, 4]),
        ("L8.bra.r_weight", vec![64, 4]),
        // Row 26: map 20 × 20, 5 × 5 regions of 16 tokens, 4 heads, topk 4.
        ("L26.bra.in", vec![128, 20, 20]),
        ("L26.bra.out", vec![128, 20, 20]),
        ("L26.bra.affinity_r", vec![25, 25]),
        ("L26.bra.r_idx", vec![25, 4]),
        ("L26.bra.r_weight", vec![25, 4]),
        // Row 19: map 40 × 40, 64 channels.
        ("L19.psa.in", vec![64, 40, 40]),
        ("L19.psa.out", vec![64, 40, 40]),
        ("L19.psa.cw", vec![64]),
        ("L19.psa.sw", vec![40, 40]),
        ("L19.psa.q_map", vec![40, 40]),
        ("L19.psa.qs", vec![32]),
        // Rows 12 and 25: map 10 × 10, 2 heads.
        ("L12.pos.in", vec![256, 10, 10]),
        ("L12.pos.out", vec![256, 10, 10]),
        ("L25.pos.in", vec![384, 10, 10]),
        ("L25.pos.out", vec![256, 10, 10]),
    ];
    let mut all: BTreeMap<String, Vec<usize>> =
        all.into_iter().map(|(n, s)| (n.to_owned(), s)).collect();
    for (row, regions, tokens) in [(8, 64, 9), (26, 25, 16)] {
        for region in 0..regions {
            let name = format!("L{row}.bra.attn_region{region}");
            all.insert(name, vec![4, tokens, 4 * tokens]);
        }
    }
    for row in [12, 25] {
        all.insert(format!("L{row}.pos.received0"), vec![2, 10, 10]);
        all.insert(format!("L{row}.pos.tokens0"), vec![100]);
        all.insert(format!("L{row}.pos.attn0"), vec![100, 2, 100]);
    }
    all
}

/// Sums over the last axis.
fn last_axis_sums(tensor: &Tensor) -> Vec<f32> {
    let last = *tensor.dims().last().unwrap();
    let rows = numbers(tensor);
    rows.chunks(last).map(|row| row.iter().sum()).collect()
}

fn assert_all_near(what: &str, values: &[f32], expected: f32) {
    assert!(!values.is_empty());
    for (i, v) in values.iter().enumerate() {
        assert!((v - expected).abs() < 1e-4, "{what}[{i}] is {v}");
    }
}

#[test]
fn the_cat_is_found_where_it_is() {
    let report = cat().report("chelsea");
    let found = detections(&report);
    let [(class, score, [x1, y1, x2, y2])] = found.as_slice() else {
        panic!("one cat: {found:?}");
    };
    assert_eq!(class, "cat");
    assert!((0.4..0.9).contains(score), "{score}");
    // The cat fills the picture of 451 × 300 pixels.
    assert!(*x1 >= 0.0 && *y1 >= 0.0 && *x2 <= 451.0 && *y2 <= 300.0);
    assert!(*x1 < 30.0 && *y1 < 30.0 && *x2 > 420.0 && *y2 > 270.0);
}

#[test]
fn the_report_says_what_was_analysed_and_how() {
    let report = cat().report("chelsea");
    let picture = &report["picture"];
    assert_eq!(picture["name"], "chelsea.png");
    assert_eq!(
        (&picture["width"], &picture["height"]),
        (&json!(451), &json!(300))
    );
    assert_eq!(picture["digest"].as_str().unwrap().len(), 16);
    assert_eq!(report["model"]["name"], "yolo26n-attn");
    assert_eq!(report["model"]["path"], json!(null));
    assert_eq!(report["model"]["classes"].as_array().unwrap().len(), 10);
    let settings = &report["settings"];
    assert_eq!(settings["imgsz"], json!([320, 320]));
    // The better of the two, as the model's card says.
    assert_eq!(settings["head"], "one-to-many");
    assert_eq!(
        (&settings["conf"], &settings["iou"]),
        (&json!(0.25), &json!(0.7))
    );
    assert!(settings["device"].as_str().unwrap().starts_with("CPU"));
    let knobs = json!({
        "5": {"n_iter": 1, "stoken_size": [8, 8]},
        "8": {"n_win": 8, "topk": 4},
        "12": {},
        "19": {},
        "25": {},
        "26": {"n_win": 5, "topk": 4},
    });
    assert_eq!(settings["knobs"], knobs);
    assert_eq!(
        (&settings["clamped"], &settings["untrained"]),
        (&json!({}), &json!({}))
    );
}

#[test]
fn every_trace_tensor_is_there_under_its_documented_name() {
    let traces = cat().traces("chelsea");
    let shapes: BTreeMap<String, Vec<usize>> = traces
        .iter()
        .map(|(name, t)| (name.clone(), t.dims().to_vec()))
        .collect();
    assert_eq!(shapes, documented());
    for (name, tensor) in &traces {
        let dtype = if name.ends_with(".r_idx") || name.ends_with(".tokens0") {
            DType::U32
        } else {
            DType::F32
        };
        assert_eq!(tensor.dtype(), dtype, "{name}");
        assert!(numbers(tensor).iter().all(|v| v.is_finite()), "{name}");
    }
}

#[test]
fn the_tensors_mean_what_the_documentation_says() {
    let traces = cat().traces("chelsea");
    let t = |name: &str| &traces[name];
    // The nine weights of a pixel sum to 1; of all mass, the columns keep what is not lost.
    let affinity = t("L5.sta.affinity_it0");
    assert_all_near("affinity", &numbers(&affinity.sum(0).unwrap()), 1.0);
    let total = |name: &str| numbers(t(name)).iter().sum::<f32>();
    let kept = total("L5.sta.column_sum") + total("L5.sta.lost_mass");
    assert!((kept - 1600.0).abs() < 0.1, "{kept}");
    // Inside the outermost cells nothing is lost.
    let inner = t("L5.sta.lost_mass").narrow(0, 8, 24).unwrap();
    let inner = inner.narrow(1, 8, 24).unwrap();
    assert_all_near("lost_mass", &numbers(&inner), 0.0);
    assert_all_near("mhsa", &last_axis_sums(t("L5.sta.mhsa")), 1.0);

    // The routed regions are the four with the largest affinity, best first.
    let affinity = numbers(t("L8.bra.affinity_r"));
    let routed = numbers(t("L8.bra.r_idx"));
    for region in 0..64 {
        let row = &affinity[region * 64..][..64];
        let mut best = row.to_vec();
        best.sort_by(|a, b| b.total_cmp(a));
        let chosen = routed[region * 4..][..4].iter().map(|&i| row[i as usize]);
        assert_eq!(chosen.collect::<Vec<_>>(), best[..4], "region {region}");
    }
    assert_all_near("r_weight", &last_axis_sums(t("L8.bra.r_weight")), 1.0);
    assert_all_near("attn", &last_axis_sums(t("L8.bra.attn_region27")), 1.0);

    // What each position reads from sums to 1; what is received is its mean over all positions.
    assert_all_near("attn0", &last_axis_sums(t("L12.pos.attn0")), 1.0);
    let received = numbers(t("L12.pos.received0"));
    let mean = numbers(&t("L12.pos.attn0").mean(0).unwrap());
    let apart = received.iter().zip(&mean).map(|(a, b)| (a - b).abs());
    assert!(apart.fold(0.0, f32::max) < 1e-6);

    // Parallel form: out = (channel weight + spatial weight) · in.
    for name in ["L19.psa.q_map", "L19.psa.qs"] {
        assert!((total(name) - 1.0).abs() < 1e-4, "{name}");
    }
    let (cw, sw) = (numbers(t("L19.psa.cw")), numbers(t("L19.psa.sw")));
    let (x, y) = (numbers(t("L19.psa.in")), numbers(t("L19.psa.out")));
    for (i, (x, y)) in x.iter().zip(&y).enumerate() {
        let expected = (cw[i / 1600] + sw[i % 1600]) * x;
        assert!(
            (y - expected).abs() < 1e-4,
            "out[{i}] is {y}, not {expected}"
        );
    }
}

#[test]
fn files_hold_exactly_what_the_engine_gives() {
    let outcome = in_process(CAT);
    let mut written = cat().traces("chelsea");
    for (row, layer) in &outcome.traces {
        let short = layer.trace.mechanism().short;
        for named in layer.trace.tensors().unwrap() {
            let name = format!("L{row}.{short}.{}", named.name);
            let tensor = written.remove(&name).unwrap();
            assert_eq!(tensor.dims(), named.tensor.dims(), "{name}");
            let bits = |t: &Tensor| numbers(t).iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&tensor), bits(&named.tensor), "{name}");
        }
    }
    assert!(written.is_empty(), "{:?}", written.keys());

    let found = detections(&cat().report("chelsea"));
    assert_eq!(found.len(), outcome.detected.list.len());
    for ((_, score, rect), d) in found.iter().zip(&outcome.detected.list) {
        assert_eq!(*score as f32, d.score);
        assert_eq!(rect.map(|v| v as f32), d.rect);
    }
}

#[test]
fn every_view_is_a_picture() {
    let outcome = in_process(CAT);
    let mut expected = vec!["detections.json".to_owned(), "detections.png".to_owned()];
    expected.push("traces.npz".to_owned());
    for (row, layer) in &outcome.traces {
        let id = layer.trace.mechanism().id;
        let views = layer.trace.views();
        assert!(views.len() >= 2, "row {row}");
        expected.extend(views.iter().map(|v| format!("L{row}.{id}.{}.png", v.name)));
    }
    expected.sort();
    let contents = cat().contents("chelsea");
    assert_eq!(contents.keys().cloned().collect::<Vec<_>>(), expected);
    for (name, bytes) in contents.iter().filter(|(n, _)| n.ends_with(".png")) {
        let picture = Photo::decode(name, None, bytes).unwrap();
        assert!(picture.width > 451 && picture.height > 300, "{name}");
        let first = &picture.rgb[..3];
        let differs = picture.rgb.chunks(3).filter(|p| *p != first).count();
        assert!(differs > 20_000, "{name} is nearly blank");
    }
    assert_eq!(cat().entries(), ["chelsea"]);
}

#[test]
fn the_same_wish_gives_the_same_bytes_on_any_number_of_threads() {
    let again = Out::new();
    let args = format!("{CAT} --imgsz 320");
    again.analyze(&args).quietly_well();
    let (first, second) = (cat().contents("chelsea"), again.contents("chelsea"));
    assert!(first == second, "a second run differs");

    let alone = Out::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_attnscope"));
    command.args(["analyze", CAT, "--imgsz", "320", "--device", "cpu", "--out"]);
    finish(command.arg(alone.path()).env("RAYON_NUM_THREADS", "1")).quietly_well();
    let alone = alone.contents("chelsea");
    for (name, bytes) in first.iter().filter(|(n, _)| *n != "detections.json") {
        assert!(alone[name] == *bytes, "{name} differs with one thread");
    }
}

#[test]
fn several_pictures_get_folders_of_their_own() {
    let out = Out::new();
    let args = format!("{CAT} tests/pictures/plain.png tests/pictures/plain.bmp --imgsz 64");
    out.analyze(&args).quietly_well();
    assert_eq!(out.entries(), ["chelsea", "plain", "plain-2"]);
    assert_eq!(out.report("plain")["picture"]["name"], "plain.png");
    assert_eq!(out.report("plain-2")["picture"]["name"], "plain.bmp");
    // Both files hold the same pixels.
    let names = |f: &BTreeMap<String, Vec<u8>>| f["traces.npz"].clone();
    assert!(names(&out.contents("plain")) == names(&out.contents("plain-2")));
}

#[test]
fn a_bad_picture_among_good_ones_costs_only_itself() {
    let out = Out::new();
    let ran = out.analyze(&format!("{CAT} no/such.jpg Cargo.toml {COFFEE} --imgsz 64"));
    assert_eq!(ran.code, 1);
    let errors = ran.errors();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[0].starts_with("attnscope: no/such.jpg: there is no such file; expected"));
    assert!(errors[1].starts_with("attnscope: Cargo.toml: it is not a picture"));
    assert_eq!(
        errors[2],
        "attnscope: 2 of 4 pictures could not be analysed"
    );
    assert_eq!(out.entries(), ["chelsea", "coffee"]);
    for picture in ["chelsea", "coffee"] {
        assert_eq!(out.contents(picture).len(), 38, "{picture}");
    }
}

#[test]
fn a_second_run_replaces_the_files_of_the_first() {
    let out = Out::new();
    out.analyze(&format!("{CAT} --imgsz 64")).quietly_well();
    let small = out.contents("chelsea");
    out.analyze(&format!("{CAT} --imgsz 96")).quietly_well();
    let large = out.contents("chelsea");
    assert_eq!(out.entries(), ["chelsea"]);
    assert!(small.keys().eq(large.keys()));
    assert_eq!(out.report("chelsea")["settings"]["imgsz"], json!([96, 96]));
    assert_eq!(out.traces("chelsea")["L19.psa.sw"].dims(), [12, 12]);
}
