//! A result that several threads fill at once, each its own part, without zeroing it first.

use std::marker::PhantomData;

use super::isa::prefetch;
use super::micro::{MR, Target};

/// A place to write parts of a result from any thread.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    start: *mut f32,
    len: usize,
    owner: PhantomData<&'a mut [f32]>,
}

// SAFETY: memory is only written, through `write`, whose callers promise disjoint parts.
unsafe impl Send for Parts<'_> {}
// SAFETY: as above.
unsafe impl Sync for Parts<'_> {}

/// A vector of `len` values, all of which `fill` writes.
///
/// # Safety
/// `fill` must have written every value when it returns.
pub(super) unsafe fn filled(len: usize, fill: impl FnOnce(Parts<'_>)) -> Vec<f32> {
    let mut values: Vec<f32> = Vec::with_capacity(len);
    fill(Parts {
        start: values.as_mut_ptr(),
        len,
        owner: PhantomData,
    });
    // SAFETY: the capacity is at least `len`, and the caller promises that all of it was written.
    unsafe { values.set_len(len) };
    values
}

impl Parts<'_> {
    /// Writes `values` at `from`.
    ///
    /// # Safety
    /// No other thread may write to the same place at the same time.
    #[inline(always)]
    pub(super) unsafe fn write(&self, from: usize, values: &[f32]) {
        assert!(
            from <= self.len && values.len() <= self.len - from,
            "part outside the output"
        );
        // SAFETY: inside the allocation by the assertion; `values` is a live slice, so it cannot
        // be the memory that is being filled.
        unsafe {
            std::ptr::copy_nonoverlapping(values.as_ptr(), self.start.add(from), values.len())
        }
    }

    /// Writes `values` plus what `add`, as long as the whole result, has at the same place.
    ///
    /// # Safety
    /// As for [`Parts::write`].
    #[inline(always)]
    pub(super) unsafe fn write_sum(&self, from: usize, values: &[f32], add: Option<&[f32]>) {
        let Some(add) = add else {
            // SAFETY: promised by the caller.
            return unsafe { self.write(from, values) };
        };
        assert!(
            from <= self.len && values.len() <= self.len - from,
            "part outside the output"
        );
        for (i, (a, b)) in values.iter().zip(&add[from..]).enumerate() {
            // SAFETY: inside the allocation by the assertion.
            unsafe { self.start.add(from + i).write(a + b) };
        }
    }

    /// The rows of a tile of `width` columns, `step` apart from `from` on.
    ///
    /// # Safety
    /// No other thread may write to the same place at the same time.
    pub(super) unsafe fn target(&self, from: usize, step: usize, width: usize) -> Target<'_> {
        let end = (MR - 1) * step + width;
        assert!(
            from <= self.len && end <= self.len - from,
            "tile outside the output"
        );
        // SAFETY: inside the allocation by the assertion; the rest is promised by the caller.
        unsafe { Target::from_raw(self.start.add(from), step, width) }
    }

    /// Asks for the cache lines of a part that will be written soon.
    #[inline(always)]
    pub(super) fn prefetch(&self, from: usize, len: usize) {
        for line in (from..from + len).step_by(16) {
            prefetch(self.start.wrapping_add(line));
        }
    }
}
