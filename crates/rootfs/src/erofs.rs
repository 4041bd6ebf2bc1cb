//! Layers as EROFS images: plain, without compression, the same bytes for the same tree.
//!
//! Plain, because a page of a file that a guest has in memory then is a page of the layer; each inode of the extended form,
//! which holds a file's own time: with one time for all, every `.pyc` would be stale.

mod attributes;
mod directory;
mod output;
mod plan;
mod read;
mod write;

pub(crate) use attributes::{OPAQUE, Xattrs, is_kept};
pub(crate) use read::read;
pub(crate) use write::write;

/// The time of every file that comes from a recipe's folder, where times are those of a checkout:
/// 2023-01-01 00:00:00 UTC.
pub(crate) const FILE_TIME: i64 = 1_672_531_200;

/// Where the superblock is; how large blocks and the unit of inode numbers are (Linux, fs/erofs/erofs_fs.h).
const SUPERBLOCK: u64 = 1024;
const BLOCK: u64 = 4096;
const INODE_UNIT: u64 = 32;
