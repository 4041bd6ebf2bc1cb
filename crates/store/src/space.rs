//! Free space, asked for before something large is written.

use crate::Store;
use crate::file::{At, FileError};

/// Why something large is not even begun.
#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    /// It would not fit.
    #[error(
        "{needed} bytes are needed on the filesystem of {}, {free} are free: free some (`spore prune` removes \
         what nothing uses)",
        root.display()
    )]
    TooLittle {
        /// The store's root.
        root: std::path::PathBuf,
        /// Bytes that would be written.
        needed: u64,
        /// Bytes that are free for this user.
        free: u64,
    },
    /// The filesystem does not say.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Store {
    /// Bytes that this user can still write to the store's filesystem.
    ///
    /// # Errors
    /// If the filesystem does not say.
    pub fn free_space(&self) -> Result<u64, FileError> {
        let stat = rustix::fs::statvfs(self.root()).at("examine the filesystem of", self.root())?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Checks that `needed` more bytes fit. Others may write in between: the write itself can still fail.
    ///
    /// # Errors
    /// If they do not, or the filesystem does not say.
    pub fn ensure_space(&self, needed: u64) -> Result<(), SpaceError> {
        let free = self.free_space()?;
        if needed <= free {
            return Ok(());
        }
        Err(SpaceError::TooLittle { root: self.root().to_owned(), needed, free })
    }
}
