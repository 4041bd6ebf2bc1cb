//! The tar archive that a pack is (POSIX.1-2017, `pax`, "ustar Interchange Format"): as little of one as a pack needs.
//!
//! Written are plain headers. Read are, besides, folders of the layout, and pax headers that change neither name nor size nor
//! kind of what they are before. One that is cut short is an error wherever it was cut, since an archive ends with two blocks of zeros,
//! behind which nothing but zeros follows.

use std::io::{self, Read};

use tar::{EntryType, Header};
use tar_stream::{BLOCK, Blocks, End, Error, Within, pax};
pub(crate) use tar_stream::{FileInput, Input, Stream, padding};

use crate::error::ReadError;
use crate::names::EntryName;

/// What a pack is read from when it comes once.
pub(crate) type Pipe = Stream<Box<dyn Read + Send>>;

/// Headers of one archive: twice as many as for all blobs of the largest manifest, each with a pax header.
const HEADERS: u32 = 1 << 17;
/// Bytes of a pax header: times, owners and attributes of one file.
const PAX_BYTES: u64 = 64 << 10;
/// What a pax header may say of an entry.
const PAX_HARMLESS: &[&[u8]] =
    &[b"mtime", b"atime", b"ctime", b"uid", b"gid", b"uname", b"gname", b"comment"];
const PAX_ATTRIBUTES: &[u8] = b"SCHILY.xattr.";

/// The header of a folder.
pub(crate) fn folder(name: &str) -> io::Result<Header> {
    any_header(name, EntryType::Directory, 0o755, 0)
}

/// The header of a file. The same for the same name and size.
pub(crate) fn header(name: &EntryName, size: u64) -> io::Result<Header> {
    any_header(&name.to_string(), EntryType::Regular, 0o644, size)
}

fn any_header(name: &str, kind: EntryType, mode: u32, size: u64) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(kind);
    header.set_mode(mode);
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

/// What closes an archive.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

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
pub(crate) struct Entries<I> {
    blocks: Blocks<I>,
    /// Headers that were read.
    headers: u32,
    /// What the last header is of, for errors.
    current: Current,
}

#[derive(Clone, Copy)]
enum Current {
    /// What no file has: a folder, or nothing yet.
    Nothing,
    /// A pax header, which the header of a file or folder is to follow.
    Description,
    File(EntryName),
}

impl<I: Input> Entries<I> {
    pub(crate) fn new(input: I) -> Self {
        Self { blocks: Blocks::new(input, End::Sealed), headers: 0, current: Current::Nothing }
    }

    /// The next file, the rest of the current one skipped; `None` at the end, which is checked.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, ReadError> {
        loop {
            let Some(header) = self.blocks.next_header().map_err(|error| self.explain(error))? else {
                return match self.current {
                    Current::Description => Err(self.cut_short(self.blocks.position(), Within::Extension)),
                    _ => self.blocks.finish(|| Ok(())).map(|()| None).map_err(|error| self.explain(error)),
                };
            };
            self.headers += 1;
            if self.headers > HEADERS {
                return Err(ReadError::TooMany { limit: HEADERS });
            }
            let size = self.blocks.left();
            let name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
            let refused = |reason: String| ReadError::entry(&name, reason);
            match header.entry_type() {
                EntryType::Regular => {
                    let name = EntryName::parse(&name).map_err(|reason| refused(reason.to_owned()))?;
                    self.current = Current::File(name);
                    return Ok(Some(Entry { name, size, start: self.blocks.position() }));
                }
                EntryType::Directory if EntryName::is_folder(&name) && is_empty(&header) => {
                    self.current = Current::Nothing;
                }
                EntryType::Directory => return Err(refused("it is a folder that no pack has".to_owned())),
                EntryType::XHeader => {
                    self.current = Current::Description;
                    self.check_pax(size, &name)?;
                }
                other => return Err(refused(format!("it is {}", describe(other)))),
            }
        }
    }

    /// Reads on in the current file; 0 at its end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        self.blocks.read(buffer).map_err(|error| self.explain(error))
    }

    fn check_pax(&mut self, size: u64, name: &str) -> Result<(), ReadError> {
        let refused = |reason: String| ReadError::entry(name, reason);
        let records = self.blocks.description(PAX_BYTES).map_err(|error| self.explain(error))?;
        let records = records.ok_or_else(|| {
            refused(format!("it is a PAX header of {size} bytes: at most {PAX_BYTES} are read"))
        })?;
        for record in pax::parse(&records) {
            let (key, _) = record.ok_or_else(|| refused("it is no PAX header".to_owned()))?;
            if !PAX_HARMLESS.contains(&key) && !key.starts_with(PAX_ATTRIBUTES) {
                let key = format::excerpt(&String::from_utf8_lossy(key));
                return Err(refused(format!("its PAX header sets {key:?}, which no file of a pack needs")));
            }
        }
        Ok(())
    }

    fn explain(&self, error: Error) -> ReadError {
        match error {
            Error::Read(error) => error.into(),
            Error::CutShort { position, within } => self.cut_short(position, within),
            Error::Compressed { .. } => ReadError::Compressed,
            Error::NoHeader { position } => ReadError::NoHeader { at: position },
            Error::Trailing { position } => ReadError::Trailing { at: position },
            Error::Entry { path, reason } => {
                ReadError::entry(&String::from_utf8_lossy(&path), format!("it {reason}"))
            }
            other => io::Error::new(io::ErrorKind::InvalidData, other).into(),
        }
    }

    fn cut_short(&self, at: u64, within: Within) -> ReadError {
        let during = match (within, self.current) {
            (Within::Header, _) => "a header".to_owned(),
            (Within::Content, Current::File(name)) => name.to_string(),
            (Within::Content | Within::Extension, _) => "a PAX header".to_owned(),
            (Within::End, _) => "its end".to_owned(),
        };
        ReadError::CutShort { at, during }
    }
}

/// A folder has no content. Where the size field has one, other readers may take what follows for it.
fn is_empty(folder: &Header) -> bool {
    folder.entry_size().is_ok_and(|size| size == 0)
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

#[cfg(test)]
mod tests;
