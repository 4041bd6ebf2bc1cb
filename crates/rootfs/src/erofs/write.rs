//! Writes a [`Folder`] as an EROFS image, by our own hand: the same bytes for the same tree, whoever runs it and whatever
//! tools a host has.
//!
//! Source: Linux, fs/erofs/erofs_fs.h and Documentation/filesystems/erofs.rst. Blocks have 4 KiB. The first one begins with
//! 1 KiB of zeros, then comes the superblock, then all inodes, each of the extended form, then the blocks of data in the
//! order of their inodes. Inodes are numbered breadth first, the root first; names are sorted by bytes.
//!
//! The end of a folder's entries, and of a symbolic link, lies behind its inode where it fits into the same block. The end of
//! a file never does: a page of a file that a guest has in memory is then, zeros behind its end included, a page of the
//! layer, and is not stored a second time.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::FileType;

use super::attributes;
use super::directory::{self, Dirent};
use crate::archive::{Attributes, Special, Time};
use crate::error::IoContext;
use crate::tree::{Content, Folder, Node, Other, Spool};
use crate::{Error, Progress};

const BLOCK: u64 = super::BLOCK;
/// What the disk begins with, up to the first inode.
const HEAD: u64 = super::SUPERBLOCK + SUPERBLOCK_SIZE;
const SUPERBLOCK_SIZE: u64 = 128;
/// The number of the first inode.
const ROOT: u16 = 36;
const _: () = assert!(ROOT as u64 * UNIT == HEAD);
const MAGIC: u32 = 0xE0F5_E1E2;
/// "Times are of changes to the content", a compatible feature.
const FEATURE_MTIME: u32 = 2;
const BLOCK_BITS: u8 = 12;
/// The identifier that `super::OPTIONS` gives to mkfs.erofs.
const UUID: [u8; 16] = *b"\x5b\x0e\0\0\0\0\x40\0\x80\0erofs\0";
/// Bytes of an extended inode.
const INODE: u64 = 64;
/// Where an inode may begin.
const UNIT: u64 = super::INODE_UNIT;
/// How an inode's data lies: in blocks, or the last part behind the inode.
const FLAT_PLAIN: u16 = 0;
const FLAT_INLINE: u16 = 2;
const EXTENDED: u16 = 1;
/// Bytes that are copied at once.
const CHUNK: usize = 1 << 20;

/// Writes `root` and the content of its files as an image at `path`.
pub(crate) fn write(root: &Folder, spool: &Spool, path: &Path, progress: &dyn Progress) -> Result<(), Error> {
    let mut plan = Plan::of(root);
    let blocks = plan.place().io("lay out", path)?;
    let mut out = Positioned {
        out: BufWriter::with_capacity(CHUNK, File::create_new(path).io("make", path)?),
        position: 0,
    };
    plan.write(blocks, spool, &mut out, progress).and_then(|()| out.out.flush()).io("write", path)
}

/// All inodes of an image, by number, the root first.
struct Plan<'a> {
    inodes: Vec<Inode<'a>>,
}

struct Inode<'a> {
    source: Source<'a>,
    /// Names that lead to it.
    links: u32,
    /// A folder's entries, `.` and `..` included, sorted.
    entries: Vec<Entry<'a>>,
    /// Its extended attributes as they lie behind it.
    attributes: Vec<u8>,
    size: u64,
    /// Bytes of the data's end that lie behind it.
    tail: u64,
    /// Where it begins.
    position: u64,
    /// The first block of the rest.
    block: u32,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Folder { folder: &'a Folder, opaque: bool },
    Other(&'a Other),
    Whiteout,
}

/// A name and the number of its inode.
struct Entry<'a> {
    name: &'a [u8],
    inode: usize,
}

