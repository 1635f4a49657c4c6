//! Every kind of bad file, opened in the window: one toast each that names the file, and nothing
//! that was open is lost.

use std::path::{Path, PathBuf};

use attnscope::app::App;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

use super::files::{errors, repository, type_path};
use super::{press, window};

/// Opens each path in one window: each must give one toast that names `name(path)`.
fn all_are_refused(paths: &[PathBuf], name: impl Fn(&Path) -> String) {
    assert!(!paths.is_empty());
    let mut harness = window();
    let before = seen(&harness);
    for (i, path) in paths.iter().enumerate() {
        type_path(&mut harness, &path.display().to_string());
        let errors = errors(harness.state());
        assert_eq!(errors.len(), i + 1, "{}: {errors:?}", path.display());
        let (error, name) = (&errors[i], name(path));
        assert!(error.contains(&name), "{name} is not in: {error}");
        assert!(error.contains("; expected "), "{error}");
        assert!(harness.query_by_label(error).is_some(), "no toast: {error}");
        assert_eq!(seen(&harness), before, "{}", path.display());
        press(&mut harness, "Close");
    }
}

/// Picture, model and number of detections that are shown.
fn seen(harness: &Harness<'_, App>) -> (String, String, usize) {
    let app = harness.state();
    let detected = app.snapshot().detected.as_ref().unwrap();
    (
        app.photo().unwrap().name.clone(),
        app.model().unwrap().name.clone(),
        detected.list.len(),
    )
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn entries(folder: &str) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(repository(folder))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    all.sort();
    all
}

#[test]
fn bad_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(repository("tests/pictures/plain.png")).unwrap();
    let mut paths: Vec<PathBuf> = ["0x5.png", "11000x10000.png", "60000x60000.png"]
        .iter()
        .map(|n| repository("tests/pictures").join(n))
        .collect();
    for (name, bytes) in [
        ("zero_bytes.jpg", &b""[..]),
        ("text.jpg", b"no picture, only text"),
        ("truncated.png", &whole[..whole.len() / 3]),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        paths.push(path);
    }
    all_are_refused(&paths, file_name);
}

#[test]
fn bad_definitions() {
    // Beside sound weights, so that the definition is all that is wrong.
    let folder = tempfile::tempdir().unwrap();
    let weights = repository("tests/golden/tiny/weights.safetensors");
    std::fs::copy(weights, folder.path().join("weights.safetensors")).unwrap();
    let mut faults = entries("tests/golden/bad/yaml");
    // An unknown module only ends the network there.
    faults.retain(|p| file_name(p) != "unknown_module.yaml");
    let copied = faults.into_iter().map(|from| {
        let to = folder.path().join(file_name(&from));
        std::fs::copy(from, &to).unwrap();
        to
    });
    all_are_refused(&copied.collect::<Vec<_>>(), file_name);
}

#[test]
fn bad_weights() {
    let sound = ["intact", "extra_tensors"];
    let mut paths = entries("tests/golden/bad/weights");
    paths.retain(|p| !sound.contains(&file_name(p).as_str()));
    all_are_refused(&paths, |p| format!("{}/weights.safetensors", file_name(p)));
}

#[test]
fn a_weights_file_with_tensors_left_over_opens_and_names_them() {
    let mut harness = window();
    let path = repository("tests/golden/bad/weights/extra_tensors");
    type_path(&mut harness, &path.display().to_string());
    let app = harness.state();
    assert!(errors(app).is_empty(), "{:?}", errors(app));
    assert_ne!(app.model().unwrap().name, "yolo26n-attn");
    let unused = &app.model().unwrap().report.unused;
    assert!(!unused.is_empty());
    let note = &app.messages().last().unwrap().text;
    for tensor in unused {
        assert!(note.contains(&tensor.name), "{note}");
    }
}

#[test]
fn bad_checkpoints() {
    let mut paths = entries("tests/checkpoints/hostile");
    // What else it holds is sound: it opens, and says what was not called.
    paths.retain(|p| file_name(p) != "tensors_and_eval.pt");
    paths.push(repository("tests/checkpoints/segment.pt"));
    all_are_refused(&paths, file_name);
}

#[test]
fn a_checkpoint_opens_as_it_is_and_its_report_can_be_read() {
    let mut harness = window();
    let path = repository("tests/checkpoints/released.pt");
    type_path(&mut harness, &path.display().to_string());
    let app = harness.state();
    assert!(errors(app).is_empty(), "{:?}", errors(app));
    let model = app.model().unwrap().clone();
    assert!(!model.report.attributes.is_empty());
    assert!(!app.snapshot().traces.is_empty());
    press(&mut harness, "File");
    press(&mut harness, "Load report…");
    harness.run_steps(2);
    let report = model.report.to_string();
    assert!(harness.query_by_label(&report).is_some(), "{report}");
    press(&mut harness, "Close");
    harness.run_steps(2);
    assert!(harness.query_by_label(&report).is_none());
}

#[test]
fn a_checkpoint_with_an_unknown_module_runs_up_to_it_and_says_why() {
    let mut harness = window();
    let path = repository("tests/checkpoints/unknown.pt");
    type_path(&mut harness, &path.display().to_string());
    let app = harness.state();
    assert!(errors(app).is_empty(), "{:?}", errors(app));
    let stop = app.model().unwrap().network.stopped().unwrap();
    let why = format!("No detections: {stop}");
    let badge = format!("ends before layer {}", stop.row);
    let rows: Vec<_> = app.snapshot().traces.keys().collect();
    assert!(rows.iter().all(|row| **row < stop.row), "{rows:?}");
    assert!(harness.query_by_label(&why).is_some(), "{why}");
    assert!(harness.query_by_label(&badge).is_some());
}
