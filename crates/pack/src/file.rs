//! The file that a pack is written to: under its name it is there in whole, or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::PackError;

/// A new file beside its place. Dropped before [`PackFile::finish`], it is gone.
#[derive(Debug)]
pub struct PackFile {
    temp: NamedTempFile,
    path: PathBuf,
    may_replace: bool,
}

impl PackFile {
    /// Begins the file that is to be `path`. With `may_replace` it takes the place of one that is there.
    ///
    /// # Errors
    /// If something is there that it may not replace, or the folder cannot be written.
    pub fn create(path: &Path, may_replace: bool) -> Result<Self, PackError> {
        match fs::metadata(path) {
            // To rename over a device would take it away from everybody.
            Ok(found) if !found.is_file() => return Err(PackError::NotAFile { path: path.to_owned() }),
            Ok(_) if !may_replace => return Err(PackError::Exists { path: path.to_owned() }),
            _ => {}
        }
        let temp = tempfile::Builder::new()
            .prefix(".spore-pack-")
            // The umask takes from this what it takes from every new file.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder_of(path))
            .map_err(|source| PackError::Write { path: path.to_owned(), source })?;
        Ok(Self { temp, path: path.to_owned(), may_replace })
    }

    /// Makes it durable under its name.
    ///
    /// # Errors
    /// If that cannot be done, or something has taken the name meanwhile.
    pub fn finish(self) -> Result<(), PackError> {
        let Self { temp, path, may_replace } = self;
        let failed = |source: io::Error| PackError::Write { path: path.clone(), source };
        temp.as_file().sync_all().map_err(failed)?;
        let persisted = if may_replace { temp.persist(&path) } else { temp.persist_noclobber(&path) };
        persisted.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => PackError::Exists { path: path.clone() },
            _ => failed(error.error),
        })?;
        File::open(folder_of(&path)).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

impl Write for PackFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temp.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temp.flush()
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
        let mut first = PackFile::create(&path, false).unwrap();
        first.write_all(b"first").unwrap();
        assert!(!path.exists() && names() == 1);
        first.finish().unwrap();
        assert!(matches!(PackFile::create(&path, false), Err(PackError::Exists { .. })));
        let mut dropped = PackFile::create(&path, true).unwrap();
        dropped.write_all(b"dropped").unwrap();
        drop(dropped);
        assert_eq!((fs::read(&path).unwrap(), names()), (b"first".to_vec(), 1));
        PackFile::create(&path, true).unwrap().finish().unwrap();
        assert_eq!((fs::read(&path).unwrap(), names()), (Vec::new(), 1));

        let late = folder.path().join("late.spore");
        let file = PackFile::create(&late, false).unwrap();
        fs::write(&late, "another's").unwrap();
        assert!(matches!(file.finish(), Err(PackError::Exists { .. })));
        assert_eq!((fs::read(&late).unwrap(), names()), (b"another's".to_vec(), 2));
    }

    #[test]
    fn nothing_but_files_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path(), Path::new("/dev/null")] {
            assert!(matches!(PackFile::create(path, true), Err(PackError::NotAFile { .. })));
        }
    }
}
