//! Where everything lies in an image: inodes, numbered breadth first, and the blocks of their data.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::rc::Rc;

use rustix::fs::FileType;

use super::{BLOCK, INODE_UNIT as UNIT, SUPERBLOCK, attributes, directory};
use crate::archive::Special;
use crate::tree::{Content, Folder, Node, Other};

/// Bytes of the superblock, which inodes begin behind.
pub(super) const SUPERBLOCK_SIZE: u64 = 128;
/// Where the first inode begins.
pub(super) const HEAD: u64 = SUPERBLOCK + SUPERBLOCK_SIZE;
/// The longest end of a file that lies behind its inode, in bytes.
const FILE_TAIL: u64 = 1024;
/// Bytes of an extended inode.
pub(super) const INODE: u64 = 64;

/// All inodes of an image, by number, the root first.
pub(super) struct Plan<'a> {
    pub(super) inodes: Vec<Inode<'a>>,
}

/// A file of any kind.
pub(super) struct Inode<'a> {
    pub(super) source: Source<'a>,
    /// The folder in which it was found first.
    parent: usize,
    /// Names that lead to it.
    pub(super) links: u32,
    /// A folder's entries, `.` and `..` included, sorted.
    pub(super) entries: Vec<Entry<'a>>,
    /// Its extended attributes as they lie behind it.
    pub(super) attributes: Vec<u8>,
    pub(super) size: u64,
    /// Bytes of the data's end that lie behind it.
    pub(super) tail: u64,
    /// Where it begins.
    pub(super) position: u64,
    /// The first block of the rest.
    pub(super) block: u32,
}

/// Inodes that have one number whatever leads to them: files with several names, and all whiteouts together.
#[derive(Default)]
struct Known {
    others: HashMap<*const Other, usize>,
    whiteout: Option<usize>,
}

/// What an inode is of.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    Folder { folder: &'a Folder, opaque: bool },
    Other(&'a Other),
    Whiteout,
}

/// A name and the number of its inode.
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) inode: usize,
}

impl<'a> Plan<'a> {
    pub(super) fn of(root: &'a Folder) -> Self {
        let source = Source::Folder { folder: root, opaque: root.is_opaque };
        let mut plan = Self { inodes: vec![Inode::new(source, 0, 2)] };
        let mut known = Known::default();
        let mut number = 0;
        while let Some(inode) = plan.inodes.get(number) {
            if let Source::Folder { folder, .. } = inode.source {
                let parent = inode.parent;
                plan.add_entries(number, parent, folder, &mut known);
            }
            number += 1;
        }
        plan
    }

    fn add_entries(&mut self, number: usize, parent: usize, folder: &'a Folder, known: &mut Known) {
        let mut entries = BTreeMap::from([(&b"."[..], number), (&b".."[..], parent)]);
        for name in folder.hidden.iter().filter(|name| !folder.entries.contains_key(*name)) {
            let inode = *known.whiteout.get_or_insert_with(|| self.add(Source::Whiteout, number));
            self.link(inode, 1);
            entries.insert(name, inode);
        }
        for (name, node) in &folder.entries {
            let inode = match node {
                Node::Folder(inner) => {
                    let opaque = folder.hides_below(name, inner);
                    let inode = self.add(Source::Folder { folder: inner, opaque }, number);
                    // Its name and its own `.` lead to it, and its `..` to where it is.
                    self.link(inode, 2);
                    self.link(number, 1);
                    inode
                }
                Node::Other(other) => {
                    let known = known.others.entry(Rc::as_ptr(other));
                    let inode = *known.or_insert_with(|| self.add(Source::Other(other), number));
                    self.link(inode, 1);
                    inode
                }
            };
            entries.insert(name, inode);
        }
        if let Some(inode) = self.inodes.get_mut(number) {
            inode.entries = entries.into_iter().map(|(name, inode)| Entry { name, inode }).collect();
        }
    }

    fn add(&mut self, source: Source<'a>, parent: usize) -> usize {
        self.inodes.push(Inode::new(source, parent, 0));
        self.inodes.len() - 1
    }

    fn link(&mut self, inode: usize, names: u32) {
        if let Some(inode) = self.inodes.get_mut(inode) {
            inode.links += names;
        }
    }

    /// Gives every inode and its data a place. The blocks of the whole image are what it returns.
    pub(super) fn place(&mut self) -> io::Result<u32> {
        let mut position = HEAD;
        for inode in &mut self.inodes {
            inode.measure();
            let length = INODE + inode.attributes.len() as u64 + inode.tail;
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
            let blocks = (inode.size - inode.tail).div_ceil(BLOCK);
            if blocks > 0 {
                inode.block = u32::try_from(block).map_err(|_| too_large())?;
                block += blocks;
            }
        }
        u32::try_from(block).map_err(|_| too_large())
    }
}

impl<'a> Inode<'a> {
    fn new(source: Source<'a>, parent: usize, links: u32) -> Self {
        Self {
            source,
            parent,
            links,
            entries: Vec::new(),
            attributes: Vec::new(),
            size: 0,
            tail: 0,
            position: 0,
            block: 0,
        }
    }

    /// Finds out how long it, its attributes and its data are.
    fn measure(&mut self) {
        self.attributes = match self.source {
            Source::Folder { folder, opaque } => attributes::encode(&folder.attributes.extended, opaque),
            Source::Other(other) => attributes::encode(&other.attributes.extended, false),
            Source::Whiteout => Vec::new(),
        };
        let longest_tail;
        (self.size, longest_tail) = match self.source {
            Source::Folder { .. } => (directory::length(self.entries.iter().map(|entry| entry.name)), BLOCK),
            Source::Other(other) => match &other.content {
                Content::File { size, .. } => (*size, FILE_TAIL),
                Content::Symlink(target) => (target.len() as u64, BLOCK),
                Content::Special(_) => (0, 0),
            },
            Source::Whiteout => (0, 0),
        };
        let tail = self.size % BLOCK;
        let fits = INODE + self.attributes.len() as u64 + tail <= BLOCK;
        self.tail = if tail <= longest_tail && fits { tail } else { 0 };
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
