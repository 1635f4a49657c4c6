//! The engine: the same bytes from the same wish, and only the rows run that a change reaches.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use attnscope::Error;
use attnscope::attention::{KnobValue, Watch};
use attnscope::checkpoint::Model;
use attnscope::engine::{Engine, LayerTrace, Listener, Outcome, Scene};
use attnscope::yolo::Head;
use candle_core::Device;

use common::scene::{bits, photo, run, tiny, turned, watched, wish};

/// Rows that read `row`, directly or through others, and `row` itself.
fn dependents(model: &Model, row: usize) -> BTreeSet<usize> {
    let mut rows = BTreeSet::from([row]);
    for (i, layer) in model.network.layers().iter().enumerate() {
        if layer.from.iter().flatten().any(|from| rows.contains(from)) {
            rows.insert(i);
        }
    }
    rows
}

fn rows_run(outcome: &Outcome) -> BTreeSet<usize> {
    assert_eq!(outcome.timing.ran, outcome.timing.by_row.len());
    outcome.timing.by_row.keys().copied().collect()
}

/// A value of the first knob of a row that is not its default.
fn another(model: &Model, row: usize) -> Option<(&'static str, KnobValue)> {
    let attention = model.network.attention_at(row)?;
    let legal = attention.legal([8, 8], &Default::default());
    let value = match legal.knobs.first()?.default {
        KnobValue::Int(v) => KnobValue::Int(v + 1),
        KnobValue::Pair([h, w]) => KnobValue::Pair([h + 1, w]),
    };
    Some((legal.knobs.first()?.name, value))
}

#[test]
fn two_engines_give_the_same_bytes() {
    let small = Model::bundled(&Device::Cpu).unwrap();
    for model in [tiny(), Arc::new(small)] {
        let (one, two) = (photo(1, 150, 100), photo(2, 90, 120));
        let mut settings = watched(&model);
        settings.size = Some(128);
        let expected = bits(&run(&mut Engine::default(), &one, &model, &settings));
        assert!(expected.len() > 1000);
        // One that has seen other pictures, sizes and knobs before.
        let mut used = Engine::default();
        run(&mut used, &two, &model, &settings);
        for (row, _) in model.network.attention() {
            if let Some((knob, value)) = another(&model, row) {
                run(
                    &mut used,
                    &one,
                    &model,
                    &turned(&settings, row, knob, value),
                );
            }
        }
        assert!(bits(&run(&mut used, &one, &model, &settings)) == expected);
        assert!(bits(&run(&mut used, &two, &model, &settings)) != expected);
        assert!(bits(&run(&mut used, &one, &model, &settings)) == expected);
    }
}

#[test]
fn a_knob_runs_only_the_rows_that_depend_on_it() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let settings = watched(&model);
    let all: BTreeSet<usize> = (0..model.network.layers().len()).collect();
    // Row 21 is the P4 output: rows 0 to 20 do not depend on it.
    assert_eq!(dependents(&model, 21), BTreeSet::from([21, 22, 23, 24, 25]));
    for row in [4, 6, 8, 21] {
        let mut engine = Engine::default();
        let first = run(&mut engine, &photo, &model, &settings);
        assert_eq!(rows_run(&first), all);
        let (knob, value) = another(&model, row).unwrap();
        let other = turned(&settings, row, knob, value);
        let second = run(&mut engine, &photo, &model, &other);
        assert_eq!(rows_run(&second), dependents(&model, row), "row {row}");
        assert_eq!(second.traces[&row].legal.values[knob], value);
        assert!(bits(&second) != bits(&first), "row {row} changed nothing");
        // What did not run is there all the same, and is what a fresh engine computes.
        let fresh = run(&mut Engine::default(), &photo, &model, &other);
        assert!(bits(&second) == bits(&fresh), "row {row}");
        // Back and forth between seen values runs nothing.
        for (settings, before) in [(&settings, &first), (&other, &second)] {
            let again = run(&mut engine, &photo, &model, settings);
            assert_eq!(rows_run(&again), BTreeSet::new(), "row {row}");
            assert!(bits(&again) == bits(before), "row {row}");
        }
    }
}

