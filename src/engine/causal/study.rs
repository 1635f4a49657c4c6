//! An experiment on a thread of its own, with an engine of its own: the window and its engine go
//! on meanwhile.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Experiment, Finding};
use crate::Error;
use crate::engine::{Engine, LayerTrace, Listener, Scene};

/// Memory for outputs that the next run reads again.
const STORE_BYTES: usize = 64 << 20;
/// How long one call of [`Study::give_way`] holds the study back.
const GIVEN_WAY: Duration = Duration::from_millis(250);

/// How a study ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// Everything was tried.
    Whole,
    /// It was cancelled.
    Cancelled,
    /// It failed, and why.
    Failed(String),
}

/// How far a study has come.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// Runs that are done.
    pub done: usize,
    /// Runs in all.
    pub runs: usize,
    /// Time for the runs that are done.
    pub spent: Duration,
    /// What was found so far.
    pub finding: Option<Arc<Finding>>,
    /// How it ended; `None` while it runs.
    pub end: Option<End>,
}

impl State {
    /// Time for the runs that are left, by those that are done. Of a single run nothing follows:
    /// it computes what the others reuse.
    pub fn left(&self) -> Option<Duration> {
        let each = self.spent.checked_div(self.done as u32)?;
        (self.done > 1).then(|| each * self.runs.saturating_sub(self.done) as u32)
    }
}

struct Shared {
    stop: AtomicBool,
    since: Instant,
    /// Until when others go first, in milliseconds after `since`.
    held: AtomicU64,
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.since.elapsed().as_millis() as u64
    }
}

/// An experiment under way. Dropping it cancels it.
pub struct Study {
    shared: Arc<Shared>,
}

impl Study {
    /// Starts the thread. `wake` is called whenever the state has changed.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(
        experiment: Experiment,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            since: Instant::now(),
            held: AtomicU64::new(0),
            state: Mutex::new(State {
                runs: experiment.runs(),
                ..State::default()
            }),
        });
        let theirs = shared.clone();
        std::thread::Builder::new()
            .name("study".into())
            .spawn(move || serve(&theirs, &experiment, &wake))?;
        Ok(Self { shared })
    }

    /// How far it has come.
    pub fn state(&self) -> State {
        self.shared.state().clone()
    }

    /// Stops it at the next layer. What was found until then stays.
    pub fn cancel(&self) {
        self.shared.stop.store(true, Ordering::Release);
    }

    /// Lets the live engine go first for a quarter of a second.
    pub fn give_way(&self) {
        let until = self.shared.now() + GIVEN_WAY.as_millis() as u64;
        self.shared.held.store(until, Ordering::Release);
    }

    /// Waits for the end, for tests and tools without a window. `None` after `timeout`.
    pub fn wait(&self, timeout: Duration) -> Option<State> {
        let end = Instant::now() + timeout;
        loop {
            let state = self.state();
            if state.end.is_some() {
                return Some(state);
            }
            if Instant::now() > end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Study {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// The thread.
fn serve(shared: &Shared, experiment: &Experiment, wake: &(impl Fn() + Send + Sync)) {
    let began = Instant::now();
    let mut each = |done: usize, finding: &Finding| {
        let mut state = shared.state();
        state.done = done;
        state.spent = began.elapsed();
        state.finding = Some(Arc::new(finding.clone()));
        drop(state);
        wake();
    };
    let mut engine = Engine::new(STORE_BYTES);
    // A panic is a defect. Without this the window would wait for ever for a dead thread.
    let run = AssertUnwindSafe(|| experiment.run(&mut engine, &mut Polite(shared), &mut each));
    let end = match std::panic::catch_unwind(run) {
        Ok(Ok(_)) => End::Whole,
        Ok(Err(Error::Cancelled)) => End::Cancelled,
        Ok(Err(error)) => End::Failed(error.to_string()),
        Err(_) => End::Failed("the study panicked".into()),
    };
    shared.state().end = Some(end);
    wake();
}

/// Stops when it is told to, and lets others go first.
struct Polite<'a>(&'a Shared);

impl Listener for Polite<'_> {
    fn layer(&mut self, _: usize, _: usize, _: &str) -> bool {
        let stopped = || self.0.stop.load(Ordering::Acquire);
        while !stopped() && self.0.now() < self.0.held.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(2));
        }
        !stopped()
    }

    fn sleeps(&self) -> bool {
        true
    }

    fn trace(&mut self, _: &Arc<Scene>, _: &Arc<LayerTrace>) {}
}
