//! Feature maps of any row: the numbers are those of the network, and only what is needed runs.

mod common;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use attnscope::Error;
use attnscope::attention::view::Body;
use attnscope::attention::{KnobValue, Knobs, Watch};
use attnscope::checkpoint::Model;
use attnscope::engine::{
    Engine, FeatureMaps, LayerTrace, Listener, Outcome, Scene, Settings, Worker, network_input,
    rows,
};
use attnscope::measure::{Activation, ChannelNumbers};
use attnscope::yolo::{Map, Module, Output};
use candle_core::{Device, Tensor};

use common::compare::flat;
use common::scene::{bits, photo, run, tiny, turned, watched, wish};

fn asking(settings: &Settings, row: usize) -> Settings {
    Settings {
        features: Some(row),
        ..settings.clone()
    }
}

fn rows_run(outcome: &Outcome) -> BTreeSet<usize> {
    outcome.timing.by_row.keys().copied().collect()
}

/// What every row puts out, run one by one without the engine.
fn outputs(outcome: &Outcome, model: &Model, settings: &Settings) -> Vec<Option<Tensor>> {
    let input = network_input(&outcome.scene).unwrap();
    let mut maps: Vec<Option<Map>> = Vec::new();
    for (row, layer) in model.network.layers().iter().enumerate() {
        let source = |from: &Option<usize>| match from {
            None => input.clone().into(),
            Some(i) => maps[*i].clone().unwrap(),
        };
        let sources: Vec<Map> = layer.from.iter().map(source).collect();
        let legal = settings.legal(model, row);
        let knobs = legal.map_or_else(Knobs::new, |l| l.values);
        let head = settings.head_on(model);
        let (output, _) = layer.run(&sources, &knobs, &Watch::Off, head).unwrap();
        maps.push(match output {
            Output::Map(map) => Some(map),
            Output::Raw(_) => None,
        });
    }
    let values = |map: Option<Map>| map.map(|map| map.tensor().unwrap());
    maps.into_iter().map(values).collect()
}

#[test]
fn the_maps_of_every_row_are_what_the_network_puts_out() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let settings = turned(&watched(&model), 6, "topk", KnobValue::Int(1));
    let mut used = Engine::default();
    let plain = run(&mut used, &photo, &model, &settings);
    assert!(plain.features.is_none());
    let expected = outputs(&plain, &model, &settings);
    let listed = rows(&model, &settings);
    for (row, map) in expected.iter().enumerate() {
        let asked = asking(&settings, row);
        // From a fresh engine, and from one that remembers a part.
        for engine in [&mut Engine::default(), &mut used] {
            let outcome = run(engine, &photo, &model, &asked);
            assert!(bits(&outcome) == bits(&plain), "row {row}");
            let Some(map) = map else {
                assert!(outcome.features.is_none() && listed[row].shape.is_none());
                continue;
            };
            let features = outcome.features.unwrap();
            assert_eq!((features.row, features.wish), (row, 1));
            assert_eq!(features.maps.values.shape(), &map.dims()[1..]);
            assert_eq!(listed[row].shape.unwrap(), map.dims()[1..]);
            assert_eq!(listed[row].bytes(), Some(4 * map.elem_count()));
            assert!(features.maps.values.data() == flat(map), "row {row}");
        }
    }
}

#[test]
fn they_are_what_a_watched_row_says_it_put_out() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let settings = watched(&model);
    let mut compared = 0;
    for (row, _) in model.network.attention() {
        let outcome = run(
            &mut Engine::default(),
            &photo,
            &model,
            &asking(&settings, row),
        );
        let features = outcome.features.unwrap();
        let trace = &outcome.traces[&row].trace;
        // Blocks add to what their attention puts out; the polarized rows are the attention alone.
        if trace.mechanism().id != "polarized" {
            continue;
        }
        let out = trace.tensors().unwrap();
        let out = out.iter().find(|t| t.name == "out").unwrap();
        assert!(
            features.maps.values.data() == flat(&out.tensor),
            "row {row}"
        );
        compared += 1;
    }
    assert!(compared > 0);
}

