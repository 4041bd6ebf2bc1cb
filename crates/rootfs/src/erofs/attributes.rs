//! The extended attributes behind an inode: a header, then each attribute at a multiple of four bytes.

use std::collections::BTreeMap;

/// Says to overlayfs, where it is mounted with `userxattr`, that a folder hides what layers below have in it. That one is used
/// which an ordinary user may set as well, so that a recipe's own folders have the same.
const OPAQUE: (&[u8], &[u8]) = (b"user.overlay.opaque", b"y");
const HEADER: usize = 12;
/// What names begin with, and the number that stands for it. What is a whole name comes before its like.
const PREFIXES: [(&[u8], u8); 5] = [
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
];

/// What lies behind an inode with these attributes: nothing if there are none. The archive's reader has seen to lengths and
/// to prefixes.
pub(super) fn encode(attributes: &BTreeMap<Vec<u8>, Vec<u8>>, opaque: bool) -> Vec<u8> {
    let own = opaque.then_some(OPAQUE);
    let all: BTreeMap<&[u8], &[u8]> =
        attributes.iter().map(|(name, value)| (&**name, &**value)).chain(own).collect();
    if all.is_empty() {
        return Vec::new();
    }
    let mut bytes = vec![0; HEADER];
    for (name, value) in all {
        let found = PREFIXES.iter().find_map(|(prefix, index)| Some((name.strip_prefix(*prefix)?, *index)));
        let Some((name, index)) = found else { continue };
        let (name_length, value_length) = (u8::try_from(name.len()), u16::try_from(value.len()));
        let (Ok(name_length), Ok(value_length)) = (name_length, value_length) else { continue };
        bytes.extend_from_slice(&[name_length, index]);
        bytes.extend_from_slice(&value_length.to_le_bytes());
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// How an inode says how long that is: the header counts as one.
pub(super) fn count(encoded: &[u8]) -> u16 {
    match encoded.len().checked_sub(HEADER) {
        Some(rest) => u16::try_from(rest / 4 + 1).unwrap_or(u16::MAX),
        None => 0,
    }
}
