//! What several targets need.
//!
//! ```text
//! memory   how much of it a parser may take
//! tar      archives whose sums are right whatever was done to them
//! pack     packs whose digests and lengths are
//! wire     streams of frames whose headers are
//! ```

pub mod memory;
pub mod pack;
pub mod tar;
pub mod wire;

use std::path::Path;
use std::sync::LazyLock;

/// A folder for files that are gone at once: in memory, where there is such a one.
pub fn scratch() -> &'static Path {
    static FOLDER: LazyLock<&Path> = LazyLock::new(|| {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { memory } else { Path::new("/tmp") }
    });
    *FOLDER
}
