//! What an archive is read from: bytes that come once, or a file, in which content can be passed over.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// Bytes of which some can be passed over.
pub trait Input: Read {
    /// Goes on behind the next `bytes`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if they are not there.
    fn skip(&mut self, bytes: u64) -> io::Result<()>;
}

/// Bytes that come once. What is passed over is read.
#[derive(Debug)]
pub struct Stream<R>(pub R);

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Input for Stream<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.0).take(bytes), &mut io::sink())?;
        if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// A file from its beginning on, whose own position stays where it is.
#[derive(Debug)]
pub struct FileInput<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl<'a> FileInput<'a> {
    /// The whole of a regular file.
    ///
    /// # Errors
    /// If its length cannot be found out.
    pub fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self { file, at: 0, end: file.metadata()?.len() })
    }
}

impl Read for FileInput<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

impl Input for FileInput<'_> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let at = self.at.checked_add(bytes).filter(|at| *at <= self.end);
        self.at = at.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(())
    }
}
