//! When files reach their disk.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;

/// Has the system begin to write what is new in a file to its disk, so that a sync which comes later has less to wait for. Waits for
/// nothing, unless the disk has more to do than the system lets wait for it.
///
/// Promises nothing: only a sync does, and whatever fails here fails there again.
pub fn begin_writeback(file: &File) {
    // SAFETY: it reads and writes no memory of this process (sync_file_range(2)); the descriptor is open while `file` is borrowed. From 0
    // on, 0 bytes are all of the file.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE);
    }
}
