//! Opening: typed, pasted, dropped and recent files, what cannot be opened, and the state that is
//! kept for the next window.

use std::path::{Path, PathBuf};

use attnscope::app::{App, AppOptions, Kept, Kind};
use egui::Role;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

use super::{choose_layer, press, routes, settle, slide, window, window_with};

/// What eframe would write to disk.
#[derive(Default)]
struct Storage(std::collections::BTreeMap<String, String>);

impl eframe::Storage for Storage {
    fn get_string(&self, key: &str) -> Option<String> {
        self.0.get(key).cloned()
    }
    fn set_string(&mut self, key: &str, value: String) {
        self.0.insert(key.to_owned(), value);
    }
    fn remove_string(&mut self, key: &str) {
        self.0.remove(key);
    }
    fn flush(&mut self) {}
}

pub fn type_path(harness: &mut Harness<'_, App>, text: &str) {
    let hint = "Type or paste a path and press Enter";
    harness
        .get_by(|n| n.role() == Role::TextInput && n.data().placeholder() == Some(hint))
        .focus();
    harness.run_steps(2);
    harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::A);
    harness.event(egui::Event::Text(text.to_owned()));
    harness.run_steps(2);
    harness.key_press(egui::Key::Enter);
    settle(harness);
}

pub fn errors(app: &App) -> Vec<String> {
    let errors = app.messages().iter().filter(|m| m.kind == Kind::Error);
    errors.map(|m| m.text.clone()).collect()
}

pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn a_typed_path_opens_a_picture() {
    let mut harness = window();
    let path = repository("tests/pictures/coffee.png");
    type_path(&mut harness, &format!("\"{}\"", path.display()));
    let app = harness.state();
    assert_eq!(app.photo().unwrap().path.as_deref(), Some(path.as_path()));
    assert_eq!(app.kept().recent.paths(), [path]);
    let scene = app.snapshot().scene.clone().unwrap();
    assert_eq!(scene.photo.name, "coffee.png");
    assert!(errors(app).is_empty());
}

#[test]
fn what_cannot_be_opened_says_why_and_leaves_the_picture() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let cases = [
        (folder.path().join("gone.png"), "there is no such file"),
        (file("empty.png", b""), "the file is empty"),
        (
            file("text.png", b"this is no picture at all"),
            "not a picture of a known type",
        ),
        (folder.path().to_owned(), "model.yaml: it is missing"),
    ];
    let mut harness = window();
    for (i, (path, part)) in cases.iter().enumerate() {
        type_path(&mut harness, &path.display().to_string());
        let errors = errors(harness.state());
        assert_eq!(errors.len(), i + 1, "{errors:?}");
        assert!(
            errors[i].contains(part) && errors[i].contains(folder.path().to_str().unwrap()),
            "{}",
            errors[i]
        );
        assert!(
            harness.query_by_label(&errors[i]).is_some(),
            "no toast for {}",
            errors[i]
        );
        assert_eq!(harness.state().photo().unwrap().name, "chelsea.png");
        // It stays until it is closed.
        harness.run_steps(100);
        assert!(harness.query_by_label(&errors[i]).is_some());
        press(&mut harness, "Close");
        assert!(harness.query_by_label(&errors[i]).is_none());
    }
    press(&mut harness, "Messages");
    harness.run_steps(2);
    assert!(
        harness
            .query_by_label_contains("the file is empty")
            .is_some()
    );
}

#[test]
fn a_model_folder_is_opened_and_the_bundled_model_comes_back() {
    let mut harness = window();
    choose_layer(&mut harness, "BiFormerBlock");
    slide(&mut harness, "topk", 9.0);
    let folder = repository("tests/golden/tiny");
    type_path(&mut harness, &folder.display().to_string());
    let app = harness.state();
    assert!(errors(app).is_empty(), "{:?}", errors(app));
    assert_eq!(app.kept().model.as_deref(), Some(folder.as_path()));
    assert!(
        app.kept().settings.knobs.is_empty(),
        "rows of another model"
    );
    press(&mut harness, "Bundled models");
    press(&mut harness, "yolo26n-attn");
    settle(&mut harness);
    assert_eq!(harness.state().model().unwrap().name, "yolo26n-attn");
    assert_eq!(harness.state().kept().model, None);
}

