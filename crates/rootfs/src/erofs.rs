//! EROFS images: plain, without compression, the same bytes for the same tree. Those of folders of this host are made by
//! mkfs.erofs, those of trees that only archives describe by [`write()`].
//!
//! mkfs.erofs sorts entries itself, so the order in which the host's filesystem lists them does not matter.
//! Extended inodes hold each file's own time. With `SOURCE_DATE_EPOCH` the image's own time is fixed and
//! later times of files are set back to it; `-T` would overwrite all of them, which makes each `.pyc` stale.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use format::{Digest, Hasher};
use rustix::fs::FileType;

use crate::Error;
use crate::command::Run;
use crate::error::IoContext;
use crate::tools::Tool;

mod attributes;
mod directory;
mod plan;
mod write;

pub(crate) use write::write;

/// Options of every image. Images are told apart by their digest, so the identifier is the same in all.
pub(crate) const OPTIONS: [&str; 4] =
    ["--quiet", "-Eforce-inode-extended", "-U5b0e0000-0000-4000-8000-65726f667300", "-x1"];

/// The time of every file that comes from a recipe's folder, where times are those of a checkout:
/// 2023-01-01 00:00:00 UTC.
pub(crate) const FILE_TIME: i64 = 1_672_531_200;

/// Makes an image of a folder of the recipe: everything belongs to root and has [`FILE_TIME`].
pub(crate) fn from_recipe_folder(folder: &Path, image: &Path) -> Result<(), Error> {
    Run::new(Tool::MkfsErofs, format!("making a layer of {}", folder.display()))?
        .args(OPTIONS)
        .arg("--all-root")
        .arg(format!("-T{FILE_TIME}"))
        .arg(image)
        .arg(folder)
        .finish()
}

/// Makes an image of any folder, `image`, which must not exist: everything belongs to root and keeps its time.
///
/// # Errors
/// If mkfs.erofs is missing or fails.
pub fn create_data_image(folder: &Path, image: &Path) -> Result<(), Error> {
    Run::new(Tool::MkfsErofs, format!("making a disk of {}", folder.display()))?
        .args(OPTIONS)
        .arg("--all-root")
        .arg(image)
        .arg(folder)
        .finish()
}

/// Where the superblock is, and in it the first block of inodes; how large blocks and the unit of inode
/// numbers are (Linux, fs/erofs/erofs_fs.h).
const SUPERBLOCK: u64 = 1024;
const INODE_BLOCK_AT: u64 = 40;
const BLOCK: u64 = 4096;
const INODE_UNIT: u64 = 32;
/// Where an extended inode has its mode, user and group.
const MODE_AT: u64 = 4;
const UID_AT: u64 = 24;
const GID_AT: u64 = 28;

/// What an image has at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A folder, with its permission bits, set-ID and sticky bits included, and owner.
    Folder { mode: u32, uid: u32, gid: u32 },
    /// Something else, in words.
    Other(&'static str),
}

/// Looks `path` (absolute) up in an image of ours. Symbolic links are not followed.
pub(crate) fn look_up(image: &Path, path: &str) -> Result<Option<Entry>, Error> {
    let act = format!("looking for {path} in a layer");
    let answer = Run::new(Tool::DumpErofs, act)?.arg(format!("--path={path}")).arg(image).answer()?;
    match inode_number(&String::from_utf8_lossy(&answer)) {
        Some(number) => read_inode(image, number).map(Some).io("read", image),
        None => Ok(None),
    }
}

/// Reads `NID: 36   Links: 2 …`. The rest of dump.erofs' answer lacks the sticky bit.
fn inode_number(answer: &str) -> Option<u64> {
    answer.lines().find_map(|line| line.strip_prefix("NID: ")?.split_whitespace().next()?.parse().ok())
}

fn read_inode(image: &Path, number: u64) -> std::io::Result<Entry> {
    let file = File::open(image)?;
    let read = |at: u64| {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, at).map(|()| u32::from_le_bytes(bytes))
    };
    let inodes = u64::from(read(SUPERBLOCK + INODE_BLOCK_AT)?) * BLOCK;
    let inode = inodes.saturating_add(number.saturating_mul(INODE_UNIT));
    // The mode is 16 bits wide; what follows it is something else.
    let mode = read(inode.saturating_add(MODE_AT))? & 0xffff;
    Ok(match FileType::from_raw_mode(mode) {
        FileType::Directory => Entry::Folder {
            mode: mode & 0o7777,
            uid: read(inode.saturating_add(UID_AT))?,
            gid: read(inode.saturating_add(GID_AT))?,
        },
        FileType::Symlink => Entry::Other("symbolic link"),
        FileType::RegularFile => Entry::Other("file"),
        _ => Entry::Other("special file"),
    })
}

/// The digest and size of a file.
pub(crate) fn digest(path: &Path) -> Result<(Digest, u64), Error> {
    let mut file = File::open(path).io("open", path)?;
    let (mut hasher, mut size) = (Hasher::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).io("read", path)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
        size += bytes.len() as u64;
    }
    Ok((hasher.finish(), size))
}
