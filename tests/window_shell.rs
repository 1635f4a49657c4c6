//! The window without a display: the real window is stepped frame by frame, found and moved by
//! what its controls are called.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use attnscope::app::{App, AppOptions, Kind};
use attnscope::attention::KnobValue;
use attnscope::attention::routing::RoutingTrace;
use attnscope::attention::super_token::SuperTokenTrace;
use attnscope::engine::DeviceChoice;
use attnscope::yolo::Head;
use egui::Role;
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};

/// Rows of the attention layers of the bundled model.
const STA: usize = 5;
const BRA: usize = 8;

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

fn window_with(options: AppOptions, storage: Option<&Storage>) -> Harness<'static, App> {
    let options = AppOptions {
        device: DeviceChoice::Cpu,
        ..options
    };
    let mut harness = Harness::builder()
        .with_size([1400.0, 900.0])
        .build_eframe(|cc| {
            let storage = storage.map(|s| s as &dyn eframe::Storage);
            App::new(options, storage, &cc.egui_ctx).expect("a thread")
        });
    settle(&mut harness);
    harness
}

fn window() -> Harness<'static, App> {
    window_with(AppOptions::default(), None)
}

/// Steps until everything is open and analysed.
fn settle(harness: &mut Harness<'_, App>) {
    let end = Instant::now() + Duration::from_secs(120);
    // Events first: before them there is nothing to wait for.
    harness.run_steps(3);
    while !harness.state().is_settled() {
        assert!(Instant::now() < end, "the window never came to rest");
        std::thread::sleep(Duration::from_millis(5));
        harness.step();
    }
    harness.run_steps(2);
}

fn press(harness: &mut Harness<'_, App>, label: &str) {
    harness.get_by_label(label).click();
    harness.run_steps(2);
}

/// Moves a slider as a screen reader does.
fn slide(harness: &mut Harness<'_, App>, label: &str, value: f64) {
    harness
        .get_by_role_and_label(Role::Slider, label)
        .set_value_accesskit(value);
    settle(harness);
}

fn choose_layer(harness: &mut Harness<'_, App>, name: &str) {
    harness
        .get_by(|n| n.role() == Role::Button && n.label().is_some_and(|l| l.contains(name)))
        .click();
    harness.run_steps(2);
}

fn routes(app: &App) -> RoutingFacts {
    let trace = &app.snapshot().traces[&BRA].trace;
    let trace = trace.downcast::<RoutingTrace>().unwrap();
    RoutingFacts {
        n_win: trace.n_win,
        topk: trace.topk,
        of_first: trace.routes(0).len(),
    }
}

#[derive(Debug, PartialEq)]
struct RoutingFacts {
    n_win: usize,
    topk: usize,
    of_first: usize,
}

fn super_tokens(app: &App) -> &SuperTokenTrace {
    app.snapshot().traces[&STA].trace.downcast().unwrap()
}

fn type_path(harness: &mut Harness<'_, App>, text: &str) {
    let hint = "Type or paste a path and press Enter";
    let field = |h: &Harness<'_, App>| {
        h.get_by(|n| n.role() == Role::TextInput && n.data().placeholder() == Some(hint))
            .rect()
    };
    let _ = field(harness);
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

