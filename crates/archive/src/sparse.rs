//! Which parts of a file are data; the rest of it are holes.

use std::fs::File;
use std::io;

use rustix::fs::SeekFrom;
use tar_stream::{MAX_PARTS, Part};

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
