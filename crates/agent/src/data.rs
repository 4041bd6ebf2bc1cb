//! The data disk: given to a copy of the guest, in the slot that its snapshot was frozen with empty.
//!
//! The driver knows the disk as it was at the freeze, and asks for nothing again by itself. So it is taken off the device and put on
//! it anew: then it hears how large the disk is, and whether it may be written.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use agent_protocol::{DATA_DIR, DATA_SERIAL, DataDisk, Failure, FailureKind};
use rustix::mount::{MountFlags, mount};

use crate::boot::disk_by_serial;
use crate::spawn::failure;
use crate::sys;

/// How udev would name it.
const LINK: &str = "/dev/disk/by-id/virtio-data0";
const DRIVER: &str = "/sys/bus/virtio/drivers/virtio_blk";

/// A step that failed.
#[derive(Debug, thiserror::Error)]
enum DataError {
    #[error("cannot {what}: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error("there is no disk with the serial {DATA_SERIAL}")]
    Missing,
    #[error("the disk can be written, and was not to be")]
    Writable,
    #[error("cannot mount its {kind} on {DATA_DIR}: {source}{}", hint(source))]
    Mount { kind: &'static str, source: io::Error },
}

trait Doing<T> {
    fn doing(self, what: &'static str) -> Result<T, DataError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: &'static str) -> Result<T, DataError> {
        self.map_err(|source| DataError::Io { what, source: source.into() })
    }
}

/// What ext4 says of a journal that it may not replay.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => {
            ". It was not unmounted when it was last written: attach it writable once, or run e2fsck on it"
        }
        _ => "",
    }
}

/// Attaches it. A file system that the guest knows is mounted on [`DATA_DIR`]; a disk with none is there as [`LINK`].
pub(crate) fn attach(disk: DataDisk) -> Result<(), Failure> {
    try_attach(disk).map_err(|error| failure(FailureKind::Io, format!("data disk: {error}")))
}

fn try_attach(disk: DataDisk) -> Result<(), DataError> {
    let device = rebind(&disk_by_serial(DATA_SERIAL).ok_or(DataError::Missing)?)?;
    let name = device.file_name().unwrap_or_default();
    let read_only = fs::read_to_string(Path::new("/sys/block").join(name).join("ro")).doing("look at it")?;
    if !disk.writable && read_only.trim() != "1" {
        return Err(DataError::Writable);
    }
    fs::create_dir_all(Path::new(LINK).parent().unwrap_or(Path::new("/"))).doing("name it")?;
    match fs::remove_file(LINK) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).doing("name it")?,
        _ => symlink(&device, LINK).doing("name it")?,
    }
    let Some(kind) = file_system(&device).doing("read it")? else { return Ok(()) };
    fs::create_dir_all(DATA_DIR).doing("make the folder /data")?;
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
    flags.set(MountFlags::RDONLY, !disk.writable);
    mount(&device, DATA_DIR, kind, flags, None)
        .map_err(|source| DataError::Mount { kind, source: source.into() })
}

/// Puts the driver on the device anew, and gives its disk.
fn rebind(device: &Path) -> Result<PathBuf, DataError> {
    let name = device.file_name().unwrap_or_default();
    let virtio =
        fs::canonicalize(Path::new("/sys/block").join(name).join("device")).doing("find its device")?;
    let virtio = virtio.file_name().unwrap_or_default().as_encoded_bytes();
    for act in ["unbind", "bind"] {
        // Returns when the disk has gone, and when it is there again.
        fs::write(Path::new(DRIVER).join(act), virtio).doing("put its driver on it anew")?;
    }
    disk_by_serial(DATA_SERIAL).ok_or(DataError::Missing)
}

/// The file system of a disk, by its magic number (Linux, include/uapi/linux/magic.h): those that a guest has for its own disks.
fn file_system(device: &Path) -> io::Result<Option<&'static str>> {
    const SUPERBLOCK: u64 = 1024;
    const EROFS: [u8; 4] = 0xE0F5_E1E2_u32.to_le_bytes();
    const EXT4_AT: usize = 56;
    const EXT4: [u8; 2] = 0xEF53_u16.to_le_bytes();
    let mut file = File::open(device)?;
    let mut superblock = [0; 64];
    file.seek(SeekFrom::Start(SUPERBLOCK))?;
    match file.read_exact(&mut superblock) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    Ok(if superblock.starts_with(&EROFS) {
        Some("erofs")
    } else if superblock.get(EXT4_AT..).is_some_and(|rest| rest.starts_with(&EXT4)) {
        Some("ext4")
    } else {
        None
    })
}

/// Brings all that was written there, and freezes the file system: then its journal is empty, and the disk is as if it had been
/// unmounted, whatever still has files open on it.
pub(crate) fn release() -> io::Result<()> {
    rustix::fs::sync();
    let (data, root) = (fs::metadata(DATA_DIR)?, fs::metadata("/")?);
    // A disk without a file system that is known has been synced.
    if data.dev() == root.dev() { Ok(()) } else { sys::freeze(File::open(DATA_DIR)?.as_fd()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_known_by_their_magic() {
        let folder = std::env::temp_dir().join(format!("spore-data-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let disk = folder.join("disk");
        for (at, magic, kind) in [
            (1024, &[0xE2, 0xE1, 0xF5, 0xE0][..], Some("erofs")),
            (1080, &[0x53, 0xEF], Some("ext4")),
            (0, &[0x53, 0xEF], None),
        ] {
            let mut bytes = vec![0; 4096];
            bytes[at..at + magic.len()].copy_from_slice(magic);
            fs::write(&disk, bytes).unwrap();
            assert_eq!(file_system(&disk).unwrap(), kind);
        }
        fs::write(&disk, [0; 512]).unwrap();
        assert_eq!(file_system(&disk).unwrap(), None);
        fs::remove_dir_all(folder).unwrap();
    }
}
