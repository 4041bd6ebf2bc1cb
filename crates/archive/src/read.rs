//! A tar stream to entries, one at a time: what pax, ustar and GNU tar's own format say, with every length bounded.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use tar::{EntryType, GnuExtSparseHeader, Header};

use crate::pax::{self, Time};
use crate::sparse::{self, MAX_PARTS, Part};
use crate::{BLOCK, CHUNK, Error};

/// Most bytes of an extended header, or of a map of holes, in a stream.
const MAX_HEADER: u64 = 1 << 20;
/// Longest name that a system takes.
const MAX_NAME: usize = 4096;
/// Most bytes of a map of holes: two numbers of up to 20 digits for each part.
const MAX_MAP: u64 = MAX_PARTS as u64 * 42;

/// A file, folder or link of a stream. Nothing in it was checked against a destination.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: Kind,
    /// With set-user-id, set-group-id and sticky bits.
    pub(crate) mode: u32,
    pub(crate) time: Time,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its data is to be taken by [`Reader::copy_to`].
    File {
        size: u64,
        parts: Vec<Part>,
    },
    Folder,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    Other(&'static str),
}

/// What extended headers say of the entry that follows them.
#[derive(Default)]
struct Extension {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    time: Option<Time>,
    sparse: Option<SparseRecords>,
}

#[derive(Default)]
struct SparseRecords {
    major: Vec<u8>,
    minor: Vec<u8>,
    name: Option<Vec<u8>>,
    size: Option<u64>,
}

pub(crate) struct Reader<R> {
    input: R,
    /// Of the last entry's content, and what fills its last block.
    data: u64,
    padding: u64,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(input: R) -> Self {
        Reader { input, data: 0, padding: 0 }
    }

    /// The next entry, passing over what was not taken of the last one; `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Error> {
        let mut extension = Extension::default();
        loop {
            self.skip()?;
            let mut block = [0; BLOCK];
            self.exact(&mut block)?;
            if block == [0; BLOCK] {
                return Ok(None);
            }
            let header = Header::from_byte_slice(&block);
            check_sum(header, &block)?;
            let size = header.entry_size().map_err(|_| Error::Format("a size is no number"))?;
            self.expect(size);
            match header.entry_type() {
                EntryType::XHeader => extension.read(&self.content(MAX_HEADER)?)?,
                EntryType::GNULongName => extension.name = Some(self.long_name()?),
                EntryType::GNULongLink => extension.target = Some(self.long_name()?),
                // It would be the default for all entries: none of what is read here is ever put there.
                EntryType::XGlobalHeader => {}
                _ => return self.entry(header, extension).map(Some),
            }
        }
    }

    fn entry(&mut self, header: &Header, extension: Extension) -> Result<Entry, Error> {
        let Extension { name, target, size, time, sparse } = extension;
        if let Some(size) = size {
            self.expect(size);
        }
        let mode = header.mode().map_err(|_| Error::Format("a mode is no number"))? & 0o7777;
        let time = match time {
            Some(time) => time,
            None => Time {
                seconds: header.mtime().ok().and_then(|time| i64::try_from(time).ok()).unwrap_or_default(),
                nanoseconds: 0,
            },
        };
        let mut name = name.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = || target.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => Kind::Folder,
            EntryType::Regular | EntryType::Continuous => match sparse {
                Some(records) => {
                    name = records.name.clone().unwrap_or(name);
                    self.sparse_file(&records)?
                }
                None => Kind::File { size: self.data, parts: vec![Part { offset: 0, length: self.data }] },
            },
            EntryType::GNUSparse => self.old_sparse_file(header)?,
            EntryType::Directory => Kind::Folder,
            EntryType::Symlink => Kind::Symlink(link().unwrap_or_default()),
            EntryType::Link => Kind::HardLink(link().unwrap_or_default()),
            EntryType::Fifo => Kind::Other("a named pipe"),
            EntryType::Char | EntryType::Block => Kind::Other("a device"),
            _ => Kind::Other("of an unknown kind"),
        };
        if name.len() > MAX_NAME {
            return Err(Error::Format("a name is too long"));
        }
        Ok(Entry { name, kind, mode, time })
    }

    /// GNU's format 1.0: the map comes before the data, as decimal numbers on lines, in whole blocks.
    fn sparse_file(&mut self, records: &SparseRecords) -> Result<Kind, Error> {
        const WRONG: Error = Error::Format("a file's map of holes is wrong");
        let (b"1", b"0", Some(size)) = (records.major.as_slice(), records.minor.as_slice(), records.size)
        else {
            return Err(Error::Format("it has holes in a form other than GNU's 1.0: try tar --format=gnu"));
        };
        let mut map = MapLines { left: MAX_MAP.min(self.data), block: [0; BLOCK], at: BLOCK };
        let count = map.number(self)?.ok_or(WRONG)?;
        if count > MAX_PARTS as u64 {
            return Err(Error::Format("a file has too many holes"));
        }
        let mut parts = Vec::new();
        for _ in 0..count {
            let (Some(offset), Some(length)) = (map.number(self)?, map.number(self)?) else {
                return Err(WRONG);
            };
            parts.push(Part { offset, length });
        }
        if sparse::are_valid(&parts, size, self.data) { Ok(Kind::File { size, parts }) } else { Err(WRONG) }
    }

    /// GNU's old format: four parts in the header, more in blocks behind it.
    fn old_sparse_file(&mut self, header: &Header) -> Result<Kind, Error> {
        const WRONG: Error = Error::Format("a file's map of holes is wrong");
        let header = header.as_gnu().ok_or(WRONG)?;
        let size = header.real_size().map_err(|_| WRONG)?;
        let mut parts = Vec::new();
        let mut add = |sparse: &[tar::GnuSparseHeader]| -> Result<(), Error> {
            for part in sparse.iter().filter(|part| !part.is_empty()) {
                let (Ok(offset), Ok(length)) = (part.offset(), part.length()) else { return Err(WRONG) };
                parts.push(Part { offset, length });
            }
            if parts.len() > MAX_PARTS { Err(Error::Format("a file has too many holes")) } else { Ok(()) }
        };
        add(&header.sparse)?;
        let mut is_extended = header.is_extended();
        while is_extended {
            let mut more = GnuExtSparseHeader::new();
            self.exact(more.as_mut_bytes())?;
            // One that is empty and goes on would go on for ever.
            if more.is_extended() && more.sparse().iter().all(tar::GnuSparseHeader::is_empty) {
                return Err(WRONG);
            }
            add(more.sparse())?;
            is_extended = more.is_extended();
        }
        if sparse::are_valid(&parts, size, self.data) { Ok(Kind::File { size, parts }) } else { Err(WRONG) }
    }

    /// Takes the data of the file that was the last entry. `write` says what is tried when an error is the file's.
    pub(crate) fn copy_to(
        &mut self,
        file: &File,
        parts: &[Part],
        failed: impl Fn(io::Error) -> Error,
    ) -> Result<(), Error> {
        let mut buffer = vec![0; CHUNK];
        for part in parts {
            let mut done = 0;
            while done < part.length {
                let left = usize::try_from(part.length - done).unwrap_or(usize::MAX).min(buffer.len());
                let chunk = buffer.get_mut(..left).unwrap_or_default();
                self.exact(chunk)?;
                self.data = self.data.saturating_sub(left as u64);
                file.write_all_at(chunk, part.offset + done).map_err(&failed)?;
                done += left as u64;
            }
        }
        Ok(())
    }

    fn expect(&mut self, size: u64) {
        self.data = size;
        let blocks = size.checked_next_multiple_of(BLOCK as u64);
        // A size that near the highest number is never read to its end.
        self.padding = blocks.map_or(0, |blocks| blocks - size);
    }

    /// Passes over what is left of the last entry.
    fn skip(&mut self) -> Result<(), Error> {
        let left = self.data.saturating_add(self.padding);
        (self.data, self.padding) = (0, 0);
        let skipped = io::copy(&mut (&mut self.input).take(left), &mut io::sink())?;
        if skipped < left { Err(Error::Truncated) } else { Ok(()) }
    }

    /// All of the last entry's content.
    fn content(&mut self, most: u64) -> Result<Vec<u8>, Error> {
        let length = usize::try_from(self.data).ok().filter(|_| self.data <= most);
        let mut bytes = vec![0; length.ok_or(Error::Format("an extended header is too long"))?];
        self.exact(&mut bytes)?;
        self.data = 0;
        Ok(bytes)
    }

    fn long_name(&mut self) -> Result<Vec<u8>, Error> {
        let mut name = self.content(MAX_NAME as u64 + 1)?;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        name.truncate(end);
        Ok(name)
    }

    fn exact(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::Truncated,
            _ => error.into(),
        })
    }
}

