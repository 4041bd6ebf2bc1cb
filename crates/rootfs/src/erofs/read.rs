//! Reads an image that [`super::write()`] has written back as a tree. Of other images it knows nothing.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;

use rustix::fs::FileType;

use super::plan::INODE;
use super::write::{FLAT_INLINE, FLAT_PLAIN, MAGIC, device_of};
use super::{BLOCK, INODE_UNIT, SUPERBLOCK, Xattrs};
use crate::archive::{Special, Time};
use crate::tree::{Attributes, Content, Folder, Node, Other, Place};

/// Bytes of a name's entry in a folder without the name.
const DIRENT: usize = 12;
/// Most folders that lie in one another: more than any that was written.
const MAX_DEPTH: usize = 1024;
/// Most bytes of a folder's data or a link's target. No folder that was written has more.
const MAX_DATA: u64 = 256 << 20;

/// The tree of an image. Its files are read from the image of this number.
pub(crate) fn read(file: &File, image: u16) -> io::Result<Folder> {
    let start = bytes(file, SUPERBLOCK, 16)?;
    if u32::from_le_bytes(field(&start, 0)?) != MAGIC {
        return Err(damaged());
    }
    let root = u64::from(u16::from_le_bytes(field(&start, 14)?));
    let mut reader = Reader { file, image, known: HashMap::new() };
    let root = reader.inode(root)?;
    reader.folder(&root, 0)
}

struct Reader<'a> {
    file: &'a File,
    image: u16,
    /// Files with several names.
    known: HashMap<u64, Rc<Other>>,
}

struct Inode {
    kind: FileType,
    attributes: Attributes,
    is_opaque: bool,
    size: u64,
    /// The first block of its data, or its device.
    place: u32,
    links: u32,
    /// Where data lies behind it, and whether any does.
    behind: u64,
    is_inline: bool,
}

impl Reader<'_> {
    fn inode(&self, number: u64) -> io::Result<Inode> {
        let position = number.saturating_mul(INODE_UNIT);
        let raw = bytes(self.file, position, INODE)?;
        let u16_at = |at| field(&raw, at).map(u16::from_le_bytes);
        let u32_at = |at| field(&raw, at).map(u32::from_le_bytes);
        let u64_at = |at| field(&raw, at).map(u64::from_le_bytes);
        let mode = u16_at(4)?;
        let length = Xattrs::length_of(u16_at(2)?);
        let (xattrs, is_opaque) = Xattrs::decode(&bytes(self.file, position + INODE, length)?);
        let layout = u16_at(0)? >> 1;
        if layout != FLAT_PLAIN && layout != FLAT_INLINE {
            return Err(damaged());
        }
        let time = Time { seconds: u64_at(32)?.cast_signed(), nanoseconds: u32_at(40)? };
        Ok(Inode {
            kind: FileType::from_raw_mode(u32::from(mode)),
            attributes: Attributes { mode: mode & 0o7777, uid: u32_at(24)?, gid: u32_at(28)?, time, xattrs },
            is_opaque,
            size: u64_at(8)?,
            place: u32_at(16)?,
            links: u32_at(44)?,
            behind: position + INODE + length,
            is_inline: layout == FLAT_INLINE,
        })
    }

    fn folder(&mut self, inode: &Inode, depth: usize) -> io::Result<Folder> {
        if depth > MAX_DEPTH || inode.kind != FileType::Directory {
            return Err(damaged());
        }
        let mut folder = Folder::new();
        folder.describe(inode.attributes.clone());
        folder.is_opaque = inode.is_opaque;
        let data = self.data(inode)?;
        for block in data.chunks(usize::try_from(BLOCK).map_err(io::Error::other)?) {
            for (name, number) in names(block)? {
                if matches!(name, b"." | b"..") {
                    continue;
                }
                let inode = self.inode(number)?;
                if inode.kind == FileType::Directory {
                    let inner = self.folder(&inode, depth + 1)?;
                    folder.entries.insert(name.into(), Node::Folder(Box::new(inner)));
                } else if inode.kind == FileType::CharacterDevice && inode.place == 0 {
                    folder.hidden.insert(name.into());
                } else {
                    folder.entries.insert(name.into(), Node::Other(self.other(number, &inode)?));
                }
            }
        }
        Ok(folder)
    }

    fn other(&mut self, number: u64, inode: &Inode) -> io::Result<Rc<Other>> {
        if let Some(other) = self.known.get(&number) {
            return Ok(Rc::clone(other));
        }
        let (major, minor) = device_of(inode.place);
        let content = match inode.kind {
            FileType::RegularFile => {
                let start = if inode.is_inline { inode.behind } else { u64::from(inode.place) * BLOCK };
                Content::File { place: Cell::new(Place::Image(self.image, start)), size: inode.size }
            }
            FileType::Symlink => Content::Symlink(self.data(inode)?.into()),
            FileType::CharacterDevice => Content::Special(Special::Character { major, minor }),
            FileType::BlockDevice => Content::Special(Special::Block { major, minor }),
            FileType::Fifo => Content::Special(Special::Fifo),
            _ => return Err(damaged()),
        };
        let other = Rc::new(Other { attributes: inode.attributes.clone(), content });
        if inode.links > 1 {
            self.known.insert(number, Rc::clone(&other));
        }
        Ok(other)
    }

    fn data(&self, inode: &Inode) -> io::Result<Vec<u8>> {
        if inode.size > MAX_DATA {
            return Err(damaged());
        }
        let tail = if inode.is_inline { inode.size % BLOCK } else { 0 };
        let mut data = bytes(self.file, u64::from(inode.place) * BLOCK, inode.size - tail)?;
        data.extend(bytes(self.file, inode.behind, tail)?);
        Ok(data)
    }
}

/// The names in a block of a folder, with the numbers of their inodes.
fn names(block: &[u8]) -> io::Result<Vec<(&[u8], u64)>> {
    let name_at = |entry: usize| field(block, entry * DIRENT + 8).map(u16::from_le_bytes).map(usize::from);
    let count = name_at(0)? / DIRENT;
    let entry = |entry: usize| {
        let end = if entry + 1 < count { name_at(entry + 1)? } else { block.len() };
        let name = block.get(name_at(entry)?..end).ok_or_else(damaged)?;
        // The last one ends where zeros begin.
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        let name = name.get(..length).filter(|name| !name.is_empty()).ok_or_else(damaged)?;
        Ok((name, u64::from_le_bytes(field(block, entry * DIRENT)?)))
    };
    (0..count).map(entry).collect()
}

fn bytes(file: &File, position: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, position)?;
    Ok(bytes)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> io::Result<[u8; N]> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or_else(damaged)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is no layer that was written here")
}
