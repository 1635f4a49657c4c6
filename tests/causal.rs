//! What a box depends on: every experiment against plain runs of the engine, and its thread.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use attnscope::attention::routing::RoutingTrace;
use attnscope::attention::super_token::SuperTokenTrace;
use attnscope::attention::view::{Asked, Body, Heat};
use attnscope::attention::{Erasure, Trace};
use attnscope::engine::causal::{
    Curves, End, Experiment, Fill, Finding, Found, Study, Target, Trial,
};
use attnscope::engine::{Engine, Outcome, Settings};
use attnscope::measure::evidence::units_inside;

use common::scene::{photo, run, tiny, watched};

/// The tiny model on a drawn picture, and a box that it found there.
fn setting() -> (Experiment, Outcome) {
    setting_on([150, 100])
}

fn setting_on([width, height]: [usize; 2]) -> (Experiment, Outcome) {
    let (model, photo) = (tiny(), photo(1, width, height));
    let mut settings = watched(&model);
    settings.size = Some(128);
    settings.thresholds.confidence = 0.0;
    let outcome = run(&mut Engine::default(), &photo, &model, &settings);
    let best = &outcome.detected.list[0];
    let target = Target {
        rect: best.rect,
        class: best.class,
    };
    let experiment = Experiment {
        photo,
        model,
        settings,
        target,
        trial: Trial::Erased(BTreeMap::new()),
    };
    (experiment, outcome)
}

/// The row of the first layer of a mechanism.
fn row_of(experiment: &Experiment, mechanism: &str) -> usize {
    let mut all = experiment.model.network.attention();
    all.find(|(_, a)| a.mechanism().id == mechanism).unwrap().0
}

fn find(experiment: &Experiment) -> (Finding, usize) {
    let mut last = 0;
    let mut each = |done: usize, _: &Finding| {
        assert!(done >= last);
        last = done;
    };
    let finding = experiment.run(&mut Engine::default(), &mut (), &mut each);
    (finding.unwrap(), last)
}

/// The score of the box by a run of its own.
fn plain(experiment: &Experiment, erased: BTreeMap<usize, Erasure>) -> f32 {
    let settings = Settings {
        erased,
        ..experiment.settings.clone()
    };
    let outcome = run(
        &mut Engine::default(),
        &experiment.photo,
        &experiment.model,
        &settings,
    );
    experiment.target.score(&outcome.detected.list)
}

#[test]
fn what_is_erased_is_tried_alone_and_together() {
    let (mut experiment, _) = setting();
    let rows = ["super_token", "routing"].map(|m| row_of(&experiment, m));
    let grid = |row| {
        experiment
            .settings
            .erasable(&experiment.model, row)
            .unwrap()
            .units
            .grid
    };
    let tokens = Erasure::of_units(grid(rows[0]), [1, 2]);
    let mut regions = Erasure::of_units(grid(rows[1]), []);
    regions.routes.insert([0, 3]);
    let erased = BTreeMap::from([(rows[0], tokens.clone()), (rows[1], regions.clone())]);
    experiment.trial = Trial::Erased(erased.clone());
    let (finding, done) = find(&experiment);
    assert_eq!((experiment.runs(), done), (5, 5));
    assert_eq!(finding.before, plain(&experiment, BTreeMap::new()));
    let Found::Erased(scores) = &finding.found else {
        panic!("{finding:?}");
    };
    let one = |unit| BTreeMap::from([(rows[0], Erasure::of_units(tokens.grid, [unit]))]);
    let expected = [
        ("super token 1 erased", one(1)),
        ("super token 2 erased", one(2)),
        (
            "route from 0 to 3 closed",
            BTreeMap::from([(rows[1], regions)]),
        ),
        ("super tokens 1, 2 erased; route from 0 to 3 closed", erased),
    ];
    for ((words, score), (what, erased)) in scores.iter().zip(expected) {
        assert_eq!((words.as_str(), *score), (what, plain(&experiment, erased)));
    }
    assert!(scores.iter().any(|s| s.1 != finding.before), "{scores:?}");
    // What is erased in the settings is no part of "before".
    experiment.settings.erased = one(1);
    assert_eq!(find(&experiment).0, finding);
    // Keeping one unit is one thing, not as many as there are others.
    let all_but = Erasure::all_but([8, 8], 5);
    experiment.trial = Trial::Erased(BTreeMap::from([(rows[0], all_but)]));
    assert_eq!(experiment.runs(), 2);
}

#[test]
fn a_sweep_erases_every_unit_once() {
    let (mut experiment, _) = setting();
    let row = row_of(&experiment, "routing");
    experiment.trial = Trial::Sweep { row };
    let (finding, done) = find(&experiment);
    let Found::Sweep {
        grid, scores, name, ..
    } = &finding.found
    else {
        panic!("{finding:?}");
    };
    assert_eq!(*name, "region");
    let n = grid[0] * grid[1];
    assert_eq!((scores.len(), experiment.runs(), done), (n, n + 1, n + 1));
    for unit in [0, n / 2, n - 1] {
        let erased = BTreeMap::from([(row, Erasure::of_units(*grid, [unit]))]);
        assert_eq!(scores[unit], plain(&experiment, erased), "region {unit}");
    }
    assert_eq!(find(&experiment).0, finding, "the same again");
    let row = row_of(&experiment, "polarized");
    experiment.trial = Trial::Sweep { row };
    let refused = experiment.run(&mut Engine::default(), &mut (), &mut |_, _| ());
    assert!(refused.unwrap_err().to_string().contains("has no units"));
}

