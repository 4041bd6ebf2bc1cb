//! Why nothing could be collected.

use std::path::PathBuf;

use format::Digest;

use crate::{FileError, LoadError, SandboxId};

/// Why nothing could be collected.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// What a root needs cannot be known, so that nothing can be known to be unused.
    #[error(
        "cannot tell what {root} needs, so nothing is removed: {source}; pull it again, or remove it, and repeat"
    )]
    Unreadable {
        /// The tag, sandbox or lease.
        root: String,
        /// Its snapshot.
        digest: Digest,
        /// What is wrong with it.
        source: Box<LoadError>,
    },
    /// A sandbox's folder does not say of which snapshot it is.
    #[error(
        "{} does not say of which snapshot it is, so nothing is removed: `spore kill {id}` removes it",
        path.display()
    )]
    UnknownSandbox {
        /// The sandbox.
        id: SandboxId,
        /// Its folder.
        path: PathBuf,
    },
    /// A file could not be read, renamed or removed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The test that runs this wants it to end here.
    #[cfg(test)]
    #[error("killed by the test")]
    Killed,
}

impl PruneError {
    pub(crate) fn unreadable(root: String, digest: Digest, source: LoadError) -> Self {
        Self::Unreadable { root, digest, source: Box::new(source) }
    }
}
