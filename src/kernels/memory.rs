//! Keeping memory between runs.

/// Tells the C library of Linux to keep the memory of large tensors instead of giving it back to
/// the system and faulting it in again at the next run: with its own settings, page faults cost
/// more than whole layers. Call it first thing in `main`; does nothing on other systems.
pub fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn mallopt(parameter: i32, value: i32) -> i32;
        }
        let (trim_threshold, top_pad, mmap_max) = (-1, -2, -4);
        // SAFETY: a plain setting of the allocator; an unknown one is refused by returning 0.
        unsafe {
            mallopt(trim_threshold, 1 << 30);
            mallopt(top_pad, 64 << 20);
            mallopt(mmap_max, 0);
        }
    }
}
