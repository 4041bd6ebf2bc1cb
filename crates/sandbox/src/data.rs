//! A data disk: a file or a folder of this host, given to a fork in the slot that its snapshot was frozen with empty.
//!
//! ```text
//!  FILE ── symbolic link ──▶ sandboxes/ID/data0    as it is, under a lock: many that read it, or one that writes
//!  DIR ── EROFS image ── hard link ──▶ sandboxes/ID/data0    made once for all siblings; read-only
//! ```
//!
//! It is no part of a snapshot, and no snapshot can be made of a sandbox that has one: the memory knows it. The host's path
//! decides nothing once the sandbox is there; it is remembered for people.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_protocol::{DATA_SERIAL, Request};
use engine::{Disk, DiskFormat, FileName};
use format::config::{Config, DeviceKind};
use host::Deadline;
use rootfs::Progress;
use serde::{Deserialize, Serialize};
use store::{Store, WorkFolder};

use crate::error::At;
use crate::{Cause, Channel, ChannelError, Error, Session, SessionOutput};

/// Its file in a sandbox's folder.
pub(crate) const DATA_FILE: &str = DATA_SERIAL;
/// Disks are made of these.
const SECTOR: u64 = 512;
/// How long a guest may take to bring there what it has not written yet.
const RELEASE_DEADLINE: Duration = Duration::from_secs(60);

/// A data disk as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDisk {
    /// A disk image, or a folder.
    pub path: PathBuf,
    /// Whether the guest may write to it: images only.
    pub writable: bool,
}

/// A data disk as it is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachedData {
    /// What was asked for, for people.
    pub path: PathBuf,
    /// Whether the guest may write to it.
    pub writable: bool,
    /// Bytes that the guest sees.
    pub size: u64,
}

/// A data disk that is ready to be given to sandboxes.
pub(crate) struct Prepared {
    pub(crate) attached: AttachedData,
    /// The image of a folder.
    image: Option<(WorkFolder, PathBuf)>,
}

impl Prepared {
    /// Looks at what is asked for, for `count` sandboxes of a snapshot with this config. A folder's image is made, until
    /// `is_interrupted` says that it is not wanted any more.
    pub(crate) fn new(
        store: &Store,
        config: &Config,
        disk: &DataDisk,
        count: usize,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<Self, Error> {
        let DataDisk { path, writable } = disk;
        let refuse = |cause, reason: &str| Err(refused(path, cause, reason));
        if !config.machine.devices.iter().any(|device| device.kind == DeviceKind::SpareDisk) {
            return refuse(Cause::Incompatible, "the snapshot's machine has no slot for it: bake it again");
        }
        let found = fs::canonicalize(path).and_then(|path| Ok((fs::metadata(&path)?, path)));
        let (metadata, whole) = match found {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return refuse(Cause::Missing, "there is no such file or folder");
            }
            found => found.at("open the data disk", path)?,
        };
        let attached = |size| AttachedData { path: whole.clone(), writable: *writable, size };
        if metadata.is_dir() {
            if *writable {
                return refuse(
                    Cause::Usage,
                    "a folder can only be read: leave `:rw` out, or give a disk image",
                );
            }
            let work = store.work_folder()?;
            let image = work.path().join(DATA_FILE);
            rootfs::create_data_image(&whole, &image, &Until(is_interrupted))?;
            let size = fs::metadata(&image).at("look at", &image)?.len();
            return Ok(Self { attached: attached(size), image: Some((work, image)) });
        }
        if !metadata.is_file() {
            return refuse(Cause::Usage, "it is neither a file nor a folder");
        }
        if metadata.len() == 0 || metadata.len() % SECTOR != 0 {
            return refuse(
                Cause::Usage,
                "a disk image has a whole number of sectors, 512 bytes each, and one at least",
            );
        }
        if *writable && count > 1 {
            return refuse(Cause::Usage, "one sandbox alone can write to it: fork once, or leave `:rw` out");
        }
        // Each supervisor locks it again; here it is said before anything is started.
        drop(lock(&whole, &attached(metadata.len()))?);
        Ok(Self { attached: attached(metadata.len()), image: None })
    }

    /// Puts it into a new sandbox's folder.
    pub(crate) fn populate(&self, folder: &Path) -> Result<(), Error> {
        let file = folder.join(DATA_FILE);
        match &self.image {
            Some((_, image)) => fs::hard_link(image, &file).at("link", &file),
            None => symlink(&self.attached.path, &file).at("link", &file),
        }
    }
}

