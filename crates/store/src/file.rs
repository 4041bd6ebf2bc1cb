//! Files written so that a crash at any instruction leaves the old content or the new, never a part.
//!
//! New content goes to a [`TempFile`] in the store's `tmp/`, is synced, is renamed to its name, and the folder of
//! that name is synced. A temporary file is locked by the process that writes it: one without a lock is left over
//! from a command that was killed, and anybody may remove it.

use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;

/// Why a file or folder of the store cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The filesystem or the user's quota is full. What was being written has been removed again.
    #[error(
        "{} to {action} {}: free some (`spore prune` removes what nothing uses) and repeat",
        what_is_full(said),
        path.display()
    )]
    NoSpace {
        /// What was being done, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said, which this error says in full.
        said: io::Error,
    },
    /// The kernel refused for another reason.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A small file of the store does not hold what such a file holds.
    #[error("{} is not as a store writes it: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
}

impl FileError {
    /// Whether it says that there is no such file.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn content(path: &Path, reason: &dyn fmt::Display) -> Self {
        Self::Content { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// How an error begins of a write for which there was no room: a quota may be used up on a disk that has plenty.
#[must_use]
pub fn what_is_full(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::QuotaExceeded => "no space left in the quota",
        _ => "no space left",
    }
}

/// Adds to an error of the kernel what was being done to which file.
pub(crate) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, FileError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, FileError> {
        self.map_err(|error| {
            let (path, source) = (path.to_owned(), error.into());
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    FileError::NoSpace { action, path, said: source }
                }
                _ => FileError::Io { action, path, source },
            }
        })
    }
}

/// `None` instead of an error that says that there is no such file.
pub(crate) fn found<T>(result: Result<T, FileError>) -> Result<Option<T>, FileError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// 64 random bits as a file name.
pub(crate) fn random_name() -> Result<String, FileError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(io::Error::other)
        .at("read random bytes for", Path::new("a file name"))?;
    Ok(format!("{:016x}", u64::from_le_bytes(bytes)))
}

/// Whether `path` still names the file that is open as `file`.
pub(crate) fn still_names(path: &Path, file: &File) -> Result<bool, FileError> {
    let Some(named) = found(fs::symlink_metadata(path).at("examine", path))? else { return Ok(false) };
    let open = file.metadata().at("examine", path)?;
    Ok((named.dev(), named.ino()) == (open.dev(), open.ino()))
}

/// Creates a file that this process alone holds the lock of. Nobody but its maker knows its name.
pub(crate) fn create_locked(folder: &Path) -> Result<(PathBuf, File), FileError> {
    loop {
        let path = folder.join(random_name()?);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .at("create", &path)?;
        file.lock().at("lock", &path)?;
        // Between creation and lock a sweep may have taken it for a leftover.
        if still_names(&path, &file)? {
            return Ok((path, file));
        }
    }
}

/// A new file on its way to its name; removed again if it does not get there.
#[derive(Debug)]
pub(crate) struct TempFile {
    path: PathBuf,
    file: File,
    /// What is written, for errors: the temporary name would tell nobody anything.
    action: &'static str,
    shown: PathBuf,
    placed: bool,
}

impl TempFile {
    /// A new, empty file in `tmp`, the folder of that name of a store. In errors it is `action` on `shown`.
    pub(crate) fn create(tmp: &Path, action: &'static str, shown: PathBuf) -> Result<Self, FileError> {
        let (path, file) = create_locked(tmp)?;
        Ok(Self { path, file, action, shown, placed: false })
    }

    /// A file that lies at `path` already and is open as `file`, which stays where it is unless it is placed.
    pub(crate) fn adopt(path: PathBuf, file: File) -> Self {
        Self { shown: path.clone(), path, file, action: "write", placed: true }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same file, to be written at any offset.
    pub(crate) fn output(&self) -> Result<Output, FileError> {
        let file = self.file.try_clone().at(self.action, &self.shown)?;
        Ok(Output { file, action: self.action, shown: self.shown.clone() })
    }

    /// Writes on where the last write ended.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes).at(self.action, &self.shown)
    }

    /// Makes it durable under the name `target` with these permissions, in place of what had that name.
    pub(crate) fn place(self, target: &Path, mode: u32) -> Result<(), FileError> {
        self.file.sync_all().at(self.action, &self.shown)?;
        self.rename(target, mode)?;
        sync_parent(target)
    }

    fn rename(mut self, target: &Path, mode: u32) -> Result<(), FileError> {
        fs::rename(&self.path, target).at("write", target)?;
        self.placed = true;
        // Last: whoever is killed before it leaves a file that its owner can write, which harms nobody. The other
        // way round, one with a temporary name could be left that its owner cannot go on with.
        self.file.set_permissions(Permissions::from_mode(mode)).at("write", target)
    }