fn errors(app: &App) -> Vec<String> {
    let errors = app.messages().iter().filter(|m| m.kind == Kind::Error);
    errors.map(|m| m.text.clone()).collect()
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_window_opens_on_the_bundled_model_and_picture_analysed() {
    let harness = window();
    let app = harness.state();
    assert_eq!(app.photo().unwrap().name, "chelsea.png");
    assert_eq!(app.model().unwrap().name, "yolo26n-attn-v0");
    let detected = app.snapshot().detected.clone().unwrap();
    let model = app.model().unwrap();
    assert_eq!(model.classes[detected.list[0].class], "cat");
    assert!(
        (detected.list[0].score - 0.61).abs() < 0.02,
        "{}",
        detected.list[0].score
    );
    assert_eq!(
        app.snapshot().traces.keys().copied().collect::<Vec<_>>(),
        [5, 8, 19]
    );
    assert!(app.messages().is_empty(), "{:?}", app.messages());
    assert!(harness.query_by_label("451 × 300").is_some());
    assert!(harness.query_by_label_contains("of 27 layers").is_some());
}

#[test]
fn knobs_of_routed_regions_act_on_the_outcome() {
    let mut harness = window();
    choose_layer(&mut harness, "BiFormerBlock");
    let facts = |n_win, topk| RoutingFacts {
        n_win,
        topk,
        of_first: topk,
    };
    assert_eq!(routes(harness.state()), facts(8, 4));
    slide(&mut harness, "topk", 9.0);
    assert_eq!(routes(harness.state()), facts(8, 9));
    // The arrow keys move by one.
    harness.get_by_role_and_label(Role::Slider, "topk").focus();
    harness.run_steps(1);
    harness.key_press(egui::Key::ArrowRight);
    settle(&mut harness);
    assert_eq!(routes(harness.state()), facts(8, 10));

    // Three by three regions are nine: topk is moved, says why, and comes back with the regions.
    slide(&mut harness, "n_win", 3.0);
    assert_eq!(routes(harness.state()), facts(3, 9));
    assert_eq!(
        harness.state().kept().settings.knobs[&BRA]["topk"],
        KnobValue::Int(10)
    );
    let said = "10 is wanted, 9 is used: n_win 3 makes 9 regions";
    assert!(harness.query_by_label(said).is_some());
    assert!(
        harness
            .query_by_label("outside the trained range")
            .is_some()
    );
    slide(&mut harness, "n_win", 6.0);
    assert_eq!(routes(harness.state()), facts(6, 10));
    assert!(harness.query_by_label(said).is_none());
    assert!(
        harness
            .query_by_label("outside the trained range")
            .is_none()
    );
}

#[test]
fn knobs_of_super_tokens_act_on_the_outcome() {
    let mut harness = window();
    choose_layer(&mut harness, "StokenBlock");
    assert_eq!(super_tokens(harness.state()).stoken_size, [8, 8]);
    slide(&mut harness, "stoken_size", 5.0);
    assert_eq!(super_tokens(harness.state()).stoken_size, [5, 5]);
    // 320 / 8 = 40 cells: 8 super tokens per side.
    assert_eq!(super_tokens(harness.state()).grid, [8, 8]);
    slide(&mut harness, "n_iter", 3.0);
    assert_eq!(super_tokens(harness.state()).affinity.len(), 3);

    press(&mut harness, "separate height and width");
    slide(&mut harness, "stoken_size width", 10.0);
    assert_eq!(super_tokens(harness.state()).stoken_size, [5, 10]);
    assert_eq!(super_tokens(harness.state()).grid, [8, 4]);
    press(&mut harness, "separate height and width");
    settle(&mut harness);
    assert_eq!(super_tokens(harness.state()).stoken_size, [5, 5]);
}

#[test]
fn a_layer_without_knobs_says_so() {
    let mut harness = window();
    choose_layer(&mut harness, "PolarizedSelfAttention");
    assert!(
        harness
            .query_by_label_contains("This layer has no knobs")
            .is_some()
    );
}

#[test]
fn knobs_go_back_to_their_defaults() {
    let mut harness = window();
    choose_layer(&mut harness, "BiFormerBlock");
    slide(&mut harness, "n_win", 5.0);
    let back: Vec<_> = harness.get_all_by_label("Back to default").collect();
    assert_eq!(back.len(), 2);
    assert!(
        back[1].accesskit_node().is_disabled(),
        "topk is at its default"
    );
    back[0].click();
    settle(&mut harness);
    assert_eq!(routes(harness.state()).n_win, 8);
    slide(&mut harness, "topk", 2.0);
    press(&mut harness, "Reset all knobs");
    settle(&mut harness);
    assert!(harness.state().kept().settings.knobs.is_empty());
    assert_eq!(routes(harness.state()).topk, 4);
}

#[test]
fn detections_follow_thresholds_and_head() {
    let mut harness = window();
    let count = |h: &Harness<'_, App>| h.state().snapshot().detected.as_ref().unwrap().list.len();
    slide(&mut harness, "confidence", 0.9);
    assert_eq!(count(&harness), 0);
    slide(&mut harness, "confidence", 0.05);
    let low = count(&harness);
    slide(&mut harness, "confidence", 0.5);
    assert!(low > count(&harness) && count(&harness) == 1, "{low}");

    assert!(harness.query_by_label("overlap (IoU)").is_none());
    press(&mut harness, "one-to-many");
    settle(&mut harness);
    assert_eq!(
        harness.state().snapshot().detected.as_ref().unwrap().head,
        Head::OneToMany
    );
    slide(&mut harness, "confidence", 0.05);
    slide(&mut harness, "overlap (IoU)", 1.0);
    let all = count(&harness);
    slide(&mut harness, "overlap (IoU)", 0.1);
    assert!(count(&harness) < all, "{} of {all}", count(&harness));
}

#[test]
fn the_input_size_is_chosen_from_multiples_of_the_stride() {
    let mut harness = window();
    harness
        .get_by_role_and_label(Role::ComboBox, "input size")
        .click();
    harness.run_steps(2);
    assert!(harness.query_by_label("320 (best)").is_some());
    press(&mut harness, "224");
    settle(&mut harness);
    let scene = harness.state().snapshot().scene.clone().unwrap();
    assert_eq!(scene.letterbox.input, [224, 224]);
    assert_eq!(super_tokens(harness.state()).map, [28, 28]);
}

#[test]
fn a_typed_path_opens_a_picture() {
    let mut harness = window();
    let path = repository("assets/samples/coffee.png");
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
    press(&mut harness, "Bundled model");
    settle(&mut harness);
    assert_eq!(harness.state().model().unwrap().name, "yolo26n-attn-v0");
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
    assert_eq!(
        harness.state().kept().photo,
        attnscope::app::Kept::default().photo
    );

    let path = repository("assets/samples/astronaut.png");
    harness.event(egui::Event::Paste(format!("file://{}", path.display())));
    settle(&mut harness);
    assert_eq!(harness.state().photo().unwrap().name, "astronaut.png");
}

#[test]
fn undo_takes_back_and_redo_makes_again() {
    let mut harness = window();
    choose_layer(&mut harness, "BiFormerBlock");
    slide(&mut harness, "topk", 9.0);
    slide(&mut harness, "confidence", 0.5);
    let undo = |h: &mut Harness<'_, App>, modifiers: egui::Modifiers| {
        // Away from the sliders' number fields, which have an undo of their own.
        h.ctx.memory_mut(|m| m.stop_text_input());
        h.key_press_modifiers(modifiers, egui::Key::Z);
        settle(h);
    };
    let control = egui::Modifiers::COMMAND;
    undo(&mut harness, control);
    assert_eq!(harness.state().kept().settings.thresholds.confidence, 0.25);
    assert_eq!(routes(harness.state()).topk, 9);
    undo(&mut harness, control);
    assert_eq!(routes(harness.state()).topk, 4);
    undo(&mut harness, control | egui::Modifiers::SHIFT);
    assert_eq!(routes(harness.state()).topk, 9);
}

