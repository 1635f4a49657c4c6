//! The worker thread: the newest wish wins, a running one stops at the next layer, and a snapshot
//! never mixes scenes.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use attnscope::attention::KnobValue;
use attnscope::checkpoint::Model;
use attnscope::engine::{Engine, Settings, Snapshot, Worker};
use attnscope::picture::Photo;
use candle_core::Device;

use common::scene::{bits, photo, run, tiny, turned, watched};

/// Far longer than anything here takes on the slowest machine.
const LONG: Duration = Duration::from_secs(60);

/// A worker that stands still at every change of the snapshot until it is let go.
struct Stepped {
    // Dropped before the worker, which waits for its thread.
    go: Sender<()>,
    changed: Receiver<()>,
    worker: Worker,
}

impl Stepped {
    fn start() -> Self {
        let (tell, changed) = channel();
        let (go, wait) = channel();
        let ends = Mutex::new((tell, wait));
        let wake = move || {
            let (tell, wait) = &*ends.lock().unwrap();
            let _ = tell.send(());
            let _ = wait.recv();
        };
        Self {
            go,
            changed,
            worker: Worker::start(Engine::default(), wake).unwrap(),
        }
    }

    /// The snapshot after the next change; the thread stands still until [`Self::go`].
    fn next(&self) -> Arc<Snapshot> {
        let change = self.changed.recv_timeout(LONG);
        change.expect("nothing changed");
        self.worker.snapshot()
    }

    fn go(&self) {
        self.go.send(()).unwrap();
    }

    /// Lets the thread go on until a wish is fulfilled; the wishes that ran, in order.
    fn until_fulfilled(&self, wish: u64) -> (Vec<u64>, Arc<Snapshot>) {
        let mut ran = Vec::new();
        loop {
            let snapshot = self.next();
            ran.extend(snapshot.progress.as_ref().map(|p| p.wish));
            ran.dedup();
            self.go();
            if snapshot.fulfilled == wish {
                return (ran, snapshot);
            }
        }
    }
}

/// Wishes that differ in a knob of the first attention row.
fn settings(model: &Model, n: usize) -> Settings {
    turned(&watched(model), 4, "stoken_size", KnobValue::Pair([2, n]))
}

#[test]
fn the_newest_wish_wins_and_stops_the_running_one_at_the_next_layer() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let stepped = Stepped::start();
    let wish = |n| {
        stepped
            .worker
            .wish(photo.clone(), model.clone(), settings(&model, n))
    };
    assert_eq!(wish(1), 1);
    // The first change is the trace of row 4. The thread stands there.
    let first = stepped.next();
    assert_eq!(
        first.progress.as_ref().map(|p| (p.wish, p.row)),
        Some((1, 4))
    );
    assert!(first.traces.contains_key(&4) && first.detected.is_none());
    for n in 2..=5 {
        assert_eq!(wish(n), n as u64);
    }
    stepped.go();
    // Nothing more of wish 1: the next change is that it has stopped.
    let stopped = stepped.next();
    assert_eq!(stopped.progress, None);
    assert_eq!(stopped.traces.keys().collect::<Vec<_>>(), [&4]);
    assert_eq!(stopped.fulfilled, 0);
    stepped.go();
    // Of the four that waited only the last one runs.
    let (ran, last) = stepped.until_fulfilled(5);
    assert_eq!(ran, [5]);
    let detected = last.detected.as_ref().unwrap();
    assert_eq!(detected.wish, 5);
    assert!(last.traces.values().all(|t| t.wish == 5));
    let alone = run(&mut Engine::default(), &photo, &model, &settings(&model, 5));
    assert_eq!(detected.list, alone.detected.list);
}

