//! The file of an image, written once from its beginning to its end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use format::{Digest, Hasher};

/// Bytes that are written at once.
const CHUNK: usize = 1 << 20;

/// An image that is being written, and hashed on the way.
pub(super) struct Output {
    file: File,
    hasher: Hasher,
    /// What was put and is not in the file yet.
    waiting: Vec<u8>,
    position: u64,
}

impl Output {
    pub(super) fn new(file: File) -> Self {
        Self { file, hasher: Hasher::new(), waiting: Vec::with_capacity(CHUNK), position: 0 }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        if self.waiting.len() + bytes.len() > CHUNK {
            self.flush()?;
        }
        self.waiting.extend_from_slice(bytes);
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Passes over what is zero.
    pub(super) fn hole(&mut self, zeros: &[u8]) -> io::Result<()> {
        self.hasher.update(zeros);
        self.flush()?;
        self.position += zeros.len() as u64;
        Ok(())
    }

    /// Gaps are shorter than a block.
    pub(super) fn zeros_to(&mut self, position: u64) -> io::Result<()> {
        let zeros = [0; 4096];
        let count =
            position.checked_sub(self.position).map(usize::try_from).transpose().map_err(io::Error::other)?;
        let zeros = count.and_then(|count| zeros.get(..count));
        self.put(zeros.ok_or_else(|| io::Error::other("an image's parts overlap"))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.waiting, self.position - self.waiting.len() as u64)?;
        self.waiting.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<(Digest, u64)> {
        self.flush()?;
        // The end may be a hole.
        self.file.set_len(self.position)?;
        Ok((self.hasher.finish(), self.position))
    }
}