/// The lines of a map of holes.
struct MapLines {
    left: u64,
    block: [u8; BLOCK],
    at: usize,
}

impl MapLines {
    /// The next line's number; `None` if it has none.
    fn number<R: Read>(&mut self, reader: &mut Reader<R>) -> Result<Option<u64>, Error> {
        let mut number = Some(0_u64);
        loop {
            if self.at == BLOCK {
                if self.left < BLOCK as u64 {
                    return Ok(None);
                }
                reader.exact(&mut self.block)?;
                self.left -= BLOCK as u64;
                reader.data = reader.data.saturating_sub(BLOCK as u64);
                self.at = 0;
            }
            let byte = self.block.get(self.at).copied().unwrap_or_default();
            self.at += 1;
            let digit = match byte {
                b'\n' => return Ok(number),
                b'0'..=b'9' => u64::from(byte - b'0'),
                _ => return Ok(None),
            };
            number = number.and_then(|number| number.checked_mul(10)?.checked_add(digit));
        }
    }
}

impl Extension {
    fn read(&mut self, records: &[u8]) -> Result<(), Error> {
        let number = |value: &[u8]| {
            let text = std::str::from_utf8(value).ok();
            text.and_then(|text| text.parse().ok()).ok_or(Error::Format("a size is no number"))
        };
        for record in pax::parse(records) {
            let (key, value) = record.ok_or(Error::Format("an extended header is wrong"))?;
            match key {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.target = Some(value.to_vec()),
                b"size" => self.size = Some(number(value)?),
                b"mtime" => self.time = std::str::from_utf8(value).ok().and_then(Time::parse),
                _ => {
                    let Some(key) = key.strip_prefix(b"GNU.sparse.") else { continue };
                    let sparse = self.sparse.get_or_insert_default();
                    match key {
                        b"major" => sparse.major = value.to_vec(),
                        b"minor" => sparse.minor = value.to_vec(),
                        b"name" => sparse.name = Some(value.to_vec()),
                        b"realsize" => sparse.size = Some(number(value)?),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }
}

/// The sum of all bytes of a header, that of itself taken as spaces.
fn check_sum(header: &Header, block: &[u8; BLOCK]) -> Result<(), Error> {
    const OWN: std::ops::Range<usize> = 148..156;
    let byte = |(at, byte): (usize, &u8)| u32::from(if OWN.contains(&at) { b' ' } else { *byte });
    let sum: u32 = block.iter().enumerate().map(byte).sum();
    if header.cksum().is_ok_and(|said| said == sum) {
        Ok(())
    } else {
        Err(Error::Format("a header's sum is wrong, or it is compressed"))
    }
}
