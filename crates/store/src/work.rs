//! Folders to work in, on the store's filesystem, that no crash leaves behind for long.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use format::Digest;

use crate::file::{At, FileError, TempFile, found, random_name, still_names};
use crate::{FlatKey, Folder, Lease, LockKey, Store};

/// A folder below `tmp/`. Dropped, it goes with all that is in it; if its process is killed, the next sweep
/// takes it away.
#[derive(Debug)]
pub struct WorkFolder {
    path: PathBuf,
    /// Open and locked, so that no sweep takes the folder for a leftover.
    _folder: File,
}

impl WorkFolder {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).ok();
    }
}

impl Store {
    /// A new, empty folder to work in.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn work_folder(&self) -> Result<WorkFolder, FileError> {
        let path = self.folder(Folder::Tmp).join(random_name()?);
        loop {
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => result.at("create", &path)?,
            }
            // A sweep may take it between its making and its locking.
            let Some(folder) = found(File::open(&path).at("open", &path))? else { continue };
            folder.lock().at("lock", &path)?;
            if still_names(&path, &folder)? {
                return Ok(WorkFolder { path, _folder: folder });
            }
        }
    }

    /// Moves `file`, on the store's filesystem, to where the layer with this content lies flat, unless it lies there: what runs
    /// has that file open. The caller has hashed it.
    ///
    /// # Errors
    /// If it cannot be moved.
    pub fn place_layer(&self, lease: &Lease, content: &Digest, file: &Path) -> Result<(), FileError> {
        let key = FlatKey::Layer(*content);
        let temp = TempFile::adopt(file.to_owned(), File::open(file).at("open", file)?);
        let _lock = self.lock(LockKey::Flat(key), &mut || ())?;
        match self.claim_flat(lease, key)? {
            Some(_) => temp.discard(),
            None => temp.place(&self.flat_path(key), key.mode()),
        }
    }
}
