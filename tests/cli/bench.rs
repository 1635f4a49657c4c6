//! `attnscope bench`.

use candle_core::npy::NpzTensors;
use serde_json::Value;

use crate::program::{TINY, attnscope};

fn report(args: &[&str]) -> Value {
    let ran = attnscope([&["bench", "--json", "--imgsz", "64"], args].concat()).quietly_well();
    serde_json::from_str(&ran.stdout).unwrap()
}

fn keys(report: &Value) -> Vec<&str> {
    let rows = report["rows"].as_array().unwrap();
    rows.iter().map(|r| r["key"].as_str().unwrap()).collect()
}

#[test]
fn every_row_is_measured_as_often_as_asked() {
    let r = report(&["--runs", "2", "--threads", "1"]);
    assert_eq!(
        (r["threads"].as_u64(), r["imgsz"].as_u64()),
        (Some(1), Some(64))
    );
    for key in [
        "network",
        "whole.plain",
        "knob.8.topk.share",
        "start.analyze",
    ] {
        assert!(keys(&r).contains(&key), "{key}");
    }
    for row in r["rows"].as_array().unwrap() {
        let [min, median, max] = ["min", "median", "max"].map(|k| row[k].as_f64().unwrap());
        assert!(0.0 < min && min <= median && median <= max, "{row}");
        assert_eq!(
            (&row["n"], row["values"].as_array().unwrap().len()),
            (&2.into(), 2)
        );
    }
    assert_eq!(r["layers"].as_array().unwrap().len(), 28);
}

#[test]
fn the_raw_output_is_written_for_comparison() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raw.npz");
    let raw = path.to_str().unwrap();
    let args = [
        "--model", TINY, "--runs", "1", "--only", "network", "--raw", raw,
    ];
    let r = report(&args);
    assert_eq!(keys(&r), ["network"]);
    let arrays = NpzTensors::new(&path).unwrap();
    let dims = |name| arrays.get(name).unwrap().unwrap().dims().to_vec();
    assert_eq!(dims("input"), [1, 3, 64, 64]);
    // 8², 4² and 2² cells.
    assert_eq!((dims("scores")[0], dims("scores")[1]), (3, 84));
    assert_eq!(dims("boxes")[1], 84);
}

#[test]
fn a_model_that_is_not_there_is_named_once() {
    let ran = attnscope(["bench", "--model", "nowhere"]);
    assert_eq!((ran.code, ran.errors().len()), (1, 1));
    assert!(
        ran.stderr
            .contains("nowhere: there is no such file or folder"),
        "{}",
        ran.stderr
    );
}
