//! Writes a [`Folder`] as an EROFS image, by our own hand: the same bytes for the same tree, whoever runs it and whatever
//! tools a host has.
//!
//! Source: Linux, fs/erofs/erofs_fs.h and Documentation/filesystems/erofs.rst. Blocks have 4 KiB. The first one begins with
//! 1 KiB of zeros, then comes the superblock, then all inodes, each of the extended form, then the blocks of data in the
//! order of their inodes. Inodes are numbered breadth first, the root first; names are sorted by bytes.
//!
//! The end of a folder's entries, and of a symbolic link, lies behind its inode where it fits into the same block, and so does a
//! small file. A larger file has blocks of its own to its end: a page of it that a guest has in memory is then, zeros behind its end
//! included, a page of the layer, and is not stored a second time. For a small one that would save less than a block costs.

use std::fs::File;
use std::io;
use std::path::Path;

use format::Digest;

use super::directory::{self, Dirent};
use super::output::Output;
use super::plan::{INODE, Inode, Plan, SUPERBLOCK_SIZE, Source};
use super::{BLOCK, INODE_UNIT as UNIT, attributes};
use crate::archive::Special;
use crate::error::IoContext;
use crate::tree::{Attributes, Content, Folder, HOLE, Other, Spool, is_zero};
use crate::{Error, Progress};

pub(super) const MAGIC: u32 = 0xE0F5_E1E2;
/// "Times are of changes to the content", a compatible feature.
const FEATURE_MTIME: u32 = 2;
const BLOCK_BITS: u8 = 12;
/// Images are told apart by their digest, so the identifier is the same in all.
const UUID: [u8; 16] = *b"\x5b\x0e\0\0\0\0\x40\0\x80\0erofs\0";
/// How an inode's data lies: in blocks, or the last part behind the inode.
pub(super) const FLAT_PLAIN: u16 = 0;
pub(super) const FLAT_INLINE: u16 = 2;
const EXTENDED: u16 = 1;
/// Bytes that are copied at once.
const CHUNK: usize = 1 << 20;

/// Writes `root` and the content of its files, from `spool`, as an image at `path`, and gives its digest and its size. From then on the
/// files are read from that image.
pub(crate) fn write(
    root: &Folder,
    spool: &mut Spool,
    path: &Path,
    progress: &dyn Progress,
) -> Result<(Digest, u64), Error> {
    let mut plan = Plan::of(root).io("lay out", path)?;
    let blocks = plan.place().io("lay out", path)?;
    let mut out = Output::new(File::create_new(path).io("make", path)?);
    plan.write(blocks, spool, &mut out, progress).io("write", path)?;
    let written = out.finish().io("write", path)?;
    let image = File::open(path).io("open", path)?;
    let number = spool.add_image(image).io("open", path)?;
    plan.inodes.iter().for_each(|inode| inode.is_in(number));
    spool.clear().io("clear the copy of", path)?;
    Ok(written)
}

impl<'a> Plan<'a> {
    fn write(&self, blocks: u32, spool: &Spool, out: &mut Output, progress: &dyn Progress) -> io::Result<()> {
        out.zeros_to(super::SUPERBLOCK)?;
        out.put(&self.superblock(blocks)?)?;
        let mut buffer = vec![0; CHUNK];
        for (number, inode) in (1_u32..).zip(&self.inodes) {
            out.zeros_to(inode.position)?;
            out.put(&inode.encode(number)?)?;
            out.put(&inode.encode_attributes()?)?;
            if inode.tail > 0 {
                self.put_tail(inode, spool, out, &mut buffer)?;
            }
        }
        for inode in self.inodes.iter().filter(|inode| inode.in_blocks() > 0) {
            stop_if_interrupted(progress)?;
            out.zeros_to(u64::from(inode.block) * BLOCK)?;
            match inode.source {
                Source::Folder { folder, .. } => {
                    let mut left = inode.in_blocks();
                    self.each_block(folder, inode, |block| {
                        // What is left of the data then is the tail.
                        if left == 0 {
                            return Ok(());
                        }
                        left = left.saturating_sub(BLOCK);
                        out.put(block)
                    })?;
                }
                Source::Other(other) => {
                    put_data(other, inode.in_blocks(), spool, out, &mut buffer, progress)?;
                }
                Source::Whiteout => {}
            }
        }
        out.zeros_to(u64::from(blocks) * BLOCK)
    }

    /// The end of the data, which lies behind the inode.
    fn put_tail(
        &self,
        inode: &Inode<'a>,
        spool: &Spool,
        out: &mut Output,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        match inode.source {
            Source::Folder { folder, .. } => {
                let mut full = inode.in_blocks() / BLOCK;
                self.each_block(folder, inode, |block| match full.checked_sub(1) {
                    Some(rest) => {
                        full = rest;
                        Ok(())
                    }
                    None => out.put(block),
                })
            }
            Source::Other(Other { content: Content::File { place, .. }, .. }) => {
                let tail = part(buffer, u64::from(inode.tail))?;
                spool.read_exact_at(place.get(), 0, tail)?;
                out.put(tail)
            }
            Source::Other(Other { content: Content::Symlink(target), .. }) => {
                let start = in_memory(inode.in_blocks())?;
                out.put(target.get(start..).ok_or_else(too_short)?)
            }
            _ => Ok(()),
        }
    }

