//! Blobs that have not arrived in whole: `partial/HEX`, kept when a pull breaks, so that the next one resumes.
//!
//! A blob is received in slots of 8 MiB, several at once and each from its first byte on, into their places in
//! the file. Nothing beside the file says what has come: in each slot that is all up to its last byte that is not zero.
//! So a kill loses nothing that was written, and no record of it can lie. (Zeros at the end of what came are asked for
//! again; compressed bytes have hardly any.)
//!
//! What a partial file holds is never believed, for after a crash of the host anything may be missing from it: all of it
//! is hashed, in order, behind what arrives. While one process receives a blob, others that need it wait, and find it in
//! the store then.

use std::fs::{self, File, Permissions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use format::{Digest, Hasher};

use crate::blob::BLOB_MODE;
use crate::file::{At, FileError, TempFile, allocated, found, names};
use crate::{BlobError, Folder, Lease, Store, lock};

/// How long a broken pull can be resumed before the next start sweeps what it left.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes of a slot; the last one of a blob may have fewer. Small enough that a blob of the largest size keeps many
/// connections busy, large enough that what a request costs is lost in it: docker-registry allocates 4 MiB for each.
const SLOT_BYTES: u64 = 8 << 20;

/// Bytes that are read at once, to be hashed or to be searched.
const BUFFER: usize = 256 << 10;

/// What [`Partial::open`] found.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one per transfer, and it is taken apart at once")]
pub enum Started {
    /// The blob is in the store: nothing to receive.
    Complete,
    /// The bytes of [`Partial::gaps`] are to be received.
    Receive(Partial),
}

/// A blob that is being received, by any number of threads. Dropped, it leaves what came, for the next try.
#[derive(Debug)]
pub struct Partial {
    store: Store,
    digest: Digest,
    size: u64,
    temp: TempFile,
    /// Bytes that have come of each slot, from its first one on.
    came: Mutex<Vec<u64>>,
    /// Taken by whoever hashes: nobody waits for it but [`Partial::finish`].
    hashed: Mutex<Hashed>,
    _lock: File,
}

/// The hash of the blob's first bytes.
#[derive(Debug, Default)]
struct Hashed {
    hasher: Hasher,
    bytes: u64,
    buffer: Vec<u8>,
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
        let lock = acquire(&path, on_wait)?;
        if store.has_blob(digest)? {
            TempFile::adopt(path, lock).discard()?;
            return Ok(Started::Complete);
        }
        // The file that is locked is open for appending, wherever one asks to write.
        let file = File::options().read(true).write(true).open(&path).at("open", &path)?;
        if file.metadata().at("examine", &path)?.len() > size {
            file.set_len(0).at("truncate", &path)?;
        }
        let came = look(&file, size).at("read", &path)?;
        Ok(Started::Receive(Self {
            store: store.clone(),
            digest: *digest,
            size,
            temp: TempFile::adopt(path, file),
            came: Mutex::new(came),
            hashed: Mutex::default(),
            _lock: lock,
        }))
    }

    /// Bytes that have come.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.came().iter().sum()
    }

    /// Bytes that the blob has in whole.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What is to be received, in order: the rest of each slot. Each is to come from its first byte on.
    #[must_use]
    pub fn gaps(&self) -> Vec<Range<u64>> {
        let slots = slots(self.size).zip(self.came().clone());
        slots.map(|(slot, came)| slot.start + came..slot.end).filter(|gap| !gap.is_empty()).collect()
    }

    /// Takes the bytes from `at` on; of those that have come already nothing is written.
    ///
    /// # Errors
    /// If they reach beyond the blob's size, do not follow on what has come of their slot, or cannot be written.
    pub fn write(&self, mut at: u64, mut bytes: &[u8]) -> Result<(), BlobError> {
        let found = at.saturating_add(bytes.len() as u64);
        if found > self.size {
            return Err(BlobError::Size { digest: self.digest, found, expected: self.size });
        }
        while !bytes.is_empty() {
            let slot = at / SLOT_BYTES;
            let in_slot = usize::try_from((slot + 1) * SLOT_BYTES - at).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(in_slot.min(bytes.len()));
            self.write_to_slot(slot, at, now).at("write", self.temp.path())?;
            at += now.len() as u64;
            bytes = later;
        }
        // Whoever hashes already comes to these bytes, too.
        if let Ok(mut hashed) = self.hashed.try_lock() {
            self.hash(&mut hashed).at("read", self.temp.path())?;
        }
        Ok(())
    }

    fn write_to_slot(&self, slot: u64, at: u64, bytes: &[u8]) -> io::Result<()> {
        let number = usize::try_from(slot).unwrap_or(usize::MAX);
        let came = |all: &[u64]| all.get(number).map_or(0, |came| slot * SLOT_BYTES + came);
        let next = came(&self.came());
        if next < at {
            return Err(io::Error::other(format!("byte {at} came before byte {next} of a slot")));
        }
        let known = usize::try_from(next - at).unwrap_or(usize::MAX);
        let Some(new) = bytes.get(known..).filter(|new| !new.is_empty()) else { return Ok(()) };
        self.temp.file().write_all_at(new, next)?;
        if let Some(came) = self.came().get_mut(number) {
            *came = (next + new.len() as u64 - slot * SLOT_BYTES).max(*came);
        }
        Ok(())
    }

    /// Hashes as far as there is no gap.
    fn hash(&self, hashed: &mut Hashed) -> io::Result<()> {
        hashed.buffer.resize(BUFFER, 0);
        loop {
            let left = self.without_gap().saturating_sub(hashed.bytes);
            let length = hashed.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if length == 0 {
                return Ok(());
            }
            let bytes = hashed.buffer.get_mut(..length).unwrap_or_default();
            self.temp.file().read_exact_at(bytes, hashed.bytes)?;
            hashed.hasher.update(bytes);
            hashed.bytes += length as u64;
        }
    }

    /// Bytes up to the first gap.
    fn without_gap(&self) -> u64 {
        self.gaps().first().map_or(self.size, |gap| gap.start)
    }

    fn came(&self) -> MutexGuard<'_, Vec<u64>> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the blob in the store.
    ///
    /// # Errors
    /// If bytes are still to come; if its digest is not the expected one: what came is removed then.
    pub fn finish(self) -> Result<(), BlobError> {
        let found = self.without_gap();
        if found != self.size {
            return Err(BlobError::Size { digest: self.digest, found, expected: self.size });
        }
        let mut hashed = std::mem::take(&mut *self.hashed.lock().unwrap_or_else(PoisonError::into_inner));
        self.hash(&mut hashed).at("read", self.temp.path())?;
        let found = hashed.hasher.finish();
        let Self { store, digest: expected, temp, _lock, .. } = self;
        if found != expected {
            temp.discard()?;
            return Err(BlobError::Unexpected { expected, found });
        }
        temp.place(&store.blob_path(&expected), BLOB_MODE)?;
        Ok(())
    }
}

