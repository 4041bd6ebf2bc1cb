//! Which parts of a file are data; the rest of it are holes.

use std::fs::File;
use std::io;

use rustix::fs::SeekFrom;

/// Most parts that a file is taken apart into: 16 MiB of memory.
pub(crate) const MAX_PARTS: usize = 1 << 20;

/// A part of a file that is data, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl Part {
    pub(crate) fn end(self) -> Option<u64> {
        self.offset.checked_add(self.length)
    }
}

/// The parts of a file of `size` bytes that its file system keeps as data; all of it where that does not tell.
pub(crate) fn parts(file: &File, size: u64) -> io::Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < size {
        // Behind so many holes the rest is data, zeros included.
        if parts.len() + 2 == MAX_PARTS {
            parts.push(Part { offset: at, length: size - at });
            break;
        }
        let offset = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(offset) => offset.min(size),
            // There is no more data.
            Err(rustix::io::Errno::NXIO) => break,
            Err(rustix::io::Errno::INVAL) => at,
            Err(error) => return Err(error.into()),
        };
        let end = match rustix::fs::seek(file, SeekFrom::Hole(offset)) {
            Ok(end) => end.min(size),
            Err(rustix::io::Errno::NXIO) => break,
            Err(rustix::io::Errno::INVAL) => size,
            Err(error) => return Err(error.into()),
        };
        if offset < end {
            parts.push(Part { offset, length: end - offset });
        }
        at = end.max(at + 1);
    }
    Ok(parts)
}

/// Whether these parts, from a stream, are those of a file of `size` bytes with `data` bytes in them.
pub(crate) fn are_valid(parts: &[Part], size: u64, data: u64) -> bool {
    let mut end = 0;
    let mut total = 0_u64;
    for part in parts {
        let (Some(part_end), Some(sum)) = (part.end(), total.checked_add(part.length)) else { return false };
        if part.offset < end || part_end > size {
            return false;
        }
        (end, total) = (part_end, sum);
    }
    total == data
}
