//! Where everything lies in an image: inodes, numbered breadth first, and the blocks of their data.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use rustix::fs::FileType;

use super::{BLOCK, INODE_UNIT as UNIT, SUPERBLOCK, directory};
use crate::archive::Special;
use crate::tree::{Content, Folder, Node, Other, Place};

/// Bytes of the superblock, which inodes begin behind.
pub(super) const SUPERBLOCK_SIZE: u64 = 128;
/// Where the first inode begins.
const HEAD: u64 = SUPERBLOCK + SUPERBLOCK_SIZE;
/// The longest file that lies behind its inode, in bytes.
const SMALL_FILE: u64 = 1024;
/// Bytes of an extended inode.
pub(super) const INODE: u64 = 64;

/// All inodes of an image, by number, the root first.
pub(super) struct Plan<'a> {
    pub(super) inodes: Vec<Inode<'a>>,
}

/// A file of any kind. An image may have very many: what can be found out again is not kept.
pub(super) struct Inode<'a> {
    pub(super) source: Source<'a>,
    /// The folder in which it was found first.
    parent: u32,
    /// Names that lead to it.
    pub(super) links: u32,
    /// The inodes of a folder's names, in the order of [`targets`].
    pub(super) entries: Box<[u32]>,
    pub(super) size: u64,
    /// Where it begins.
    pub(super) position: u64,
    /// Bytes of its extended attributes, which lie behind it.
    pub(super) attributes: u32,
    /// Bytes of the data's end that lie behind those.
    pub(super) tail: u32,
    /// The first block of the rest.
    pub(super) block: u32,
}

/// Inodes that have one number whatever leads to them: files with several names, and all whiteouts together.
#[derive(Default)]
struct Known {
    others: HashMap<*const Other, u32>,
    whiteout: Option<u32>,
}

/// What an inode is of.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    Folder { folder: &'a Folder, opaque: bool },
    Other(&'a Other),
    Whiteout,
}

/// What a name in a folder leads to.
enum Target<'a> {
    Itself,
    Parent,
    Hidden,
    Node(&'a Node),
}

/// A folder's names, `.` and `..` and those that it hides included, sorted by bytes.
fn targets(folder: &Folder) -> Vec<(&[u8], Target<'_>)> {
    let hidden = folder.hidden.iter().filter(|name| !folder.entries.contains_key(*name));
    let mut all: Vec<(&[u8], Target<'_>)> = vec![(b".", Target::Itself), (b"..", Target::Parent)];
    all.extend(hidden.map(|name| (&**name, Target::Hidden)));
    all.extend(folder.entries.iter().map(|(name, node)| (&**name, Target::Node(node))));
    all.sort_unstable_by_key(|(name, _)| *name);
    all
}

impl<'a> Plan<'a> {
    pub(super) fn of(root: &'a Folder) -> io::Result<Self> {
        let source = Source::Folder { folder: root, opaque: root.is_opaque };
        let mut plan = Self { inodes: vec![Inode::new(source, 0, 2)] };
        let mut known = Known::default();
        let mut number = 0;
        while let Some(inode) = plan.inodes.get(number) {
            if let Source::Folder { folder, .. } = inode.source {
                let parent = inode.parent;
                plan.add_entries(
                    u32::try_from(number).map_err(io::Error::other)?,
                    parent,
                    folder,
                    &mut known,
                )?;
            }
            number += 1;
        }
        Ok(plan)
    }

    fn add_entries(
        &mut self,
        number: u32,
        parent: u32,
        folder: &'a Folder,
        known: &mut Known,
    ) -> io::Result<()> {
        let targets = targets(folder);
        let mut entries = Vec::with_capacity(targets.len());
        let mut length_of = Vec::with_capacity(targets.len());
        for (name, target) in targets {
            length_of.push(name);
            entries.push(match target {
                Target::Itself => number,
                Target::Parent => parent,
                Target::Hidden => {
                    let inode = match known.whiteout {
                        Some(inode) => inode,
                        None => self.add(Source::Whiteout, number)?,
                    };
                    known.whiteout = Some(inode);
                    self.link(inode, 1);
                    inode
                }
                Target::Node(Node::Folder(inner)) => {
                    let opaque = folder.hides_below(name, inner);
                    let inode = self.add(Source::Folder { folder: inner, opaque }, number)?;
                    // Its name and its own `.` lead to it, and its `..` to where it is.
                    self.link(inode, 2);
                    self.link(number, 1);
                    inode
                }
                Target::Node(Node::Other(other)) => {
                    let inode = self.other(other, number, known)?;
                    self.link(inode, 1);
                    inode
                }
            });
        }
        if let Some(inode) = self.at(number) {
            inode.entries = entries.into();
            inode.size = directory::length(length_of.into_iter());
        }
        Ok(())
    }

    /// The inode of what is no folder, which other names may lead to as well.
    fn other(&mut self, other: &'a Rc<Other>, parent: u32, known: &mut Known) -> io::Result<u32> {
        if Rc::strong_count(other) == 1 {
            return self.add(Source::Other(other), parent);
        }
        if let Some(inode) = known.others.get(&Rc::as_ptr(other)) {
            return Ok(*inode);
        }
        let inode = self.add(Source::Other(other), parent)?;
        known.others.insert(Rc::as_ptr(other), inode);
        Ok(inode)
    }

    fn add(&mut self, source: Source<'a>, parent: u32) -> io::Result<u32> {
        let number = u32::try_from(self.inodes.len()).map_err(io::Error::other)?;
        self.inodes.push(Inode::new(source, parent, 0));
        Ok(number)
    }

    fn at(&mut self, number: u32) -> Option<&mut Inode<'a>> {
        self.inodes.get_mut(usize::try_from(number).ok()?)
    }

    fn link(&mut self, inode: u32, names: u32) {
        if let Some(inode) = self.at(inode) {
            inode.links += names;
        }
    }

    /// A folder's names with the inodes that they lead to.
    pub(super) fn names<'p>(
        &'p self,
        folder: &'a Folder,
        inode: &'p Inode<'a>,
    ) -> impl Iterator<Item = io::Result<(&'a [u8], &'p Inode<'a>)>> {
        targets(folder).into_iter().zip(&inode.entries).map(|((name, _), number)| {
            let target = usize::try_from(*number).ok().and_then(|number| self.inodes.get(number));
            Ok((name, target.ok_or_else(|| io::Error::other("a name leads to no inode"))?))
        })
    }

    /// Gives every inode and its data a place. The blocks of the whole image are what it returns.
    pub(super) fn place(&mut self) -> io::Result<u32> {
        let mut position = HEAD;
        for inode in &mut self.inodes {
            inode.measure()?;
            let length = INODE + u64::from(inode.attributes) + u64::from(inode.tail);
            // What lies behind an inode must be in its block. What is longer than a block begins with one.
            if position % BLOCK + length > BLOCK {
                position = position.next_multiple_of(BLOCK);
            }
            inode.position = position;
            position = (position + length).next_multiple_of(UNIT);
        }
        let too_large = || io::Error::other("it would have more blocks than EROFS can count");
        let mut block = position.div_ceil(BLOCK);
        for inode in &mut self.inodes {
            let blocks = inode.in_blocks().div_ceil(BLOCK);
            if blocks > 0 {
                inode.block = u32::try_from(block).map_err(|_| too_large())?;
                block += blocks;
            }
        }
        u32::try_from(block).map_err(|_| too_large())
    }
}