#[test]
fn pictures_and_paths_are_pasted() {
    let mut harness = window();
    let image = egui::ColorImage::filled([64, 48], egui::Color32::from_rgb(200, 100, 50));
    harness.event(egui::Event::PasteImage(std::sync::Arc::new(image)));
    settle(&mut harness);
    let photo = harness.state().photo().unwrap().clone();
    assert_eq!((photo.width, photo.height), (64, 48));
    assert_eq!(photo.pixel(3, 3), Some([200, 100, 50]));
    // It has no file: next time the window opens on the picture before.
    assert_eq!(harness.state().kept().photo, Kept::default().photo);

    let path = repository("assets/samples/astronaut.png");
    harness.event(egui::Event::Paste(format!("file://{}", path.display())));
    settle(&mut harness);
    assert_eq!(harness.state().photo().unwrap().name, "astronaut.png");
}

/// A file as a desktop drops it.
#[derive(Debug)]
struct Dropped(PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }
    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|e| e.to_string())
    }
}

#[test]
fn pictures_and_model_folders_are_dropped() {
    let mut harness = window();
    for path in ["tests/pictures/coffee.png", "tests/golden/tiny/model.yaml"] {
        let file = std::sync::Arc::new(Dropped(repository(path)));
        harness.input_mut().dropped_files.push(file);
        settle(&mut harness);
    }
    let app = harness.state();
    assert!(errors(app).is_empty(), "{:?}", errors(app));
    assert_eq!(app.photo().unwrap().name, "coffee.png");
    assert_eq!(app.kept().model, Some(repository("tests/golden/tiny")));
    assert_eq!(app.kept().recent.paths().len(), 2);
    // The files of the recent list are opened again; what is gone says so.
    press(&mut harness, "Recent files");
    assert!(harness.query_by_label_contains("/coffee.png").is_some());
}

#[test]
fn the_next_window_opens_as_this_one_was_left() {
    let mut storage = Storage::default();
    let mut harness = window();
    choose_layer(&mut harness, "BiFormerBlock");
    slide(&mut harness, "topk", 7.0);
    slide(&mut harness, "confidence", 0.4);
    type_path(
        &mut harness,
        &repository("tests/pictures/coffee.png")
            .display()
            .to_string(),
    );
    harness.get_by_label("View").click();
    harness.run_steps(2);
    harness
        .get_by_role_and_label(Role::CheckBox, "Polarized weights")
        .click();
    harness.run_steps(2);
    // The pane behind it is in sight now, and asks for its trace.
    settle(&mut harness);
    eframe::App::save(harness.state_mut(), &mut storage);
    let before = harness.state().kept().clone();
    assert!(!before.layout.is_shown("polarized"));

    let next = window_with(AppOptions::default(), Some(&storage));
    let after = next.state();
    assert_eq!(*after.kept(), before);
    assert_eq!(after.photo().unwrap().name, "coffee.png");
    assert_eq!(routes(after).topk, 7);
    assert!(after.messages().is_empty(), "{:?}", after.messages());
}

#[test]
fn a_damaged_state_and_a_vanished_picture_start_the_bundled_ones_with_one_message() {
    let mut damaged = Storage::default();
    eframe::Storage::set_string(&mut damaged, "attnscope", "{\"version\":".into());
    let harness = window_with(AppOptions::default(), Some(&damaged));
    assert_eq!(harness.state().photo().unwrap().name, "chelsea.png");
    assert_eq!(harness.state().messages().len(), 1);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    std::fs::copy(repository("tests/pictures/coffee.png"), &path).unwrap();
    let options = AppOptions {
        photo: Some(path.clone()),
        ..AppOptions::default()
    };
    let mut harness = window_with(options, None);
    assert_eq!(
        harness.state().photo().unwrap().path.as_deref(),
        Some(path.as_path())
    );
    let mut storage = Storage::default();
    eframe::App::save(harness.state_mut(), &mut storage);
    std::fs::remove_file(&path).unwrap();
    let harness = window_with(AppOptions::default(), Some(&storage));
    assert_eq!(harness.state().photo().unwrap().name, "chelsea.png");
    let errors = errors(harness.state());
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].contains("a.png: there is no such file"),
        "{}",
        errors[0]
    );
}
