//! The pane on what a detection rests on: its numbers are those of the maps, and its experiments
//! those of the engine.

// The same window as the tests of the other panes; a part of it is used.
#[allow(dead_code)]
#[path = "window_panes/window.rs"]
mod window;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use attnscope::attention::polarized::PolarizedTrace;
use attnscope::attention::view::{Asked, Body, Heat};
use attnscope::attention::{Erasure, Watch};
use attnscope::engine::causal::{Curves, Experiment, Fill, Finding, Found, Target, Trial};
use attnscope::engine::{Engine, Outcome, Settings};
use attnscope::measure::evidence::{channels, mass};
use attnscope::picture::numbers::value_label;
use egui::Theme;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

use window::{Window, bundled, run_with, trace};

const SIZE: [f32; 2] = [900.0, 2200.0];

/// Small, so that the many runs take seconds.
fn settings() -> Settings {
    let mut settings = Settings {
        size: Some(192),
        ..Settings::default()
    };
    settings.watch_all(&bundled(), &Watch::All);
    settings.thresholds.confidence = 0.05;
    settings
}

fn outcome() -> &'static Outcome {
    static CAT: OnceLock<Outcome> = OnceLock::new();
    CAT.get_or_init(|| {
        // The cat fills the picture. With half of its box there is something around it.
        let mut outcome = run_with(&bundled(), settings());
        let mut detected = (*outcome.detected).clone();
        let [x0, y0, x1, y1] = detected.list[0].rect;
        let [x, y] = [(x1 - x0) / 4.0, (y1 - y0) / 4.0];
        detected.list[0].rect = [x0 + x, y0 + y, x1 - x, y1 - y];
        outcome.detected = Arc::new(detected);
        outcome
    })
}

fn target() -> Target {
    let d = &outcome().detected.list[0];
    Target {
        rect: d.rect,
        class: d.class,
    }
}

/// The pane with a box pressed.
fn open() -> Harness<'static, Window> {
    let mut window = Window::new("evidence", Some(outcome()));
    window.settings = settings();
    window.selection.detection = Some(0);
    let mut harness = window.open(SIZE, Theme::Dark);
    // Numbers are made a few a frame.
    harness.run_steps(40);
    harness
}