impl<'a> Inode<'a> {
    fn new(source: Source<'a>, parent: u32, links: u32) -> Self {
        Self {
            source,
            parent,
            links,
            entries: Box::default(),
            size: 0,
            position: 0,
            attributes: 0,
            tail: 0,
            block: 0,
        }
    }

    /// Finds out how long its attributes and its data are. A folder's data was measured when its names were.
    fn measure(&mut self) -> io::Result<()> {
        let attributes = match self.source {
            Source::Folder { folder, opaque } => folder.attributes.xattrs.length(opaque),
            Source::Other(other) => other.attributes.xattrs.length(false),
            Source::Whiteout => 0,
        };
        self.attributes = u32::try_from(attributes).map_err(io::Error::other)?;
        let tail = match self.source {
            Source::Folder { .. } => self.size % BLOCK,
            Source::Other(Other { content: Content::File { size, .. }, .. }) => {
                self.size = *size;
                if *size <= SMALL_FILE { *size } else { 0 }
            }
            Source::Other(Other { content: Content::Symlink(target), .. }) => {
                self.size = target.len() as u64;
                self.size % BLOCK
            }
            Source::Other(Other { content: Content::Special(_), .. }) | Source::Whiteout => 0,
        };
        let fits = INODE + u64::from(self.attributes) + tail <= BLOCK;
        self.tail = if fits { u32::try_from(tail).map_err(io::Error::other)? } else { 0 };
        Ok(())
    }

    /// Bytes of its data that lie in blocks.
    pub(super) fn in_blocks(&self) -> u64 {
        self.size - u64::from(self.tail)
    }

    /// Where its data begins, if it is all in one piece: that of files is.
    pub(super) fn data_position(&self) -> u64 {
        if self.tail > 0 {
            self.position + INODE + u64::from(self.attributes)
        } else {
            u64::from(self.block) * BLOCK
        }
    }

    /// Lets its file be read from this image, of that number, from now on.
    pub(super) fn is_in(&self, image: u16) {
        if let Source::Other(Other { content: Content::File { place, .. }, .. }) = self.source {
            place.set(Place::Image(image, self.data_position()));
        }
    }

    pub(super) fn file_type(&self) -> FileType {
        match self.source {
            Source::Folder { .. } => FileType::Directory,
            Source::Other(other) => match other.content {
                Content::File { .. } => FileType::RegularFile,
                Content::Symlink(_) => FileType::Symlink,
                Content::Special(Special::Character { .. }) => FileType::CharacterDevice,
                Content::Special(Special::Block { .. }) => FileType::BlockDevice,
                Content::Special(Special::Fifo) => FileType::Fifo,
            },
            Source::Whiteout => FileType::CharacterDevice,
        }
    }
}