/// Rows 3 and 6 attend, of which only the second has knobs; it feeds one level of the head.
const ONE_LEVEL: &str = "
nc: 3
reg_max: 1
end2end: True
scale: n
scales: {n: [1.0, 0.0625, 256]}
backbone:
  - [-1, 1, Conv, [64, 3, 2]]                 # 0  stride 2
  - [-1, 1, Conv, [128, 3, 2]]                # 1  4
  - [-1, 1, Conv, [256, 3, 2]]                # 2  8
  - [-1, 1, PolarizedSelfAttention, []]       # 3
  - [-1, 1, Conv, [256, 3, 2]]                # 4  16
  - [-1, 1, Conv, [256, 3, 1]]                # 5
head:
  - [-1, 1, BiFormerBlock, [2, 2, 2, 2, 5]]   # 6
  - [5, 1, Conv, [256, 3, 2]]                 # 7  32
  - [[3, 6, 7], 1, Detect, [nc]]              # 8
";

fn one_level() -> Arc<Model> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.yaml");
    std::fs::write(&path, ONE_LEVEL).unwrap();
    Arc::new(Model::open(&path, &Device::Cpu).unwrap())
}

#[test]
fn only_the_levels_of_the_head_run_whose_row_changed() {
    let (model, photo) = (one_level(), photo(1, 150, 100));
    let mut engine = Engine::default();
    let mut settings = watched(&model);
    settings.size = Some(128);
    let levels = |outcome: &Outcome| outcome.timing.levels.clone();
    let first = run(&mut engine, &photo, &model, &settings);
    assert_eq!(levels(&first), [0, 1, 2]);
    let other = turned(&settings, 6, "topk", KnobValue::Int(1));
    let second = run(&mut engine, &photo, &model, &other);
    assert_eq!(rows_run(&second), BTreeSet::from([6, 8]));
    assert_eq!(levels(&second), [1]);
    let fresh = run(&mut Engine::default(), &photo, &model, &other);
    assert!(bits(&second) == bits(&fresh));
    assert!(second.detected.list != first.detected.list);
    let again = run(&mut engine, &photo, &model, &settings);
    assert_eq!(
        (rows_run(&again), levels(&again)),
        (BTreeSet::new(), vec![])
    );
    assert!(bits(&again) == bits(&first));
    // The other head has run on nothing yet; then on what the knob does not change.
    settings.head = Some(Head::OneToMany);
    let head = run(&mut engine, &photo, &model, &settings);
    assert_eq!(rows_run(&head), BTreeSet::from([8]));
    assert_eq!(levels(&head), [0, 1, 2]);
    let both = turned(&settings, 6, "topk", KnobValue::Int(1));
    assert_eq!(levels(&run(&mut engine, &photo, &model, &both)), [1]);
}

#[test]
fn only_what_may_be_asked_for_again_is_remembered() {
    let (model, photo) = (one_level(), photo(1, 150, 100));
    let mut engine = Engine::default();
    let mut settings = watched(&model);
    settings.watch.clear();
    settings.size = Some(128);
    run(&mut engine, &photo, &model, &settings);
    // Attention rows and what they read, what the head reads, and the levels of the head; neither
    // the rows before the first, nor row 4, which no knob changes.
    let layers = model.network.layers();
    let cells = |row: usize| (128.0 / layers[row].stride).powi(2) as usize;
    let maps = [2, 3, 5, 6, 7].map(|row| layers[row].channels * cells(row));
    let levels = [3, 6, 7].map(|row| (4 + model.classes.len()) * cells(row));
    let floats = maps.iter().chain(&levels).sum::<usize>();
    assert_eq!(engine.remembered_bytes(), 4 * floats);
}

#[test]
fn thresholds_run_nothing_and_the_head_only_itself() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let mut engine = Engine::default();
    let mut settings = watched(&model);
    let first = run(&mut engine, &photo, &model, &settings);
    assert!(!first.detected.list.is_empty());
    settings.thresholds.confidence = 1.0;
    let none = run(&mut engine, &photo, &model, &settings);
    assert_eq!(rows_run(&none), BTreeSet::new());
    assert!(none.detected.list.is_empty());
    settings.head = Some(Head::OneToMany);
    let head = run(&mut engine, &photo, &model, &settings);
    assert_eq!(rows_run(&head), BTreeSet::from([25]));
    assert_eq!(head.detected.head, Head::OneToMany);
}

