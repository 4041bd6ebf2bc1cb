//! What can go wrong with a tree or a stream.

use std::io;
use std::path::{Path, PathBuf};

/// Why a tree was not written or not made. What was made before stays.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or made.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file; of a stream, by its name there.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The stream could not be read or written.
    #[error("the tar stream broke off: {0}")]
    Stream(#[from] io::Error),
    /// The stream ends before its end.
    #[error("the tar stream ends in the middle: not all files were copied")]
    Truncated,
    /// The stream is no tar, a damaged one, or one of another kind.
    #[error("the tar stream cannot be read: {0}")]
    Format(tar_stream::Error),
    /// A name that leads out of the destination.
    #[error("{:?} leads out of the destination: refused", .0)]
    Outside(PathBuf),
    /// A name that leads through something that is no folder.
    #[error("{:?} leads through a link or a file, and not through folders alone: refused", .0)]
    Through(PathBuf),
    /// A file is to be made where a folder is, or the other way round.
    #[error("{} is there already, and is {}: remove it first", path.display(), if *is_folder { "a folder" } else { "no folder" })]
    InTheWay {
        /// Its name.
        path: PathBuf,
        /// What is there.
        is_folder: bool,
    },
    /// Something is to be made where neither a file nor a link is.
    #[error("{} is {what}: only files and links are replaced. Give another name, or `-` for a tar stream on standard output", path.display())]
    NotReplaced {
        /// Its name.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// A tree was asked for, and a link is sent as its root.
    #[error("a link was sent to be made as {}, where a file or folder was asked for: refused", .0.display())]
    Root(PathBuf),
    /// Neither file nor folder nor link.
    #[error("{} is {what}: only files, folders and links can be copied", path.display())]
    Kind {
        /// Its name.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A file is shorter than it was when its length was written.
    #[error("{} was cut short while it was read: its copy ends in zeros", .0.display())]
    Shrank(PathBuf),
    /// The destination is to be a folder.
    #[error("{} is no folder", .0.display())]
    NotAFolder(PathBuf),
}

impl Error {
    /// The same, with the name of a file in a destination as one below this folder.
    pub(crate) fn below(mut self, folder: &Path) -> Self {
        match &mut self {
            Self::File { path, .. }
            | Self::InTheWay { path, .. }
            | Self::NotReplaced { path, .. }
            | Self::Kind { path, .. } => *path = folder.join(&*path),
            _ => {}
        }
        self
    }
}

impl From<tar_stream::Error> for Error {
    fn from(error: tar_stream::Error) -> Self {
        match error {
            tar_stream::Error::Read(error) => Self::Stream(error),
            tar_stream::Error::CutShort { .. } => Self::Truncated,
            error => Self::Format(error),
        }
    }
}

/// Adds what was tried, and on which file, to an error of the system.
pub(crate) trait At<T> {
    fn at(self, what: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, what: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::File { what, path: path.to_owned(), source: source.into() })
    }
}