#[test]
fn a_drag_with_the_hand_is_one_step() {
    let mut harness = window();
    choose_layer(&mut harness, "BiFormerBlock");
    let rect = harness.get_by_role_and_label(Role::Slider, "topk").rect();
    let y = rect.center().y;
    harness.drag_at(egui::pos2(rect.left() + 20.0, y));
    harness.run_steps(1);
    for x in [30.0, 40.0, 60.0, 80.0] {
        harness.hover_at(egui::pos2(rect.left() + x, y));
        harness.run_steps(1);
    }
    harness.drop_at(egui::pos2(rect.left() + 80.0, y));
    settle(&mut harness);
    let dragged = routes(harness.state()).topk;
    assert!(dragged > 16, "{dragged}");
    harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::Z);
    settle(&mut harness);
    assert_eq!(routes(harness.state()).topk, 4);
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
        &repository("assets/samples/coffee.png")
            .display()
            .to_string(),
    );
    harness.get_by_label("View").click();
    harness.run_steps(2);
    harness
        .get_by_role_and_label(Role::CheckBox, "Polarized weights")
        .click();
    harness.run_steps(2);
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
    std::fs::copy(repository("assets/samples/coffee.png"), &path).unwrap();
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

#[test]
fn panes_are_hidden_and_the_layout_comes_back() {
    let mut harness = window();
    press(&mut harness, "View");
    harness
        .get_by_role_and_label(Role::CheckBox, "Detections")
        .click();
    harness.run_steps(2);
    assert!(!harness.state().kept().layout.is_shown("detections"));
    harness.key_press(egui::Key::Escape);
    harness.run_steps(2);
    press(&mut harness, "View");
    press(&mut harness, "Reset layout");
    assert!(harness.state().kept().layout.is_shown("detections"));
}

#[test]
fn every_control_is_reached_with_the_tab_key() {
    let mut harness = window();
    let mut reached = std::collections::BTreeSet::new();
    for _ in 0..120 {
        harness.key_press(egui::Key::Tab);
        harness.step();
        let focused = harness.query_by(|n| n.is_focused());
        let label = focused.and_then(|n| n.accesskit_node().label());
        reached.extend(label);
    }
    for name in [
        "Open picture…",
        "Examples",
        "Open model…",
        "one-to-many",
        "confidence",
        "Messages",
        "stoken_size",
    ] {
        assert!(reached.contains(name), "{name} is not in {reached:?}");
    }
}

#[test]
fn the_smallest_window_holds_everything() {
    let mut harness = window();
    harness.set_size(egui::vec2(900.0, 600.0));
    harness.run_steps(4);
    let screen = egui::Rect::from_min_size(egui::Pos2::ZERO, egui::vec2(900.0, 600.0));
    for label in [
        "Open picture…",
        "Open model…",
        "one-to-one",
        "one-to-many",
        "Messages",
        "Recent files",
        "Open",
    ] {
        let rect = harness.get_by_label(label).rect();
        assert!(screen.contains_rect(rect), "{label} at {rect:?}");
    }
    let slider = harness
        .get_by_role_and_label(Role::Slider, "confidence")
        .rect();
    assert!(screen.contains_rect(slider), "{slider:?}");
}
