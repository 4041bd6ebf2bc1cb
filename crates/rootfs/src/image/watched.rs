//! A reader that hashes what comes through it, stops when it is asked to or at a limit, and knows why it has stopped.
//!
//! One is below what decompresses, since there is input that never becomes output, and one above, since there is little input that
//! becomes output without end.

use std::io::{self, Read};

use format::{Digest, Hasher};

use crate::Progress;
use crate::tree::{Allowance, LayerError};

/// See the module.
pub(crate) struct Watched<'a, R> {
    inner: R,
    progress: &'a dyn Progress,
    hasher: Hasher,
    /// Bytes that came.
    count: u64,
    /// Bytes that may come, if that is bounded.
    limit: Option<u64>,
    stopped: Option<Stopped>,
}

enum Stopped {
    Failed(io::Error),
    Interrupted,
    TooMuch,
}

impl<'a, R: Read> Watched<'a, R> {
    /// Reads `inner`, and no more than `limit` bytes.
    pub(crate) fn new(inner: R, progress: &'a dyn Progress, limit: Option<u64>) -> Self {
        Self { inner, progress, hasher: Hasher::new(), count: 0, limit, stopped: None }
    }

    /// Bytes that came.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The digest of what came.
    pub(crate) fn finish(self) -> Digest {
        self.hasher.finish()
    }

    /// Why it gave an error, if it did. Who reads it may have given that another shape.
    pub(crate) fn take_failure(&mut self, allowance: &Allowance) -> Option<LayerError> {
        self.stopped.take().map(|stopped| match stopped {
            Stopped::Failed(error) => LayerError::Read(error),
            Stopped::Interrupted => LayerError::Interrupted,
            Stopped::TooMuch => allowance.too_large(),
        })
    }

    /// Reads on to the end. If that is not within `most` bytes, it is false.
    pub(crate) fn reads_to_its_end(&mut self, most: u64) -> Result<bool, LayerError> {
        let read = io::copy(&mut self.by_ref().take(most + 1), &mut io::sink());
        read.map(|count| count <= most).map_err(|error| match self.stopped.take() {
            Some(Stopped::Interrupted) => LayerError::Interrupted,
            Some(Stopped::Failed(error)) => LayerError::Read(error),
            _ => LayerError::Read(error),
        })
    }

    fn stop(&mut self, why: Stopped, said: &'static str) -> io::Error {
        self.stopped = Some(why);
        io::Error::other(said)
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.progress.is_interrupted() {
            return Err(self.stop(Stopped::Interrupted, "interrupted"));
        }
        let count = match self.inner.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(self.stop(Stopped::Failed(error), "it cannot be read")),
            Ok(count) => count,
        };
        self.count += count as u64;
        if self.limit.is_some_and(|limit| self.count > limit) {
            return Err(self.stop(Stopped::TooMuch, "it is too large"));
        }
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