/// Steps until a text is there; studies run on threads of their own.
fn wait_for(harness: &mut Harness<'_, Window>, part: &str) -> String {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        harness.step();
        if let Some(node) = harness.query_all_by_label_contains(part).next() {
            return node.value().unwrap_or_default();
        }
        assert!(Instant::now() < end, "no '{part}'");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn find(trial: Trial) -> Finding {
    let experiment = Experiment {
        photo: outcome().scene.photo.clone(),
        model: bundled(),
        settings: settings(),
        target: target(),
        trial,
    };
    experiment
        .run(&mut Engine::default(), &mut (), &mut |_, _| ())
        .unwrap()
}

/// Box and photograph in cells of a row's map.
fn on_map(row: usize) -> [[f32; 4]; 2] {
    let scene = &outcome().scene;
    let place = scene.place(outcome().traces[&row].trace.map());
    let photo = [
        0.0,
        0.0,
        scene.photo.width as f32,
        scene.photo.height as f32,
    ];
    [target().rect, photo].map(|[a, b, c, d]| {
        let ([a, b], [c, d]) = (place.to_map(a, b), place.to_map(c, d));
        [a, b, c, d]
    })
}

/// The map of a question about the middle of the box.
fn map(row: usize, question: &str) -> Heat {
    let [rect, _] = on_map(row);
    let asked = Asked {
        cell: Some([
            ((rect[1] + rect[3]) / 2.0) as usize,
            ((rect[0] + rect[2]) / 2.0) as usize,
        ]),
        ..Asked::default()
    };
    match outcome().traces[&row]
        .trace
        .answer(question, &asked)
        .unwrap()
        .view
        .body
    {
        Body::Overlay(overlay) => overlay.heat.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Presses a map in the table.
fn choose(harness: &mut Harness<'_, Window>, mechanism: &str, question: &str) {
    let trace = &outcome().traces[&row_of(mechanism)].trace;
    let mut all = trace.questions().iter();
    let title = all.find(|q| q.id == question).unwrap().title;
    // Several rows of a mechanism: that of the first.
    let first = harness.get_all_by_label(title).next();
    first.expect(title).click();
    harness.run_ok();
}

fn row_of(mechanism: &str) -> usize {
    let mut all = outcome().traces.values();
    all.find(|t| t.trace.mechanism().id == mechanism)
        .unwrap()
        .row
}

#[test]
fn without_a_box_a_sentence_says_what_to_press() {
    let mut window = Window::new("evidence", Some(outcome()));
    window.selection.detection = None;
    let mut harness = window.open([500.0, 400.0], Theme::Light);
    harness.get_by_label_contains("Press a detection");
    harness.state_mut().selection.detection = Some(0);
    harness.run_ok();
    assert!(
        harness
            .query_by_label_contains("Press a detection")
            .is_none()
    );
    // A press beside all boxes keeps it; letting go does not.
    harness.state_mut().selection.detection = None;
    harness.run_ok();
    harness.get_by_label("Let go").click();
    harness.run_ok();
    harness.get_by_label_contains("Press a detection");
}

#[test]
fn the_shares_are_those_of_the_maps() {
    let harness = open();
    for (mechanism, question) in [("polarized", "spatial_weight"), ("routing", "in_degree")] {
        let row = row_of(mechanism);
        let [rect, photo] = on_map(row);
        let mass = mass(&map(row, question), rect, photo).unwrap();
        let spread = 100.0 * mass.spread.unwrap();
        for text in [
            format!("{:.1} %", 100.0 * mass.share.unwrap()),
            format!("{:.1} % ± {spread:.1}", 100.0 * mass.area),
            format!("{:.2}", mass.ratio().unwrap()),
            format!("{:+.1}", mass.z.unwrap()),
            format!("{:.1} %", 100.0 * mass.shifts.below),
        ] {
            assert!(
                harness.query_all_by_label(&text).count() > 0,
                "{question}: {text}"
            );
        }
    }
    harness.get_by_label(
        "Mass inside the box says where the map is large, not that the detector used it.",
    );
}

#[test]
fn the_channels_are_ranked_by_weight_and_contrast() {
    let mut harness = open();
    choose(&mut harness, "polarized", "spatial_weight");
    harness.run_ok();
    let row = row_of("polarized");
    let psa: &PolarizedTrace = trace(outcome());
    let features: Vec<f32> = psa.input.flatten_all().unwrap().to_vec1().unwrap();
    let [rect, photo] = on_map(row);
    let weights = Some(psa.channel_weight.data());
    let all = channels(&features, psa.map, weights, rect, photo);
    harness.get_by_label(&value_label(all[0].contrast() as f32, 4));
    harness
        .get_by_label(&format!("channel {}", all[0].channel))
        .click();
    harness.run_ok();
    assert_eq!(harness.state().selection.channel, Some(all[0].channel));
    harness.get_by_label_contains("This layer has no units that could be erased");
}

#[test]
fn an_erased_unit_moves_the_score_and_is_put_back() {
    let mut harness = open();
    let row = row_of("super_token");
    let grid = settings().erasable(&bundled(), row).unwrap().units.grid;
    let unit = grid[0] / 2 * grid[1] + grid[1] / 2;
    harness.state_mut().selection.units.insert(row, unit);
    harness.run_ok();
    harness
        .get_by_label(&format!("Erase super token {unit}"))
        .click();
    harness.run_ok();
    let erasure = Erasure::of_units(grid, [unit]);
    let erased = BTreeMap::from([(row, erasure)]);
    assert_eq!(harness.state().settings.erased, erased);
    let text = wait_for(&mut harness, "score of this box");
    let finding = find(Trial::Erased(erased));
    let Found::Erased(scores) = &finding.found else {
        panic!("{finding:?}");
    };
    let [before, after] = [finding.before, scores[0].1].map(|v| value_label(v, 3));
    assert_ne!(finding.before, scores[0].1);
    assert_eq!(
        text,
        format!("score of this box {before} before, {after} after · super token {unit} erased")
    );
    harness.get_by_label("Restore").click();
    harness.run_ok();
    assert!(harness.state().settings.erased.is_empty());
    assert!(
        harness
            .query_by_label_contains("score of this box")
            .is_none()
    );
    harness
        .get_by_label(&format!("Keep only super token {unit}"))
        .click();
    harness.run_ok();
    assert_eq!(
        harness.state().settings.erased[&row],
        Erasure::all_but(grid, unit)
    );
}

#[test]
fn a_route_is_closed_by_its_button() {
    let mut harness = open();
    let row = row_of("routing");
    choose(&mut harness, "routing", "in_degree");
    harness.state_mut().selection.units.insert(row, 9);
    harness.run_ok();
    let reads = outcome().traces[&row].trace.reads(9).unwrap();
    harness
        .get_by_label(&format!("Close route 9 to {}", reads[0].0))
        .click();
    harness.run_ok();
    let routes = &harness.state().settings.erased[&row].routes;
    assert!(routes.len() == 1 && routes.contains(&[9, reads[0].0]));
    let text = wait_for(&mut harness, "score of this box");
    assert!(
        text.ends_with(&format!("route from 9 to {} closed", reads[0].0)),
        "{text}"
    );
}

#[test]
fn the_curves_are_drawn_with_their_areas() {
    let mut harness = open();
    choose(&mut harness, "polarized", "spatial_weight");
    harness.run_ok();
    harness.get_by_label_contains("62 runs");
    harness.get_by_label("Deletion and insertion curve").click();
    harness.step();
    let row = row_of("polarized");
    let finding = find(Trial::Curves {
        heat: map(row, "spatial_weight"),
        map: outcome().traces[&row].trace.map(),
        fill: Fill::Grey,
        steps: 16,
        seed: 1,
    });
    let Found::Curves(curves) = &finding.found else {
        panic!("{finding:?}");
    };
    let area = |c: &[[f32; 2]]| value_label(Curves::area(c), 3);
    let expected = format!(
        "Area under deletion {} (random {}), under insertion {} (random {}); {} cells",
        area(&curves.deletion),
        area(&curves.random_deletion),
        area(&curves.insertion),
        area(&curves.random_insertion),
        curves.cells
    );
    wait_for(&mut harness, &expected);
    harness.get_by_label_contains("score over share of cells: deletion");
}

#[test]
fn a_sweep_finds_the_unit_that_matters_most_or_is_cancelled() {
    let mut harness = open();
    choose(&mut harness, "routing", "in_degree");
    harness.run_ok();
    let row = row_of("routing");
    let finding = find(Trial::Sweep { row });
    let Found::Sweep { scores, .. } = &finding.found else {
        panic!("{finding:?}");
    };
    harness.get_by_label_contains(&format!("{} runs", scores.len() + 1));
    harness.get_by_label("Which region matters most").click();
    harness.step();
    let best = (0..scores.len()).min_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
    let best = best.unwrap();
    let [before, after] = [finding.before, scores[best]].map(|v| value_label(v, 3));
    let text = format!("without region {best}: {after} ({before} before)");
    let end = Instant::now() + Duration::from_secs(120);
    while harness.query_by_label(&text).is_none() || harness.query_by_label("Cancel").is_some() {
        assert!(Instant::now() < end, "no '{text}'");
        harness.step();
        std::thread::sleep(Duration::from_millis(10));
    }
    harness.get_by_label(&text).click();
    harness.run_ok();
    assert_eq!(harness.state().selection.units[&row], best);
    harness.get_by_label("score lost matrix");
    harness.get_by_label("Which region matters most").click();
    harness.step();
    harness.get_by_label("Cancel").click();
    wait_for(&mut harness, "Cancelled after");
}
