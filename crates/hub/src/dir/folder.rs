//! Writing files of a hub: below an open folder, one component at a time, never through a symbolic link.
//!
//! Others may have write access to a hub's folder. Whoever pushes as root must not be led by a link of theirs to
//! write elsewhere, so paths are not resolved by the kernel but walked here, from file descriptor to file descriptor.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::file::DirError;

/// Less the umask.
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o777);

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens the hub's own folder, which is where the user said, links or not, and makes it if it is not there.
    pub(super) fn root(path: &Path) -> Result<Self, DirError> {
        let missing: Vec<_> = path.ancestors().take_while(|folder| !folder.exists()).collect();
        std::fs::create_dir_all(path).map_err(|error| DirError::io("create", path, error))?;
        for parent in missing.iter().filter_map(|folder| folder.parent()) {
            let synced = File::open(parent).and_then(|parent| parent.sync_all());
            synced.map_err(|error| DirError::io("sync", parent, error))?;
        }
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| DirError::io("open", path, error))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Opens the folder `name` in it, and makes it if it is not there.
    pub(super) fn child(&self, name: &str) -> Result<Self, DirError> {
        let path = self.path.join(name);
        match rustix::fs::mkdirat(&self.fd, name, FOLDER_MODE) {
            Ok(()) => self.sync()?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(DirError::io("create", &path, error)),
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path }),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(DirError::malformed(
                &path,
                "expected a folder; nothing is written through a symbolic link",
            )),
            Err(error) => Err(DirError::io("open", &path, error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until nobody else holds the lock of this folder. It is held until the folder is dropped.
    pub(super) fn lock(&self) -> Result<(), DirError> {
        rustix::fs::flock(&self.fd, FlockOperation::LockExclusive)
            .map_err(|error| DirError::io("lock", &self.path, error))
    }

    /// As [`Folder::lock`], but says whether it could be had at once.
    pub(super) fn try_lock(&self) -> Result<bool, DirError> {
        match rustix::fs::flock(&self.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(DirError::io("lock", &self.path, error)),
        }
    }

    /// Gives a file in it the time that it is; one that is gone is no error.
    pub(super) fn touch(&self, name: &str) -> Result<(), DirError> {
        let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
        match rustix::fs::utimensat(&self.fd, name, &times, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(DirError::io("touch", &self.path.join(name), error)),
        }
    }

    /// Removes a file in it; one that is gone already is no error.
    pub(super) fn remove(&self, name: &str) -> Result<(), DirError> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(DirError::io("remove", &self.path.join(name), error)),
        }
    }

    /// Makes changes of the names in it durable.
    fn sync(&self) -> Result<(), DirError> {
        rustix::fs::fsync(&self.fd).map_err(|error| DirError::io("sync", &self.path, error))
    }
}

/// A new file on its way to its name; removed again if it does not get there.
#[derive(Debug)]
pub(super) struct TempFile {
    folder: Folder,
    name: String,
    file: File,
    placed: bool,
}

impl TempFile {
    /// A new, empty file in `folder`.
    pub(super) fn create(folder: Folder) -> Result<Self, DirError> {
        let name =
            crate::random::word().map_err(|error| DirError::io("name a file in", &folder.path, error))?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&folder.fd, &name, flags, FILE_MODE)
            .map_err(|error| DirError::io("create", &folder.path.join(&name), error))?;
        Ok(Self { folder, name, file: fd.into(), placed: false })
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), DirError> {
        self.file.write_all(bytes).map_err(|error| DirError::io("write", &self.path(), error))
    }

    /// Makes it durable as `name` in `target`, in place of what had that name.
    pub(super) fn place(mut self, target: &Folder, name: &str) -> Result<(), DirError> {
        self.file.sync_all().map_err(|error| DirError::io("sync", &self.path(), error))?;
        rustix::fs::renameat(&self.folder.fd, &self.name, &target.fd, name)
            .map_err(|error| DirError::io("write", &target.path.join(name), error))?;
        self.placed = true;
        target.sync()
    }

    /// When it was last written to, by the clock of its file system.
    pub(super) fn modified(&self) -> Result<SystemTime, DirError> {
        let modified = self.file.metadata().and_then(|metadata| metadata.modified());
        modified.map_err(|error| DirError::io("examine", &self.path(), error))
    }

    fn path(&self) -> PathBuf {
        self.folder.path.join(&self.name)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.placed {
            self.folder.remove(&self.name).ok();
        }
    }
}