#[test]
fn watching_runs_the_watched_row_alone() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let mut engine = Engine::default();
    let mut settings = watched(&model);
    settings.watch.clear();
    let unwatched = run(&mut engine, &photo, &model, &settings);
    assert!(unwatched.traces.is_empty());
    for (row, watch) in [(17, Watch::All), (6, Watch::Focus(vec![1]))] {
        settings.watch.insert(row, watch);
        let outcome = run(&mut engine, &photo, &model, &settings);
        assert_eq!(rows_run(&outcome), BTreeSet::from([row]));
        assert!(outcome.traces.contains_key(&row));
        assert_eq!(outcome.detected.list, unwatched.detected.list);
    }
    // Another region of the same row: that row again, no other.
    settings.watch.insert(6, Watch::Focus(vec![0, 3]));
    let outcome = run(&mut engine, &photo, &model, &settings);
    assert_eq!(rows_run(&outcome), BTreeSet::from([6]));
}

/// Notes what a run tells, and stops it before a row.
#[derive(Default)]
struct Notes {
    stop_at: Option<usize>,
    told: Vec<String>,
}

impl Listener for Notes {
    fn layer(&mut self, row: usize, rows: usize, name: &str) -> bool {
        assert_eq!(rows, 26);
        self.told.push(format!("{row} {name}"));
        self.stop_at != Some(row)
    }

    fn trace(&mut self, _: &Arc<Scene>, trace: &Arc<LayerTrace>) {
        self.told.push(format!("trace {}", trace.row));
    }
}

#[test]
fn traces_are_told_as_soon_as_their_row_has_run() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let mut notes = Notes::default();
    let wish = wish(&photo, &model, &watched(&model));
    Engine::default().run(&wish, &mut notes).unwrap();
    for (row, next) in [(4, "5 Conv"), (17, "18 Conv"), (21, "22 Conv")] {
        let trace = format!("trace {row}");
        let at = notes.told.iter().position(|t| *t == trace).unwrap();
        assert_eq!(notes.told[at + 1], next);
    }
    assert_eq!(notes.told.last().unwrap(), "25 Detect");
}

#[test]
fn a_stopped_run_is_taken_up_where_it_stopped() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let wish = wish(&photo, &model, &watched(&model));
    let fresh = Engine::default().run(&wish, &mut ()).unwrap();
    for (row, name) in [(2, "2 C3k2"), (20, "20 C3k2")] {
        let mut engine = Engine::default();
        let mut notes = Notes {
            stop_at: Some(row),
            ..Notes::default()
        };
        let stopped = engine.run(&wish, &mut notes);
        assert!(matches!(stopped, Err(Error::Cancelled)));
        assert_eq!(notes.told.last().unwrap(), name);
        let outcome = engine.run(&wish, &mut ()).unwrap();
        assert_eq!(rows_run(&outcome), (row..26).collect());
        assert!(bits(&outcome) == bits(&fresh));
    }
}

#[test]
fn what_is_remembered_stays_within_its_budget_and_changes_no_byte() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let settings = watched(&model);
    let wishes: Vec<_> = (1..=4)
        .map(|k| turned(&settings, 6, "topk", KnobValue::Int(k)))
        .chain((1..=4).map(|n| turned(&settings, 21, "n_win", KnobValue::Int(n))))
        .chain([settings.clone()])
        .collect();
    let mut roomy = Engine::default();
    let expected: Vec<_> = wishes
        .iter()
        .map(|s| bits(&run(&mut roomy, &photo, &model, s)))
        .collect();
    let whole = roomy.remembered_bytes();
    assert!(whole > 300_000, "{whole} bytes");
    // From next to nothing to nearly enough.
    for budget in (0..10).map(|i| whole * i / 10 + 1) {
        let mut engine = Engine::new(budget);
        for _ in 0..2 {
            for (settings, expected) in wishes.iter().zip(&expected) {
                let outcome = run(&mut engine, &photo, &model, settings);
                assert!(bits(&outcome) == *expected, "budget {budget}");
                let held = engine.remembered_bytes();
                assert!(held <= budget, "{held} bytes of {budget}");
            }
        }
    }
}
