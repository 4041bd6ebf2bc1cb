//! The extended attributes behind an inode: a header, then each attribute at a multiple of four bytes.

use std::collections::BTreeMap;
use std::rc::Rc;

/// Says to overlayfs, where it is mounted with `userxattr`, that a folder hides what layers below have in it. That one is used
/// which an ordinary user may set as well, so that a recipe's own folders have the same.
pub(crate) const OPAQUE: &[u8] = b"user.overlay.opaque";
const HEADER: usize = 12;
/// The unit in which an inode counts them.
const UNIT: usize = 4;
/// Most bytes of all attributes of a file with their headers. Linux lists at most 64 KiB of names, and an inode counts to four times
/// as much.
const MAX_BODY: usize = 128 << 10;
/// What names begin with, and the number that stands for it. What is a whole name comes before its like.
const PREFIXES: [(&[u8], u8); 5] = [
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
];

/// The extended attributes of a file, sorted by name, as they lie behind its inode. Files that are alike share them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Xattrs(Option<Rc<[u8]>>);

impl Xattrs {
    /// Those with these full names. The error is the end of a sentence.
    pub(crate) fn new(attributes: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Self, &'static str> {
        let mut body = Vec::new();
        for (name, value) in attributes {
            put(&mut body, name, value)?;
        }
        if body.len() > MAX_BODY {
            return Err("has more extended attributes than a layer takes");
        }
        Ok(if body.is_empty() { Self::default() } else { Self(Some(body.into())) })
    }

    /// How many bytes they are that an inode counts so.
    pub(super) fn length_of(count: u16) -> u64 {
        let body = |rest| HEADER as u64 + u64::from(rest) * UNIT as u64;
        count.checked_sub(1).map_or(0, body)
    }

    /// Reads what [`Self::encode`] gives, and whether that is of an opaque folder.
    pub(super) fn decode(bytes: &[u8]) -> (Self, bool) {
        let body = bytes.get(HEADER..).unwrap_or_default();
        let mut opaque = Vec::new();
        let own = put(&mut opaque, OPAQUE, b"y").ok().and_then(|()| body.strip_suffix(&*opaque));
        let rest = own.unwrap_or(body);
        (Self((!rest.is_empty()).then(|| rest.into())), own.is_some())
    }

    /// Bytes of memory that they take.
    pub(crate) fn memory(&self) -> usize {
        self.0.as_ref().map_or(0, |body| body.len() + 32)
    }

    /// How many bytes lie behind the inode of what has these, and is opaque or not.
    pub(super) fn length(&self, opaque: bool) -> usize {
        let own = if opaque { OPAQUE.len() - b"user.".len() + 1 + UNIT } else { 0 };
        match self.0.as_ref().map_or(0, |body| body.len()) + own.next_multiple_of(UNIT) {
            0 => 0,
            body => HEADER + body,
        }
    }

    /// What lies there.
    pub(super) fn encode(&self, opaque: bool) -> Result<Vec<u8>, &'static str> {
        let mut bytes = Vec::new();
        if self.length(opaque) > 0 {
            bytes.resize(HEADER, 0);
        }
        bytes.extend_from_slice(self.0.as_deref().unwrap_or_default());
        if opaque {
            put(&mut bytes, OPAQUE, b"y")?;
        }
        Ok(bytes)
    }
}

/// Whether a file of a guest may have an attribute of this name. Those of overlayfs would decide how layers are stacked, and others
/// mean nothing to Linux.
pub(crate) fn is_kept(name: &[u8]) -> bool {
    let is_overlay = name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.");
    split(name).is_some() && !is_overlay
}

/// A name's end, and the number of its beginning.
fn split(name: &[u8]) -> Option<(&[u8], u8)> {
    PREFIXES.iter().find_map(|(prefix, index)| match name.strip_prefix(*prefix)? {
        // Those that end with a dot name nothing alone, and the others all.
        rest if rest.is_empty() == prefix.ends_with(b".") => None,
        rest => Some((rest, *index)),
    })
}

fn put(bytes: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
    let (rest, index) = split(name).ok_or("has an extended attribute that a layer has no room for")?;
    let lengths = (u8::try_from(rest.len()), u16::try_from(value.len()));
    let (Ok(name_length), Ok(value_length)) = lengths else {
        return Err("has an extended attribute that is longer than Linux takes");
    };
    bytes.extend_from_slice(&[name_length, index]);
    bytes.extend_from_slice(&value_length.to_le_bytes());
    bytes.extend_from_slice(rest);
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(UNIT), 0);
    Ok(())
}

/// How an inode says how long they are: the header counts as one.
pub(super) fn count(length: usize) -> Result<u16, std::num::TryFromIntError> {
    length.checked_sub(HEADER).map_or(Ok(0), |body| u16::try_from(body / UNIT + 1))
}
