//! Locks: one file per object in `locks/`, held by `flock`, so that the kernel releases what a killed process held.
//!
//! Whoever holds one knows that no other process does the same work on the same object. They save work; content
//! is safe without them, for nothing becomes visible but by a rename. Lock files are removed by the collector: a
//! lock counts only while its name still leads to the locked file, so whoever waited on a removed one tries again.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use format::Digest;

use crate::file::{At, FileError, found, remove_file, remove_tree, still_names};
use crate::{FlatKey, Folder, Store};

/// What a lock is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKey {
    /// Laying out one flat file.
    Flat(FlatKey),
    /// Work on, or with, whatever else this digest names: an entry of the cache, such as a base or a kernel.
    Object(Digest),
    /// Changes of tags, and the `index.json` that is derived from them. Held for milliseconds.
    Refs,
    /// The one collector.
    Collector,
}

impl LockKey {
    pub(crate) fn file_name(self) -> String {
        match self {
            Self::Flat(key) => key.to_string(),
            Self::Object(digest) => digest.hex(),
            Self::Refs => "refs".to_owned(),
            Self::Collector => "collector".to_owned(),
        }
    }
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Store {
    /// Takes a lock, waiting for it; `on_wait` is called once if somebody else holds it.
    ///
    /// # Errors
    /// If the lock's file cannot be made or locked.
    pub fn lock(&self, key: LockKey, on_wait: &mut dyn FnMut()) -> Result<Lock, FileError> {
        acquire(&self.folder(Folder::Locks).join(key.file_name()), on_wait).map(|file| Lock { _file: file })
    }

    /// Takes a lock, or nothing if somebody else holds it.
    ///
    /// # Errors
    /// If the lock's file cannot be made or locked.
    pub fn try_lock(&self, key: LockKey) -> Result<Option<Lock>, FileError> {
        let path = self.folder(Folder::Locks).join(key.file_name());
        let file = open_or_create(&path)?;
        let ours = lock_now(&file, &path)? && still_names(&path, &file)?;
        Ok(ours.then_some(Lock { _file: file }))
    }
}

/// Opens and locks `path`, which is made if it is not there.
pub(crate) fn acquire(path: &Path, on_wait: &mut dyn FnMut()) -> Result<File, FileError> {
    let mut told = false;
    loop {
        let file = open_or_create(path)?;
        if !lock_now(&file, path)? {
            if !told {
                on_wait();
                told = true;
            }
            file.lock().at("lock", path)?;
        }
        if still_names(path, &file)? {
            return Ok(file);
        }
    }
}

/// Locks the file or folder `path`, or nothing if it is locked or not there. Opened for reading only: that is enough
/// for a lock, and what is read-only can be locked too.
pub(crate) fn lock_existing(path: &Path) -> Result<Option<File>, FileError> {
    let Some(file) = found(File::open(path).at("open", path))? else { return Ok(None) };
    let ours = lock_now(&file, path)? && still_names(path, &file)?;
    Ok(ours.then_some(file))
}

/// Removes a file that nobody holds the lock of; says whether it did.
pub(crate) fn remove_unlocked(path: &Path) -> Result<bool, FileError> {
    let Some(_held) = lock_existing(path)? else { return Ok(false) };
    remove_file(path)?;
    Ok(true)
}

/// Removes a folder that nobody holds the lock of, and all in it. The lock is held until the folder is gone, so that
/// nobody begins to work in it meanwhile.
pub(crate) fn remove_unlocked_folder(path: &Path) -> Result<(), FileError> {
    let Some(_held) = lock_existing(path)? else { return Ok(()) };
    remove_tree(path)
}

fn open_or_create(path: &Path) -> Result<File, FileError> {
    File::options().read(true).append(true).create(true).mode(0o600).open(path).at("open", path)
}

/// Takes the lock of an open file, unless somebody else holds it.
pub(crate) fn lock_now(file: &File, path: &Path) -> Result<bool, FileError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err::<bool, io::Error>(error).at("lock", path),
    }
}

#[cfg(test)]
mod tests;