/// The slots of a blob.
fn slots(size: u64) -> impl Iterator<Item = Range<u64>> {
    (0..size.div_ceil(SLOT_BYTES)).map(move |slot| slot * SLOT_BYTES..((slot + 1) * SLOT_BYTES).min(size))
}

/// What has come of each slot.
fn look(file: &File, size: u64) -> io::Result<Vec<u64>> {
    let end = file.metadata()?.len();
    let mut buffer = vec![0; BUFFER];
    slots(size)
        .map(|slot| Ok(last_nonzero(file, slot.start..slot.end.min(end), &mut buffer)? - slot.start))
        .collect()
}

/// Behind the last byte of `range` that is not zero; its start if all are.
fn last_nonzero(file: &File, range: Range<u64>, buffer: &mut [u8]) -> io::Result<u64> {
    let mut end = range.end;
    while end > range.start {
        let length = buffer.len().min(usize::try_from(end - range.start).unwrap_or(usize::MAX));
        let bytes = buffer.get_mut(..length).unwrap_or_default();
        let start = end - length as u64;
        match file.read_exact_at(bytes, start) {
            // Emptied meanwhile by who receives it.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(range.start),
            read => read?,
        }
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(range.start)
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

    /// Bytes of the blob `digest` of `size` bytes that have come: those that the next [`Partial::open`] need not ask for,
    /// if it finds them to be good.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn partial_bytes(&self, digest: &Digest, size: u64) -> Result<u64, FileError> {
        let path = self.partial_path(digest);
        let Some(file) = found(File::open(&path).at("open", &path))? else { return Ok(0) };
        if file.metadata().at("examine", &path)?.len() > size {
            return Ok(0);
        }
        Ok(look(&file, size).at("read", &path)?.iter().sum())
    }

    /// What broken pulls have left and no process writes to, with its bytes on disk; only what is older than `age`.
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
                broken.push((digest, allocated(&metadata)));
            }
        }
        Ok(broken)
    }
}

#[cfg(test)]
mod tests;