#[test]
fn channels_stand_in_the_order_of_their_activation() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let outcome = run(
        &mut Engine::default(),
        &photo,
        &model,
        &asking(&Settings::default(), 3),
    );
    let features = outcome.features.unwrap();
    let maps = &features.maps;
    // Once more, with the sums taken another way.
    let numbers = |c: usize| {
        let values: Vec<f64> = maps.values.row(c).iter().map(|v| f64::from(*v)).collect();
        let mean = |f: &dyn Fn(f64) -> f64| {
            values.iter().map(|v| f(*v)).sum::<f64>() / values.len() as f64
        };
        let largest = values.iter().copied().fold(f64::MIN, f64::max);
        let spread = mean(&|v| v * v) - mean(&|v| v).powi(2);
        [mean(&f64::abs), largest, spread]
    };
    for (i, by) in Activation::ALL.into_iter().enumerate() {
        let order = maps.order(Some(by));
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), maps.count());
        let strength: Vec<f64> = order.iter().map(|c| numbers(*c)[i]).collect();
        assert!(strength.windows(2).all(|w| w[0] >= w[1] - 1e-9), "{by:?}");
        assert!(strength[0] > strength[strength.len() - 1], "{by:?}");
        for (channel, expected) in order.iter().zip(&strength) {
            let got = f64::from(maps.numbers[*channel].by(by));
            assert!((got - expected).abs() <= 1e-6 * expected.abs().max(1e-3));
        }
        let Body::Gallery(gallery) = features.answer(Some(by), 5).view.body else {
            panic!("a gallery")
        };
        assert_eq!(gallery.channels, order[..5]);
        for (channel, (_, heat)) in gallery.channels.iter().zip(&gallery.maps) {
            assert_eq!(*heat.values, *maps.values.row(*channel));
        }
    }
    assert_eq!(maps.numbers[0], ChannelNumbers::of(maps.values.row(0)));
}

#[test]
fn an_early_row_runs_no_later_one_and_is_then_remembered() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let settings = watched(&model);
    let mut engine = Engine::default();
    run(&mut engine, &photo, &model, &settings);
    // Nothing after a knob feeds rows 0 and 1: they were let go.
    let first = run(&mut engine, &photo, &model, &asking(&settings, 1));
    assert_eq!(rows_run(&first), BTreeSet::from([0, 1]));
    let again = run(&mut engine, &photo, &model, &asking(&settings, 1));
    assert_eq!(rows_run(&again), BTreeSet::new());
    let [a, b] = [first, again].map(|o| o.features.unwrap());
    assert!(Arc::ptr_eq(&a.maps, &b.maps), "copied twice");
    // The next row reads the one before.
    let next = run(&mut engine, &photo, &model, &asking(&settings, 2));
    assert_eq!(rows_run(&next), BTreeSet::from([2]));
    // A row that is remembered runs nothing at all.
    let late = run(&mut engine, &photo, &model, &asking(&settings, 21));
    assert_eq!(rows_run(&late), BTreeSet::new());
    // A knob behind the row leaves its maps alone, one before it does not.
    let late = late.features.unwrap();
    let other = turned(&asking(&settings, 1), 6, "topk", KnobValue::Int(1));
    let behind = run(&mut engine, &photo, &model, &other);
    assert!(behind.features.unwrap().maps.values == a.maps.values);
    let other = turned(&asking(&settings, 21), 6, "topk", KnobValue::Int(1));
    let before = run(&mut engine, &photo, &model, &other);
    assert!(before.features.unwrap().maps.values != late.maps.values);
}

