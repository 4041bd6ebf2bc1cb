//! Why a layer cannot be made.

use std::io;

use crate::ArchiveError;
use crate::archive::EntryName;

/// What is wrong with a layer, or with the place where it is to be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// Its archive is refused, or cannot be decompressed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// An entry that is refused.
    #[error("its entry {path} {reason}")]
    Entry {
        /// The entry's path, with unprintable bytes escaped, shortened.
        path: String,
        /// What is wrong with it, as the rest of a sentence.
        reason: &'static str,
    },
    /// More than is allowed.
    #[error("it has more than {limit} {what}")]
    TooMuch {
        /// Of what, and what can be done.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// Where it comes from does not give it.
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    /// What was read could not be put aside.
    #[error("what it holds cannot be kept: {0}")]
    Write(io::Error),
    /// What was read would not fit twice, as itself and as a layer.
    #[error("at least {needed} more bytes are needed on the disk for it, {free} are free: free some")]
    NoSpace {
        /// Bytes that would be written next.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// It was asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl LayerError {
    /// Of an entry by the names of its path.
    pub(crate) fn entry(names: &[EntryName], reason: &'static str) -> Self {
        let path: String = names.iter().map(|name| format!("/{}", name.escape_ascii())).collect();
        Self::Entry { path: format::excerpt(&path), reason }
    }
}

impl From<tar_stream::Error> for LayerError {
    fn from(error: tar_stream::Error) -> Self {
        Self::Archive(error.into())
    }
}
