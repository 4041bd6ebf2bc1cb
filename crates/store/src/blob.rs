//! Blobs: content under its digest, verified when it enters and never changed.

use std::fs::{self, File};
use std::path::PathBuf;

use format::{Digest, Hasher};

use crate::file::{At, FileError, TempFile, found, read_bounded, rename_new};
use crate::trash::Item;
use crate::{Folder, Lease, Store};

/// Blobs are read-only even for their owner, so that no tool changes one by mistake.
pub(crate) const BLOB_MODE: u32 = 0o444;

/// The disk is told of so many new bytes at a time, and not only of all of them in the end.
const WRITEBACK_BYTES: u64 = 8 << 20;

/// Why a blob cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It is not in the store.
    #[error("blob {digest} is not in the store: pull a snapshot that has it")]
    Missing {
        /// The blob.
        digest: Digest,
    },
    /// The bytes that came are not those that were expected. They were not kept.
    #[error("content has the digest {found}: expected {expected}; it was not stored")]
    Unexpected {
        /// What was to come.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// More or fewer bytes came than were announced. They were not kept.
    #[error("blob {digest} has {found} bytes: expected {expected}; it was not stored")]
    Size {
        /// The blob.
        digest: Digest,
        /// Bytes that came.
        found: u64,
        /// Bytes that were to come.
        expected: u64,
    },
    /// The stored bytes have changed since they were verified.
    #[error("{} is damaged: its digest is {found}; remove it and pull a snapshot that has it again", path.display())]
    Damaged {
        /// The blob's file.
        path: PathBuf,
        /// What it holds.
        found: Digest,
    },
    /// It is larger than what it is said to be may be.
    #[error("blob {digest} has {size} bytes: at most {limit} are allowed here")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its bytes.
        size: u64,
        /// The bound.
        limit: usize,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Takes the bytes of a new blob and hashes them as they come. Dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    lease: Lease,
    temp: TempFile,
    hasher: Hasher,
    size: u64,
}

impl BlobWriter {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// If they cannot be written, for instance because the disk is full.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.temp.append(bytes)?;
        self.hasher.update(bytes);
        let before = self.size / WRITEBACK_BYTES;
        self.size += bytes.len() as u64;
        if self.size / WRITEBACK_BYTES > before {
            host::begin_writeback(self.temp.file());
        }
        Ok(())
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Puts the blob in the store, under the lease, and gives its digest and size in bytes.
    ///
    /// # Errors
    /// If its digest is not `expected`, or it cannot be written.
    pub fn finish(self, expected: Option<&Digest>) -> Result<(Digest, u64), BlobError> {
        let found = self.hasher.finish();
        if let Some(expected) = expected.filter(|expected| **expected != found) {
            return Err(BlobError::Unexpected { expected: *expected, found });
        }
        self.lease.protect(&found)?;
        self.temp.place(&self.store.blob_path(&found), BLOB_MODE)?;
        Ok((found, self.size))
    }
}

impl Store {
    /// Begins a new blob, which `lease` will protect.
    ///
    /// # Errors
    /// If its file cannot be made.
    pub fn blob_writer(&self, lease: &Lease) -> Result<BlobWriter, FileError> {
        let temp =
            TempFile::create(&self.folder(Folder::Tmp), "write a new blob in", self.folder(Folder::Blobs))?;
        Ok(BlobWriter { store: self.clone(), lease: lease.clone(), temp, hasher: Hasher::new(), size: 0 })
    }

    /// Stores `bytes` as a blob unless it is there, and gives its digest.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put_blob(&self, lease: &Lease, bytes: &[u8]) -> Result<Digest, BlobError> {
        let digest = Digest::of(bytes);
        if !self.claim_blob(lease, &digest)? {
            let mut writer = self.blob_writer(lease)?;
            writer.append(bytes)?;
            writer.finish(Some(&digest))?;
        }
        Ok(digest)
    }

    /// Protects a blob and says whether it is there: the one way to find out that can be relied on.
    ///
    /// # Errors
    /// If the lease cannot be written or the folder cannot be read.
    pub fn claim_blob(&self, lease: &Lease, digest: &Digest) -> Result<bool, FileError> {
        lease.protect(digest)?;
        self.rescue_blob(digest)
    }

    /// Whether a blob is there; one in the trash is taken back, for the collector may have put it there before it
    /// could read the lease that protects it.
    pub(crate) fn rescue_blob(&self, digest: &Digest) -> Result<bool, FileError> {
        let rescue = || found(rename_new(&self.trash_path(&Item::Blob(*digest)), &self.blob_path(digest)));
        // It may also have been put back between the first look and the second.
        Ok(self.has_blob(digest)? || rescue()?.is_some() || self.has_blob(digest)?)
    }

    /// Whether a blob is there now. It can go the next moment: see [`Store::claim_blob`].
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool, FileError> {
        let path = self.blob_path(digest);
        found(fs::metadata(&path).at("examine", &path)).map(|metadata| metadata.is_some())
    }

    /// Opens a blob for reading. Its bytes are not hashed again.
    ///
    /// # Errors
    /// If it is not there.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, BlobError> {
        self.find_blob(digest)?.map(|(file, _)| file).ok_or(BlobError::Missing { digest: *digest })
    }

    /// Bytes of a blob.
    ///
    /// # Errors
    /// If it is not there.
    pub fn blob_size(&self, digest: &Digest) -> Result<u64, BlobError> {
        let file = self.open_blob(digest)?;
        Ok(file.metadata().at("examine", &self.blob_path(digest))?.len())
    }

    /// All of a small blob, hashed again.
    ///
    /// # Errors
    /// If it is not there, has more than `limit` bytes, or is damaged.
    pub fn read_blob(&self, digest: &Digest, limit: usize) -> Result<Vec<u8>, BlobError> {
        let (mut file, path) = self.find_blob(digest)?.ok_or(BlobError::Missing { digest: *digest })?;
        let size = file.metadata().at("examine", &path)?.len();
        if size > limit as u64 {
            return Err(BlobError::TooLarge { digest: *digest, size, limit });
        }
        let bytes = read_bounded(&mut file, &path, limit)?;
        let found = Digest::of(&bytes);
        if found == *digest { Ok(bytes) } else { Err(BlobError::Damaged { path, found }) }
    }

    /// Opens a blob wherever it is: one that a lease protects can lie in the trash for a moment, until the
    /// collector has read the lease.
    fn find_blob(&self, digest: &Digest) -> Result<Option<(File, PathBuf)>, FileError> {
        let (path, trash) = (self.blob_path(digest), self.trash_path(&Item::Blob(*digest)));
        for path in [&path, &trash, &path] {
            if let Some(file) = found(File::open(path).at("open", path))? {
                return Ok(Some((file, path.clone())));
            }
        }
        Ok(None)
    }

    /// The digests of all blobs.
    pub(crate) fn blobs(&self) -> Result<Vec<Digest>, FileError> {
        let names = crate::file::names(&self.folder(Folder::Blobs))?;
        Ok(names.iter().filter_map(|name| Digest::from_hex(name).ok()).collect())
    }
}

#[cfg(test)]
mod tests;
