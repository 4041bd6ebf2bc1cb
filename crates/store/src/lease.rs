//! Leases: what a running command needs and no tag or sandbox names yet.
//!
//! A lease is a file of its own in `leases/`, one digest a line, locked while the command lives; one without a lock
//! counts for nothing and is removed by the collector. The rule that makes collection safe without stopping anybody:
//! [`Lease::protect`] comes *before* the test whether the thing is there. If the collector had already removed it,
//! the test says so and the caller makes it anew; if not, the collector reads the lease before it unlinks anything,
//! and puts the thing back. [`Store::claim_blob`], [`Store::claim_flat`] and [`Store::claim_snapshot`] do both in this order.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use format::Digest;

use crate::file::{At, FileError, create_locked, found, names};
use crate::{Folder, Store, lock};

/// Keeps what it names from being collected, until its last clone is dropped.
#[derive(Debug, Clone)]
pub struct Lease {
    inner: Arc<LeaseFile>,
}

#[derive(Debug)]
struct LeaseFile {
    path: PathBuf,
    file: File,
    protected: Mutex<HashSet<Digest>>,
}

impl Store {
    /// A lease that names nothing yet.
    ///
    /// # Errors
    /// If its file cannot be made.
    pub fn lease(&self) -> Result<Lease, FileError> {
        let (path, file) = create_locked(&self.folder(Folder::Leases))?;
        Ok(Lease { inner: Arc::new(LeaseFile { path, file, protected: Mutex::default() }) })
    }
}

impl Lease {
    /// Protects all that `digest` names: a blob; if that is a manifest, all of its snapshot, flat files too; flat
    /// files of this map or of the layer with this content.
    ///
    /// Call it before testing whether the thing is there; [`Store::claim_blob`] and [`Store::claim_flat`] do both.
    ///
    /// # Errors
    /// If the lease cannot be written. The digest is not protected then.
    pub fn protect(&self, digest: &Digest) -> Result<(), FileError> {
        let LeaseFile { path, file, protected } = &*self.inner;
        let mut protected = protected.lock().unwrap_or_else(PoisonError::into_inner);
        if protected.contains(digest) {
            return Ok(());
        }
        // A reader that sees only a part of the line has come before the caller's test.
        let length = file.metadata().at("examine", path)?.len();
        if let Err(error) = file.write_all_at(format!("{digest}\n").as_bytes(), length).at("write", path) {
            // Part of a line must not stay in front of the next one.
            file.set_len(length).at("truncate", path)?;
            return Err(error);
        }
        protected.insert(*digest);
        Ok(())
    }

    /// Protects nothing any more, whoever else holds it, drafts of sandboxes too: for who gives up what was brought under it.
    ///
    /// # Errors
    /// If the lease cannot be written. All stays protected then.
    pub fn release(&self) -> Result<(), FileError> {
        let LeaseFile { path, file, protected } = &*self.inner;
        let mut protected = protected.lock().unwrap_or_else(PoisonError::into_inner);
        file.set_len(0).at("truncate", path)?;
        protected.clear();
        Ok(())
    }
}

impl Drop for LeaseFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
    }
}

/// What all leases of living commands name.
pub(crate) fn protected(store: &Store) -> Result<HashSet<Digest>, FileError> {
    let folder = store.folder(Folder::Leases);
    let mut digests = HashSet::new();
    for name in names(&folder)? {
        let path = folder.join(name);
        let Some(file) = found(File::open(&path).at("open", &path))? else { continue };
        if lock::lock_now(&file, &path)? {
            // Its command is dead, or has not written to it yet and will test after this.
            continue;
        }
        digests.extend(read(&path)?);
    }
    Ok(digests)
}

fn read(path: &Path) -> Result<Vec<Digest>, FileError> {
    let Some(bytes) = found(std::fs::read(path).at("read", path))? else { return Ok(Vec::new()) };
    let text = String::from_utf8_lossy(&bytes);
    let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
    whole.lines().map(|line| line.parse().map_err(|error| FileError::content(path, &error))).collect()
}
