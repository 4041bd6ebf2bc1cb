//! Tar, as little of it as a pack needs (POSIX.1-2017, `pax`, "ustar Interchange Format").
//!
//! Headers are encoded and decoded by the `tar` crate. Its reader is not used: it takes the end of the input for the end of
//! the archive, and holds long names in memory without a bound. Here an archive that is cut short is an error
//! wherever it was cut, since one ends with two blocks of zeros and nothing follows.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use tar::{EntryType, Header, PaxExtensions};

use crate::error::ReadError;
use crate::names::EntryName;

/// Bytes of a block, the unit of an archive.
const BLOCK: usize = 512;
/// Bytes of zeros that may follow the end, for writers fill up their last record; GNU tar's has 10 KiB unless it was told
/// otherwise.
const PADDING: u64 = 1 << 20;
/// Headers of one archive: twice as many as for all blobs of the largest manifest, each with a PAX header.
const HEADERS: u32 = 1 << 17;
/// Bytes of a PAX header: times, owners and attributes of one file.
const PAX_BYTES: u64 = 64 << 10;
/// What a PAX header may say of an entry: nothing that changes its name, its size or its kind.
const PAX_HARMLESS: &[&str] = &["mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment"];
const PAX_ATTRIBUTES: &str = "SCHILY.xattr.";

/// The header of a file. The same for the same name and size.
pub(crate) fn header(name: &EntryName, size: u64) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(name.to_string())?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    Ok(header)
}

/// Bytes that an entry of `size` bytes takes, header and padding included.
pub(crate) fn entry_bytes(size: u64) -> u64 {
    (BLOCK as u64).saturating_add(size).saturating_add(padding(size))
}

/// Bytes of zeros behind an entry of `size` bytes.
pub(crate) fn padding(size: u64) -> u64 {
    // Of no size does this overflow.
    size.wrapping_neg() % BLOCK as u64
}

/// What closes an archive.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// What an archive is read from.
pub(crate) trait Tape: Read {
    /// Goes on behind the next `bytes`, which must be there.
    fn skip(&mut self, bytes: u64) -> io::Result<()>;
}

/// Bytes that come once.
pub(crate) struct Stream(pub(crate) Box<dyn Read + Send>);

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Tape for Stream {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.by_ref().take(bytes), &mut io::sink())?;
        if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// A file from some offset on. What it is opened as elsewhere does not move.
pub(crate) struct FileTape<'a> {
    pub(crate) file: &'a File,
    pub(crate) at: u64,
    /// Bytes of the file.
    pub(crate) end: u64,
}

impl Read for FileTape<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

impl Tape for FileTape<'_> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let at = self.at.checked_add(bytes).filter(|at| *at <= self.end);
        self.at = at.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(())
    }
}

/// A file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: EntryName,
    /// Its bytes.
    pub(crate) size: u64,
    /// Where they begin in the archive.
    pub(crate) start: u64,
}

/// The files of an archive, in its order.
pub(crate) struct Entries<T> {
    tape: T,
    /// Bytes of the archive that were read or skipped.
    at: u64,
    /// Bytes of the current entry that were not read.
    left: u64,
    /// Bytes behind it up to the next header.
    padding: u64,
    /// Headers that were read.
    headers: u32,
    /// The name of the current entry, for errors.
    current: String,
}

impl<T: Tape> Entries<T> {
    pub(crate) fn new(tape: T) -> Self {
        Self { tape, at: 0, left: 0, padding: 0, headers: 0, current: "its first header".to_owned() }
    }