/// A map over the picture that is largest near the middle; no two cells are alike.
fn middle() -> Heat {
    let values = (0..64).map(|i| {
        let (y, x) = ((i / 8) as f32 - 3.4, (i % 8) as f32 - 3.27);
        -(x * x + y * y)
    });
    Heat::of_cells("middle", [8, 8], values.collect())
}

#[test]
fn curves_lead_from_the_whole_picture_to_nothing_and_back() {
    let (mut experiment, _) = setting();
    let trial = |fill, seed| Trial::Curves {
        heat: middle(),
        map: [8, 8],
        fill,
        steps: 5,
        seed,
    };
    experiment.trial = trial(Fill::Grey, 1);
    let (finding, done) = find(&experiment);
    assert_eq!((experiment.runs(), done), (18, 18));
    let Found::Curves(curves) = &finding.found else {
        panic!("{finding:?}");
    };
    // The picture in the size of the input is the picture: the same score.
    let before = plain(&experiment, BTreeMap::new());
    assert!(
        (finding.before - before).abs() < 1e-5,
        "{} {before}",
        finding.before
    );
    // 150 × 100 pixels in 128 × 128: rows 21 to 106 of the input, so the first and the last of the
    // eight rows of cells have no pixel of it.
    assert_eq!(curves.cells, 48);
    let empty = curves.insertion[0][1];
    for (curve, ends) in [
        (&curves.deletion, [before, empty]),
        (&curves.random_deletion, [before, empty]),
        (&curves.insertion, [empty, before]),
        (&curves.random_insertion, [empty, before]),
    ] {
        let shares: Vec<f32> = curve.iter().map(|p| p[0]).collect();
        let expected = [0, 10, 19, 29, 38, 48].map(|n| n as f32 / 48.0);
        assert_eq!(shares, expected);
        assert!((curve[0][1] - ends[0]).abs() < 1e-5);
        assert!((curve[5][1] - ends[1]).abs() < 1e-5);
    }
    assert_ne!(curves.deletion, curves.random_deletion);
    assert_eq!(find(&experiment).0, finding, "the same again");
    experiment.trial = trial(Fill::Grey, 2);
    let Found::Curves(other) = find(&experiment).0.found else {
        panic!("no curves");
    };
    assert_eq!(other.deletion, curves.deletion, "no two cells are alike");
    assert_ne!(other.random_deletion, curves.random_deletion);
    experiment.trial = trial(Fill::Blur, 1);
    let Found::Curves(blurred) = find(&experiment).0.found else {
        panic!("no curves");
    };
    assert_ne!(blurred.insertion[0], curves.insertion[0]);
    assert!(Curves::area(&blurred.deletion).is_finite());
}

#[test]
fn what_is_taken_away_is_what_the_map_says() {
    // The size of the input: what is taken away can be drawn by hand.
    let (mut experiment, _) = setting_on([128, 128]);
    let mut values = vec![0.0; 64];
    values[..32].fill(1.0);
    let heat = Heat::of_cells("upper half", [8, 8], values.into());
    experiment.trial = Trial::Curves {
        heat,
        map: [8, 8],
        fill: Fill::Grey,
        steps: 2,
        seed: 1,
    };
    let (finding, _) = find(&experiment);
    let Found::Curves(curves) = finding.found else {
        panic!("no curves");
    };
    assert_eq!((curves.deletion[1][0], curves.insertion[1][0]), (0.5, 0.5));
    let original = &experiment.photo;
    let half = |upper_is_grey: bool| {
        let rgba = (0..original.width * original.height).flat_map(|i| {
            let grey = (i / original.width < original.height / 2) == upper_is_grey;
            let [r, g, b] = match grey {
                true => [114; 3],
                false => original
                    .pixel(i % original.width, i / original.width)
                    .unwrap(),
            };
            [r, g, b, 255]
        });
        let rgba: Vec<u8> = rgba.collect();
        let photo =
            attnscope::picture::Photo::from_rgba("half", original.width, original.height, &rgba);
        let mut settings = experiment.settings.clone();
        settings.watch.clear();
        let outcome = run(
            &mut Engine::default(),
            &Arc::new(photo.unwrap()),
            &experiment.model,
            &settings,
        );
        experiment.target.score(&outcome.detected.list)
    };
    let scores = [curves.deletion[1][1], curves.insertion[1][1]];
    assert_eq!(scores, [half(true), half(false)]);
    assert_ne!(scores[0], scores[1]);
}

