//! The data of a folder: in each block the entries of so many names as fit, sorted, then the names.

use std::io;

use rustix::fs::FileType;

const BLOCK: usize = 4096;
/// Bytes of an entry without its name.
const DIRENT: usize = 12;

/// One name in a folder.
pub(super) struct Dirent<'a> {
    pub(super) name: &'a [u8],
    /// Where its inode is, in the unit of inode numbers.
    pub(super) number: u64,
    pub(super) kind: FileType,
}

/// How long the data of a folder with these names, in this order, is.
pub(super) fn length<'a>(names: impl Iterator<Item = &'a [u8]>) -> u64 {
    let (mut full, mut used) = (0, 0);
    for name in names {
        if used + DIRENT + name.len() > BLOCK {
            full += 1;
            used = 0;
        }
        used += DIRENT + name.len();
    }
    (full * BLOCK + used) as u64
}

/// Passes each block of a folder's data to `put`, the last one not filled up. Names have at most 255 bytes and are in the order of
/// their bytes.
pub(super) fn encode<'a>(
    entries: impl Iterator<Item = io::Result<Dirent<'a>>>,
    mut put: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let (mut block, mut used) = (Vec::new(), 0);
    let mut data = Vec::with_capacity(BLOCK);
    for entry in entries {
        let entry = entry?;
        if used + DIRENT + entry.name.len() > BLOCK {
            encode_block(&block, &mut data)?;
            data.resize(BLOCK, 0);
            put(&data)?;
            (used, data) = (0, Vec::with_capacity(BLOCK));
            block.clear();
        }
        used += DIRENT + entry.name.len();
        block.push(entry);
    }
    encode_block(&block, &mut data)?;
    put(&data)
}

fn encode_block(entries: &[Dirent<'_>], data: &mut Vec<u8>) -> io::Result<()> {
    let mut name_at = entries.len() * DIRENT;
    for entry in entries {
        data.extend_from_slice(&entry.number.to_le_bytes());
        data.extend_from_slice(&u16::try_from(name_at).map_err(io::Error::other)?.to_le_bytes());
        data.extend_from_slice(&[code(entry.kind)?, 0]);
        name_at += entry.name.len();
    }
    for entry in entries {
        data.extend_from_slice(entry.name);
    }
    Ok(())
}

/// As in Linux' include/linux/fs_types.h.
fn code(kind: FileType) -> io::Result<u8> {
    Ok(match kind {
        FileType::RegularFile => 1,
        FileType::Directory => 2,
        FileType::CharacterDevice => 3,
        FileType::BlockDevice => 4,
        FileType::Fifo => 5,
        FileType::Symlink => 7,
        FileType::Socket | FileType::Unknown => {
            return Err(io::Error::other("a layer holds no files of this kind"));
        }
    })
}
