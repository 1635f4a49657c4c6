//! The window without a display: the real window is stepped frame by frame, found and moved by
//! what its controls are called.

#[path = "window_shell/export.rs"]
mod export;
#[path = "window_shell/files.rs"]
mod files;
#[path = "window_shell/layers.rs"]
mod layers;
#[path = "window_shell/refusals.rs"]
mod refusals;

use std::time::{Duration, Instant};

use attnscope::app::{App, AppOptions};
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

fn window_with(
    options: AppOptions,
    storage: Option<&dyn eframe::Storage>,
) -> Harness<'static, App> {
    let options = AppOptions {
        device: DeviceChoice::Cpu,
        ..options
    };
    let mut harness = Harness::builder()
        .with_size([1400.0, 900.0])
        .build_eframe(|cc| App::new(options, storage, &cc.egui_ctx).expect("a thread"));
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
    let first = harness
        .get_all_by(|n| n.role() == Role::Button && n.label().is_some_and(|l| l.contains(name)))
        .next();
    first.expect(name).click();
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

/// What a trace says of its routes.
#[derive(Debug, PartialEq)]
struct RoutingFacts {
    n_win: usize,
    topk: usize,
    of_first: usize,
}

fn super_tokens(app: &App) -> &SuperTokenTrace {
    app.snapshot().traces[&STA].trace.downcast().unwrap()
}

#[test]
fn the_window_opens_on_the_bundled_model_and_picture_analysed() {
    let harness = window();
    let app = harness.state();
    assert_eq!(app.photo().unwrap().name, "chelsea.png");
    assert_eq!(app.model().unwrap().name, "yolo26n-attn");
    let detected = app.snapshot().detected.clone().unwrap();
    let model = app.model().unwrap();
    assert_eq!(model.classes[detected.list[0].class], "cat");
    assert_eq!(detected.list.len(), 1, "{:?}", detected.list);
    assert_eq!(
        app.snapshot().traces.keys().copied().collect::<Vec<_>>(),
        [5, 8, 19, 26]
    );
    assert!(app.messages().is_empty(), "{:?}", app.messages());
    assert!(harness.query_by_label("451 × 300").is_some());
    assert!(harness.query_by_label_contains("of 28 layers").is_some());
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
    let [_, cells] = super_tokens(harness.state()).map;
    let per_side = cells.div_ceil(5);
    assert_eq!(super_tokens(harness.state()).grid, [per_side; 2]);
    slide(&mut harness, "n_iter", 3.0);
    assert_eq!(super_tokens(harness.state()).affinity.len(), 3);

    press(&mut harness, "separate height and width");
    slide(&mut harness, "stoken_size width", 10.0);
    assert_eq!(super_tokens(harness.state()).stoken_size, [5, 10]);
    let grid = [per_side, cells.div_ceil(10)];
    assert_eq!(super_tokens(harness.state()).grid, grid);
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
    assert!(harness.query_all_by_label("overlap (IoU)").count() > 0);
    press(&mut harness, "one-to-one");
    settle(&mut harness);
    assert_eq!(harness.query_all_by_label("overlap (IoU)").count(), 0);
    let detected = harness.state().snapshot().detected.clone().unwrap();
    assert_eq!(detected.head, Head::OneToOne);
    let best = f64::from(detected.list[0].score);
    slide(&mut harness, "confidence", best + 0.02);
    assert_eq!(count(&harness), 0);
    slide(&mut harness, "confidence", 0.01);
    let low = count(&harness);
    slide(&mut harness, "confidence", best - 0.02);
    assert!(low > count(&harness) && count(&harness) == 1, "{low}");

    press(&mut harness, "one-to-many");
    settle(&mut harness);
    assert_eq!(
        harness.state().snapshot().detected.as_ref().unwrap().head,
        Head::OneToMany
    );
    slide(&mut harness, "confidence", 0.01);
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
    let best = harness.state().model().unwrap().card.best_size.unwrap();
    let said = format!("{best} (best)");
    assert!(harness.query_by_label(&said).is_some());
    press(&mut harness, "224");
    settle(&mut harness);
    let scene = harness.state().snapshot().scene.clone().unwrap();
    assert_eq!(scene.letterbox.input, [224, 224]);
    assert_eq!(super_tokens(harness.state()).map, [28, 28]);
}

