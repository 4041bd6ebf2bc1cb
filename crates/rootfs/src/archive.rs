//! Reads tar archives that nobody vouches for, one entry after another: ustar, and the extensions of POSIX (pax)
//! and GNU that container tools write.
//!
//! The headers' fields are decoded by the crate `tar`. The framing is ours, since that crate reads long names and
//! pax records of any length into memory, and splits records at newlines, which values of attributes may contain.
//!
//! What holds of every [`Entry`]: its path is relative, has no `..`, and is bounded in length and depth; so is the path
//! of what a hard link leads to. Nothing here touches a file: a path is a list of names, and what becomes of them is the
//! caller's to say.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _};

use tar::{EntryType, Header};

mod entry;
mod error;
mod path;
mod pax;

pub(crate) use entry::{Attributes, Entry, Kind, Special, Time};
pub use error::ArchiveError;
pub(crate) use path::{EntryName, EntryPath};
use pax::Records;

/// The unit of the format, in bytes.
const BLOCK: u64 = 512;
/// Most bytes of a long name or of one entry's pax records.
const MAX_RECORDS: u64 = 1 << 20;
/// Bytes of which some can be passed over.
pub(crate) trait Input: Read {
    /// Passes over `count` bytes. That the input ends before is an error here or when it is read next.
    fn skip(&mut self, count: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.take(count), &mut io::sink())?;
        if skipped == count { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl Input for BufReader<File> {
    fn skip(&mut self, count: u64) -> io::Result<()> {
        let count = i64::try_from(count).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        self.seek_relative(count)?;
        if self.stream_position()? > self.get_ref().metadata()?.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

/// A tar archive that is being read.
pub(crate) struct Archive<R> {
    input: R,
    /// Where the next byte of `input` is in the archive.
    position: u64,
    /// Bytes of the current entry's content that were not read, and of padding after them.
    left: u64,
    padding: u64,
}

impl<R: Input> Archive<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, position: 0, left: 0, padding: 0 }
    }

    /// Where the content of the entry that [`Self::next`] gave begins in the archive.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next entry; what was not read of the content of the one before is passed over.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut records = Records::default();
        loop {
            self.pass_over(self.left + self.padding)?;
            (self.left, self.padding) = (0, 0);
            let Some(header) = self.header()? else {
                return if records.is_empty() { Ok(None) } else { Err(self.broken("it ends after a name")) };
            };
            let size = header.entry_size().map_err(|_| self.broken("a size is no number"))?;
            match header.entry_type() {
                EntryType::GNULongName => records.set_path(until_nul(self.record(size)?)),
                EntryType::GNULongLink => records.set_link(until_nul(self.record(size)?)),
                EntryType::XHeader => {
                    let text = self.record(size)?;
                    records.read(&text).map_err(|reason| self.broken(reason))?;
                }
                EntryType::XGlobalHeader => {
                    let mut global = Records::default();
                    let text = self.record(size)?;
                    global.read(&text).map_err(|reason| self.broken(reason))?;
                    if !global.is_empty() {
                        return Err(self.broken("it has global pax records that change every entry"));
                    }
                }
                _ => return self.entry(&header, size, records).map(Some),
            }
        }
    }

    /// What is left of the current entry's content. It ends early where the archive does: compare the lengths.
    pub(crate) fn content(&mut self) -> Content<'_, R> {
        Content(self)
    }

    /// Reads what follows the archive's end, so that the input's bytes were all seen.
    pub(crate) fn drain(mut self) -> Result<(), ArchiveError> {
        io::copy(&mut self.input, &mut io::sink()).map(drop).map_err(ArchiveError::Read)
    }

    /// The next header; none at the end: a block of zeros, or no block at all.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut header = Header::new_old();
        let mut filled = 0;
        while let Some(rest) = header.as_mut_bytes().get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.input.read(rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::Read(error)),
            }
        }
        if filled == 0 || header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if filled as u64 != BLOCK {
            return Err(self.broken("it ends within a header"));
        }
        let sum = header.as_bytes().iter().enumerate().map(|(at, byte)| match at {
            148..156 => u32::from(b' '),
            _ => u32::from(*byte),
        });
        if header.cksum().ok() != Some(sum.sum()) {
            return Err(self.broken("the checksum of a header is wrong"));
        }
        self.position += BLOCK;
        Ok(Some(header))
    }

    /// Reads the content of an entry that describes the next one.
    fn record(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > MAX_RECORDS {
            return Err(self.broken("a name or an entry's pax records are longer than 1 MiB"));
        }
        self.begin_content(size);
        let mut bytes = Vec::new();
        self.content().read_to_end(&mut bytes).map_err(ArchiveError::Read)?;
        if bytes.len() as u64 == size { Ok(bytes) } else { Err(self.broken("it ends within a name")) }
    }

    fn begin_content(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK;
    }

    fn entry(&mut self, header: &Header, size: u64, records: Records) -> Result<Entry, ArchiveError> {
        let entry = Entry::decode(header, size, records)?;
        // What has no content has a size in archives of some tools all the same, and none follows.
        self.begin_content(if let Kind::File(size) = entry.kind { size } else { 0 });
        Ok(entry)
    }

    fn pass_over(&mut self, count: u64) -> Result<(), ArchiveError> {
        self.position += count;
        match self.input.skip(count) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.broken("it ends within a file"))
            }
            skipped => skipped.map_err(ArchiveError::Read),
        }
    }

    fn broken(&self, reason: &'static str) -> ArchiveError {
        ArchiveError::Broken { position: self.position, reason }
    }
}

/// The content of an entry.
pub(crate) struct Content<'a, R>(&'a mut Archive<R>);

impl<R: Input> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.0.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.0.input.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.0.left -= count as u64;
        self.0.position += count as u64;
        Ok(count)
    }
}

impl Input for BufReader<&mut dyn Read> {}

fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(length);
    name
}

#[cfg(test)]
mod tests;