impl<'a> Plan<'a> {
    fn of(root: &'a Folder) -> Self {
        let mut plan =
            Self { inodes: vec![Inode::new(Source::Folder { folder: root, opaque: root.is_opaque }, 2)] };
        // Every name of a file leads to the one inode, and so does every whiteout.
        let mut known: HashMap<*const Other, usize> = HashMap::new();
        let mut whiteout = None;
        let mut parents = vec![0];
        let mut number = 0;
        while let Some((source, parent)) =
            plan.inodes.get(number).map(|inode| inode.source).zip(parents.get(number).copied())
        {
            let Source::Folder { folder, .. } = source else {
                number += 1;
                continue;
            };
            let mut entries = BTreeMap::from([(&b"."[..], number), (&b".."[..], parent)]);
            let mut subfolders = 0;
            for name in folder.hidden.iter().filter(|name| !folder.entries.contains_key(*name)) {
                let inode = *whiteout.get_or_insert_with(|| plan.add(Source::Whiteout, &mut parents, number));
                plan.link(inode);
                entries.insert(name, inode);
            }
            for (name, node) in &folder.entries {
                let inode = match node {
                    Node::Folder(inner) => {
                        subfolders += 1;
                        let opaque = folder.hides_below(name, inner);
                        let inode = plan.add(Source::Folder { folder: inner, opaque }, &mut parents, number);
                        // By its name and by its own `.`; its folders link to it as well.
                        plan.link(inode);
                        plan.link(inode);
                        inode
                    }
                    Node::Other(other) => {
                        let inode = *known
                            .entry(Rc::as_ptr(other))
                            .or_insert_with(|| plan.add(Source::Other(other), &mut parents, number));
                        plan.link(inode);
                        inode
                    }
                };
                entries.insert(name, inode);
            }
            if let Some(inode) = plan.inodes.get_mut(number) {
                inode.entries = entries.into_iter().map(|(name, inode)| Entry { name, inode }).collect();
                inode.links += subfolders;
            }
            number += 1;
        }
        plan
    }

    fn add(&mut self, source: Source<'a>, parents: &mut Vec<usize>, parent: usize) -> usize {
        self.inodes.push(Inode::new(source, 0));
        parents.push(parent);
        self.inodes.len() - 1
    }

    fn link(&mut self, inode: usize) {
        if let Some(inode) = self.inodes.get_mut(inode) {
            inode.links += 1;
        }
    }