#[test]
fn a_study_finds_the_same_on_its_own_thread() {
    let (mut experiment, _) = setting();
    let row = row_of(&experiment, "super_token");
    experiment.trial = Trial::Sweep { row };
    let expected = find(&experiment).0;
    let study = Study::start(experiment.clone(), || ()).unwrap();
    let state = study.wait(Duration::from_secs(60)).expect("an end");
    assert_eq!(state.end, Some(End::Whole));
    assert_eq!(
        (state.done, state.runs),
        (experiment.runs(), experiment.runs())
    );
    assert_eq!(*state.finding.unwrap(), expected);
    assert!(study.state().left().is_some_and(|left| left.is_zero()));
}

#[test]
fn a_cancelled_study_keeps_what_it_found() {
    let (mut experiment, _) = setting();
    experiment.trial = Trial::Curves {
        heat: middle(),
        map: [8, 8],
        fill: Fill::Grey,
        steps: 64,
        seed: 1,
    };
    let (sender, heard) = std::sync::mpsc::channel();
    let study = Study::start(experiment, move || {
        // Nobody listens any more at the end.
        let _ = sender.send(());
    })
    .unwrap();
    // Whoever gives way for ever gets nowhere, but can be cancelled.
    (0..4).for_each(|_| heard.recv_timeout(Duration::from_secs(60)).unwrap());
    study.give_way();
    study.cancel();
    let state = study.wait(Duration::from_secs(60)).expect("an end");
    assert_eq!(state.end, Some(End::Cancelled));
    assert!(state.done >= 4 && state.done < state.runs, "{state:?}");
    assert!(matches!(&state.finding.unwrap().found, Found::Curves(c) if !c.deletion.is_empty()));
}

fn trace<T: Trace>(outcome: &Outcome, row: usize) -> &T {
    outcome.traces[&row].trace.downcast::<T>().unwrap()
}

#[test]
fn the_units_of_a_box_are_counted_cell_by_cell() {
    let (experiment, outcome) = setting();
    let row = row_of(&experiment, "super_token");
    let sta: &SuperTokenTrace = trace(&outcome, row);
    let [height, width] = sta.map.map(|v| v as f32);
    let photo = [0.0, 0.0, width, height];
    let rect = [0.3 * width, 0.0, 0.8 * width, 0.5 * height];
    let is_inside = |y: usize, x: usize| {
        let [x, y] = [x as f32 + 0.5, y as f32 + 0.5];
        x >= rect[0] && x < rect[2] && y < rect[3]
    };
    let found = units_inside(sta, rect, photo).unwrap();
    let last = sta.last_iteration();
    let cells = || (0..sta.map[0]).flat_map(|y| (0..sta.map[1]).map(move |x| (y, x)));
    let owned = |t: usize| cells().filter(move |(y, x)| sta.owner(last, *y, *x) == Some(t));
    let share = |t: usize| {
        let inside = owned(t).filter(|(y, x)| is_inside(*y, *x)).count();
        inside as f32 / owned(t).count().max(1) as f32
    };
    assert!(found.list.len() > 1);
    for unit in &found.list {
        assert_eq!(unit.cells, owned(unit.unit).count());
        assert_eq!(
            unit.inside,
            owned(unit.unit).filter(|(y, x)| is_inside(*y, *x)).count()
        );
        let read = sta.reads_from(unit.unit, None).values;
        let within: f32 = read.iter().enumerate().map(|(t, a)| a * share(t)).sum();
        let total: f32 = read.iter().sum();
        let apart = unit.reads_inside.unwrap() - f64::from(within / total);
        assert!(apart.abs() < 1e-5, "{apart}");
    }
    let own: f64 = found.list.iter().map(|u| u.inside as f64).sum();
    let mean = found
        .list
        .iter()
        .map(|u| u.inside as f64 * u.reads_inside.unwrap());
    assert!((found.reads_inside.unwrap() - mean.sum::<f64>() / own).abs() < 1e-9);
}

#[test]
fn the_routes_of_a_box_are_those_of_the_router() {
    let (experiment, outcome) = setting();
    let row = row_of(&experiment, "routing");
    let bra: &RoutingTrace = trace(&outcome, row);
    let [height, width] = bra.map.map(|v| v as f32);
    let found = units_inside(bra, bra.rect(0), [0.0, 0.0, width, height]).unwrap();
    let [only] = &found.list[..] else {
        panic!("{found:?}");
    };
    assert_eq!((only.unit, only.inside), (0, only.cells));
    let routes: Vec<usize> = bra.routes(0).iter().map(|r| r.0).collect();
    let inside = if routes.contains(&0) { 1.0 } else { 0.0 } / bra.topk as f64;
    assert!((only.reads_inside.unwrap() - inside).abs() < 1e-6);
    let mut first: Vec<usize> = only.reads.iter().map(|r| r.0).collect();
    first.sort_unstable();
    assert!(first.iter().all(|r| routes.contains(r)) && !first.is_empty());
    // The map of a question is there for a box too.
    let answer = bra.answer("in_degree", &Asked::default()).unwrap();
    assert!(matches!(answer.view.body, Body::Overlay(o) if o.heat.is_some()));
}
