//! An archive as entries: each header with what the headers before it say.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tar::{EntryType, Header};

use crate::blocks::{Blocks, End};
use crate::extensions::{Extensions, MAX_EXTENSION_BYTES, MAX_EXTENSIONS};
use crate::input::Input;
use crate::number::number;
use crate::sparse::{self, Part, TOO_LARGE};
use crate::{Error, MAX_FILE, MAX_NAME, Time, Within};

/// Bytes of content that are moved at a time.
const CHUNK: usize = 64 << 10;

/// A file, folder, link or device of an archive, as the archive has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path: not empty, and nothing else is known of it.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, set-ID and sticky bits included, and no others.
    pub mode: u16,
    /// The number of its owner. The highest number, which to the kernel means "leave it as it is", is refused.
    pub uid: u32,
    /// The number of its group, likewise.
    pub gid: u32,
    /// When it was changed.
    pub time: Time,
    /// Extended attributes by their full names. Both names and values are anything.
    pub attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Whether it has access lists (`SCHILY.acl.*`), which are not read.
    pub has_acl: bool,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file, whose data [`Entries::copy`] gives.
    File {
        /// Its bytes, holes included.
        size: u64,
        /// What of them is data: in order, none overlaps another. All else is zero.
        parts: Vec<Part>,
    },
    /// A folder.
    Folder,
    /// A symbolic link, and what it leads to.
    Symlink(Vec<u8>),
    /// Another name of an entry, and that entry's path.
    HardLink(Vec<u8>),
    /// A character device, with its major and minor number.
    CharacterDevice(u32, u32),
    /// A block device, likewise.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// Something else, by the byte that headers have for it.
    Unknown(u8),
}

/// The entries of an archive, in its order.
#[derive(Debug)]
pub struct Entries<I> {
    blocks: Blocks<I>,
    buffer: Vec<u8>,
}

impl<I: Input> Entries<I> {
    /// An archive that begins where `input` does.
    pub fn new(input: I, end: End) -> Self {
        Self { blocks: Blocks::new(input, end), buffer: Vec::new() }
    }

    /// Where in the archive the data of the file that the last entry is begins, in bytes.
    pub fn position(&self) -> u64 {
        self.blocks.position()
    }

