//! What is made beside the name that it is to have, and gets that name when it is whole; and who may have the name before.
//!
//! Until then what had the name stays. A file has no name at all until then, where the file system can do that (`O_TMPFILE`):
//! not even a process that is killed leaves any of it. Elsewhere, and for links, the name is `.spore-cp.…`, which is removed
//! when the draft is dropped.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::{Errno, Result as Done};
use rustix::rand::GetRandomFlags;

use crate::Error;
use crate::error::At;

/// A file that is being written.
pub(crate) struct FileDraft<'a> {
    file: File,
    parent: BorrowedFd<'a>,
    named: Option<Draft<'a>>,
}

/// An entry of a folder under a name that it is not to keep.
pub(crate) struct Draft<'a> {
    parent: BorrowedFd<'a>,
    name: OsString,
}

impl<'a> FileDraft<'a> {
    /// An empty file on the file system of the folder `parent`, for its owner alone.
    pub(crate) fn new(parent: BorrowedFd<'a>) -> Done<Self> {
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(parent, ".", flags | OFlags::TMPFILE, mode) {
            // What file systems and kernels say that cannot do it.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => {}
            opened => return Ok(Self { file: opened?.into(), parent, named: None }),
        }
        let mut file = None;
        let named = Draft::new(parent, |name| {
            let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            file = Some(rustix::fs::openat(parent, name, flags, mode)?);
            Ok(())
        })?;
        Ok(Self { file: file.ok_or(Errno::NOENT)?.into(), parent, named: Some(named) })
    }

    /// To be written, and given its mode and time.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name, which is taken from whatever file or link has it.
    pub(crate) fn replace(self, last: &OsStr) -> Done<()> {
        let named = match self.named {
            Some(named) => named,
            None => {
                let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                let link =
                    |name: &OsStr| rustix::fs::linkat(CWD, &own, self.parent, name, AtFlags::SYMLINK_FOLLOW);
                Draft::new(self.parent, link)?
            }
        };
        named.replace(last)
    }
}

impl<'a> Draft<'a> {
    /// What `make` makes in the folder `parent` under the name that it is given.
    pub(crate) fn new(parent: BorrowedFd<'a>, mut make: impl FnMut(&OsStr) -> Done<()>) -> Done<Self> {
        // A name of 64 random bits that is taken is somebody's doing.
        const TRIES: usize = 8;
        for _ in 0..TRIES {
            let mut random = [0; 8];
            rustix::rand::getrandom(&mut random, GetRandomFlags::empty())?;
            let name = OsString::from(format!(".spore-cp.{:016x}", u64::from_ne_bytes(random)));
            match make(&name) {
                Err(Errno::EXIST) => {}
                made => return made.map(|()| Self { parent, name }),
            }
        }
        Err(Errno::EXIST)
    }

    /// The name that it has.
    pub(crate) fn name(&self) -> &OsStr {
        &self.name
    }

    /// As [`FileDraft::replace`].
    pub(crate) fn replace(self, last: &OsStr) -> Done<()> {
        rustix::fs::renameat(self.parent, &self.name, self.parent, last)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // It has another name by now, unless something failed; or both names are the same file's, which renames neither.
        rustix::fs::unlinkat(self.parent, &self.name, AtFlags::empty()).ok();
    }
}

/// Refuses a name that anything but a file or a link has: a device is not ours to remove.
pub(crate) fn check_replaceable(parent: BorrowedFd<'_>, last: &OsStr, name: &Path) -> Result<(), Error> {
    let found = match rustix::fs::statat(parent, last, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.at("look at", name)?,
    };
    let what = match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile | FileType::Symlink => return Ok(()),
        FileType::Directory => return Err(Error::InTheWay { path: name.to_owned(), is_folder: true }),
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        _ => "a device",
    };
    Err(Error::NotReplaced { path: name.to_owned(), what })
}

/// Refuses `/dev/stdout` and its kind, which are links to what a process has open.
pub(crate) fn refuse_open_file(parent: &Path, path: &Path) -> Result<(), Error> {
    let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    let folder = parent.canonicalize().at("find", parent)?;
    if is_link && (folder == Path::new("/dev") || folder.starts_with("/proc")) {
        let what = "a link of the system's";
        return Err(Error::NotReplaced { path: path.to_owned(), what });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    fn names(folder: &Path) -> Vec<OsString> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn what_is_there_stays_until_the_new_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let parent = File::open(folder.path()).unwrap();
        let path = folder.path().join("a");
        let named = || {
            let mut file = None;
            let draft = Draft::new(parent.as_fd(), |name| {
                file = Some(File::create_new(folder.path().join(name)).unwrap());
                Ok(())
            });
            FileDraft { file: file.unwrap(), parent: parent.as_fd(), named: Some(draft.unwrap()) }
        };
        // With and without a name.
        for is_named in [false, true] {
            let make = || if is_named { named() } else { FileDraft::new(parent.as_fd()).unwrap() };
            fs::write(&path, "old").unwrap();
            let draft = make();
            draft.file().write_all(b"half").unwrap();
            drop(draft);
            assert_eq!((names(folder.path()), fs::read(&path).unwrap()), (vec!["a".into()], b"old".to_vec()));
            let draft = make();
            draft.file().write_all(b"new").unwrap();
            draft.replace("a".as_ref()).unwrap();
            assert_eq!((names(folder.path()), fs::read(&path).unwrap()), (vec!["a".into()], b"new".to_vec()));
        }
        // Another name of the same file.
        let link = |name: &OsStr| rustix::fs::linkat(&parent, "a", &parent, name, AtFlags::empty());
        Draft::new(parent.as_fd(), link).unwrap().replace("a".as_ref()).unwrap();
        assert_eq!(names(folder.path()), ["a"]);
    }
}
