//! Archives, read as layers.
//!
//! Whiteouts are those of the OCI image specification, layer.md: `.wh.NAME` hides what layers below have under NAME, and
//! `.wh..wh..opq` all that they have in its folder; neither hides what its own layer has, wherever that stands in the archive.

use std::cell::Cell;
use std::rc::Rc;

use tar_stream::Input;

use super::{Allowance, Attributes, Content, Folder, LayerError, Node, Other, Spool, allowance, overlay};
use crate::Progress;
use crate::archive::{self, Archive, Entry, EntryName, EntryPath, Kind};
use crate::erofs::Xattrs;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What AUFS, whose whiteouts these are, keeps for itself, folders too. It is no part of an image.
const RESERVED: &[u8] = b".wh..wh.";

/// Where a layer is read to.
pub(crate) struct Reading<'a> {
    /// All layers below: what a hard link may lead to.
    pub(crate) below: &'a Folder,
    pub(crate) spool: &'a mut Spool,
    pub(crate) allowance: &'a mut Allowance,
    pub(crate) progress: &'a dyn Progress,
}

impl Reading<'_> {
    /// Reads a whole archive as one layer. Each entry is checked before its content is put into the spool.
    pub(crate) fn read(&mut self, archive: &mut Archive<impl Input>) -> Result<Folder, LayerError> {
        let mut root = Folder::new();
        while let Some(entry) = archive.next()? {
            if self.progress.is_interrupted() {
                return Err(LayerError::Interrupted);
            }
            self.add(&mut root, entry, archive)?;
        }
        Ok(root)
    }

    fn add(
        &mut self,
        root: &mut Folder,
        entry: Entry,
        archive: &mut Archive<impl Input>,
    ) -> Result<(), LayerError> {
        let Entry { path, attributes, kind } = entry;
        let refused = |reason| LayerError::entry(path.names(), reason);
        let attributes = kept(attributes).map_err(refused)?;
        let Some((folders, name)) = path.split_last() else {
            if kind != Kind::Folder {
                return Err(refused("is the root and no folder"));
            }
            self.allowance.take_memory(attributes.xattrs.memory() as u64)?;
            root.describe(attributes);
            return Ok(());
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
            Kind::HardLink(target) => Some(self.linked(root, target).map_err(refused)?),
            _ => None,
        };
        let new = root.missing(folders).iter().map(|name| allowance::folder(name)).sum();
        self.allowance.take_memory(new)?;
        let folder = root.at(folders).map_err(refused)?;
        if name == OPAQUE {
            folder.is_opaque = true;
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(refused("is a whiteout of no name"));
            }
            self.allowance.take_memory(allowance::name(hidden))?;
            folder.hidden.insert(hidden.into());
            return Ok(());
        }
        self.put(folder, name, attributes, kind, linked, archive)
    }

    /// Puts what is neither root nor whiteout under its name.
    fn put(
        &mut self,
        folder: &mut Folder,
        name: &[u8],
        attributes: Attributes,
        kind: Kind,
        linked: Option<Rc<Other>>,
        archive: &mut Archive<impl Input>,
    ) -> Result<(), LayerError> {
        let content = match kind {
            Kind::Folder => {
                self.allowance.take_memory(allowance::folder(name) + attributes.xattrs.memory() as u64)?;
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
            Kind::HardLink(_) => {
                self.allowance.take_memory(allowance::name(name))?;
                folder.entries.extend(linked.map(|other| (name.into(), Node::Other(other))));
                return Ok(());
            }
            Kind::File { size, parts } => {
                self.allowance.take_content(size)?;
                let place = self.spool.add(size, self.progress, |put| archive.copy(&parts, put))?;
                Content::File { place: Cell::new(place), size }
            }
            Kind::Symlink(target) => Content::Symlink(target.into()),
            Kind::Special(special) => Content::Special(special),
        };
        let other = Other { attributes, content };
        self.allowance.take_memory(allowance::name(name) + other.memory())?;
        folder.entries.insert(name.into(), Node::Other(Rc::new(other)));
        Ok(())
    }

    /// What a hard link leads to: a file of this layer or, as if its bytes were here, of the layers below.
    fn linked(&mut self, root: &Folder, target: &EntryPath) -> Result<Rc<Other>, &'static str> {
        const NOTHING: &str =
            "is a hard link to nothing that comes before it in the archive or is in a layer below";
        let (folders, name) = target.split_last().ok_or(NOTHING)?;
        if let Some(other) = root.other(folders, name) {
            return Ok(Rc::clone(other));
        }
        let folders = overlay::resolve(self.below, folders)?;
        let other = self.below.other(&folders, name).ok_or(NOTHING)?;
        if let Content::File { size, .. } = other.content {
            self.allowance.take_content(size).map_err(|_| "is a hard link to more than is left to unpack")?;
        }
        Ok(Rc::clone(other))
    }
}

fn is_reserved(names: &[EntryName]) -> bool {
    names.iter().any(|name| name.starts_with(RESERVED))
}

/// Attributes as a tree keeps them.
fn kept(attributes: archive::Attributes) -> Result<Attributes, &'static str> {
    let archive::Attributes { mode, uid, gid, time, extended } = attributes;
    Ok(Attributes { mode, uid, gid, time, xattrs: Xattrs::new(&extended)? })
}
