//! A tree of files in memory: what one layer of a base says, or what several of them are together.
//!
//! Only names and attributes are here. The content of files lies in a [`Spool`]. So nothing that an archive says becomes a path,
//! an owner or a device of this host. How large a tree may become, its [`Allowance`] says, in bytes of memory.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::archive::{EntryName, Special, Time};
use crate::erofs::{FILE_TIME, Xattrs};

mod allowance;
mod error;
mod overlay;
mod read;
mod spool;

pub(crate) use allowance::{Allowance, MAX_SIZE, folder as memory_of_folder, name as memory_of_name};
pub use error::LayerError;
pub(crate) use overlay::settle;
pub(crate) use read::Reading;
pub(crate) use spool::{HOLE, Place, Spool, is_zero};

/// Who owns a file and what may be done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Permission bits, set-ID and sticky bits included.
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) time: Time,
    pub(crate) xattrs: Xattrs,
}

impl Attributes {
    /// Root's, from a recipe's folder.
    pub(crate) fn of_root(mode: u16) -> Self {
        let time = Time { seconds: FILE_TIME, nanoseconds: 0 };
        Self { mode, uid: 0, gid: 0, time, xattrs: Xattrs::default() }
    }
}

/// A folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub(crate) attributes: Attributes,
    /// Whether an entry of its own says the attributes.
    is_explicit: bool,
    /// Whether all that layers below have in it is hidden.
    pub(crate) is_opaque: bool,
    pub(crate) entries: BTreeMap<EntryName, Node>,
    /// Names of layers below that are hidden. What is in `entries` too replaces what they have.
    pub(crate) hidden: BTreeSet<EntryName>,
}

/// What a name leads to. Names of one file share it.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Folder(Box<Folder>),
    Other(Rc<Other>),
}

/// What is no folder.
#[derive(Debug)]
pub(crate) struct Other {
    pub(crate) attributes: Attributes,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    File {
        /// Where its bytes are, which changes when its layer is written.
        place: Cell<Place>,
        size: u64,
    },
    Symlink(Box<[u8]>),
    Special(Special),
}

impl Folder {
    /// As a folder is that nothing describes: root's, readable to all.
    pub(crate) fn new() -> Self {
        Self {
            attributes: Attributes::of_root(0o755),
            is_explicit: false,
            is_opaque: false,
            entries: BTreeMap::new(),
            hidden: BTreeSet::new(),
        }
    }

    /// Makes it a folder with these attributes, and keeps what is in it.
    pub(crate) fn describe(&mut self, attributes: Attributes) {
        (self.attributes, self.is_explicit) = (attributes, true);
    }

    /// The folder at a path, made where there is none. The error is the end of a sentence.
    fn at(&mut self, names: &[EntryName]) -> Result<&mut Self, &'static str> {
        names.iter().try_fold(self, |folder, name| {
            let node =
                folder.entries.entry(name.clone()).or_insert_with(|| Node::Folder(Box::new(Self::new())));
            match node {
                Node::Folder(folder) => Ok(&mut **folder),
                Node::Other(other) => Err(match other.content {
                    Content::Symlink(_) => "leads through a symbolic link that is in the archive as well",
                    _ => "leads through something that is no folder",
                }),
            }
        })
    }

    /// The end of a path that is not there.
    fn missing<'p>(&self, names: &'p [EntryName]) -> &'p [EntryName] {
        let (mut folder, mut rest) = (self, names);
        while let Some((name, behind)) = rest.split_first() {
            match folder.entries.get(name) {
                Some(Node::Folder(inner)) => (folder, rest) = (inner, behind),
                _ => break,
            }
        }
        rest
    }

    /// What is no folder and has this name in the folder at a path.
    fn other(&self, folders: &[EntryName], name: &[u8]) -> Option<&Rc<Other>> {
        let folder = folders.iter().try_fold(self, |folder, name| match folder.entries.get(name) {
            Some(Node::Folder(folder)) => Some(&**folder),
            _ => None,
        })?;
        match folder.entries.get(name) {
            Some(Node::Other(other)) => Some(other),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
