//! Why an archive is refused.

use std::io;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    /// It is not a tar archive, or a damaged one.
    #[error("it is not a whole tar archive: {reason}, at byte {position}")]
    Broken {
        /// Where, in bytes.
        position: u64,
        /// What was found.
        reason: &'static str,
    },
    /// An entry that is refused.
    #[error("its entry {path} {reason}")]
    Entry {
        /// The entry's path as the archive has it, with unprintable bytes escaped, shortened.
        path: String,
        /// What is wrong with it, as the rest of a sentence.
        reason: &'static str,
    },
    /// More than is reasonable.
    #[error("it has more than {limit} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// What was read could not be put aside.
    #[error("what it holds cannot be kept: {0}")]
    Write(io::Error),
    /// It was asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Bytes of a path that an error shows.
const SHOWN: usize = 200;

impl ArchiveError {
    pub(crate) fn path(path: &[u8], reason: &'static str) -> Self {
        let shown = path.get(..SHOWN).unwrap_or(path);
        let more = if shown.len() < path.len() { "…" } else { "" };
        Self::Entry { path: format!("\"{}{more}\"", shown.escape_ascii()), reason }
    }
}