#[test]
fn examples_themes_and_about_are_found_in_the_menus() {
    let mut harness = window();
    press(&mut harness, "Examples");
    press(&mut harness, "Astronaut");
    settle(&mut harness);
    assert_eq!(harness.state().photo().unwrap().name, "astronaut.png");
    for (theme, expected) in [("Light", egui::Theme::Light), ("Dark", egui::Theme::Dark)] {
        press(&mut harness, "View");
        press(&mut harness, "Theme");
        press(&mut harness, theme);
        assert_eq!(harness.ctx.theme(), expected);
    }
    assert_eq!(harness.state().kept().theme, egui::ThemePreference::Dark);
    harness.key_press(egui::Key::F1);
    harness.run_steps(3);
    assert!(harness.query_by_label_contains("Licence").is_some());
    press(&mut harness, "Close");
    assert!(harness.query_by_label_contains("Licence").is_none());
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
        "Open checkpoint…",
        "one-to-many",
        "confidence",
        "Messages",
        "stoken_size",
        "Help on detections",
        "File",
    ] {
        assert!(reached.contains(name), "{name} is not in {reached:?}");
    }
}

#[test]
fn windows_of_every_size_hold_all_controls() {
    for size in [
        [900.0, 600.0],
        [1000.0, 700.0],
        [1376.0, 800.0],
        [1400.0, 900.0],
    ] {
        holds_all_controls(egui::Vec2::from(size));
    }
}

fn holds_all_controls(size: egui::Vec2) {
    let mut harness = window();
    harness.set_size(size);
    harness.run_steps(4);
    let screen = egui::Rect::from_min_size(egui::Pos2::ZERO, size);
    for label in [
        "Open picture…",
        "Open checkpoint…",
        "one-to-one",
        "one-to-many",
        "Messages",
        "Recent files",
        "Open",
    ] {
        let rect = harness.get_by_label(label).rect();
        assert!(screen.contains_rect(rect), "{label} at {rect:?}");
    }
    for label in ["confidence", "overlap (IoU)"] {
        let nodes = harness.get_all_by_label(label);
        for rect in nodes.map(|n| n.rect()).collect::<Vec<_>>() {
            assert!(screen.contains_rect(rect), "{label} at {rect:?}");
        }
    }
}

#[test]
fn a_probe_shows_a_layer_without_attention_and_leaves_the_detections() {
    let mut harness = window();
    let before = harness.state().snapshot().detected.clone().unwrap();
    let rows = harness.state().model().unwrap().network.layers().len();
    press(&mut harness, "probed layer");
    press(&mut harness, "4  C3k2");
    press(&mut harness, "Attach probe");
    settle(&mut harness);
    let app = harness.state();
    let trace = &app.snapshot().traces[&rows];
    assert_eq!(trace.trace.mechanism().id, "super_token");
    assert!(
        trace.badges.iter().any(|b| b.contains("probe")),
        "{:?}",
        trace.badges
    );
    let after = app.snapshot().detected.clone().unwrap();
    assert_eq!(before.list, after.list);
    // Its knobs are turned like all others.
    choose_layer(&mut harness, "probe on 4");
    slide(&mut harness, "n_iter", 3.0);
    let trace = &harness.state().snapshot().traces[&rows].trace;
    let trace = trace.downcast::<SuperTokenTrace>().unwrap();
    assert_eq!(trace.affinity.len(), 3);
    press(&mut harness, "Remove the probe of layer 4");
    settle(&mut harness);
    let app = harness.state();
    assert!(!app.snapshot().traces.contains_key(&rows));
    assert!(app.kept().settings.knobs.is_empty());
    assert_eq!(app.model().unwrap().network.layers().len(), rows);
}

#[test]
fn a_pane_behind_another_is_watched_as_soon_as_it_is_seen() {
    let mut harness = window();
    let rows = |harness: &Harness<'_, App>| -> Vec<usize> {
        harness.state().snapshot().traces.keys().copied().collect()
    };
    assert_eq!(rows(&harness), [5, 8, 19, 26]);
    harness.get_by_label("Position-sensitive attention").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert_eq!(
        rows(&harness),
        [5, 8, 12, 25, 26],
        "the polarized pane lies behind now"
    );
}
