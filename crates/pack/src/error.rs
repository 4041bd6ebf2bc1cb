//! Why a pack could not be written, read, or taken into a store.

use std::io;
use std::path::PathBuf;

use format::config::ConfigError;
use format::{Digest, ManifestError, MapError, PlannedBlob, SnapshotError};
use store::{BlobError, FileError, LayoutError, LoadError, RefError, SpaceError};

use crate::{Missing, TakeBackError};

/// Why a pack could not be written. A file was left as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The file is there.
    #[error("{} is there already, and was not replaced", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// What is there is a folder, a device, or a pipe.
    #[error("{} is no regular file: a pack goes to one, or to standard output", path.display())]
    NotAFile {
        /// What is there.
        path: PathBuf,
    },
    /// It would not fit.
    #[error("{needed} bytes are needed for {}, {free} are free there", path.display())]
    Space {
        /// The file.
        path: PathBuf,
        /// Bytes of the pack.
        needed: u64,
        /// Bytes that are free for this user.
        free: u64,
    },
    /// The file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What was reported.
        source: io::Error,
    },
    /// Whoever takes the bytes takes no more.
    #[error("cannot write the pack: {0}")]
    Output(io::Error),
    /// A blob of the store could not be read.
    #[error("cannot read {part}: {source}")]
    Read {
        /// The blob.
        part: PlannedBlob,
        /// What was reported.
        source: io::Error,
    },
    /// A blob of the store is not what its digest says.
    #[error(
        "{part} is damaged in the store: its content has the digest {found}; remove the blob's file and pull the \
         snapshot again (`spore fsck` names the file)"
    )]
    Damaged {
        /// The blob.
        part: PlannedBlob,
        /// What was read: of a blob that has another size, as many bytes as it should have.
        found: Digest,
    },
    /// What the other snapshot has is not known.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] BlobError),
    /// It was stopped.
    #[error("interrupted")]
    Interrupted,
}

/// Why bytes are no pack, or one that cannot be read here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No header is where one should be.
    #[error("not a pack: at byte {at} there is no header of a tar archive")]
    NoHeader {
        /// Bytes before it.
        at: u64,
    },
    /// Packs are not compressed: what is in them is.
    #[error("not a pack: it is compressed; decompress it first, as by `zstd -d < FILE | spore unpack -`")]
    Compressed,
    /// It ends where something was to follow.
    #[error("the pack is cut short: it ends behind byte {at}, in {during}")]
    CutShort {
        /// Bytes that there are.
        at: u64,
        /// What was being read.
        during: String,
    },
    /// Something follows where it was to end.
    #[error("the pack does not end where it says: something follows at byte {at}")]
    Trailing {
        /// Bytes before that.
        at: u64,
    },
    /// It has more entries than anything that could be a pack.
    #[error("not a pack: it has more than {limit} entries")]
    TooMany {
        /// The bound.
        limit: u32,
    },
    /// An entry has no place in a pack, or not the content that it should have.
    #[error("the pack's entry {name:?} is refused: {reason}")]
    Entry {
        /// Its name, or the beginning of it.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that every pack has is not there.
    #[error("not a pack: it has no {0}")]
    Lacks(String),
    /// What comes from a pipe cannot be read in another order than it comes.
    #[error(
        "the pack's entry {0:?} is not where Spore would have written it, as in archives of other tools; from a pipe that \
         cannot be read: give the pack as a file"
    )]
    Order(String),
    /// It could not be read.
    #[error("cannot read the pack: {0}")]
    Io(#[from] io::Error),
}

impl ReadError {
    pub(crate) fn entry(name: &str, reason: impl Into<String>) -> Self {
        Self::Entry { name: format::excerpt(name), reason: reason.into() }
    }
}

/// Why a pack was not taken into the store. No tag was set, and nothing was kept that this unpack had stored, unless it says
/// so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// It is no pack, or one that is damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A blob has not the content that its digest says.
    #[error("{part} is corrupt in the pack: its content has the digest {found}")]
    Corrupt {
        /// The blob.
        part: PlannedBlob,
        /// What came.
        found: Digest,
    },
    /// A blob of the store has not the size that the manifest says.
    #[error("{part} has {found} bytes in the store")]
    Size {
        /// The blob.
        part: PlannedBlob,
        /// Bytes in the store.
        found: u64,
    },
    /// What it holds is no snapshot.
    #[error("the pack holds {digest}: {source}")]
    Manifest {
        /// The manifest.
        digest: Digest,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// A config is not one.
    #[error("{part}: {source}")]
    Config {
        /// The config.
        part: PlannedBlob,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// A map is not one.
    #[error("{part}: {source}")]
    Map {
        /// The map.
        part: PlannedBlob,
        /// What is wrong with it.
        source: MapError,
    },
    /// The parts of the snapshot do not belong together.
    #[error("the pack's snapshot {snapshot}: {source}")]
    Inconsistent {
        /// The snapshot.
        snapshot: Digest,
        /// What does not fit.
        source: SnapshotError,
    },
    /// It takes more than the user allows.
    #[error("the pack's snapshot {snapshot} takes {bytes} bytes {what}: at most {limit} are allowed")]
    TooLarge {
        /// The snapshot.
        snapshot: Digest,
        /// As what it does: its blobs, or laid out.
        what: &'static str,
        /// Bytes of these.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Neither the pack nor the store has all parts.
    #[error("snapshot {snapshot} is not complete: neither the pack nor the store has:{parts}")]
    Missing {
        /// The snapshot.
        snapshot: Digest,
        /// Every part that is missing.
        parts: Missing,
    },
    /// It would not fit.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// The flat files cannot be laid out.
    #[error(transparent)]
    Layout(LayoutError),
    /// The tag cannot be set.
    #[error(transparent)]
    Ref(#[from] RefError),
    /// The snapshot is not as it should be, with what the store had of it.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] BlobError),
    /// It was stopped.
    #[error("interrupted")]
    Interrupted,
    /// It failed, and what it had stored is still there.
    #[error("{cause}; what was stored of it is left to `spore prune`: {left}")]
    Left {
        /// Why it failed.
        cause: Box<UnpackError>,
        /// Why that was not taken back.
        left: TakeBackError,
    },
}

impl From<FileError> for UnpackError {
    fn from(error: FileError) -> Self {
        Self::Store(error.into())
    }
}

impl From<LayoutError> for UnpackError {
    fn from(error: LayoutError) -> Self {
        match error {
            LayoutError::Stopped => Self::Interrupted,
            error => Self::Layout(error),
        }
    }
}
