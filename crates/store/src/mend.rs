//! What of a store can be mended without losing anything: modes of its folders, and locks that nobody holds.
//!
//! Leases, temporary files, and what else killed commands have left need no mending: every opening removes them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::file::{At, FileError, found, names};
use crate::{Folder, LockKey, Store, lock};

/// What a folder of a store may be to others: nothing. Memory of guests is in there.
const MODE: u32 = 0o700;

/// A folder of a store that others may look into, or that its owner may not use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongMode {
    /// The folder.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
}

/// The folders of the store at `root` with modes that a store does not make. The root itself may be anybody's to look
/// into: all is in folders of it. A root that is no store, or another user's, has none.
///
/// # Errors
/// If a folder cannot be examined.
pub fn wrong_modes(root: &Path) -> Result<Vec<WrongMode>, FileError> {
    let mut wrong = Vec::new();
    if !Store::is_at(root) {
        return Ok(wrong);
    }
    let user = rustix::process::geteuid().as_raw();
    for path in Folder::ALL.map(|folder| root.join(folder.name())) {
        // Nothing is followed out of the store.
        let Some(metadata) = found(fs::symlink_metadata(&path).at("examine", &path))? else { continue };
        let mode = metadata.permissions().mode() & 0o777;
        if metadata.is_dir() && metadata.uid() == user && mode != MODE {
            wrong.push(WrongMode { path, mode });
        }
    }
    Ok(wrong)
}

/// Gives a folder that [`wrong_modes`] has found the mode of a store's.
///
/// # Errors
/// If it cannot be changed.
pub fn mend_mode(folder: &WrongMode) -> Result<(), FileError> {
    fs::set_permissions(&folder.path, Permissions::from_mode(MODE)).at("change the mode of", &folder.path)
}

impl Store {
    /// How many files of locks on objects nobody holds. They do no harm. Those of the two locks that every command
    /// takes are always there.
    ///
    /// # Errors
    /// If they cannot be listed or tried.
    pub fn stale_locks(&self) -> Result<usize, FileError> {
        let folder = self.folder(Folder::Locks);
        let common = [LockKey::Refs, LockKey::Collector].map(LockKey::file_name);
        let mut count = 0;
        for name in names(&folder)?.into_iter().filter(|name| !common.contains(name)) {
            count += usize::from(lock::lock_existing(&folder.join(name))?.is_some());
        }
        Ok(count)
    }

    /// Removes them, unless a collector is at work, which does so itself.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn remove_stale_locks(&self) -> Result<(), FileError> {
        let Some(lock) = self.try_lock(LockKey::Collector)? else { return Ok(()) };
        self.sweep_locks(&lock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LockKey;

    #[test]
    fn modes_are_found_and_mended() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(wrong_modes(store.root()).unwrap(), []);
        let set = |name: &str, mode| {
            fs::set_permissions(store.root().join(name), Permissions::from_mode(mode)).unwrap();
        };
        set("", 0o755);
        set("flat", 0o755);
        set("refs", 0o500);
        let wrong = wrong_modes(store.root()).unwrap();
        let found: Vec<_> = wrong.iter().map(|one| (one.path.file_name().unwrap(), one.mode)).collect();
        assert_eq!(found, [("refs".as_ref(), 0o500), ("flat".as_ref(), 0o755)]);
        wrong.iter().try_for_each(mend_mode).unwrap();
        assert_eq!(wrong_modes(store.root()).unwrap(), []);
    }

    #[test]
    fn what_is_no_store_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("flat")).unwrap();
        fs::set_permissions(folder.path().join("flat"), Permissions::from_mode(0o755)).unwrap();
        assert_eq!(wrong_modes(folder.path()).unwrap(), []);
        // A folder of a store that leads elsewhere.
        let store = Store::open(&folder.path().join("root")).unwrap();
        fs::remove_dir(store.root().join("trash")).unwrap();
        std::os::unix::fs::symlink(folder.path(), store.root().join("trash")).unwrap();
        assert_eq!(wrong_modes(store.root()).unwrap(), []);
    }

    #[test]
    fn a_lock_that_is_held_is_not_stale() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.stale_locks().unwrap(), 0);
        let key = |text: &[u8]| LockKey::Object(format::Digest::of(text));
        let held = store.try_lock(key(b"held")).unwrap().unwrap();
        drop(store.try_lock(key(b"stale")).unwrap().unwrap());
        assert_eq!(store.stale_locks().unwrap(), 1);
        store.remove_stale_locks().unwrap();
        assert_eq!(store.stale_locks().unwrap(), 0);
        // The one that is held is there, and held.
        assert!(store.try_lock(key(b"held")).unwrap().is_none());
        drop(held);
        assert_eq!(store.stale_locks().unwrap(), 1);
    }
}
