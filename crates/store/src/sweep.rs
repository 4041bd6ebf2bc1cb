//! What commands that were killed have left, removed when a store is opened and before a collection.

use crate::file::{FileError, names};
use crate::{Folder, Lock, LockKey, Store, lock, partial};

impl Store {
    /// Sweeps, unless a collector is at work: it has done so.
    pub(crate) fn sweep(&self) -> Result<(), FileError> {
        let Some(lock) = self.try_lock(LockKey::Collector)? else { return Ok(()) };
        let mut stuck = Vec::new();
        self.sweep_leftovers(&lock, &mut stuck)?;
        match self.broken_pulls(partial::MAX_AGE) {
            Ok(broken) => {
                let paths = broken.iter().map(|(digest, _)| self.partial_path(digest));
                stuck.extend(paths.filter_map(|path| lock::remove_unlocked(&path).err()));
            }
            Err(error) => stuck.push(error),
        }
        if !names(&self.folder(Folder::Trash))?.is_empty()
            && let Err(error) = self.settle_trash(&lock, true, &mut stuck, &mut || Ok(()))
        {
            // All of it was put back. What is wrong is said by what uses it, and by the next collection.
            tracing::warn!("trash of a killed collection was put back: {error}");
        }
        // It costs its space and nothing else: fsck and the next collection name it.
        for error in stuck {
            tracing::warn!("what a killed command has left stays: {error}");
        }
        self.heal_index()
    }

    /// Removes leases and temporary files that nobody holds. What cannot be removed, such as a folder with files of
    /// other users, stays and is added to `stuck`.
    pub(crate) fn sweep_leftovers(&self, _held: &Lock, stuck: &mut Vec<FileError>) -> Result<(), FileError> {
        for folder in [Folder::Leases, Folder::Tmp].map(|folder| self.folder(folder)) {
            for path in names(&folder)?.into_iter().map(|name| folder.join(name)) {
                let removed = if path.is_dir() {
                    lock::remove_unlocked_folder(&path)
                } else {
                    lock::remove_unlocked(&path).map(drop)
                };
                stuck.extend(removed.err());
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

#[cfg(test)]
mod tests;