#[test]
fn asking_for_none_costs_nothing() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let settings = watched(&model);
    let (mut plain, mut asked) = (Engine::default(), Engine::default());
    let one = run(&mut plain, &photo, &model, &settings);
    // A row that does not exist and one without maps are as good as none.
    for row in [999, 25] {
        let other = run(&mut asked, &photo, &model, &asking(&settings, row));
        assert!(other.features.is_none());
        assert!(bits(&other) == bits(&one));
        assert_eq!(asked.remembered_bytes(), plain.remembered_bytes());
    }
    // A row that is kept in any case is only copied, and the copy goes with who asked for it.
    let some = run(&mut asked, &photo, &model, &asking(&settings, 21));
    assert_eq!(asked.remembered_bytes(), plain.remembered_bytes());
    let held = Arc::downgrade(&some.features.as_ref().unwrap().maps);
    assert!(held.upgrade().is_some());
    drop(some);
    assert!(held.upgrade().is_none(), "the engine kept the copy");
}

/// Notes what is told, and stops the run two rows after the one that is looked at.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Listener for Notes {
    fn layer(&mut self, row: usize, _: usize, _: &str) -> bool {
        self.0.get_mut().unwrap().push(format!("layer {row}"));
        row < 9
    }
    fn trace(&mut self, _: &Arc<Scene>, _: &Arc<LayerTrace>) {}
    fn features(&mut self, _: &Arc<Scene>, features: &Arc<FeatureMaps>) {
        let row = features.row;
        self.0.get_mut().unwrap().push(format!("features {row}"));
    }
}

#[test]
fn they_are_told_as_soon_as_their_row_has_run() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let asked = asking(&Settings::default(), 7);
    let mut notes = Notes::default();
    let stopped = Engine::default().run(&wish(&photo, &model, &asked), &mut notes);
    assert!(matches!(stopped, Err(Error::Cancelled)));
    let told = notes.0.into_inner().unwrap();
    let expected: Vec<_> = (0..8).map(|row| format!("layer {row}")).collect();
    assert_eq!(told[..8], expected);
    assert_eq!(told[8..], ["features 7", "layer 8", "layer 9"]);
}

#[test]
fn the_snapshot_carries_them_and_the_times_of_rows() {
    let model = tiny();
    let worker = Worker::start(Engine::default(), || {}).unwrap();
    let patience = std::time::Duration::from_secs(60);
    let picture = photo(1, 150, 100);
    worker.wish(picture.clone(), model.clone(), Settings::default());
    let plain = worker.wait(patience).unwrap();
    assert!(plain.features.is_none());
    let all: BTreeSet<usize> = plain.row_times.keys().copied().collect();
    assert_eq!(all, (0..model.network.layers().len()).collect());
    let number = worker.wish(
        picture.clone(),
        model.clone(),
        asking(&Settings::default(), 2),
    );
    let asked = worker.wait(patience).unwrap();
    let features = asked.features.as_ref().unwrap();
    assert_eq!((features.wish, features.row), (number, 2));
    // What was reused keeps its time; what ran has a new one.
    assert_eq!(asked.row_times.len(), all.len());
    assert_eq!(asked.row_times[&20], plain.row_times[&20]);
    let ran = &asked.timing.as_ref().unwrap().by_row;
    assert_eq!(asked.row_times[&2], ran[&2]);
    assert!(!ran.contains_key(&20));
    // Another picture: nothing of the last one.
    worker.wish(photo(2, 90, 120), model, Settings::default());
    let other = worker.wait(patience).unwrap();
    assert!(other.features.is_none());
}

#[test]
fn every_parameter_has_its_row() {
    let bundled = Model::bundled(&Device::Cpu).unwrap();
    for model in [tiny(), Arc::new(bundled)] {
        let listed = rows(&model, &Settings::default());
        let sum: usize = listed.iter().map(|r| r.parameters).sum();
        assert_eq!(sum, model.report.parameters);
        for (info, layer) in listed.iter().zip(model.network.layers()) {
            let weightless = matches!(layer.module, Module::Concat) || info.module == "Upsample";
            assert_eq!(info.parameters == 0, weightless, "row {}", info.row);
        }
    }
}
