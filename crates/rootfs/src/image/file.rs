//! Files of this host that an image is read from.

use std::fs::File;
use std::io;
use std::path::Path;

use super::ImageError;

/// Opens a file, `None` if there is none. What could block for ever, a pipe, is refused.
pub(super) fn open_regular(path: &Path) -> Result<Option<File>, ImageError> {
    use rustix::fs::{Mode, OFlags};
    let io = |source| ImageError::Io { path: path.to_owned(), source };
    let file =
        match rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            file => File::from(file.map_err(|error| io(error.into()))?),
        };
    if file.metadata().map_err(io)?.is_file() {
        Ok(Some(file))
    } else {
        Err(io(io::Error::other("it is no file")))
    }
}