#[test]
fn traces_arrive_one_by_one_before_the_detections() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let stepped = Stepped::start();
    stepped.worker.wish(photo, model.clone(), watched(&model));
    let all: Vec<usize> = model.network.attention().map(|(row, _)| row).collect();
    assert_eq!(all[..4], [4, 6, 8, 10]);
    for n in 1..=all.len() {
        let snapshot = stepped.next();
        let rows: Vec<usize> = snapshot.traces.keys().copied().collect();
        assert_eq!(rows, all[..n]);
        assert!(snapshot.detected.is_none() && snapshot.fulfilled == 0);
        stepped.go();
    }
    let end = stepped.next();
    assert!(end.detected.is_some() && end.fulfilled == 1 && end.progress.is_none());
    assert_eq!(end.timing.as_ref().unwrap().ran, 26);
    stepped.go();
}

#[test]
fn detections_follow_even_while_wishes_never_rest() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let stepped = Stepped::start();
    let wish = |n| {
        stepped
            .worker
            .wish(photo.clone(), model.clone(), settings(&model, n))
    };
    wish(1);
    // Every change of the snapshot is answered by a newer wish.
    let mut stopped = BTreeSet::new();
    for n in 2..200 {
        let snapshot = stepped.next();
        stopped.extend(snapshot.progress.as_ref().map(|p| p.wish));
        wish(n);
        stepped.go();
        if snapshot.fulfilled > 0 {
            assert!(stopped.len() <= 6, "{} wishes began in vain", stopped.len());
            assert!(snapshot.detected.is_some());
            return;
        }
    }
    panic!("nothing was fulfilled");
}

#[test]
fn a_snapshot_never_mixes_scenes() {
    let model = tiny();
    let photos = [photo(1, 150, 100), photo(2, 90, 120), photo(3, 64, 64)];
    let stepped = Stepped::start();
    let mut wishes: BTreeMap<u64, Arc<Photo>> = BTreeMap::new();
    let mut wish = |i: usize| {
        let (photo, settings) = (photos[i % 3].clone(), settings(&model, 1 + i % 5));
        let number = stepped.worker.wish(photo.clone(), model.clone(), settings);
        wishes.insert(number, photo);
    };
    wish(0);
    // A new wish for another picture after 1 to 6 changes: before, amid and after detections.
    let (mut seen, mut left) = (Vec::new(), 1);
    for i in 1..60 {
        while left > 0 && (seen.is_empty() || stepped.worker.newest() > fulfilled(&seen)) {
            seen.push(stepped.next());
            stepped.go();
            left -= 1;
        }
        wish(i);
        left = 1 + i * 5 % 6;
    }
    seen.push(stepped.until_fulfilled(60).1);

    for snapshot in &seen {
        let Some(scene) = &snapshot.scene else {
            continue;
        };
        let of = |wish: u64| Arc::ptr_eq(&wishes[&wish], &scene.photo);
        assert!(snapshot.traces.values().all(|t| of(t.wish)));
        assert!(snapshot.detected.as_ref().is_none_or(|d| of(d.wish)));
        assert_eq!(
            scene.letterbox.photo,
            [scene.photo.width, scene.photo.height]
        );
    }
    let shown = |s: &Arc<Snapshot>| Some(s.scene.as_ref()?.photo.digest);
    let shown: BTreeSet<u64> = seen.iter().filter_map(shown).collect();
    assert_eq!(shown.len(), 3, "pictures shown");
    let complete = seen.iter().filter(|s| s.detected.is_some()).count();
    assert!(
        (1..seen.len()).contains(&complete),
        "{complete} of {}",
        seen.len()
    );
}

fn fulfilled(seen: &[Arc<Snapshot>]) -> u64 {
    seen.last().map_or(0, |s| s.fulfilled)
}

