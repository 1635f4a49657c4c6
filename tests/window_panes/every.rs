//! What every pane does: its look, the camera, the keyboard, and what stands there without a result.

use attnscope::app::pane::Camera;
use attnscope::attention::routing::RoutingTrace;
use attnscope::attention::super_token::SuperTokenTrace;
use attnscope::picture::numbers::value_label;
use attnscope::picture::{Colormap, Contour, Look, Range, RangeRule, Sampling, range_words};
use egui::accesskit::Role;
use egui::{Theme, pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{AccessKitNode, NodeT, Queryable};

use crate::window::{FRAME, LAYERS, PANES, Window, ask, canvas, cat, hover, press, run, trace};
use crate::{SIZE, on_canvas, open};

#[test]
fn the_look_is_set_by_hand() {
    let mut harness = open("super_token", cat());
    ask(&mut harness, "affinity");
    let slider = harness.get_by_role_and_label(Role::Slider, "opacity");
    slider.set_value_accesskit(0.25);
    harness.run_ok();
    harness.get_by_label("More").click();
    harness.run_ok();
    harness.get_by_label("smooth").click();
    harness.run_ok();
    harness.get_by_label("More").click();
    harness.run_ok();
    harness
        .get_by_role_and_label(Role::ComboBox, "colormap")
        .click();
    harness.run_ok();
    harness.get_by_label("Magma").click();
    harness.run_ok();
    let look = harness.state().looks["super_token"];
    assert_eq!(look.opacity, 0.25);
    assert_eq!(look.sampling, Sampling::Smooth);
    assert_eq!(look.colormap, Colormap::Magma);
    // The colour bar names the quantity and its true range.
    let sta: &SuperTokenTrace = trace(cat());
    let range = Range::of(&sta.soft_map(0, sta.central_token()).values);
    let [low, high] = [range.min, range.max].map(|v| value_label(v, 4));
    harness.get_by_label(&format!("affinity {low} to {high}"));
}

/// The label of the colour bar.
fn bar(harness: &Harness<'_, Window>, start: &str) -> String {
    let begins = |node: &AccessKitNode<'_>| {
        let label = node
            .label()
            .filter(|l| l.starts_with(start) && !l.ends_with(" matrix"));
        node.role() == Role::Image && label.is_some()
    };
    let node = harness.get_by(begins);
    node.accesskit_node().label().unwrap()
}

#[test]
fn the_rest_of_the_look_acts_at_once_and_the_bar_says_so() {
    let mut harness = open("super_token", cat());
    ask(&mut harness, "affinity");
    let sta: &SuperTokenTrace = trace(cat());
    let map = sta.soft_map(0, sta.central_token());
    let raw = Range::of(&map.values);
    let plain = bar(&harness, "affinity ");
    assert_eq!(plain, format!("affinity {}", range_words(raw)));
    harness.get_by_label("More").click();
    harness.run_ok();

    let slide = |harness: &mut Harness<'_, Window>, name: &str, value: f64| {
        let slider = harness.get_by_role_and_label(Role::Slider, name);
        slider.set_value_accesskit(value);
        harness.run_ok();
    };
    harness.get_by_label("locked").click();
    harness.run_ok();
    let state = harness.state().looks["super_token"];
    assert_eq!(state.rule, RangeRule::Locked(raw), "locked as it was");
    harness.get_by_label("per map").click();
    harness.run_ok();
    // Most cells of the map are zero: the clip must reach those that are not.
    slide(&mut harness, "clip", 0.5);
    let clipped = bar(&harness, "affinity ");
    let expected = format!("(clipped), map {}", range_words(raw));
    assert!(clipped.ends_with(&expected), "{clipped}");

    for (switch, slider, value) in [
        ("threshold", "threshold value", 0.01),
        ("top mass", "top mass value", 60.0),
    ] {
        harness.get_by_label(switch).click();
        harness.run_ok();
        slide(&mut harness, slider, value);
    }
    harness.get_by_label("levels").click();
    harness.run_ok();
    slide(&mut harness, "lines", 3.0);
    harness.get_by_label("invert").click();
    harness.get_by_label("border").click();
    harness.run_ok();
    let look = harness.state().looks["super_token"];
    let expected = Look {
        invert: true,
        border: true,
        clip: 0.5,
        threshold: Some(0.01),
        mass: Some(60.0),
        contour: Contour::Levels(3),
        ..Look::default()
    };
    assert_eq!(look, expected);
    harness.get_by_label("Reset").click();
    harness.run_ok();
    assert_eq!(harness.state().looks["super_token"], Look::default());
    assert_eq!(bar(&harness, "affinity "), plain);
}

