//! The steps of a new identity that take effect at once. Each copy of a guest runs them first, and under
//! emulation every new piece of code costs: no program is started, few system calls are made.

use std::fs::File;
use std::io::{self, Write};

use agent_protocol::{Identity, Network};
use rustix::time::{ClockId, Timespec, clock_settime};

use crate::network;
use crate::sys;

/// The file behind `/proc/sys/kernel/random/boot_id`.
pub(crate) const BOOT_ID: &str = "/run/spore/boot_id";

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("the step `{step}` failed: {source}")]
pub(crate) struct StepError {
    step: &'static str,
    source: io::Error,
}

/// Applies an identity, up to what the runner and `on_fork` have to do.
pub(crate) fn apply(identity: &Identity, network: Option<&Network>) -> Result<(), StepError> {
    let step = |step| move |source| StepError { step, source };
    sys::reseed_kernel(identity.entropy.as_bytes()).map_err(step("entropy"))?;
    set_clock(identity.wall_clock_ns).map_err(step("wall clock"))?;
    let hostname = identity.hostname.as_str();
    rustix::system::sethostname(hostname.as_bytes()).map_err(io::Error::from).map_err(step("hostname"))?;
    rewrite("/etc/hostname", hostname).map_err(step("hostname"))?;
    rewrite("/etc/machine-id", identity.machine_id.as_str()).map_err(step("machine-id"))?;
    rewrite(BOOT_ID, identity.boot_id.as_str()).map_err(step("boot-id"))?;
    if let (Some(link), Some(network)) = (identity.network, network) {
        network::set_up(network, link.up).map_err(step("network"))?;
    }
    Ok(())
}

/// A seed for a runner, from the kernel's generator as it is by now: 64 hexadecimal digits.
pub(crate) fn runner_seed() -> io::Result<String> {
    let mut seed = [0; 32];
    let count = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
    if count < seed.len() {
        return Err(io::Error::other("the kernel gave too few random bytes"));
    }
    Ok(seed.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn set_clock(nanoseconds: u64) -> io::Result<()> {
    const SECOND: u64 = 1_000_000_000;
    let tv_sec = i64::try_from(nanoseconds / SECOND).map_err(io::Error::other)?;
    let tv_nsec = i64::try_from(nanoseconds % SECOND).map_err(io::Error::other)?;
    Ok(clock_settime(ClockId::Realtime, Timespec { tv_sec, tv_nsec })?)
}

/// Replaces the content in place, because other files are bound to these. A line of the same length costs no
/// change of the file's size, which is most of the work in a file system with a journal.
pub(crate) fn rewrite(path: &str, line: &str) -> io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(false).open(path)?;
    let line = format!("{line}\n");
    file.write_all(line.as_bytes())?;
    let length = line.len() as u64;
    if file.metadata()?.len() != length { file.set_len(length) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewritten_file_is_the_same_file_with_only_the_new_line() {
        use std::os::unix::fs::MetadataExt;
        let path = std::env::temp_dir().join(format!("spore-rewrite-{}", std::process::id()));
        let path = path.to_str().unwrap();
        rewrite(path, "a-long-name").unwrap();
        let inode = std::fs::metadata(path).unwrap().ino();
        for line in ["short", "other", "longer-again"] {
            rewrite(path, line).unwrap();
            assert_eq!(std::fs::read_to_string(path).unwrap(), format!("{line}\n"));
            assert_eq!(std::fs::metadata(path).unwrap().ino(), inode);
        }
        std::fs::remove_file(path).unwrap();
    }
}
