//! Blobs that have not arrived in whole: `partial/HEX`, kept when a pull breaks, so that the next one resumes.
//!
//! What a partial file holds is never believed: it is hashed again when the transfer goes on. While one process
//! receives a blob, others that need it wait, and find it in the store then.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use format::{Digest, Hasher};

use crate::blob::BLOB_MODE;
use crate::file::{At, FileError, TempFile, found, names};
use crate::{BlobError, Folder, Lease, Store, lock};

/// How long a broken pull can be resumed before the next start sweeps what it left.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// What [`Partial::open`] found.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one per transfer, and it is taken apart at once")]
pub enum Started {
    /// The blob is in the store: nothing to receive.
    Complete,
    /// The bytes from [`Partial::offset`] on are to be received.
    Receive(Partial),
}

/// A blob that is being received. Dropped, it leaves what came, for the next try.
#[derive(Debug)]
pub struct Partial {
    store: Store,
    digest: Digest,
    size: u64,
    temp: TempFile,
    hasher: Hasher,
    offset: u64,
}

impl Partial {
    /// Protects the blob `digest` of `size` bytes, and begins or resumes receiving it unless it is there.
    /// `on_wait` is called if another process receives it: this one waits then.
    ///
    /// # Errors
    /// If the file cannot be made, locked or read.
    pub fn open(
        store: &Store,
        lease: &Lease,
        digest: &Digest,
        size: u64,
        on_wait: &mut dyn FnMut(),
    ) -> Result<Started, BlobError> {
        if store.claim_blob(lease, digest)? {
            return Ok(Started::Complete);
        }
        let path = store.partial_path(digest);
        let file = acquire(&path, on_wait)?;
        let mut partial = Self {
            store: store.clone(),
            digest: *digest,
            size,
            temp: TempFile::adopt(path, file),
            hasher: Hasher::new(),
            offset: 0,
        };
        if store.has_blob(digest)? {
            partial.temp.discard()?;
            return Ok(Started::Complete);
        }
        partial.resume()?;
        Ok(Started::Receive(partial))
    }

    fn resume(&mut self) -> Result<(), FileError> {
        let mut buffer = vec![0; 1 << 20];
        let mut file = File::open(self.temp.path()).at("open", self.temp.path())?;
        loop {
            let read = file.read(&mut buffer).at("read", self.temp.path())?;
            if read == 0 {
                break;
            }
            self.hasher.update(buffer.get(..read).unwrap_or_default());
            self.offset += read as u64;
        }
        if self.offset > self.size { self.restart() } else { Ok(()) }
    }

    /// Bytes that have come: where the transfer goes on.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes that the blob has in whole.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Forgets what has come, for a sender that cannot go on in the middle.
    ///
    /// # Errors
    /// If the file cannot be emptied.
    pub fn restart(&mut self) -> Result<(), FileError> {
        self.temp.file().set_len(0).at("truncate", self.temp.path())?;
        self.hasher = Hasher::new();
        self.offset = 0;
        Ok(())
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// If there are more than were announced, or they cannot be written.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let found = self.offset.saturating_add(bytes.len() as u64);
        if found > self.size {
            return Err(BlobError::Size { digest: self.digest, found, expected: self.size });
        }
        if let Err(error) = self.temp.append(bytes) {
            // What came before stays, for the next try.
            self.temp.file().set_len(self.offset).at("truncate", self.temp.path())?;
            return Err(error.into());
        }
        self.hasher.update(bytes);
        self.offset = found;
        Ok(())
    }

    /// Puts the blob in the store.
    ///
    /// # Errors
    /// If bytes are still to come; if its digest is not the expected one: what came is removed then.
    pub fn finish(self) -> Result<(), BlobError> {
        let Self { store, digest, size, temp, hasher, offset } = self;
        if offset != size {
            return Err(BlobError::Size { digest, found: offset, expected: size });
        }
        let found = hasher.finish();
        if found != digest {
            temp.discard()?;
            return Err(BlobError::Unexpected { expected: digest, found });
        }
        temp.place(&store.blob_path(&digest), BLOB_MODE)?;
        Ok(())
    }
}

/// Opens and locks a partial file for writing, also one that was made read-only.
fn acquire(path: &Path, on_wait: &mut dyn FnMut()) -> Result<File, FileError> {
    match lock::acquire(path, on_wait) {
        Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            found(fs::set_permissions(path, Permissions::from_mode(0o600)).at("open", path))?;
            lock::acquire(path, on_wait)
        }
        result => result,
    }
}

impl Store {
    pub(crate) fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.folder(Folder::Partial).join(digest.hex())
    }

    /// Bytes of the blob `digest` that have come: those that the next [`Partial::open`] need not ask for, if it finds
    /// them to be good.
    ///
    /// # Errors
    /// If the file cannot be examined.
    pub fn partial_bytes(&self, digest: &Digest) -> Result<u64, FileError> {
        let path = self.partial_path(digest);
        Ok(found(fs::metadata(&path).at("examine", &path))?.map_or(0, |metadata| metadata.len()))
    }

    /// What broken pulls have left and no process writes to, with its bytes; only what is older than `age`.
    pub(crate) fn broken_pulls(&self, age: Duration) -> Result<Vec<(Digest, u64)>, FileError> {
        let mut broken = Vec::new();
        for digest in
            names(&self.folder(Folder::Partial))?.iter().filter_map(|name| Digest::from_hex(name).ok())
        {
            let path = self.partial_path(&digest);
            let Some(metadata) = found(fs::metadata(&path).at("examine", &path))? else { continue };
            let modified = metadata.modified().at("examine", &path)?;
            let old = SystemTime::now().duration_since(modified).is_ok_and(|past| past >= age);
            if (old || age.is_zero()) && lock::lock_existing(&path)?.is_some() {
                broken.push((digest, metadata.len()));
            }
        }
        Ok(broken)
    }
}

#[cfg(test)]
mod tests;
