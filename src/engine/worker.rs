//! One thread owns the engine. The window leaves its newest wish and reads the newest snapshot;
//! it never waits.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ahead::{self, WhileIdle};
use super::{
    Detected, Engine, FeatureMaps, LayerTrace, Listener, Outcome, Scene, Settings, Timing, Wish,
};
use crate::Error;
use crate::checkpoint::Model;
use crate::picture::Photo;

/// After this many runs in a row that a newer wish stopped, one runs to its end, so that
/// detections follow even while a hand never rests.
const PATIENCE: u32 = 4;

/// No wish for so long means that the hand rests.
const REST: Duration = Duration::from_millis(60);

/// How far the running wish has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The wish that runs.
    pub wish: u64,
    /// Row that runs.
    pub row: usize,
    /// Rows of the network.
    pub rows: usize,
    /// Module name of the row.
    pub name: String,
    /// Since when.
    pub since: Instant,
}

/// A run that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The wish that failed.
    pub wish: u64,
    /// Why.
    pub message: String,
}

/// The newest of everything. Pieces may answer different wishes: each carries its number.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// What the pieces belong to.
    pub scene: Option<Arc<Scene>>,
    /// Traces by row.
    pub traces: BTreeMap<usize, Arc<LayerTrace>>,
    /// Detections.
    pub detected: Option<Arc<Detected>>,
    /// The feature maps that were wanted.
    pub features: Option<Arc<FeatureMaps>>,
    /// Time of each row when it last ran on this scene.
    pub row_times: BTreeMap<usize, Duration>,
    /// Times of the last run that ended.
    pub timing: Option<Timing>,
    /// The run under way.
    pub progress: Option<Progress>,
    /// The newest wish that was fulfilled.
    pub fulfilled: u64,
    /// The last run that failed, if none succeeded since.
    pub failure: Option<Failure>,
}

impl Snapshot {
    /// Makes room for the pieces of a scene: nothing of another picture or model may be drawn
    /// over it.
    fn enter(&mut self, scene: &Arc<Scene>) {
        if !self.scene.as_ref().is_some_and(|s| Arc::ptr_eq(s, scene)) {
            self.scene = Some(scene.clone());
            self.traces.clear();
            self.row_times.clear();
            self.features = None;
            self.detected = None;
        }
    }
}

#[derive(Default)]
struct Inbox {
    wish: Option<Wish>,
    stop: bool,
}

#[derive(Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    arrived: Condvar,
    newest: AtomicU64,
    snapshot: Mutex<Arc<Snapshot>>,
}

/// The door to the engine's thread. Dropping it stops the thread at the next layer.
pub struct Worker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

type Wake = Arc<dyn Fn() + Send + Sync>;