#[test]
fn the_worker_gives_what_the_engine_gives() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let worker = Worker::start(Engine::default(), || {}).unwrap();
    assert_eq!((worker.newest(), worker.snapshot().fulfilled), (0, 0));
    for n in [1, 4, 1] {
        worker.wish(photo.clone(), model.clone(), settings(&model, n));
        let snapshot = worker.wait(LONG).unwrap();
        let expected = run(&mut Engine::default(), &photo, &model, &settings(&model, n));
        let ours = attnscope::engine::Outcome {
            scene: snapshot.scene.clone().unwrap(),
            traces: snapshot.traces.clone(),
            detected: snapshot.detected.clone().unwrap(),
            timing: snapshot.timing.clone().unwrap(),
            features: snapshot.features.clone(),
        };
        assert!(bits(&ours) == bits(&expected));
    }
    // The third wish was the first one again.
    assert_eq!(worker.snapshot().timing.as_ref().unwrap().ran, 0);
}

#[test]
fn dropping_the_worker_ends_the_thread_at_the_next_layer() {
    let model = Arc::new(Model::bundled(&Device::Cpu).unwrap());
    let photo = photo(1, 150, 100);
    let mut settings = watched(&model);
    // How long a whole run takes, at a quarter of the pixels.
    settings.size = Some(640);
    let start = Instant::now();
    run(&mut Engine::default(), &photo, &model, &settings);
    let whole = start.elapsed() * 4;

    settings.size = Some(1280);
    let worker = Worker::start(Engine::default(), || {}).unwrap();
    worker.wish(photo.clone(), model.clone(), settings);
    while worker.snapshot().progress.is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let start = Instant::now();
    drop(worker);
    let took = start.elapsed();
    assert!(took < whole / 2, "{took:?} of a run of about {whole:?}");
    // The thread has given back all it held.
    assert_eq!(
        (Arc::strong_count(&photo), Arc::strong_count(&model)),
        (1, 1)
    );
}

#[test]
fn a_worker_without_wishes_ends_at_once() {
    let start = Instant::now();
    drop(Worker::start(Engine::default(), || {}).unwrap());
    assert!(start.elapsed() < Duration::from_millis(500));
}

#[test]
fn a_panic_in_a_run_is_a_failure_and_not_the_end() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let calls = AtomicUsize::new(0);
    let wake = move || {
        // Amid the first run, in the thread of the engine.
        assert!(calls.fetch_add(1, Ordering::Relaxed) > 0, "a defect");
    };
    let worker = Worker::start(Engine::default(), wake).unwrap();
    worker.wish(photo.clone(), model.clone(), watched(&model));
    let failed = worker.wait(LONG).unwrap();
    assert_eq!(failed.fulfilled, 0);
    assert_eq!(failed.failure.as_ref().map(|f| f.wish), Some(1));
    assert_eq!(failed.progress, None);
    worker.wish(photo, model.clone(), watched(&model));
    let snapshot = worker.wait(LONG).unwrap();
    assert_eq!((snapshot.fulfilled, &snapshot.failure), (2, &None));
}

#[test]
fn while_the_hand_rests_the_next_slider_position_is_computed() {
    let (model, photo) = (tiny(), photo(1, 150, 100));
    let worker = Worker::start(Engine::default(), || {}).unwrap();
    let base = watched(&model);
    let mut ran = Vec::new();
    // A slow machine gets a longer rest, until the engine was faster than the hand.
    for (step, rest) in [0u64, 300, 1000, 4000, 16_000].into_iter().enumerate() {
        std::thread::sleep(Duration::from_millis(rest));
        let settings = turned(&base, 8, "topk", KnobValue::Int(2 + step));
        worker.wish(photo.clone(), model.clone(), settings.clone());
        let snapshot = worker.wait(LONG).unwrap();
        ran.push(snapshot.timing.as_ref().unwrap().ran);
        if ran.last() == Some(&0) {
            // What was computed ahead is what would have been computed now.
            let alone = run(&mut Engine::default(), &photo, &model, &settings);
            assert_eq!(
                snapshot.detected.as_ref().unwrap().list,
                alone.detected.list
            );
            return;
        }
    }
    panic!("rows ran at every step: {ran:?}");
}