    /// The next file, the rest of the current one skipped; `None` at the end, which is checked.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, ReadError> {
        loop {
            self.skip_rest()?;
            let at = self.at;
            let mut header = Header::new_old();
            self.read_exact(header.as_mut_bytes())?;
            if header.as_bytes().iter().all(|byte| *byte == 0) {
                self.check_end()?;
                return Ok(None);
            }
            check_sum(&header, at)?;
            self.headers += 1;
            if self.headers > HEADERS {
                return Err(ReadError::TooMany { limit: HEADERS });
            }
            let name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
            let refused = |reason: String| ReadError::entry(&name, reason);
            let size = header.entry_size().map_err(|_| refused("its size is no number".to_owned()))?;
            self.current = format::excerpt(&name);
            match header.entry_type() {
                EntryType::Regular => {
                    let name = EntryName::parse(&name).map_err(|reason| refused(reason.to_owned()))?;
                    (self.left, self.padding) = (size, padding(size));
                    return Ok(Some(Entry { name, size, start: self.at }));
                }
                EntryType::Directory if size == 0 && EntryName::is_folder(&name) => {}
                EntryType::Directory => return Err(refused("it is a folder that no pack has".to_owned())),
                EntryType::XHeader => self.read_pax(size, &name)?,
                other => return Err(refused(format!("it is {}", describe(other)))),
            }
        }
    }

    /// Reads on in the current file; 0 at its end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let length = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let Some(wanted) = buffer.get_mut(..length).filter(|wanted| !wanted.is_empty()) else { return Ok(0) };
        let read = loop {
            match self.tape.read(wanted) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => return Err(self.cut_short()),
                read => break read?,
            }
        };
        (self.at, self.left) = (self.at + read as u64, self.left - read as u64);
        Ok(read)
    }

    fn skip_rest(&mut self) -> Result<(), ReadError> {
        let rest = self.left.saturating_add(self.padding);
        self.tape.skip(rest).map_err(|error| self.explain(error))?;
        (self.at, self.left, self.padding) = (self.at.saturating_add(rest), 0, 0);
        Ok(())
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), ReadError> {
        self.tape.read_exact(buffer).map_err(|error| self.explain(error))?;
        self.at += buffer.len() as u64;
        Ok(())
    }

    fn read_pax(&mut self, size: u64, name: &str) -> Result<(), ReadError> {
        let refused = |reason: String| ReadError::entry(name, reason);
        if size > PAX_BYTES {
            return Err(refused(format!("it is a PAX header of {size} bytes: at most {PAX_BYTES} are read")));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        self.read_exact(&mut bytes)?;
        self.padding = padding(size);
        for extension in PaxExtensions::new(&bytes) {
            let extension = extension.map_err(|_| refused("it is no PAX header".to_owned()))?;
            let key = String::from_utf8_lossy(extension.key_bytes()).into_owned();
            if !PAX_HARMLESS.contains(&&*key) && !key.starts_with(PAX_ATTRIBUTES) {
                let key = format::excerpt(&key);
                return Err(refused(format!("its PAX header sets {key:?}, which no file of a pack needs")));
            }
        }
        Ok(())
    }

    /// One block of zeros was read: another must follow, and nothing behind that.
    fn check_end(&mut self) -> Result<(), ReadError> {
        self.current = "its end".to_owned();
        let mut block = [0; BLOCK];
        self.read_exact(&mut block)?;
        let mut padding = 0;
        loop {
            if block.iter().any(|byte| *byte != 0) || padding > PADDING {
                return Err(ReadError::Trailing { at: self.at.saturating_sub(block.len() as u64) });
            }
            let length = match self.tape.read(&mut block) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                length => length?,
            };
            if length == 0 {
                return Ok(());
            }
            block.get_mut(length..).unwrap_or_default().fill(0);
            (self.at, padding) = (self.at + length as u64, padding + length as u64);
        }
    }

    fn explain(&self, error: io::Error) -> ReadError {
        if error.kind() == io::ErrorKind::UnexpectedEof { self.cut_short() } else { error.into() }
    }

    fn cut_short(&self) -> ReadError {
        ReadError::CutShort { at: self.at, during: self.current.clone() }
    }
}

fn check_sum(header: &Header, at: u64) -> Result<(), ReadError> {
    const FIELD: std::ops::Range<usize> = 148..156;
    let byte = |(n, byte): (usize, &u8)| if FIELD.contains(&n) { u32::from(b' ') } else { u32::from(*byte) };
    let sum: u32 = header.as_bytes().iter().enumerate().map(byte).sum();
    if header.cksum().is_ok_and(|said| said == sum) {
        return Ok(());
    }
    let begins = |magic: &[u8]| header.as_bytes().starts_with(magic);
    let is_compressed = at == 0 && (begins(&[0x28, 0xB5, 0x2F, 0xFD]) || begins(&[0x1F, 0x8B]));
    Err(if is_compressed { ReadError::Compressed } else { ReadError::NoHeader { at } })
}

fn describe(kind: EntryType) -> String {
    let known = match kind {
        EntryType::Link => "a hard link",
        EntryType::Symlink => "a symbolic link",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Fifo => "a pipe",
        EntryType::GNUSparse => "a sparse file",
        EntryType::GNULongName | EntryType::GNULongLink => "a long name",
        EntryType::XGlobalHeader => "a header for all entries",
        other => return format!("of kind {:?}", char::from(other.as_byte())),
    };
    known.to_owned()
}