impl Worker {
    /// Starts the thread. `wake` is called whenever the snapshot has changed.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(engine: Engine, wake: impl Fn() + Send + Sync + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let wake: Wake = Arc::new(wake);
        let thread = std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || serve(&theirs, engine, &wake))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Leaves a wish; an older one that has not started is forgotten, a running one stops at the
    /// next layer. Returns its number.
    pub fn wish(&self, photo: Arc<Photo>, model: Arc<Model>, settings: Settings) -> u64 {
        let mut inbox = lock(&self.shared.inbox);
        let number = self.shared.newest.load(Ordering::Acquire) + 1;
        self.shared.newest.store(number, Ordering::Release);
        inbox.wish = Some(Wish {
            number,
            photo,
            model,
            settings,
        });
        self.shared.arrived.notify_one();
        number
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        lock(&self.shared.snapshot).clone()
    }

    /// Number of the newest wish; 0 before the first.
    pub fn newest(&self) -> u64 {
        self.shared.newest.load(Ordering::Acquire)
    }

    /// Waits until the newest wish was fulfilled or has failed; for tests and tools without a
    /// window. `None` after `timeout`.
    pub fn wait(&self, timeout: Duration) -> Option<Arc<Snapshot>> {
        let end = Instant::now() + timeout;
        loop {
            let snapshot = self.snapshot();
            let newest = self.newest();
            let failed = snapshot.failure.as_ref().is_some_and(|f| f.wish == newest);
            if snapshot.fulfilled == newest || failed {
                return Some(snapshot);
            }
            if Instant::now() > end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        lock(&self.shared.inbox).stop = true;
        self.shared.newest.fetch_add(1, Ordering::AcqRel);
        self.shared.arrived.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there was already reported; the window closes all the same.
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread: wait for a wish, run it, publish.
fn serve(shared: &Shared, mut engine: Engine, wake: &Wake) {
    let mut stopped_in_a_row = 0;
    let mut ahead = Ahead::default();
    while let Some(wish) = next_wish(shared, &mut engine, &mut ahead) {
        let mut reporter = Reporter {
            shared,
            wake,
            wish: wish.number,
            since: Instant::now(),
            patient: stopped_in_a_row < PATIENCE,
        };
        // A panic is a defect. Without this the window would wait for ever for a dead thread.
        let run = AssertUnwindSafe(|| engine.run(&wish, &mut reporter));
        let result = std::panic::catch_unwind(run).unwrap_or_else(|_| {
            engine.forget();
            Err(candle_core::Error::msg("the engine panicked").into())
        });
        stopped_in_a_row = match &result {
            Err(Error::Cancelled) => stopped_in_a_row + 1,
            _ => 0,
        };
        let fulfilled = result.is_ok();
        publish(shared, |s| settle(s, &wish, result));
        wake();
        if fulfilled {
            ahead.plan(wish);
        }
    }
}

/// What to compute while nobody wishes for anything.
#[derive(Default)]
struct Ahead {
    last: Option<Wish>,
    /// The next one is at the end.
    todo: Vec<Settings>,
}

impl Ahead {
    fn plan(&mut self, wish: Wish) {
        let before = self.last.as_ref().filter(|last| {
            Arc::ptr_eq(&last.model, &wish.model) && Arc::ptr_eq(&last.photo, &wish.photo)
        });
        self.todo = ahead::neighbours(&wish, before.map(|w| &w.settings));
        self.todo.reverse();
        self.last = Some(wish);
    }

    /// Computes one position for the engine to remember, unless a wish arrives.
    fn step(&mut self, shared: &Shared, engine: &mut Engine) {
        let (Some(last), Some(settings)) = (&self.last, self.todo.pop()) else {
            return;
        };
        let wish = Wish {
            settings,
            ..last.clone()
        };
        let newest = || shared.newest.load(Ordering::Acquire);
        let quiet = || newest() == wish.number;
        let mut listener = WhileIdle(&quiet);
        let held = engine.remembered_bytes();
        let run = AssertUnwindSafe(|| engine.run(&wish, &mut listener).map(drop));
        match std::panic::catch_unwind(run) {
            Ok(Ok(())) => {}
            Ok(Err(_)) => self.todo.clear(),
            Err(_) => {
                engine.forget();
                self.todo.clear();
            }
        }
        // What was wished for must not be pushed out by what might be.
        let cost = engine.remembered_bytes().saturating_sub(held);
        let room = engine.budget().saturating_sub(engine.remembered_bytes());
        if room < cost.max(engine.budget() / 4) {
            self.todo.clear();
        }
    }
}

/// Waits for a wish. While none comes, neighbouring slider positions are computed.
fn next_wish(shared: &Shared, engine: &mut Engine, ahead: &mut Ahead) -> Option<Wish> {
    loop {
        let mut inbox = lock(&shared.inbox);
        if inbox.stop {
            return None;
        }
        if let Some(wish) = inbox.wish.take() {
            return Some(wish);
        }
        if ahead.todo.is_empty() {
            drop(
                shared
                    .arrived
                    .wait(inbox)
                    .unwrap_or_else(PoisonError::into_inner),
            );
            continue;
        }
        // A hand that moves leaves a wish every frame: only a resting one gets here.
        let (guard, rest) = shared
            .arrived
            .wait_timeout_while(inbox, REST, |inbox| inbox.wish.is_none() && !inbox.stop)
            .unwrap_or_else(PoisonError::into_inner);
        inbox = guard;
        drop(inbox);
        if rest.timed_out() {
            ahead.step(shared, engine);
        }
    }
}

fn publish(shared: &Shared, change: impl FnOnce(&mut Snapshot)) {
    let mut slot = lock(&shared.snapshot);
    let mut next = Snapshot::clone(&slot);
    change(&mut next);
    *slot = Arc::new(next);
}

/// Puts the end of a run into the snapshot.
fn settle(snapshot: &mut Snapshot, wish: &Wish, result: crate::Result<Outcome>) {
    snapshot.progress = None;
    match result {
        Ok(outcome) => {
            snapshot.enter(&outcome.scene);
            snapshot.row_times.extend(&outcome.timing.by_row);
            snapshot.features = outcome.features;
            snapshot.traces = outcome.traces;
            snapshot.detected = Some(outcome.detected);
            snapshot.timing = Some(outcome.timing);
            snapshot.fulfilled = wish.number;
            snapshot.failure = None;
        }
        Err(Error::Cancelled) => {}
        Err(error) => {
            snapshot.failure = Some(Failure {
                wish: wish.number,
                message: error.to_string(),
            });
        }
    }
}

/// Publishes progress and traces while a run is under way.
struct Reporter<'a> {
    shared: &'a Shared,
    wake: &'a Wake,
    wish: u64,
    since: Instant,
    /// Whether a newer wish may stop this run.
    patient: bool,
}

impl Listener for Reporter<'_> {
    fn layer(&mut self, row: usize, rows: usize, name: &str) -> bool {
        if lock(&self.shared.inbox).stop {
            return false;
        }
        if self.patient && self.shared.newest.load(Ordering::Acquire) != self.wish {
            return false;
        }
        let progress = Progress {
            wish: self.wish,
            row,
            rows,
            name: name.to_owned(),
            since: self.since,
        };
        publish(self.shared, |s| s.progress = Some(progress));
        true
    }

    fn trace(&mut self, scene: &Arc<Scene>, trace: &Arc<LayerTrace>) {
        publish(self.shared, |s| {
            s.enter(scene);
            s.traces.insert(trace.row, trace.clone());
        });
        (self.wake)();
    }

    fn features(&mut self, scene: &Arc<Scene>, features: &Arc<FeatureMaps>) {
        publish(self.shared, |s| {
            s.enter(scene);
            s.features = Some(features.clone());
        });
        (self.wake)();
    }
}