#[test]
fn wheel_drag_and_double_click_move_the_camera() {
    let mut harness = open("detections", cat());
    let rect = canvas(&harness, "Detections canvas");
    let at = rect.min + vec2(0.3, 0.4) * rect.size();
    hover(&mut harness, at);
    harness.event(egui::Event::MouseWheel {
        unit: egui::MouseWheelUnit::Point,
        delta: vec2(0.0, 120.0),
        modifiers: egui::Modifiers::NONE,
        phase: egui::TouchPhase::Move,
        source: egui::MouseWheelSource::Unknown,
    });
    harness.run_ok();
    let zoomed = harness.state().camera;
    assert!(zoomed.zoom > 1.2, "{zoomed:?}");
    harness.drag_at(at);
    harness.hover_at(at + vec2(40.0, 0.0));
    harness.drop_at(at + vec2(40.0, 0.0));
    harness.run_ok();
    let dragged = harness.state().camera;
    assert!(dragged.centre[0] < zoomed.centre[0], "{dragged:?}");
    assert_eq!(harness.state().selection.point, None, "a drag is no press");
    for _ in 0..2 {
        harness.drag_at(at);
        harness.drop_at(at);
        harness.hover_at(at);
    }
    harness.run_ok();
    assert_eq!(harness.state().camera, Camera::default());
}

#[test]
fn arrow_keys_step_from_region_to_region() {
    let mut harness = open("routing", cat());
    let bra: &RoutingTrace = trace(cat());
    harness.get_by_label("Routed regions canvas").focus();
    harness.run_ok();
    harness.key_press(egui::Key::ArrowRight);
    harness.run_ok();
    harness.key_press(egui::Key::ArrowDown);
    harness.run_ok();
    let expected = bra.central_region() + 1 + bra.n_win;
    assert_eq!(harness.state().selection.units.get(&8), Some(&expected));
}

#[test]
fn arrow_keys_step_from_what_was_pressed() {
    let mut harness = open("routing", cat());
    let bra: &RoutingTrace = trace(cat());
    let rect = canvas(&harness, "Routed regions canvas");
    press(&mut harness, on_canvas(rect, cat(), [100.0, 100.0]));
    let pressed = harness.state().selection.units[&8];
    assert_ne!(pressed, bra.central_region());
    harness.key_press(egui::Key::ArrowRight);
    harness.run_ok();
    assert_eq!(harness.state().selection.units[&8], pressed + 1);
}

#[test]
fn an_older_answer_is_called_stale_but_not_at_once() {
    for (pane, _) in PANES.into_iter().chain([LAYERS]) {
        let mut harness = open(pane, cat());
        harness.state_mut().newest = 2;
        harness.step();
        assert!(harness.query_by_label("stale").is_none(), "{pane} flickers");
        harness.run_steps((0.2 / FRAME) as usize);
        harness.get_by_label("stale");
        harness.state_mut().newest = 1;
        harness.step();
        assert!(harness.query_by_label("stale").is_none(), "{pane}");
    }
}

#[test]
fn before_the_first_result_every_pane_waits() {
    for (pane, _) in PANES.into_iter().chain([LAYERS]) {
        let mut harness = Window::new(pane, None).open(SIZE, Theme::Light);
        harness.get_by_label("analysing…");
        harness.state_mut().newest = 0;
        harness.run_ok();
        harness.get_by_label_contains("Open a photograph");
    }
}

#[test]
fn a_model_without_the_mechanism_is_met_with_a_sentence() {
    let source = std::path::Path::new("tests/golden/bad/weights/intact");
    let yaml = std::fs::read_to_string(source.join("model.yaml")).unwrap();
    let plain = "[-1, 1, nn.Upsample, [None, 1, nearest]]";
    let yaml = yaml.replace("[-1, 1, StokenAttention, [[4, 4], 1, 2]]", plain);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.yaml"), yaml).unwrap();
    let weights = "weights.safetensors";
    std::fs::copy(source.join(weights), folder.path().join(weights)).unwrap();
    let model = attnscope::checkpoint::Model::open(folder.path(), &candle_core::Device::Cpu);
    let outcome = run(&std::sync::Arc::new(model.unwrap()), &[], 0.25);
    let harness = open("super_token", &outcome);
    harness.get_by_label_contains("This model has no layer for “Super tokens”");
    harness.get_by_label_contains("StokenAttention");
}

#[test]
fn tiny_and_huge_panes_hold_together() {
    for (pane, _) in PANES {
        for size in [
            [40.0, 30.0],
            [120.0, 900.0],
            [2400.0, 90.0],
            [1900.0, 1000.0],
        ] {
            let mut harness = Window::new(pane, Some(cat())).open(size, Theme::Dark);
            press(&mut harness, pos2(size[0] / 2.0, size[1] / 2.0));
        }
    }
}