    /// Gives every inode and its data a place. The blocks of the whole image are what it returns.
    fn place(&mut self) -> io::Result<u32> {
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

    fn write(
        &self,
        blocks: u32,
        spool: &Spool,
        out: &mut Positioned<impl Write>,
        progress: &dyn Progress,
    ) -> io::Result<()> {
        out.zeros_to(super::SUPERBLOCK)?;
        out.put(&self.superblock(blocks))?;
        for (number, inode) in (1_u32..).zip(&self.inodes) {
            out.zeros_to(inode.position)?;
            out.put(&inode.encode(number))?;
            out.put(&inode.attributes)?;
            if inode.tail > 0 {
                let data = self.data(inode);
                let full = in_memory(inode.size - inode.tail);
                out.put(data.get(full..).unwrap_or_default())?;
            }
        }
        let mut chunk = vec![0; CHUNK];
        for inode in &self.inodes {
            let length = inode.size - inode.tail;
            if length == 0 {
                continue;
            }
            out.zeros_to(u64::from(inode.block) * BLOCK)?;
            match inode.source {
                Source::Other(Other { content: Content::File { start, .. }, .. }) => {
                    let mut done = 0;
                    while done < length {
                        if progress.is_interrupted() {
                            return Err(io::Error::other("interrupted"));
                        }
                        let count = usize::try_from(length - done).unwrap_or(CHUNK).min(CHUNK);
                        let part = chunk.get_mut(..count).unwrap_or_default();
                        spool.read_exact_at(part, start + done)?;
                        out.put(part)?;
                        done += count as u64;
                    }
                }
                _ => out.put(self.data(inode).get(..in_memory(length)).unwrap_or_default())?,
            }
        }
        out.zeros_to(u64::from(blocks) * BLOCK)
    }

    /// The data of what is no file.
    fn data(&self, inode: &Inode<'a>) -> Vec<u8> {
        match inode.source {
            Source::Folder { .. } => {
                let dirents = inode.entries.iter().map(|entry| {
                    let target = self.inodes.get(entry.inode);
                    Dirent {
                        name: entry.name,
                        number: target.map_or(0, |target| target.position / UNIT),
                        kind: target.map_or(FileType::Unknown, Inode::file_type),
                    }
                });
                directory::encode(dirents)
            }
            Source::Other(Other { content: Content::Symlink(target), .. }) => target.clone(),
            _ => Vec::new(),
        }
    }

    fn superblock(&self, blocks: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |field: &[u8]| bytes.extend_from_slice(field);
        put(&MAGIC.to_le_bytes());
        // No checksum: a layer is known by its digest.
        put(&0_u32.to_le_bytes());
        put(&FEATURE_MTIME.to_le_bytes());
        put(&[BLOCK_BITS, 0]);
        put(&ROOT.to_le_bytes());
        put(&(self.inodes.len() as u64).to_le_bytes());
        put(&super::FILE_TIME.to_le_bytes());
        put(&0_u32.to_le_bytes());
        put(&blocks.to_le_bytes());
        // Inodes are counted from the start of the disk, and there are no shared attributes.
        put(&0_u32.to_le_bytes());
        put(&0_u32.to_le_bytes());
        put(&UUID);
        bytes.resize(in_memory(SUPERBLOCK_SIZE), 0);
        bytes
    }
}

impl<'a> Inode<'a> {
    fn new(source: Source<'a>, links: u32) -> Self {
        Self {
            source,
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
        let may_have_tail;
        (self.size, may_have_tail) = match self.source {
            Source::Folder { .. } => (directory::length(self.entries.iter().map(|entry| entry.name)), true),
            Source::Other(other) => match &other.content {
                Content::File { size, .. } => (*size, false),
                Content::Symlink(target) => (target.len() as u64, true),
                Content::Special(_) => (0, false),
            },
            Source::Whiteout => (0, false),
        };
        let tail = self.size % BLOCK;
        let fits = INODE + self.attributes.len() as u64 + tail <= BLOCK;
        // A link that is half inline is none to the kernel.
        self.tail = if may_have_tail && fits { tail } else { 0 };
    }

    fn file_type(&self) -> FileType {
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

    fn encode(&self, number: u32) -> Vec<u8> {
        let whiteout = Attributes {
            mode: 0,
            uid: 0,
            gid: 0,
            time: Time { seconds: super::FILE_TIME, nanoseconds: 0 },
            extended: BTreeMap::new(),
        };
        let attributes = match self.source {
            Source::Folder { folder, .. } => &folder.attributes,
            Source::Other(other) => &other.attributes,
            Source::Whiteout => &whiteout,
        };
        let permissions = match self.source {
            // As the kernel has it, which ignores what an archive says.
            Source::Other(Other { content: Content::Symlink(_), .. }) => 0o777,
            _ => attributes.mode,
        };
        let layout = if self.tail > 0 { FLAT_INLINE } else { FLAT_PLAIN };
        let mode = self.file_type().as_raw_mode() | u32::from(permissions);
        let place = match self.source {
            Source::Other(Other {
                content:
                    Content::Special(Special::Character { major, minor } | Special::Block { major, minor }),
                ..
            }) => device_number(*major, *minor),
            _ => self.block,
        };
        let mut bytes = Vec::with_capacity(in_memory(INODE));
        let mut put = |field: &[u8]| bytes.extend_from_slice(field);
        put(&(EXTENDED | (layout << 1)).to_le_bytes());
        put(&attributes::count(&self.attributes).to_le_bytes());
        // 16 bits, and as many that are reserved.
        put(&mode.to_le_bytes());
        put(&self.size.to_le_bytes());
        put(&place.to_le_bytes());
        put(&number.to_le_bytes());
        put(&attributes.uid.to_le_bytes());
        put(&attributes.gid.to_le_bytes());
        put(&attributes.time.seconds.to_le_bytes());
        put(&attributes.time.nanoseconds.to_le_bytes());
        put(&self.links.to_le_bytes());
        bytes.resize(in_memory(INODE), 0);
        bytes
    }
}

/// As Linux has it on disks (`new_encode_dev`); the archive's reader has seen to the ranges.
const fn device_number(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// A length of what is in memory.
fn in_memory(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// Knows where it is, and fills gaps by zeros.
struct Positioned<W> {
    out: W,
    position: u64,
}

impl<W: Write> Positioned<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.position += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// Gaps are shorter than a block.
    fn zeros_to(&mut self, position: u64) -> io::Result<()> {
        let zeros = [0; 4096];
        let zeros = position.checked_sub(self.position).and_then(|count| zeros.get(..in_memory(count)));
        self.put(zeros.ok_or_else(|| io::Error::other("an image's parts overlap"))?)
    }
}
