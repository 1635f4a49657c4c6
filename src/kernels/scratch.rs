//! Reused working memory: a kernel called hundreds of times a second must not ask the system for
//! megabytes each time.

use std::cell::RefCell;

thread_local! {
    static POOL: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Cache line: buffers start on one.
const ALIGN: usize = 64;

/// Lends `len` floats of any content, starting on a cache line, to `work`.
///
/// The buffer is taken out of the thread's pool for the time of the call, so `work` may itself run
/// other kernels on this thread (rayon does that while it waits).
pub(super) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let need = len + ALIGN / size_of::<f32>();
    let mut buffer = POOL.with_borrow_mut(|pool| {
        // The smallest that fits, or else the largest there is, to be grown.
        let fit = (0..pool.len())
            .filter(|&i| pool[i].len() >= need)
            .min_by_key(|&i| pool[i].len());
        let pick = fit.or_else(|| (0..pool.len()).max_by_key(|&i| pool[i].len()));
        pick.map(|i| pool.swap_remove(i)).unwrap_or_default()
    });
    if buffer.len() < need {
        // Grown afresh: the old content is of no interest, so it is not copied.
        buffer = vec![0.0; need.next_power_of_two()];
    }
    let start = buffer.as_ptr().align_offset(ALIGN).min(need - len);
    let result = work(&mut buffer[start..start + len]);
    POOL.with_borrow_mut(|pool| pool.push(buffer));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_loans_are_distinct_and_memory_is_reused() {
        let first = with_scratch(100, |a| {
            a.fill(1.0);
            with_scratch(100, |b| b.fill(2.0));
            assert!(a.iter().all(|&v| v == 1.0));
            a.as_ptr() as usize
        });
        assert_eq!(first % ALIGN, 0);
        POOL.with_borrow(|pool| assert_eq!(pool.len(), 2));
        with_scratch(90, |_| ());
        POOL.with_borrow(|pool| assert_eq!(pool.len(), 2));
    }
}