/// Tells the making of an image when to end.
struct Until<'a>(&'a dyn Fn() -> bool);

impl Progress for Until<'_> {
    fn stage(&self, _name: &str, _detail: &str) {}

    fn is_interrupted(&self) -> bool {
        (self.0)()
    }
}

impl AttachedData {
    /// The disk as an engine is given it.
    pub(crate) fn disk(&self) -> Result<Disk, Error> {
        Ok(Disk {
            id: DATA_SERIAL.to_owned(),
            file: FileName::new(DATA_FILE)?,
            size: self.size,
            format: DiskFormat::Raw,
            read_only: !self.writable,
        })
    }

    /// Locks it for as long as the file is open, and sees to it that it is still what it was.
    pub(crate) fn lock(&self, folder: &Path) -> Result<File, Error> {
        lock(&folder.join(DATA_FILE), self)
    }

    /// Asks the agent of a running guest to take it.
    pub(crate) fn attach(&self, channel: &mut Channel, deadline: Deadline) -> Result<(), ChannelError> {
        let request = Request::Attach(agent_protocol::DataDisk { writable: self.writable });
        channel.check(&request)?;
        match channel.ask(&request, deadline)? {
            agent_protocol::Reply::Attached {} => Ok(()),
            other => Err(ChannelError::Unexpected(format!("{other:?}"))),
        }
    }

    /// Has a running guest bring there all that it has written, if it may write at all.
    pub(crate) fn release(&self, reach: impl FnOnce() -> Result<Channel, ChannelError>) -> Result<(), Error> {
        if !self.writable {
            return Ok(());
        }
        let released = || {
            let session = Session::start(reach()?, &Request::Release {})?;
            SessionOutput::new(session, Deadline::after(RELEASE_DEADLINE)).finish()
        };
        released().map_err(|error: crate::OutputError| {
            let reason =
                format!("what the guest wrote last may be missing: it did not bring it there: {error}");
            refused(&self.path, Cause::Other, &reason)
        })
    }
}

fn lock(file: &Path, disk: &AttachedData) -> Result<File, Error> {
    let refuse = |cause, reason: &str| Err(refused(&disk.path, cause, reason));
    let opened = match File::options().read(true).write(disk.writable).open(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return refuse(Cause::Missing, "it was there, and has gone");
        }
        opened => opened.at("open the data disk", &disk.path)?,
    };
    if opened.metadata().at("look at", &disk.path)?.len() != disk.size {
        return refuse(Cause::Other, "its size has changed meanwhile");
    }
    match if disk.writable { opened.try_lock() } else { opened.try_lock_shared() } {
        Ok(()) => Ok(opened),
        Err(TryLockError::WouldBlock) if disk.writable => {
            refuse(Cause::Other, "it is in use: only a disk that nobody else has can be written")
        }
        Err(TryLockError::WouldBlock) => refuse(Cause::Other, "another sandbox writes to it"),
        Err(TryLockError::Error(error)) => Err(error).at("lock", &disk.path),
    }
}

fn refused(path: &Path, cause: Cause, reason: &str) -> Error {
    Error::Data { path: path.to_owned(), cause, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writer_or_many_readers_of_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        fs::write(&path, [0; 512]).unwrap();
        symlink(&path, folder.path().join(DATA_FILE)).unwrap();
        let disk = |writable| AttachedData { path: path.clone(), writable, size: 512 };
        let (first, second) =
            (disk(false).lock(folder.path()).unwrap(), disk(false).lock(folder.path()).unwrap());
        let refused = |disk: AttachedData| match disk.lock(folder.path()) {
            Err(Error::Data { path, cause, reason }) => {
                assert!(path.ends_with("disk"));
                (cause, reason)
            }
            other => panic!("{other:?}"),
        };
        assert!(refused(disk(true)).1.contains("in use"));
        drop((first, second));
        let writer = disk(true).lock(folder.path()).unwrap();
        assert!(refused(disk(true)).1.contains("in use") && refused(disk(false)).1.contains("writes"));
        drop(writer);
        fs::write(&path, [0; 1024]).unwrap();
        assert!(refused(disk(false)).1.contains("size has changed"));
        fs::remove_file(&path).unwrap();
        let (cause, reason) = refused(disk(false));
        assert!(cause == Cause::Missing && reason.contains("has gone"), "{reason}");
    }
}
