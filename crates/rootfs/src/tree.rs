//! A tree of files in memory: what one layer of an image says, or what several of them are together.
//!
//! Only names and attributes are here. The content of files lies in a [`Spool`], a file without a name, in the order
//! in which it came. So nothing that an archive says becomes a path, an owner or a device of this host.
//!
//! Whiteouts are those of the OCI image specification, layer.md: `.wh.NAME` hides what layers below have under NAME, and
//! `.wh..wh..opq` all that they have in its folder; neither hides what its own layer has, wherever that stands in the archive.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::rc::Rc;

use tar_stream::{Input, Part};

use crate::Progress;
use crate::archive::{Archive, ArchiveError, Attributes, Entry, EntryName, EntryPath, Kind, Special, Time};
use crate::erofs::FILE_TIME;

mod overlay;

pub(crate) use overlay::settle;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What AUFS, whose whiteouts these are, keeps for itself, folders too. It is no part of an image.
const RESERVED: &[u8] = b".wh..wh.";

/// Most entries of one image. Each takes some 350 bytes of memory until its layer is written.
const MAX_ENTRIES: u64 = 1 << 19;
/// Most bytes of names, targets and extended attributes of one image.
const MAX_TEXT: u64 = 256 << 20;
/// Most bytes of all files of one image.
const MAX_CONTENT: u64 = 64 << 30;

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
    /// Bytes of the spool.
    File {
        start: u64,
        size: u64,
    },
    Symlink(Vec<u8>),
    Special(Special),
}

impl Folder {
    /// As a folder is that no archive describes: root's, readable to all.
    pub(crate) fn new() -> Self {
        let time = Time { seconds: FILE_TIME, nanoseconds: 0 };
        let attributes = Attributes { mode: 0o755, uid: 0, gid: 0, time, extended: BTreeMap::new() };
        Self {
            attributes,
            is_explicit: false,
            is_opaque: false,
            entries: BTreeMap::new(),
            hidden: BTreeSet::new(),
        }
    }

    /// The folder at a path, made where there is none.
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
                Some(Node::Other(_)) => return behind,
                None => break,
            }
        }
        rest
    }

    /// What is no folder at a path.
    fn other(&self, path: &EntryPath) -> Option<&Rc<Other>> {
        let (folders, name) = path.split_last()?;
        let folder = folders.iter().try_fold(self, |folder, name| match folder.entries.get(name) {
            Some(Node::Folder(folder)) => Some(&**folder),
            _ => None,
        })?;
        match folder.entries.get(name) {
            Some(Node::Other(other)) => Some(other),
            _ => None,
        }
    }

    /// Makes it a folder with these attributes, and keeps what is in it.
    fn describe(&mut self, attributes: Attributes) {
        (self.attributes, self.is_explicit) = (attributes, true);
    }
}

/// The bytes of files, one after another, in a file that has no name.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    length: u64,
}

impl Spool {
    /// An empty one, on the filesystem of `folder`.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(folder)?, length: 0 })
    }

    /// Bytes of a file, by where they are.
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, position)
    }
}

/// What an image may still hold, over all its layers.
#[derive(Debug)]
pub(crate) struct Allowance {
    entries: u64,
    text: u64,
    content: u64,
}

impl Allowance {
    pub(crate) const fn of_an_image() -> Self {
        Self { entries: MAX_ENTRIES, text: MAX_TEXT, content: MAX_CONTENT }
    }

    /// Takes what an entry needs, and the folders on its way that are not there.
    fn take(&mut self, entry: &Entry, root: &Folder) -> Result<(), ArchiveError> {
        let made = root.missing(entry.path.names());
        let names: usize = made.iter().map(|name| name.len()).sum();
        let extended: usize =
            entry.attributes.extended.iter().map(|(name, value)| name.len() + value.len()).sum();
        let (content, target) = match &entry.kind {
            Kind::File { size, .. } => (*size, 0),
            Kind::Symlink(target) => (0, target.len()),
            _ => (0, 0),
        };
        let (count, text) = (made.len().max(1) as u64, (names + extended + target) as u64);
        let take = |left: &mut u64, count: u64, what, limit| match left.checked_sub(count) {
            Some(rest) => {
                *left = rest;
                Ok(())
            }
            None => Err(ArchiveError::TooMuch { what, limit }),
        };
        take(&mut self.entries, count, "files and folders", MAX_ENTRIES)?;
        take(&mut self.text, text, "bytes of names and attributes", MAX_TEXT)?;
        take(&mut self.content, content, "bytes in its files", MAX_CONTENT)
    }
}

