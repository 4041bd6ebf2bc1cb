//! What several targets need.
//!
//! ```text
//! memory           how much of it a parser may take
//! tar              archives whose sums are right whatever was done to them
//! documents, json  documents, of which single tokens are changed
//! sample, pack     packs whose digests and lengths are right
//! wire             streams of frames whose lengths are
//! ```

pub mod documents;
pub mod json;
pub mod memory;
pub mod pack;
pub mod sample;
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