    fn each_block(
        &self,
        folder: &'a Folder,
        inode: &Inode<'a>,
        put: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let dirents = self.names(folder, inode).map(|found| {
            let (name, target) = found?;
            Ok(Dirent { name, number: target.position / UNIT, kind: target.file_type() })
        });
        directory::encode(dirents, put)
    }

    fn superblock(&self, blocks: u32) -> io::Result<Vec<u8>> {
        let root = self.inodes.first().map_or(0, |root| root.position / UNIT);
        let root = u16::try_from(root).map_err(io::Error::other)?;
        let mut bytes = Vec::new();
        let mut put = |field: &[u8]| bytes.extend_from_slice(field);
        put(&MAGIC.to_le_bytes());
        // No checksum: a layer is known by its digest.
        put(&0_u32.to_le_bytes());
        put(&FEATURE_MTIME.to_le_bytes());
        put(&[BLOCK_BITS, 0]);
        put(&root.to_le_bytes());
        put(&(self.inodes.len() as u64).to_le_bytes());
        put(&super::FILE_TIME.to_le_bytes());
        put(&0_u32.to_le_bytes());
        put(&blocks.to_le_bytes());
        // Inodes are counted from the start of the disk, and there are no shared attributes.
        put(&0_u32.to_le_bytes());
        put(&0_u32.to_le_bytes());
        put(&UUID);
        bytes.resize(in_memory(SUPERBLOCK_SIZE)?, 0);
        Ok(bytes)
    }
}

/// The data of what is no folder, as far as it lies in blocks.
fn put_data(
    other: &Other,
    length: u64,
    spool: &Spool,
    out: &mut Output,
    buffer: &mut [u8],
    progress: &dyn Progress,
) -> io::Result<()> {
    match &other.content {
        Content::File { place, .. } => {
            let mut done = 0;
            while done < length {
                stop_if_interrupted(progress)?;
                let chunk = part(buffer, (length - done).min(CHUNK as u64))?;
                spool.read_exact_at(place.get(), done, chunk)?;
                for piece in chunk.chunks(HOLE) {
                    if is_zero(piece) { out.hole(piece)? } else { out.put(piece)? }
                }
                done += chunk.len() as u64;
            }
            Ok(())
        }
        Content::Symlink(target) => out.put(target.get(..in_memory(length)?).ok_or_else(too_short)?),
        Content::Special(_) => Ok(()),
    }
}

impl Inode<'_> {
    fn encode_attributes(&self) -> io::Result<Vec<u8>> {
        let encoded = match self.source {
            Source::Folder { folder, opaque } => folder.attributes.xattrs.encode(opaque),
            Source::Other(other) => other.attributes.xattrs.encode(false),
            Source::Whiteout => Ok(Vec::new()),
        };
        let encoded = encoded.map_err(io::Error::other)?;
        if encoded.len() == in_memory(u64::from(self.attributes))? { Ok(encoded) } else { Err(too_short()) }
    }

    fn encode(&self, number: u32) -> io::Result<Vec<u8>> {
        let whiteout = Attributes::of_root(0);
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
            }) => device_number(*major, *minor)?,
            _ => self.block,
        };
        let count = attributes::count(in_memory(u64::from(self.attributes))?).map_err(io::Error::other)?;
        let mut bytes = Vec::new();
        let mut put = |field: &[u8]| bytes.extend_from_slice(field);
        put(&(EXTENDED | (layout << 1)).to_le_bytes());
        put(&count.to_le_bytes());
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
        bytes.resize(in_memory(INODE)?, 0);
        Ok(bytes)
    }
}

/// As Linux has it on disks (`new_encode_dev`), with room for 12 bits and 20.
fn device_number(major: u32, minor: u32) -> io::Result<u32> {
    if major >> 12 != 0 || minor >> 20 != 0 {
        return Err(io::Error::other(format!("there is no device {major}:{minor}")));
    }
    Ok((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
}

/// The major and minor number of such a device.
pub(super) const fn device_of(device: u32) -> (u32, u32) {
    ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00))
}

/// A length of what is in memory.
fn in_memory(length: u64) -> io::Result<usize> {
    usize::try_from(length).map_err(io::Error::other)
}

/// The first `length` bytes of a buffer.
fn part(buffer: &mut [u8], length: u64) -> io::Result<&mut [u8]> {
    buffer.get_mut(..in_memory(length)?).ok_or_else(too_short)
}

fn too_short() -> io::Error {
    io::Error::other("a part of the image is not as long as was planned")
}

fn stop_if_interrupted(progress: &dyn Progress) -> io::Result<()> {
    if progress.is_interrupted() { Err(io::Error::other("interrupted")) } else { Ok(()) }
}
