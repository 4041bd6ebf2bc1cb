//! Reading and replacing files that hold secrets, as a whole.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::CredentialError;

/// Far more than anybody has registries.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

/// The file's bytes; `None` if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, CredentialError> {
    let failed = |source| io_error("read", path, source);
    let malformed =
        |reason: &str| CredentialError::Malformed { path: path.to_owned(), reason: reason.into() };
    // A FIFO is not waited for.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(malformed("expected a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(malformed("expected at most 1 MiB"));
    }
    Ok(Some(bytes))
}

/// A file that is being replaced: no other process of ours does so until this is dropped.
pub(super) struct Replacing {
    folder: File,
    /// Behind all symbolic links.
    target: PathBuf,
}

impl Replacing {
    /// Makes the file's folder, for its owner alone, if it is not there, and waits for others who replace files in it.
    pub(super) fn begin(path: &Path) -> Result<Self, CredentialError> {
        let target = follow(path).map_err(|error| io_error("find", path, error))?;
        let parent = parent(&target);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(|error| io_error("create", parent, error))?;
        let folder = File::open(parent).map_err(|error| io_error("open", parent, error))?;
        // Two logins at once would lose one: each reads the file and writes it with its own change.
        flock(&folder, FlockOperation::LockExclusive)
            .map_err(|error| io_error("lock", parent, error.into()))?;
        Ok(Self { folder, target })
    }

    /// Gives the file this content and mode 0600, durably, or leaves it as it is.
    pub(super) fn finish(self, bytes: &[u8]) -> Result<(), CredentialError> {
        let temp = Temp(parent(&self.target).join(random_name()?));
        let write = || {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temp.0)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temp.0, &self.target)?;
            self.folder.sync_all()
        };
        write().map_err(|error| io_error("write", &self.target, error))
    }
}

/// A temporary file's name, which is gone in the end: renamed or removed.
struct Temp(PathBuf);

impl Drop for Temp {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

fn random_name() -> Result<String, CredentialError> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| io_error("name", Path::new("a temporary file"), error.into()))?;
    Ok(format!(".auth-{:032x}", u128::from_le_bytes(bytes)))
}

/// What `path` leads to, which need not be there: people keep such files elsewhere and link to them.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(link) => path = parent(&path).join(link),
            // `InvalidInput` is what is there and no link.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> CredentialError {
    CredentialError::Io { path: path.to_owned(), action, source }
}
