//! The end of the guest.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use agent_protocol::signal;
use rustix::mount::{MountFlags, mount_remount};
use rustix::process::{WaitOptions, wait};
use rustix::system::{RebootCommand, reboot};

use crate::sys;

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ends every process, leaves the writable disk clean, and powers off.
pub(crate) fn off(writable: Option<BorrowedFd<'_>>) -> io::Result<Infallible> {
    // There may be no process but this one.
    let _ = sys::kill(None, signal::KILL);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(_) => break,
        }
    }
    rustix::fs::sync();
    if let Some(writable) = writable {
        // Synced, it is whole in any case; read-only, its journal need not be replayed.
        let _ = mount_remount(format!("/proc/self/fd/{}", writable.as_raw_fd()), MountFlags::RDONLY, "");
    }
    reboot(RebootCommand::PowerOff)?;
    Err(io::Error::other("the kernel did not power off"))
}
