//! An archive as headers with their content: checksums, sizes, padding, and the end.

use std::io;

use tar::{EntryType, Header};

use crate::input::Input;
use crate::number::number;
use crate::{BLOCK, Error, MAX_FILLING, Within, padding};

/// Where an archive may end, and what may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a block of zeros, or where the input ends behind an entry; anything may follow the zeros. For what is known
    /// to be whole by other means.
    Open,
    /// With a block of zeros, behind which only zeros follow.
    Marked,
    /// With two blocks of zeros, as POSIX has it, behind which only zeros follow.
    Sealed,
}

/// The headers of an archive, in its order.
#[derive(Debug)]
pub struct Blocks<I> {
    input: I,
    end: End,
    /// Bytes of the archive that were read or passed over.
    position: u64,
    /// Bytes of the current header's content that were not read, and of zeros behind them.
    left: u64,
    padding: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// A block of zeros was read.
    Ended,
    /// So was all that is behind it, or there is nothing.
    Finished,
}

impl<I: Input> Blocks<I> {
    /// An archive that begins where `input` does.
    pub fn new(input: I, end: End) -> Self {
        Self { input, end, position: 0, left: 0, padding: 0, state: State::Open }
    }

    /// Bytes of the archive before what is read next: behind a header, where its content begins.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next header, what was not read of the content before it passed over; `None` at the end.
    ///
    /// What is a link, a folder or a device has no content, whatever its header's size field says.
    ///
    /// # Errors
    /// If the input ends elsewhere or fails, or there is something that is no header.
    pub fn next_header(&mut self) -> Result<Option<Header>, Error> {
        if self.state != State::Open {
            return Ok(None);
        }
        self.pass_over()?;
        let mut header = Header::new_old();
        let position = self.position;
        match self.fill(header.as_mut_bytes())? {
            0 if self.end == End::Open => {
                self.state = State::Finished;
                return Ok(None);
            }
            BLOCK => {}
            _ => return Err(self.cut_short(Within::Header)),
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            self.state = State::Ended;
            return Ok(None);
        }
        if !is_sum_right(&header) {
            return Err(no_header(header.as_bytes(), position));
        }
        let size =
            match header.entry_type() {
                EntryType::Link
                | EntryType::Symlink
                | EntryType::Char
                | EntryType::Block
                | EntryType::Directory
                | EntryType::Fifo => 0,
                _ => number(&header.as_old().size).and_then(|size| u64::try_from(size).ok()).ok_or_else(
                    || Error::Entry {
                        path: header.path_bytes().into_owned(),
                        reason: "is damaged: its size is no number",
                    },
                )?,
            };
        self.begin_content(size);
        Ok(Some(header))
    }

    /// Bytes of the current content that were not read.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Reads on in the current content; 0 at its end.
    ///
    /// # Errors
    /// If the input ends before it or fails.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(wanted) = buffer.get_mut(..length).filter(|wanted| !wanted.is_empty()) else { return Ok(0) };
        let length = self.read_some(wanted)?;
        if length == 0 {
            return Err(self.cut_short(Within::Content));
        }
        self.left = self.left.saturating_sub(length as u64);
        Ok(length)
    }

    /// All that is left of the current content, which describes an entry; `None` if that is more than `most` bytes.
    ///
    /// # Errors
    /// As of [`Self::read`].
    pub fn description(&mut self, most: u64) -> Result<Option<Vec<u8>>, Error> {
        if self.left > most {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(self.left).unwrap_or(0)];
        self.exact(&mut bytes)?;
        self.left = 0;
        Ok(Some(bytes))
    }

    /// Reads what follows the end marker: what [`End`] allows, and at most [`MAX_FILLING`] bytes. It is called when there is no header
    /// any more; `go_on` is asked before each piece.
    ///
    /// # Errors
    /// If more or something else follows, or the second block of zeros is missing where there must be two; what `go_on` says.
    pub fn finish<E: From<Error>>(&mut self, mut go_on: impl FnMut() -> Result<(), E>) -> Result<(), E> {
        if std::mem::replace(&mut self.state, State::Finished) == State::Finished {
            return Ok(());
        }
        let mut block = [0; BLOCK];
        let mut filling = 0;
        loop {
            go_on()?;
            let position = self.position;
            let length = self.fill(&mut block)?;
            let read = block.get(..length).unwrap_or_default();
            if self.end == End::Sealed && filling == 0 && length < BLOCK {
                return Err(self.cut_short(Within::End).into());
            }
            if self.end != End::Open && read.iter().any(|byte| *byte != 0) {
                return Err(Error::Trailing { position }.into());
            }
            if length < BLOCK {
                return Ok(());
            }
            filling += BLOCK as u64;
            if filling > MAX_FILLING {
                return Err(Error::Trailing { position }.into());
            }
        }
    }

    /// Makes `size` what is said of the current content, of which nothing was read.
    pub(crate) fn begin_content(&mut self, size: u64) {
        (self.left, self.padding) = (size, padding(size));
    }

    /// Reads a block of the current content; `None` if that has none any more.
    pub(crate) fn content_block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let Some(left) = self.left.checked_sub(BLOCK as u64) else { return Ok(None) };
        let mut block = [0; BLOCK];
        self.exact(&mut block)?;
        self.left = left;
        Ok(Some(block))
    }

    /// Reads what describes an entry.
    pub(crate) fn exact(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        if self.fill(buffer)? == buffer.len() { Ok(()) } else { Err(self.cut_short(Within::Extension)) }
    }

    pub(crate) fn cut_short(&self, within: Within) -> Error {
        Error::CutShort { position: self.position, within }
    }

    fn pass_over(&mut self) -> Result<(), Error> {
        let rest = self.left.saturating_add(self.padding);
        self.input.skip(rest).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.cut_short(Within::Content),
            _ => Error::Read(error),
        })?;
        self.position = self.position.saturating_add(rest);
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// Reads as much as there is.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read_some(rest)? {
                0 => break,
                length => filled += length,
            }
        }
        Ok(filled)
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let length = loop {
            match self.input.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(Error::Read)?,
            }
        };
        self.position = self.position.saturating_add(length as u64);
        Ok(length)
    }
}

/// Whether a header's sum is that of all its bytes, its own taken as spaces.
fn is_sum_right(header: &Header) -> bool {
    const OWN: std::ops::Range<usize> = 148..156;
    let byte = |(at, byte): (usize, &u8)| i64::from(if OWN.contains(&at) { b' ' } else { *byte });
    let sum: i64 = header.as_bytes().iter().enumerate().map(byte).sum();
    number(&header.as_old().cksum) == Some(sum)
}

fn no_header(block: &[u8; BLOCK], position: u64) -> Error {
    let known: [(&[u8], _); 4] = [
        (&[0x1f, 0x8b], "gzip"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh", "bzip2"),
    ];
    match known.into_iter().find(|(magic, _)| position == 0 && block.starts_with(magic)) {
        Some((_, by)) => Error::Compressed { by },
        None => Error::NoHeader { position },
    }
}
