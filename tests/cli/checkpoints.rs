//! `check` and `convert`, and checkpoints wherever a model is taken.

use std::path::Path;

use serde_json::Value;

use crate::program::{CAT, Out, Ran, attnscope};

const RELEASED: &str = "tests/checkpoints/released.pt";

fn run(args: &[&str]) -> Ran {
    attnscope(args)
}

#[test]
fn a_whole_model_is_reported_with_all_that_was_decided() {
    let ran = run(&["check", RELEASED]).quietly_well();
    for words in [
        "released: 150 of 150 expected tensors found",
        "BatchNorm: separate",
        "heads: one-to-many",
        "from the checkpoint: row 5 (BiLevelRoutingAttention): ",
    ] {
        assert!(ran.stdout.contains(words), "no '{words}' in {}", ran.stdout);
    }
    let ran = run(&["check", "tests/checkpoints/training.pt"]).quietly_well();
    assert!(
        ran.stdout.contains("skipped, not called: "),
        "{}",
        ran.stdout
    );
}

#[test]
fn the_report_as_json() {
    let ran = run(&["check", RELEASED, "--json"]).quietly_well();
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["whole"], true);
    assert_eq!(report["model"], "released");
    assert_eq!(report["expected"], report["found"]);
    assert_eq!(report["heads"][0], "one-to-many");
    assert_eq!(report["missing"].as_array().unwrap().len(), 0);
}

#[test]
fn a_model_that_is_not_whole_fails_the_check() {
    let ran = run(&["check", "tests/checkpoints/unknown.pt"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stdout.contains("the network ends early"),
        "{}",
        ran.stdout
    );
    assert_eq!(ran.errors().len(), 1, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("row 4 (MysteryAttention)"),
        "{}",
        ran.stderr
    );

    // A definition alone.
    let ran = run(&["check", "models/definitions/yolov8.yaml"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stdout.contains("row 0 (Conv): random weights"),
        "{}",
        ran.stdout
    );
    let ran = run(&["check", "tests/checkpoints/hostile/system.pt"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(
        ran.stderr.contains("system.pt: it holds a call of"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_converted_model_gives_the_same_results() {
    let place = Out::new();
    let folder = place.path().join("folder");
    let name = folder.display().to_string();
    let ran = run(&["convert", RELEASED, &name]).quietly_well();
    assert_eq!(ran.stdout, format!("{name}\n"));
    assert_eq!(place.entries(), ["folder"], "nothing else was left behind");
    let analyse = |model: &str| {
        let out = Out::new();
        out.analyze(&format!("{CAT} --conf 0.01 --model {model}"))
            .quietly_well();
        let mut contents = out.contents("chelsea");
        let mut report: Value = serde_json::from_slice(&contents["detections.json"]).unwrap();
        // The one difference: where the model lies.
        report["model"]["path"].take();
        contents.insert("detections.json".into(), report.to_string().into());
        contents
    };
    let (before, after) = (analyse(RELEASED), analyse(&name));
    assert!(before.len() > 3, "{:?}", before.keys());
    for (file, content) in &before {
        assert!(after[file] == *content, "{file} differs");
    }
    assert_eq!(before.len(), after.len());
}

#[test]
fn what_cannot_be_converted_leaves_nothing() {
    let place = Out::new();
    for (from, words) in [
        (
            "tests/checkpoints/hostile/nesting.pt",
            "expected a model or its tensors",
        ),
        ("tests/checkpoints/segment.pt", "instance segmentation"),
        (
            "models/definitions/yolov8.yaml",
            "there are no weights beside it",
        ),
    ] {
        let out = place.path().join("out").display().to_string();
        let ran = run(&["convert", from, &out]);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(
            ran.stderr.starts_with(&format!("attnscope: {from}: ")),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
        assert_eq!(place.entries(), [""; 0]);
    }
    let notes = place.path().join("notes.txt");
    std::fs::write(&notes, "mine").unwrap();
    let ran = run(&["convert", RELEASED, &notes.display().to_string()]);
    assert!(ran.stderr.contains("it is in the way"), "{}", ran.stderr);
    assert!(Path::new(&notes).is_file());
}
