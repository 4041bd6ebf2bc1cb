//! What commands that were killed have left, removed when a store is opened and before a collection.

use crate::file::{FileError, names};
use crate::prune::PruneError;
use crate::{Folder, Lock, LockKey, Store, lock, partial};

impl Store {
    /// Sweeps, unless a collector is at work: it has done so.
    pub(crate) fn sweep(&self) -> Result<(), FileError> {
        let Some(lock) = self.try_lock(LockKey::Collector)? else { return Ok(()) };
        self.sweep_leftovers(&lock)?;
        for (digest, _) in or_left(self.broken_pulls(partial::MAX_AGE)) {
            or_left(lock::remove_unlocked(&self.partial_path(&digest)));
        }
        if !names(&self.folder(Folder::Trash))?.is_empty() {
            match self.settle_trash(&lock, true, &mut || Ok(())) {
                Ok(_) => {}
                Err(PruneError::File(error)) => return Err(error),
                // All of it was put back. What is wrong is said by what uses it, and by the next collection.
                Err(error) => tracing::warn!("trash of a killed collection was put back: {error}"),
            }
        }
        self.heal_index()
    }

    /// Removes leases and temporary files that nobody holds, and leaves what cannot be removed.
    pub(crate) fn sweep_leftovers(&self, _held: &Lock) -> Result<(), FileError> {
        let leases = self.folder(Folder::Leases);
        for name in names(&leases)? {
            or_left(lock::remove_unlocked(&leases.join(name)));
        }
        let folder = self.folder(Folder::Tmp);
        for name in names(&folder)? {
            let path = folder.join(name);
            if path.is_dir() {
                or_left(lock::remove_unlocked_folder(&path));
            } else {
                or_left(lock::remove_unlocked(&path));
            }
        }
        Ok(())
    }

    /// Removes the files of locks that nobody holds.
    pub(crate) fn sweep_locks(&self, _held: &Lock) -> Result<(), FileError> {
        let folder = self.folder(Folder::Locks);
        names(&folder)?.into_iter().try_for_each(|name| lock::remove_unlocked(&folder.join(name)).map(drop))
    }
}

/// A leftover that cannot be removed, such as a folder with files of other users, costs its space and nothing else:
/// the store is used with it.
fn or_left<T: Default>(removed: Result<T, FileError>) -> T {
    removed.unwrap_or_else(|error| {
        tracing::warn!("what a killed command has left stays: {error}");
        T::default()
    })
}

#[cfg(test)]
mod tests;
