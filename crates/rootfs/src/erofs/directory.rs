//! The data of a folder: in each block the entries of so many names as fit, sorted, then the names.

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

/// The data of a folder, its last block not filled up. Names have at most 255 bytes and are in the order of their bytes.
pub(super) fn encode<'a>(entries: impl Iterator<Item = Dirent<'a>>) -> Vec<u8> {
    let mut data = Vec::new();
    let (mut block, mut used) = (Vec::new(), 0);
    for entry in entries {
        if used + DIRENT + entry.name.len() > BLOCK {
            encode_block(&block, &mut data);
            data.resize(data.len().next_multiple_of(BLOCK), 0);
            block.clear();
            used = 0;
        }
        used += DIRENT + entry.name.len();
        block.push(entry);
    }
    encode_block(&block, &mut data);
    data
}

fn encode_block(entries: &[Dirent<'_>], data: &mut Vec<u8>) {
    let mut name_at = entries.len() * DIRENT;
    for entry in entries {
        data.extend_from_slice(&entry.number.to_le_bytes());
        // A block is short enough for two bytes.
        data.extend_from_slice(&u16::try_from(name_at).unwrap_or(u16::MAX).to_le_bytes());
        data.extend_from_slice(&[code(entry.kind), 0]);
        name_at += entry.name.len();
    }
    for entry in entries {
        data.extend_from_slice(entry.name);
    }
}

/// As in Linux' include/linux/fs_types.h.
const fn code(kind: FileType) -> u8 {
    match kind {
        FileType::RegularFile => 1,
        FileType::Directory => 2,
        FileType::CharacterDevice => 3,
        FileType::BlockDevice => 4,
        FileType::Fifo => 5,
        FileType::Socket => 6,
        FileType::Symlink => 7,
        FileType::Unknown => 0,
    }
}
