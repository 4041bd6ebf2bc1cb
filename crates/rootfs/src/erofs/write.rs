//! Writes a [`Folder`] as an EROFS image, by our own hand: the same bytes for the same tree, whoever runs it and whatever
//! tools a host has.
//!
//! Source: Linux, fs/erofs/erofs_fs.h and Documentation/filesystems/erofs.rst. Blocks have 4 KiB. The first one begins with
//! 1 KiB of zeros, then comes the superblock, then all inodes, each of the extended form, then the blocks of data in the
//! order of their inodes. Inodes are numbered breadth first, the root first; names are sorted by bytes.
//!
//! The end of a folder's entries, and of a symbolic link, lies behind its inode where it fits into the same block, and so does a
//! short end of a file. A longer one does not: a page of a file that a guest has in memory is then, zeros behind its end
//! included, a page of the layer, and is not stored a second time. For a short one that would save less than a block costs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use rustix::fs::FileType;

use super::directory::{self, Dirent};
use super::plan::{HEAD, INODE, Inode, Plan, SUPERBLOCK_SIZE, Source};
use super::{BLOCK, INODE_UNIT as UNIT, attributes};
use crate::archive::{Attributes, Special, Time};
use crate::error::IoContext;
use crate::tree::{Content, Folder, Other, Spool};
use crate::{Error, Progress};

/// The number of the first inode.
const ROOT: u16 = 36;
const _: () = assert!(ROOT as u64 * UNIT == HEAD);
const MAGIC: u32 = 0xE0F5_E1E2;
/// "Times are of changes to the content", a compatible feature.
const FEATURE_MTIME: u32 = 2;
const BLOCK_BITS: u8 = 12;
/// The identifier that `super::OPTIONS` gives to mkfs.erofs.
const UUID: [u8; 16] = *b"\x5b\x0e\0\0\0\0\x40\0\x80\0erofs\0";
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

impl Plan<'_> {
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
                out.put(&self.tail(inode, spool)?)?;
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

    /// The end of the data, which lies behind the inode.
    fn tail(&self, inode: &Inode<'_>, spool: &Spool) -> io::Result<Vec<u8>> {
        let full = inode.size - inode.tail;
        if let Source::Other(Other { content: Content::File { start, .. }, .. }) = inode.source {
            let mut bytes = vec![0; in_memory(inode.tail)];
            spool.read_exact_at(&mut bytes, start + full)?;
            return Ok(bytes);
        }
        Ok(self.data(inode).split_off(in_memory(full)))
    }

    /// The data of what is no file.
    fn data(&self, inode: &Inode<'_>) -> Vec<u8> {
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

impl Inode<'_> {
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
