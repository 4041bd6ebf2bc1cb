//! Why an archive is refused.

use std::io;

use tar_stream::shown;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It cannot be read, is not a tar archive, or a damaged one.
    #[error(transparent)]
    Read(#[from] tar_stream::Error),
    /// An entry that is refused.
    #[error("its entry {path} {reason}")]
    Entry {
        /// The entry's path as the archive has it, with unprintable bytes escaped, shortened.
        path: String,
        /// What is wrong with it, as the rest of a sentence.
        reason: &'static str,
    },
}

impl ArchiveError {
    pub(crate) fn path(path: &[u8], reason: &'static str) -> Self {
        Self::Entry { path: shown(path), reason }
    }

    pub(crate) fn read(error: io::Error) -> Self {
        Self::Read(tar_stream::Error::Read(error))
    }
}
