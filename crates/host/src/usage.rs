//! What a process costs.

use std::time::Duration;

use crate::process::{ProcessError, ProcessId, not_understood, read_proc};

/// Memory and processor time of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of anonymous memory in RAM: what it wrote itself, private copies of file pages included.
    pub anonymous: u64,
    /// Bytes in RAM that are its alone and differ from any file.
    pub private_dirty: u64,
    /// Bytes in RAM, each page's size divided by how many processes map it.
    pub proportional: u64,
    /// Bytes that are swapped out.
    pub swapped: u64,
    /// Processor time of all its threads, to the precision of a clock tick (usually 10 ms).
    pub cpu: Duration,
}

/// Reads what a process costs.
///
/// # Errors
/// [`ProcessError::Gone`] if it has ended; others if it belongs to somebody else.
pub fn usage(process: ProcessId) -> Result<Usage, ProcessError> {
    let rollup = read_proc(process.pid, "smaps_rollup")?;
    let field =
        |name| bytes(&rollup, name).ok_or_else(|| not_understood(process.pid, "smaps_rollup", &rollup));
    let (anonymous, private_dirty) = (field("Anonymous:")?, field("Private_Dirty:")?);
    let (proportional, swapped) = (field("Pss:")?, field("Swap:")?);
    // Read last: if the pid was given to another process meanwhile, this says so.
    let stat = process.stat()?;
    let ticks = stat.user_ticks.saturating_add(stat.system_ticks);
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let cpu = Duration::from_millis(ticks.saturating_mul(1000) / per_second);
    Ok(Usage { anonymous, private_dirty, proportional, swapped, cpu })
}

/// The bytes on the line that begins with `name`, which the kernel gives in kB.
fn bytes(rollup: &str, name: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}
