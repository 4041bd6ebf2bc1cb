//! One entry of an archive, decoded from its header and the records before it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use tar::{EntryType, Header};

use super::pax::Records;
use super::{ArchiveError, EntryPath};

/// Most bytes of the target of a symbolic link: what Linux takes.
const MAX_TARGET: usize = 4095;

/// More than any file has, in bytes, and little enough to calculate with.
const MAX_FILE: u64 = 1 << 50;
/// What Linux has room for in a device number.
const MAX_MAJOR: u32 = 1 << 12;
const MAX_MINOR: u32 = 1 << 20;

/// When a file was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time {
    /// Seconds since 1970 in UTC.
    pub(crate) seconds: i64,
    /// Nanoseconds on top, less than 10^9.
    pub(crate) nanoseconds: u32,
}

/// Who owns a file and what may be done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Permission bits, set-ID and sticky bits included.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) time: Time,
    /// Extended attributes by their full names.
    pub(crate) extended: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file with so many bytes, which [`Archive::content`] gives.
    File(u64),
    Folder,
    Symlink(Vec<u8>),
    /// Another name of what an earlier entry made.
    HardLink(EntryPath),
    Special(Special),
}

/// What is neither file, folder nor link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    Character { major: u32, minor: u32 },
    Block { major: u32, minor: u32 },
    Fifo,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: EntryPath,
    pub(crate) attributes: Attributes,
    pub(crate) kind: Kind,
}

impl Entry {
    /// Decodes a header whose content has `size` bytes by what it says itself.
    pub(super) fn decode(header: &Header, size: u64, mut records: Records) -> Result<Self, ArchiveError> {
        let raw = records.path.take().unwrap_or_else(|| header.path_bytes().into_owned());
        let refused = |reason: &'static str| ArchiveError::path(&raw, reason);
        let path = EntryPath::parse(&raw).map_err(refused)?;
        if records.is_sparse {
            return Err(refused("is stored as a sparse file, which is not supported"));
        }
        let kind = match header.entry_type() {
            // Before POSIX, a slash at the end made a folder.
            EntryType::Regular if raw.ends_with(b"/") => Kind::Folder,
            EntryType::Regular | EntryType::Continuous => match records.size.unwrap_or(size) {
                size if size > MAX_FILE => return Err(refused("is larger than any file")),
                size => Kind::File(size),
            },
            EntryType::Directory => Kind::Folder,
            EntryType::Link => EntryPath::parse(&link(header, &mut records))
                .map(Kind::HardLink)
                .map_err(|_| refused("is a hard link that leads out of the archive"))?,
            EntryType::Symlink => match link(header, &mut records) {
                target if target.is_empty() || target.len() > MAX_TARGET || target.contains(&0) => {
                    return Err(refused(
                        "is a symbolic link whose target is empty, too long, or has a zero byte",
                    ));
                }
                target => Kind::Symlink(target),
            },
            _ => Kind::Special(special(header).map_err(refused)?),
        };
        let attributes = attributes(header, records).map_err(refused)?;
        Ok(Self { path, attributes, kind })
    }
}

/// What a link leads to.
fn link(header: &Header, records: &mut Records) -> Vec<u8> {
    let own = || header.link_name_bytes().map(Cow::into_owned).unwrap_or_default();
    records.link.take().unwrap_or_else(own)
}

fn special(header: &Header) -> Result<Special, &'static str> {
    let number = |number: io::Result<Option<u32>>, most| {
        let number = number.ok().flatten().filter(|number| *number < most);
        number.ok_or("has no valid device number")
    };
    let device =
        || Ok((number(header.device_major(), MAX_MAJOR)?, number(header.device_minor(), MAX_MINOR)?));
    match header.entry_type() {
        EntryType::Char => match device()? {
            // overlayfs takes it for the absence of a file.
            (0, 0) => Err("is a character device 0:0, by which layers hide files below"),
            (major, minor) => Ok(Special::Character { major, minor }),
        },
        EntryType::Block => device().map(|(major, minor)| Special::Block { major, minor }),
        EntryType::Fifo => Ok(Special::Fifo),
        EntryType::GNUSparse => Err("is stored as a sparse file, which is not supported"),
        _ => Err("is of a type that is neither file, folder, link nor device"),
    }
}

fn attributes(header: &Header, records: Records) -> Result<Attributes, &'static str> {
    let fields = header.as_old();
    // Nothing at all is taken for zero, as GNU tar does.
    let number = |field: &[u8], number: io::Result<u64>, problem| match number {
        Err(_) if field.iter().all(|byte| matches!(byte, 0 | b' ')) => Ok(0),
        number => number.map_err(|_| problem),
    };
    let id = |recorded: Option<u64>, own: Result<u64, &'static str>, problem| {
        let id = recorded.map_or(own, Ok)?;
        // The highest number means "leave as it is" to the kernel.
        u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or(problem)
    };
    let (owner, group) = ("has no valid owner", "has no valid group");
    let mode = number(&fields.mode, header.mode().map(u64::from), "has no valid mode")?;
    Ok(Attributes {
        mode: u16::try_from(mode & 0o7777).unwrap_or_default(),
        uid: id(records.uid, number(&fields.uid, header.uid(), owner), owner)?,
        gid: id(records.gid, number(&fields.gid, header.gid(), group), group)?,
        time: match records.time {
            Some(time) => time,
            None => {
                let seconds = number(&fields.mtime, header.mtime(), "has no valid time")?;
                // Two's complement where it is negative.
                Time { seconds: seconds.cast_signed(), nanoseconds: 0 }
            }
        },
        extended: records.attributes,
    })
}
