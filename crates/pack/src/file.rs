//! The file that a pack is written to: under its name it is there in whole, or not at all.
//!
//! Until then it has no name (`O_TMPFILE`), so that nothing is left of a process that is killed; a filesystem that has no such
//! files gets a temporary one beside its place.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat, statvfs};
use tempfile::NamedTempFile;

use crate::PackError;

/// The umask takes from this what it takes from every new file.
const MODE: u32 = 0o666;
const PREFIX: &str = ".spore-pack-";

/// A new file beside its place. Dropped before [`PackFile::finish`], it is gone.
#[derive(Debug)]
pub struct PackFile {
    temp: Temp,
    path: PathBuf,
    may_replace: bool,
}

#[derive(Debug)]
enum Temp {
    Unnamed(File),
    Named(NamedTempFile),
}

impl PackFile {
    /// Whether a file may become `path`: what is better said before a snapshot is fetched.
    ///
    /// # Errors
    /// If something is there that is no file, or may not be replaced.
    pub fn check(path: &Path, may_replace: bool) -> Result<(), PackError> {
        match fs::metadata(path) {
            // To rename over a device would take it away from everybody.
            Ok(found) if !found.is_file() => Err(PackError::NotAFile { path: path.to_owned() }),
            Ok(_) if !may_replace => Err(PackError::Exists { path: path.to_owned() }),
            _ => Ok(()),
        }
    }

    /// Begins the file that is to be `path` and have `bytes`. With `may_replace` it takes the place of one that is there.
    ///
    /// # Errors
    /// If something is there that it may not replace, it would not fit, or the folder cannot be written.
    pub fn create(path: &Path, may_replace: bool, bytes: u64) -> Result<Self, PackError> {
        Self::check(path, may_replace)?;
        let failed = |source| PackError::Write { path: path.to_owned(), source };
        let folder = folder_of(path);
        let space = statvfs(folder).map_err(|error| failed(error.into()))?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        if bytes > free {
            return Err(PackError::Space { path: path.to_owned(), needed: bytes, free });
        }
        let temp = match unnamed(folder) {
            Some(file) => Temp::Unnamed(file),
            None => Temp::Named(builder().tempfile_in(folder).map_err(failed)?),
        };
        Ok(Self { temp, path: path.to_owned(), may_replace })
    }

    /// Makes it durable under its name.
    ///
    /// # Errors
    /// If that cannot be done, or something has taken the name meanwhile.
    pub fn finish(self) -> Result<(), PackError> {
        let Self { temp, path, may_replace } = self;
        let named = match temp {
            Temp::Unnamed(file) => file.sync_all().and_then(|()| name(&file, &path, may_replace)),
            Temp::Named(temp) => temp.as_file().sync_all().and_then(|()| {
                let persisted = if may_replace { temp.persist(&path) } else { temp.persist_noclobber(&path) };
                persisted.map(drop).map_err(|error| error.error)
            }),
        };
        let named = named.and_then(|()| File::open(folder_of(&path))?.sync_all());
        named.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => PackError::Exists { path },
            _ => PackError::Write { path, source },
        })
    }
}

fn builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).permissions(Permissions::from_mode(MODE));
    builder
}

/// A file without a name, where the filesystem has such files and there is `/proc` to give it one.
fn unnamed(folder: &Path) -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(openat(CWD, folder, flags, Mode::from_raw_mode(MODE)).ok()?);
    link_of(&file).exists().then_some(file)
}

/// The link by which a process reaches its own open file (proc(5), `/proc/pid/fd`).
fn link_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Gives a file its name.
fn name(file: &File, path: &Path, may_replace: bool) -> io::Result<()> {
    let link = |path: &Path| linkat(CWD, link_of(file), CWD, path, AtFlags::SYMLINK_FOLLOW);
    match link(path) {
        Err(rustix::io::Errno::EXIST) if may_replace => {
            // No call replaces a name by a file without one.
            let temp = builder().make_in(folder_of(path), |path| Ok(link(path)?))?;
            temp.persist(path).map(drop).map_err(|error| error.error)
        }
        linked => Ok(linked?),
    }
}

impl Write for PackFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.temp {
            Temp::Unnamed(file) => file.write(bytes),
            Temp::Named(temp) => temp.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_by_a_whole_one_or_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.spore");
        let names = || fs::read_dir(folder.path()).unwrap().count();
        let mut first = PackFile::create(&path, false, 5).unwrap();
        first.write_all(b"first").unwrap();
        // Whoever is killed now leaves nothing, where there are files without a name.
        assert_eq!(names(), usize::from(matches!(first.temp, Temp::Named(_))));
        first.finish().unwrap();
        assert!(matches!(PackFile::create(&path, false, 0), Err(PackError::Exists { .. })));
        let mut dropped = PackFile::create(&path, true, 0).unwrap();
        dropped.write_all(b"dropped").unwrap();
        drop(dropped);
        assert_eq!((fs::read(&path).unwrap(), names()), (b"first".to_vec(), 1));
        PackFile::create(&path, true, 0).unwrap().finish().unwrap();
        assert_eq!((fs::read(&path).unwrap(), names()), (Vec::new(), 1));

        let late = folder.path().join("late.spore");
        let file = PackFile::create(&late, false, 0).unwrap();
        fs::write(&late, "another's").unwrap();
        assert!(matches!(file.finish(), Err(PackError::Exists { .. })));
        assert_eq!((fs::read(&late).unwrap(), names()), (b"another's".to_vec(), 2));
    }

    #[test]
    fn a_temporary_file_does_where_there_are_none_without_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.spore");
        for may_replace in [false, true] {
            let temp = Temp::Named(builder().tempfile_in(folder.path()).unwrap());
            let mut file = PackFile { temp, path: path.clone(), may_replace };
            file.write_all(b"content").unwrap();
            file.finish().unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"content");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_is_begun_that_would_not_fit() {
        let folder = tempfile::tempdir().unwrap();
        let too_large = PackFile::create(&folder.path().join("a"), false, u64::MAX);
        assert!(matches!(too_large, Err(PackError::Space { needed: u64::MAX, .. })));
    }

    #[test]
    fn nothing_but_files_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path(), Path::new("/dev/null")] {
            assert!(matches!(PackFile::create(path, true, 0), Err(PackError::NotAFile { .. })));
        }
    }
}
