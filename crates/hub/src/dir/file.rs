//! Reading files of a hub, and what can go wrong with files.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use format::Digest;
use rustix::fs::OFlags;

use crate::HubError;

/// What can go wrong in a folder, before it is said of which hub.
#[derive(Debug)]
pub(super) enum DirError {
    Io { action: &'static str, path: PathBuf, source: io::Error },
    NotAHub { reason: String, push_makes_one: bool },
    Malformed { path: PathBuf, reason: String },
    Corrupt { digest: Digest, reason: String },
}

impl DirError {
    pub(super) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.to_owned(), source: source.into() }
    }

    pub(super) fn malformed(path: &Path, reason: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), reason: reason.into() }
    }

    /// The error as the hub at `location` tells it.
    pub(super) fn of(self, location: &str) -> HubError {
        let hub = location.to_owned();
        match self {
            Self::Io { action, path, source } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    HubError::NoSpace { hub, action, path, said: source }
                }
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    HubError::Denied { hub, action: format!("{action} {}", path.display()) }
                }
                _ => HubError::Io { hub, action, path, source },
            },
            Self::NotAHub { reason, push_makes_one } => HubError::NotAHub { hub, reason, push_makes_one },
            Self::Malformed { path, reason } => {
                HubError::Malformed { hub, what: path.display().to_string(), reason }
            }
            Self::Corrupt { digest, reason } => HubError::Corrupt { hub, digest, reason },
        }
    }
}

/// `None` for what is not there.
pub(super) fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        // A name of which a part is a file.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Opens a regular file, and waits for nothing: a hub's folder can hold a FIFO that somebody put there.
pub(super) fn open(path: &Path) -> Result<Option<File>, DirError> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let opened = File::options().read(true).custom_flags(flags).open(path);
    let Some(file) = found(opened).map_err(|error| DirError::io("open", path, error))? else {
        return Ok(None);
    };
    let metadata = file.metadata().map_err(|error| DirError::io("examine", path, error))?;
    if metadata.is_file() {
        Ok(Some(file))
    } else {
        Err(DirError::malformed(path, "expected a regular file"))
    }
}

/// Bytes of a regular file.
pub(super) fn size(path: &Path) -> Result<Option<u64>, DirError> {
    let Some(metadata) = found(fs::metadata(path)).map_err(|error| DirError::io("examine", path, error))?
    else {
        return Ok(None);
    };
    if metadata.is_file() {
        Ok(Some(metadata.len()))
    } else {
        Err(DirError::malformed(path, "expected a regular file"))
    }
}

/// An entry of a folder.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) is_folder: bool,
}

/// What is in a folder, in order; a folder that is not there is empty. Names that are no UTF-8 are left out: no hub
/// writes them.
pub(super) fn entries(path: &Path) -> Result<Vec<Entry>, DirError> {
    let error = |error| DirError::io("list", path, error);
    let Some(listing) = found(fs::read_dir(path)).map_err(error)? else { return Ok(Vec::new()) };
    let mut entries = Vec::new();
    for entry in listing {
        let entry = entry.map_err(error)?;
        let is_folder = entry.file_type().map_err(error)?.is_dir();
        if let Ok(name) = entry.file_name().into_string() {
            entries.push(Entry { name, is_folder });
        }
    }
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}
