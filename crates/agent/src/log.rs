//! The warm log: what the warm process, its probes' and `on_fork`'s programs print, bounded.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Stdio;

use crate::spawn::{read, set_nonblocking};

/// The file starts over when it has reached this size.
const SIZE_MAX: u64 = 1024 * 1024;
/// How much of its end a failure quotes.
const TAIL: u64 = 2048;

/// A pipe that programs write to and a file that the agent keeps of it.
pub(crate) struct Log {
    read: OwnedFd,
    write: OwnedFd,
    file: File,
    size: u64,
}

impl Log {
    pub(crate) fn create(path: &str) -> io::Result<Self> {
        let file = File::options().read(true).append(true).create(true).open(path)?;
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        set_nonblocking(&read)?;
        Ok(Log { read, write, file, size: 0 })
    }

    pub(crate) fn readable(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }

    /// For a program's standard output or error.
    pub(crate) fn writer(&self) -> io::Result<Stdio> {
        Ok(self.write.try_clone()?.into())
    }

    /// Moves once from the pipe to the file; whether there was something.
    pub(crate) fn pump(&mut self, buffer: &mut [u8]) -> bool {
        let Some(count) = read(self.read.as_fd(), buffer) else { return false };
        // A guest whose memory is full loses lines of its log, and nothing else.
        let _ = self.append(buffer.get(..count).unwrap_or_default());
        true
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.size >= SIZE_MAX {
            self.file.set_len(0)?;
            self.size = 0;
        }
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// A sentence with the last lines, for a failure's message.
    pub(crate) fn quote(&mut self, buffer: &mut [u8]) -> String {
        // A bound, because a program may write for ever.
        for _ in 0..16 {
            if !self.pump(buffer) {
                break;
            }
        }
        match self.tail() {
            Ok(tail) if tail.trim().is_empty() => "; it printed nothing".to_owned(),
            Ok(tail) => format!("; its last output:\n{}", tail.trim_end()),
            Err(error) => format!("; its output cannot be read: {error}"),
        }
    }

    fn tail(&mut self) -> io::Result<String> {
        self.file.seek(SeekFrom::Start(self.size.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        (&self.file).take(TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
