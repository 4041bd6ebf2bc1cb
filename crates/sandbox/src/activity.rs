//! When a sandbox that may not be idle was last used: the time of an empty file in its folder.
//!
//! A supervisor that has died leaves it behind, so that whoever looks next can tell whether the time is up, and the next
//! supervisor goes on from there. Only a sandbox with such a limit has the file.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The file.
const ACTIVITY_FILE: &str = "activity";

/// Notes that the last session ended `ago`.
pub(crate) fn note(folder: &Path, ago: Duration) -> io::Result<()> {
    let file = File::options().create(true).append(true).open(folder.join(ACTIVITY_FILE))?;
    let now = SystemTime::now();
    file.set_modified(now.checked_sub(ago).unwrap_or(now))
}

/// How long ago that was, as far as it was noted. One in the future is now: the clock was set.
pub(crate) fn age(folder: &Path) -> Option<Duration> {
    let noted = std::fs::metadata(folder.join(ACTIVITY_FILE)).and_then(|file| file.modified()).ok()?;
    Some(noted.elapsed().unwrap_or_default())
}
