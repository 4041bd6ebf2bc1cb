//! One entry of an archive that a base is made of: what a guest's filesystem can have, and nothing that decides how layers
//! are stacked.

use std::collections::BTreeMap;

use tar_stream::{Part, Time};

use super::{ArchiveError, EntryPath, Role};

/// What Linux has room for in a device number.
const MAX_MAJOR: u32 = 1 << 12;
const MAX_MINOR: u32 = 1 << 20;

/// What Linux takes for one file, in bytes: of an attribute's name and value, and of all names and values together.
const MAX_ATTRIBUTE_NAME: usize = 255;
const MAX_ATTRIBUTE_VALUE: usize = 65_535;
const MAX_ATTRIBUTES: usize = 64 << 10;

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
    /// A file with so many bytes, of which these parts are data, which [`Archive::copy`](super::Archive::copy) gives.
    File {
        size: u64,
        parts: Vec<Part>,
    },
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
    pub(super) fn check(entry: tar_stream::Entry, role: Role) -> Result<Self, ArchiveError> {
        let tar_stream::Entry { path: raw, kind, mode, uid, gid, time, attributes, has_acl } = entry;
        let refused = |reason: &'static str| ArchiveError::path(&raw, reason);
        let path = EntryPath::parse(&raw, role).map_err(refused)?;
        if has_acl {
            return Err(refused(
                "has an access list, which is not kept: make the archive without, as by tar --no-acls",
            ));
        }
        let kind = check_kind(kind, role).map_err(refused)?;
        let extended = check_attributes(attributes).map_err(refused)?;
        Ok(Self { path, attributes: Attributes { mode, uid, gid, time, extended }, kind })
    }
}

fn check_kind(kind: tar_stream::Kind, role: Role) -> Result<Kind, &'static str> {
    use tar_stream::Kind as Found;
    let special = match kind {
        Found::File { size, parts } => return Ok(Kind::File { size, parts }),
        Found::Folder => return Ok(Kind::Folder),
        Found::Symlink(target) => return Ok(Kind::Symlink(target)),
        Found::HardLink(target) => {
            return EntryPath::parse(&target, role)
                .map(Kind::HardLink)
                .map_err(|_| "is a hard link that leads out of the archive");
        }
        Found::Fifo => Special::Fifo,
        Found::CharacterDevice(0, 0) => {
            // overlayfs takes it for the absence of a file.
            return Err("is a character device 0:0, by which layers hide files below");
        }
        Found::CharacterDevice(major, minor) => Special::Character { major, minor },
        Found::BlockDevice(major, minor) => Special::Block { major, minor },
        Found::Unknown(_) => return Err("is of a type that is neither file, folder, link nor device"),
    };
    match special {
        Special::Character { major, minor } | Special::Block { major, minor }
            if major >= MAX_MAJOR || minor >= MAX_MINOR =>
        {
            Err("has a device number that Linux has no room for")
        }
        special => Ok(Kind::Special(special)),
    }
}

fn check_attributes(
    mut attributes: BTreeMap<Vec<u8>, Vec<u8>>,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, &'static str> {
    attributes.retain(|name, _| is_kept(name));
    let is_long = |(name, value): (&Vec<u8>, &Vec<u8>)| {
        name.len() > MAX_ATTRIBUTE_NAME || name.contains(&0) || value.len() > MAX_ATTRIBUTE_VALUE
    };
    if attributes.iter().any(is_long) {
        return Err("has an extended attribute that is longer than Linux takes");
    }
    let total: usize = attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
    if total > MAX_ATTRIBUTES {
        return Err("has more than 64 KiB of extended attributes");
    }
    Ok(attributes)
}

/// Attributes that mean something to a Linux guest. Those of overlayfs would decide how layers are stacked, which is
/// for whiteouts in the archive to say.
fn is_kept(name: &[u8]) -> bool {
    let within = |prefix: &[u8]| name.len() > prefix.len() && name.starts_with(prefix);
    let known = within(b"user.")
        || within(b"trusted.")
        || within(b"security.")
        || matches!(name, b"system.posix_acl_access" | b"system.posix_acl_default");
    known && !name.starts_with(b"user.overlay.") && !name.starts_with(b"trusted.overlay.")
}
