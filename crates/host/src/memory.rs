//! This process's own memory.
#![allow(unsafe_code)]

/// Gives what was freed back to the system. What was needed by many at once the allocator keeps, below whatever is still in use,
/// which a process that is there for days and mostly waits has no use for. Takes about a millisecond.
///
/// Of the C libraries, only GNU's has it to do.
pub fn give_back_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's own locks and touches nothing that is in use (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
