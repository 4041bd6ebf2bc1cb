//! How much memory a parser takes. libFuzzer itself knows only what is resident, and that once in a second.

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What `run` gives. A panic, if it had more than `bytes` of memory at any time, besides what there was before.
pub fn within<T>(bytes: usize, run: impl FnOnce() -> T) -> T {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let result = run();
    let peak = MEMORY.peak_usage().saturating_sub(before);
    assert!(peak <= bytes, "{peak} bytes of memory were taken: at most {bytes} are allowed");
    result
}
