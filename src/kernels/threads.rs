//! The thread pool in which everything runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::Yield;

/// Looks for work in vain after which a thread goes back to sleep, 0.1 ms or so.
const PATIENCE: usize = 1000;

/// Keeps candle's own threads, which spin for half a millisecond after every sum of two large tensors, away from the
/// processors that the kernels run on: its operations then run on the thread that asks for them. A number of threads
/// that the user set is left alone.
///
/// # Safety
/// To be called before there is a second thread.
pub unsafe fn one_pool() {
    const VARIABLE: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: nobody else reads the environment meanwhile, as the caller promises.
        unsafe { std::env::set_var(VARIABLE, "1") };
    }
}

/// Does `work`, which is many short operations one after the other, on a thread of the pool, and keeps the others awake
/// for them: called from outside, or on sleepers, every operation would wait for a thread to wake up.
pub fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| {
        let own = rayon::current_thread_index();
        let end = Done(Arc::new(AtomicBool::new(false)));
        for _ in 1..rayon::current_num_threads() {
            let done = end.0.clone();
            // Nobody waits for it: its thread may be busy with something else.
            rayon::spawn(move || {
                if rayon::current_thread_index() != own {
                    stay_awake(&done);
                }
            });
        }
        work()
    })
}

/// Takes part in whatever work there is until `done`. Gives up after a while without any: it may lie, on the stack of
/// its thread, above something that the work waits for.
fn stay_awake(done: &AtomicBool) {
    let mut vain = 0;
    while vain < PATIENCE && !done.load(Ordering::Acquire) {
        vain = match rayon::yield_now() {
            Some(Yield::Executed) => 0,
            _ => vain + 1,
        };
        std::hint::spin_loop();
    }
}

/// Says so when it is dropped, also when the work panics.
struct Done(Arc<AtomicBool>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    #[test]
    fn work_inside_work_beside_work_comes_to_an_end() {
        let sum = |n: usize| (0..n).into_par_iter().map(|i| i % 7).sum::<usize>();
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for n in 0..200 {
                        let (outer, inner) = in_pool(|| {
                            let branches = rayon::join(|| in_pool(|| sum(n)), || sum(n));
                            (branches.0 + sum(n), branches.1)
                        });
                        assert_eq!(outer, 2 * inner);
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_passes_through() {
        let panics = || in_pool(|| -> usize { panic!("on purpose") });
        assert!(std::panic::catch_unwind(panics).is_err());
        assert_eq!(in_pool(|| 3), 3);
    }
}