    /// The next entry, what was not taken of the last one's data passed over; `None` at the end.
    ///
    /// # Errors
    /// If the archive ends elsewhere, is damaged, or has an entry that cannot be understood.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        let mut said = Extensions::default();
        let (mut count, mut left, mut is_described) = (0, MAX_EXTENSION_BYTES, false);
        loop {
            let Some(header) = self.blocks.next_header()? else {
                return if is_described { Err(self.blocks.cut_short(Within::Extension)) } else { Ok(None) };
            };
            let kind = header.entry_type();
            if !matches!(
                kind,
                EntryType::GNULongName
                    | EntryType::GNULongLink
                    | EntryType::XHeader
                    | EntryType::XGlobalHeader
            ) {
                return self.entry(&header, said).map(Some);
            }
            let position = self.blocks.position();
            let broken = |reason| Error::Broken { position, reason };
            count += 1;
            if count > MAX_EXTENSIONS {
                return Err(broken("more than 16 headers describe one entry"));
            }
            let content = self.blocks.description(left)?;
            let content = content.ok_or_else(|| broken("what describes an entry is longer than 1 MiB"))?;
            left = left.saturating_sub(content.len() as u64);
            is_described |= kind != EntryType::XGlobalHeader;
            match kind {
                EntryType::GNULongName => said.set_long_name(content),
                EntryType::GNULongLink => said.set_long_link(content),
                EntryType::XHeader => said.read(&content),
                _ => check_global(&content),
            }
            .map_err(broken)?;
        }
    }

    /// Takes the data of the file that the last entry is: gives `write` one piece after another, and where in the file it
    /// belongs. `parts` are the entry's.
    ///
    /// # Errors
    /// If the archive ends before, or what `write` says.
    pub fn copy<E: From<Error>>(
        &mut self,
        parts: &[Part],
        mut write: impl FnMut(&[u8], u64) -> Result<(), E>,
    ) -> Result<(), E> {
        self.buffer.resize(CHUNK, 0);
        for part in parts {
            let mut done = 0;
            while done < part.length {
                let most = usize::try_from(part.length - done).unwrap_or(CHUNK).min(CHUNK);
                let chunk = self.buffer.get_mut(..most).unwrap_or_default();
                let length = self.blocks.read(chunk)?;
                if length == 0 {
                    // These are parts of another entry.
                    return Err(self.blocks.cut_short(Within::Content).into());
                }
                write(chunk.get(..length).unwrap_or_default(), part.offset + done)?;
                done += length as u64;
            }
        }
        Ok(())
    }

    /// As [`Blocks::finish`].
    ///
    /// # Errors
    /// As there.
    pub fn finish<E: From<Error>>(&mut self, go_on: impl FnMut() -> Result<(), E>) -> Result<(), E> {
        self.blocks.finish(go_on)
    }

    fn entry(&mut self, header: &Header, mut said: Extensions) -> Result<Entry, Error> {
        let said_name =
            said.sparse.as_mut().and_then(|sparse| sparse.name.take()).or_else(|| said.path.take());
        let path = said_name.unwrap_or_else(|| header.path_bytes().into_owned());
        let refused = |reason| Error::Entry { path: path.clone(), reason };
        if path.is_empty() {
            return Err(refused("has no name"));
        }
        let kind = self.kind(header, &path, &mut said, refused)?;
        let fields = header.as_old();
        let id = |said: Option<u64>, field| {
            let id = said.or_else(|| u64::try_from(number(field)?).ok());
            id.and_then(|id| u32::try_from(id).ok()).filter(|id| *id != u32::MAX)
        };
        let mode = number(&fields.mode).ok_or_else(|| refused("has no valid mode"))?;
        let seconds = || number(&fields.mtime).map(|seconds| Time { seconds, nanoseconds: 0 });
        Ok(Entry {
            kind,
            mode: u16::try_from(mode & 0o7777).unwrap_or_default(),
            uid: id(said.uid, &fields.uid).ok_or_else(|| refused("has no valid owner"))?,
            gid: id(said.gid, &fields.gid).ok_or_else(|| refused("has no valid group"))?,
            time: said.time.or_else(seconds).ok_or_else(|| refused("has no valid time"))?,
            attributes: said.attributes,
            has_acl: !said.acls.is_empty(),
            path,
        })
    }

    fn kind(
        &mut self,
        header: &Header,
        path: &[u8],
        said: &mut Extensions,
        refused: impl Fn(&'static str) -> Error,
    ) -> Result<Kind, Error> {
        let kind = header.entry_type();
        if let EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse = kind {
            if let Some(size) = said.size {
                self.blocks.begin_content(size);
            }
            if self.blocks.left() > MAX_FILE {
                return Err(refused(TOO_LARGE));
            }
            let (size, parts) = match &said.sparse {
                _ if kind == EntryType::GNUSparse => sparse::old_map(header, &mut self.blocks, refused)?,
                Some(records) => sparse::map(records, &mut self.blocks, refused)?,
                None => {
                    let length = self.blocks.left();
                    (length, vec![Part { offset: 0, length }])
                }
            };
            // Before POSIX, a slash at the end made a folder.
            return Ok(if path.ends_with(b"/") { Kind::Folder } else { Kind::File { size, parts } });
        }
        if said.sparse.is_some() {
            return Err(refused("has a map of holes and is no file"));
        }
        let mut link = || {
            let own = || header.link_name_bytes().map(Cow::into_owned).unwrap_or_default();
            target(said.link.take().unwrap_or_else(own))
        };
        let found = match kind {
            EntryType::Directory => Ok(Kind::Folder),
            EntryType::Symlink => link().map(Kind::Symlink),
            EntryType::Link => link().map(Kind::HardLink),
            EntryType::Char => device(header).map(|(major, minor)| Kind::CharacterDevice(major, minor)),
            EntryType::Block => device(header).map(|(major, minor)| Kind::BlockDevice(major, minor)),
            EntryType::Fifo => Ok(Kind::Fifo),
            other => Ok(Kind::Unknown(other.as_byte())),
        };
        found.map_err(refused)
    }
}

/// Records of a global header would be the default of all entries behind it. git puts a comment there.
fn check_global(records: &[u8]) -> Result<(), &'static str> {
    let mut said = Extensions::default();
    said.read(records)?;
    if said == Extensions::default() {
        Ok(())
    } else {
        Err("it has global pax records that change every entry")
    }
}

fn target(link: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    match link.len() {
        0 => Err("is a link that leads nowhere"),
        // As the kernel has it, with a zero byte behind it.
        MAX_NAME.. => Err("is a link whose target is longer than 4095 bytes"),
        _ => Ok(link),
    }
}

/// A device's numbers. Headers from before POSIX have none.
fn device(header: &Header) -> Result<(u32, u32), &'static str> {
    let fields = match (header.as_ustar(), header.as_gnu()) {
        (Some(ustar), _) => Some((&ustar.dev_major, &ustar.dev_minor)),
        (_, Some(gnu)) => Some((&gnu.dev_major, &gnu.dev_minor)),
        _ => None,
    };
    let device = fields.and_then(|(major, minor)| {
        Some((u32::try_from(number(major)?).ok()?, u32::try_from(number(minor)?).ok()?))
    });
    device.ok_or("has no valid device number")
}