/// Reads a whole archive as one layer. Each entry is checked before its content is put into the spool.
pub(crate) fn read(
    archive: &mut Archive<impl Input>,
    spool: &mut Spool,
    allowance: &mut Allowance,
    progress: &dyn Progress,
) -> Result<Folder, ArchiveError> {
    let mut root = Folder::new();
    while let Some(entry) = archive.next()? {
        if progress.is_interrupted() {
            return Err(ArchiveError::Interrupted);
        }
        allowance.take(&entry, &root)?;
        add(&mut root, entry, archive, spool, progress)?;
    }
    Ok(root)
}

fn add(
    root: &mut Folder,
    entry: Entry,
    archive: &mut Archive<impl Input>,
    spool: &mut Spool,
    progress: &dyn Progress,
) -> Result<(), ArchiveError> {
    let Entry { path, attributes, kind } = entry;
    let refused = |reason| ArchiveError::Entry { path: path.to_string(), reason };
    let Some((folders, name)) = path.split_last() else {
        return match kind {
            Kind::Folder => {
                root.describe(attributes);
                Ok(())
            }
            _ => Err(refused("is the root and no folder")),
        };
    };
    if is_reserved(folders) || (name.starts_with(RESERVED) && name != OPAQUE) {
        return Ok(());
    }
    if folders.iter().any(|name| name.starts_with(WHITEOUT)) {
        return Err(refused("lies below a whiteout"));
    }
    // Looked up before its own path is made: a link cannot lead to itself.
    let linked = match &kind {
        Kind::HardLink(target) if is_reserved(target.names()) => {
            return Err(refused(
                "is a hard link into what AUFS keeps for itself, which is no part of an image",
            ));
        }
        Kind::HardLink(target) => match root.other(target) {
            Some(other) => Some(Rc::clone(other)),
            None => return Err(refused("is a hard link to nothing that comes before it in the archive")),
        },
        _ => None,
    };
    let folder = root.at(folders).map_err(refused)?;
    if name == OPAQUE {
        folder.is_opaque = true;
        return Ok(());
    }
    if let Some(hidden) = name.strip_prefix(WHITEOUT) {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(refused("is a whiteout of no name"));
        }
        folder.hidden.insert(hidden.into());
        return Ok(());
    }
    let content = match kind {
        Kind::Folder => {
            match folder.entries.get_mut(name) {
                Some(Node::Folder(there)) => there.describe(attributes),
                _ => {
                    let mut new = Folder::new();
                    new.describe(attributes);
                    folder.entries.insert(name.into(), Node::Folder(Box::new(new)));
                }
            }
            return Ok(());
        }
        Kind::File { size, parts } => {
            Content::File { start: copy(archive, spool, size, &parts, progress)?, size }
        }
        Kind::Symlink(target) => Content::Symlink(target),
        Kind::Special(special) => Content::Special(special),
        Kind::HardLink(_) => {
            folder.entries.extend(linked.map(|other| (name.into(), Node::Other(other))));
            return Ok(());
        }
    };
    folder.entries.insert(name.into(), Node::Other(Rc::new(Other { attributes, content })));
    Ok(())
}

fn is_reserved(names: &[EntryName]) -> bool {
    names.iter().any(|name| name.starts_with(RESERVED))
}

/// Puts the current entry's content into the spool, and says where. Holes stay holes there.
fn copy(
    archive: &mut Archive<impl Input>,
    spool: &mut Spool,
    size: u64,
    parts: &[Part],
    progress: &dyn Progress,
) -> Result<u64, ArchiveError> {
    let start = spool.length;
    let mut written = 0;
    archive.copy(parts, |bytes, offset| {
        if progress.is_interrupted() {
            return Err(ArchiveError::Interrupted);
        }
        written = offset + bytes.len() as u64;
        spool.file.write_all_at(bytes, start + offset).map_err(ArchiveError::Write)
    })?;
    spool.length = start + size;
    if written < size {
        spool.file.set_len(spool.length).map_err(ArchiveError::Write)?;
    }
    Ok(start)
}

#[cfg(test)]
mod tests;
