//! The path of an entry: names below a root, never a path of the host.

use std::fmt;

use super::Role;

/// Most bytes of a name: what Linux takes.
const MAX_NAME: usize = 255;
/// Most bytes of a path.
const MAX_PATH: usize = 4096;
/// Most folders that lie in one another: trees of them are walked by recursion.
const MAX_DEPTH: usize = 256;

/// Names from the root down; none for the root itself. Each is a valid file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryPath(Vec<EntryName>);

/// A valid file name.
pub(crate) type EntryName = Box<[u8]>;

impl EntryPath {
    /// Reads a path as archives have it: `./` and doubled slashes mean nothing. The error is the end of a sentence.
    pub(crate) fn parse(path: &[u8], role: Role) -> Result<Self, &'static str> {
        if path.is_empty() {
            return Err("is empty");
        }
        if path.len() > MAX_PATH {
            return Err("is longer than 4096 bytes");
        }
        let is_root = path.iter().all(|byte| *byte == b'/');
        if path.starts_with(b"/") && !is_root && role != Role::Layer {
            return Err("is absolute: paths in archives are relative to the root");
        }
        let mut names: Vec<EntryName> = Vec::new();
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => continue,
                b".." => return Err("leads out of its folder by `..`"),
                name if name.contains(&0) => return Err("has a zero byte"),
                name if name.len() > MAX_NAME => return Err("has a name of more than 255 bytes"),
                name => names.push(name.into()),
            }
        }
        if names.len() > MAX_DEPTH {
            return Err("is more than 256 folders deep");
        }
        Ok(Self(names))
    }

    /// The folders on the way, and the name in the last of them; `None` for the root.
    pub(crate) fn split_last(&self) -> Option<(&[EntryName], &[u8])> {
        self.0.split_last().map(|(name, folders)| (folders, &**name))
    }

    /// What a symbolic link here with this target leads to, if that is within the archive. The error is the end of a
    /// sentence.
    pub(crate) fn beside(&self, target: &[u8]) -> Result<Self, &'static str> {
        let mut names = self.split_last().map(|(folders, _)| folders.to_vec()).unwrap_or_default();
        let mut rest = target;
        while let Some(up) = rest.strip_prefix(b"../") {
            names.pop().ok_or("leads out of the archive")?;
            rest = up;
        }
        names.extend(Self::parse(rest, Role::File)?.0);
        Ok(Self(names))
    }

    pub(crate) fn names(&self) -> &[EntryName] {
        &self.0
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return out.write_str("/");
        }
        self.0.iter().try_for_each(|name| write!(out, "/{}", name.escape_ascii()))
    }
}