    /// Removes it, also if it was adopted.
    pub(crate) fn discard(self) -> Result<(), FileError> {
        remove_file(&self.path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.placed {
            fs::remove_file(&self.path).ok();
        }
    }
}

/// A file that is written at any offset; in errors it is called what it is going to be.
#[derive(Debug)]
pub(crate) struct Output {
    file: File,
    action: &'static str,
    shown: PathBuf,
}

impl Output {
    #[cfg(test)]
    pub(crate) fn of_test(file: &File) -> Self {
        Self { file: file.try_clone().unwrap(), action: "lay out", shown: "a file of a test".into() }
    }

    pub(crate) fn set_len(&self, bytes: u64) -> Result<(), FileError> {
        self.file.set_len(bytes).at(self.action, &self.shown)
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), FileError> {
        self.file.write_all_at(bytes, offset).at(self.action, &self.shown)
    }

    /// Has the disk begin with what was written.
    pub(crate) fn begin_writeback(&self) {
        host::begin_writeback(&self.file);
    }

    /// Fills `buffer` with what was written there.
    pub(crate) fn read_back(&self, buffer: &mut [u8], offset: u64) -> Result<(), FileError> {
        self.file.read_exact_at(buffer, offset).at("read back", &self.shown)
    }

    pub(crate) fn try_clone(&self) -> Result<File, FileError> {
        self.file.try_clone().at(self.action, &self.shown)
    }
}

/// Gives `target` the content `bytes` in whole or not at all.
pub(crate) fn replace(tmp: &Path, target: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut temp = TempFile::create(tmp, "write", target.to_owned())?;
    temp.append(bytes)?;
    temp.place(target, 0o600)
}

/// As [`replace`], for what is derived from other files and compared with them by every sweep: should the host lose its power, it may be
/// empty or as it was, and nothing waits for the disk.
pub(crate) fn replace_derived(tmp: &Path, target: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut temp = TempFile::create(tmp, "write", target.to_owned())?;
    temp.append(bytes)?;
    temp.rename(target, 0o600)
}

/// Makes changes of the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), FileError> {
    File::open(folder).and_then(|folder| folder.sync_all()).at("sync", folder)
}

/// Makes a change of this name durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), FileError> {
    path.parent().map_or(Ok(()), sync_folder)
}

/// Renames, unless `to` is taken: then `false`.
pub(crate) fn rename_new(from: &Path, to: &Path) -> Result<bool, FileError> {
    let cwd = rustix::fs::CWD;
    match rustix::fs::renameat_with(cwd, from, cwd, to, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::EXIST) => Ok(false),
        result => result.at("rename", from).map(|()| true),
    }
}

/// Removes a file; one that is gone already is no error.
pub(crate) fn remove_file(path: &Path) -> Result<(), FileError> {
    found(fs::remove_file(path).at("remove", path)).map(drop)
}

/// Removes a folder and all in it; one that is gone already is no error.
pub(crate) fn remove_tree(path: &Path) -> Result<(), FileError> {
    found(fs::remove_dir_all(path).at("remove", path)).map(drop)
}

/// A whole file of at most `limit` bytes.
pub(crate) fn read_bounded(file: &mut File, path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    // Room for all of it: a buffer that grows is filled by many small reads.
    let length = usize::try_from(file.metadata().at("examine", path)?.len()).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(length.min(limit).saturating_add(1));
    file.take((limit as u64).saturating_add(1)).read_to_end(&mut bytes).at("read", path)?;
    if bytes.len() > limit {
        return Err(FileError::content(path, &format_args!("it has more than {limit} bytes")));
    }
    Ok(bytes)
}

/// A small file of the store's own, if it is there.
pub(crate) fn read_small(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    const LIMIT: usize = 1 << 20;
    let Some(mut file) = found(File::open(path).at("open", path))? else { return Ok(None) };
    read_bounded(&mut file, path, LIMIT).map(Some)
}

/// Whether a file is there and holds these bytes, and no others.
pub(crate) fn holds(path: &Path, bytes: &[u8]) -> Result<bool, FileError> {
    let Some(mut file) = found(File::open(path).at("open", path))? else { return Ok(false) };
    let is_as_long = file.metadata().at("examine", path)?.len() == bytes.len() as u64;
    Ok(is_as_long && read_bounded(&mut file, path, bytes.len())? == bytes)
}

/// The names in a folder in order; a folder that is not there has none.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, FileError> {
    let Some(entries) = found(fs::read_dir(folder).at("list", folder))? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.at("list", folder)?.file_name();
        // The store writes ASCII names only: another one is foreign under any spelling.
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// Bytes that a file takes on its filesystem.
pub(crate) fn allocated(metadata: &fs::Metadata) -> u64 {
    metadata.blocks() * 512
}

/// Bytes that a file, or all in a folder, takes on its filesystem.
pub(crate) fn tree_size(path: &Path) -> Result<u64, FileError> {
    let Some(metadata) = found(fs::symlink_metadata(path).at("examine", path))? else { return Ok(0) };
    let mut bytes = allocated(&metadata);
    if metadata.is_dir() {
        for name in names(path)? {
            bytes += tree_size(&path.join(name))?;
        }
    }
    Ok(bytes)
}
