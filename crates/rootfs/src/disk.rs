//! The empty writable disk.

use std::fs::{self, File, OpenOptions};
use std::path::Path;

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::{Errno, pread};

use crate::command::Run;
use crate::error::IoContext;
use crate::tools::Tool;
use crate::{Error, Size, erofs};

/// Identifiers that are the same in all disks: each belongs to one machine, where it is the only ext4.
const UUID: &str = "5b0e0000-0000-4000-8000-657874340000";
/// Given once, so that nothing is left for the guest to initialise in the background. The smallest journal
/// there is: a frozen disk is mounted as it is, by memory that knows it, but a cold boot from the same disk
/// needs it, for writes that were under way.
const EXTENDED: &str = "hash_seed=5b0e0000-0000-4000-8000-657874340001,root_owner=0:0,nodiscard,\
                        lazy_itable_init=0,lazy_journal_init=1";

/// The unit in which written zeros are found, in bytes.
const CHUNK: usize = 64 << 10;

/// Makes `path`, which must not exist, a sparse file of `size` that holds an empty ext4 filesystem: the same
/// bytes for the same size and version of mkfs.ext4.
///
/// # Errors
/// If the file is there, or mkfs.ext4 is missing or fails. Nothing is left then.
pub fn create_disk(path: &Path, size: Size) -> Result<(), Error> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).io("make", path)?;
    let made = file.set_len(size.bytes()).io("resize", path).and_then(|()| format(&file, path, size.bytes()));
    if made.is_err() {
        fs::remove_file(path).ok();
    }
    made
}

fn format(file: &File, path: &Path, size: u64) -> Result<(), Error> {
    Run::new(Tool::MkfsExt4, "making the writable disk")?
        .env("E2FSPROGS_FAKE_TIME", erofs::FILE_TIME.to_string())
        .args(["-q", "-F", "-b", "4096", "-m", "0", "-U", UUID, "-J", "size=4", "-E", EXTENDED])
        .arg(path)
        .finish()?;
    dig_holes(file, size).io("make holes in", path)
}

/// Gives back the zeroed inode tables, 16 MiB per GiB, which the host's filesystem holds as written zeros or
/// as reserved space.
fn dig_holes(file: &File, size: u64) -> Result<(), Errno> {
    let mut chunk = vec![0; CHUNK];
    let mut position = 0;
    while position < size {
        let data = seek(file, SeekFrom::Data(position))?.unwrap_or(size);
        punch(file, position, data - position)?;
        position = data;
        let end = seek(file, SeekFrom::Hole(data))?.unwrap_or(size);
        while position < end {
            let length = usize::try_from(end - position).unwrap_or(CHUNK).min(CHUNK);
            let read = pread(file, chunk.get_mut(..length).unwrap_or_default(), position)?;
            let read_bytes = chunk.get(..read).filter(|bytes| !bytes.is_empty()).ok_or(Errno::IO)?;
            if read_bytes.iter().all(|byte| *byte == 0) {
                punch(file, position, read as u64)?;
            }
            position += read as u64;
        }
    }
    Ok(())
}

/// The next place of a kind, if there is one.
fn seek(file: &File, place: SeekFrom) -> Result<Option<u64>, Errno> {
    match rustix::fs::seek(file, place) {
        Err(Errno::NXIO) => Ok(None),
        found => found.map(Some),
    }
}

fn punch(file: &File, position: u64, length: u64) -> Result<(), Errno> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(file, flags, position, length) {
        // A length of zero is invalid; a filesystem without holes keeps the zeros.
        Err(Errno::OPNOTSUPP | Errno::INVAL) => Ok(()),
        done => done,
    }
}
