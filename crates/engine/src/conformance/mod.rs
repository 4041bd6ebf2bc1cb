//! The test body that every engine must pass, on whatever guest the caller has.
//!
//! One engine bakes and one restores; they may be two releases of the same. What is checked is what the rest of
//! Spore relies on: forks share what they have not written and nothing else, a snapshot does not depend on the
//! network it was frozen with, what does not fit is refused before anything runs, and nothing is left behind.

mod bench;
mod checks;
mod refusals;

use std::error::Error;
use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;

use format::config::Profile;
use host::Deadline;

use crate::{Engine, NetworkMode};
use bench::Bench;

/// Why a test failed.
pub type Failure = Box<dyn Error + Send + Sync>;

/// How to talk to the guest in one VM.
pub trait GuestDriver {
    /// Connects to the guest of the running VM in `folder`, and returns when it answers.
    ///
    /// # Errors
    /// If it does not by the deadline.
    fn ready(&mut self, folder: &Path, deadline: Deadline) -> Result<(), Failure>;

    /// Runs a line of shell in the guest; what it wrote, without blanks at its ends.
    ///
    /// # Errors
    /// If there is no answer by the deadline.
    fn ask(&mut self, line: &str, deadline: Deadline) -> Result<String, Failure>;

    /// Makes the guest's channel fit to be frozen, and closes it.
    ///
    /// # Errors
    /// If the guest does not do it by the deadline.
    fn quiet(&mut self, deadline: Deadline) -> Result<(), Failure>;
}

/// A guest to test with.
pub struct Guest<'a> {
    /// The machine that it is for.
    pub profile: Profile,
    /// A Linux kernel.
    pub kernel: &'a Path,
    /// Its initrd.
    pub initrd: &'a Path,
    /// Its command line.
    pub command_line: &'a str,
    /// The only layer.
    pub layer: &'a Path,
    /// The writable disk as it is before the first boot, raw.
    pub writable: &'a Path,
    /// A file of the guest that lies on the writable disk; or the disk itself.
    pub writable_file: &'a str,
    /// Bytes of memory.
    pub memory: u64,
    /// Makes a driver for one VM.
    pub driver: &'a dyn Fn() -> Box<dyn GuestDriver>,
    /// How long a boot may take, from the kernel to an answer.
    pub boot_time: Duration,
}

/// What a run measured.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// From the call of restore until it returned.
    pub restore: Duration,
    /// Processor time that the engine had used by then.
    pub restore_cpu: Duration,
    /// From there until the guest had answered once.
    pub answer: Duration,
    /// Processor time until then.
    pub answer_cpu: Duration,
    /// From the call of freeze until it returned.
    pub freeze: Duration,
}

/// Runs everything in a new folder below `folder`.
///
/// # Errors
/// What was expected and what happened instead.
pub fn run(
    baker: &dyn Engine,
    restorer: &dyn Engine,
    guest: &Guest<'_>,
    folder: &Path,
) -> Result<Measured, Failure> {
    let with_network = Bench::bake(baker, restorer, guest, &folder.join("user"), NetworkMode::User)?;
    let measured = with_network.forks_are_apart(restorer)?;
    with_network.network_may_differ(restorer, NetworkMode::None)?;
    with_network.held_by_one_at_a_time(restorer)?;
    with_network.shutdown_is_noticed(restorer)?;
    with_network.refusals(restorer)?;
    let without = Bench::bake(baker, restorer, guest, &folder.join("none"), NetworkMode::None)?;
    without.network_may_differ(restorer, NetworkMode::User)?;
    Ok(Measured { freeze: with_network.freeze, ..measured })
}

/// Runs what concerns a host without room, in a new folder below `folder`.
///
/// The processes of `restorer` find no room for more than 1 MiB in `writable.overlay` of the folder that they work in.
///
/// # Errors
/// What was expected and what happened instead.
pub fn run_without_room(
    baker: &dyn Engine,
    restorer: &dyn Engine,
    guest: &Guest<'_>,
    folder: &Path,
) -> Result<(), Failure> {
    let bench = Bench::bake(baker, restorer, guest, &folder.join("without-room"), NetworkMode::None)?;
    bench.full_disk_is_an_error(restorer)
}

/// Long past what any step takes, even where several machines are emulated on a busy host that stalls now and then.
fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(180))
}

#[expect(clippy::needless_pass_by_value, reason = "callers compare what they have just asked for")]
fn expect<T: PartialEq<U> + Debug, U: Debug>(what: &str, found: T, expected: U) -> Result<(), Failure> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:?}, found {found:?}").into())
}
