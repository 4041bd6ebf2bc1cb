//! Checking a store in whole: every blob and layer is hashed again, what else was laid out is compared with its map,
//! every snapshot is read again, every name looked at.
//!
//! It changes nothing and may run beside everything else: what tags and sandboxes name is on its lease, and what is
//! collected while it looks is no problem. Memory is bounded: contents are streamed, snapshots read one by one.

use std::path::PathBuf;

use format::{Digest, FullName};

use crate::layout::LayoutError;
use crate::{FileError, FlatKey, LoadError, SandboxId, Store};

mod compare;
mod content;
mod foreign;
mod snapshots;

/// Something that is wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A blob's bytes have changed.
    #[error("blob {digest} is damaged: its content has the digest {found}; it belongs to {}", users.join(", "))]
    DamagedBlob {
        /// The blob.
        digest: Digest,
        /// What it holds.
        found: Digest,
        /// The snapshots that have it: their tags, or digests.
        users: Vec<String>,
    },
    /// A layer laid out has not the bytes that its name says.
    #[error("flat file {key} is damaged: its content has the digest {found}")]
    DamagedLayer {
        /// The flat file.
        key: FlatKey,
        /// What it holds.
        found: Digest,
    },
    /// A map laid out does not hold what the map says.
    #[error("flat file {key} is damaged: it differs from its map at byte {offset}")]
    DamagedFlat {
        /// The flat file.
        key: FlatKey,
        /// Where the first difference is.
        offset: u64,
    },
    /// A flat file could not be compared with its map.
    #[error("flat file {key} cannot be checked: {source}")]
    Unchecked {
        /// The flat file.
        key: FlatKey,
        /// Why.
        source: Box<LayoutError>,
    },
    /// A tag does not say where it leads.
    #[error("tag {name} is damaged: {source}")]
    DamagedRef {
        /// The tag.
        name: FullName,
        /// What is wrong with its file.
        source: Box<FileError>,
    },
    /// A tag leads nowhere.
    #[error("tag {name} leads to {digest}, which is not in the store")]
    DanglingRef {
        /// The tag.
        name: FullName,
        /// Where it leads.
        digest: Digest,
    },
    /// A sandbox does not say of which snapshot it is, or of one that is not there.
    #[error("sandbox {id} is of no snapshot in the store")]
    DanglingSandbox {
        /// The sandbox.
        id: SandboxId,
    },
    /// A snapshot cannot be read.
    #[error("{name}: {source}")]
    Snapshot {
        /// One of its tags, or its digest.
        name: String,
        /// What is wrong.
        source: Box<LoadError>,
    },
    /// A blob is not framed as a map says.
    #[error("{name}: {source}")]
    Frames {
        /// One of the snapshot's tags, or its digest.
        name: String,
        /// What is wrong.
        source: Box<LayoutError>,
    },
    /// Something lies in the store that no store writes.
    #[error("{} is not the store's", path.display())]
    Foreign {
        /// The file or folder.
        path: PathBuf,
    },
    /// What a command has removed, or left when it was killed, still takes space.
    #[error("{} is left over", path.display())]
    Leftover {
        /// The file or folder.
        path: PathBuf,
    },
    /// Something could not be read.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Problem {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::DamagedBlob { .. } => "remove its file in blobs/sha256, then pull a snapshot that has it",
            Self::DamagedLayer { .. } | Self::DamagedFlat { .. } => {
                "end the sandboxes that use it and remove it: the next fork lays it out again"
            }
            Self::Unchecked { .. } => "see what the message names, and check again",
            Self::DamagedRef { .. } => "remove it with `spore rm`, then pull it again",
            Self::DanglingRef { .. } => "pull it again, or remove the tag with `spore rm`",
            Self::DanglingSandbox { .. } => "end it with `spore kill`",
            Self::Snapshot { source, .. } if matches!(**source, LoadError::Missing { .. }) => {
                "pull it again; without a tag, `spore prune` removes it"
            }
            Self::Snapshot { .. } | Self::Frames { .. } => {
                "remove its tags with `spore rm`, run `spore prune`, and pull or bake it again"
            }
            Self::Foreign { .. } => "move it out of the store",
            Self::Leftover { .. } => "run `spore prune`: it removes it, or says why it cannot be removed",
            Self::File(_) => "see what the message names, and check again",
        }
    }
}

/// How far a check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes hashed or compared.
    pub done: u64,
    /// Bytes to hash or compare; holes that need not be read are not among them.
    pub total: u64,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// Blobs hashed.
    pub blobs: usize,
    /// Flat files hashed or compared.
    pub flats: usize,
    /// Snapshots read.
    pub snapshots: usize,
    /// What is wrong; empty if all is well.
    pub problems: Vec<Problem>,
}

impl Store {
    /// Checks everything in the store. `progress` is called from several threads.
    ///
    /// # Errors
    /// If it cannot begin: what is wrong with the store's content is in the report.
    pub fn fsck(&self, progress: &(dyn Fn(Progress) + Sync)) -> Result<Report, FileError> {
        let lease = self.lease()?;
        let mut report = Report::default();
        let removed = self.removed()?;
        self.check_names(&mut report)?;
        let tags = self.check_roots(&lease, &mut report)?;
        self.check_contents(&mut report, progress)?;
        self.check_snapshots(&tags, &mut report)?;
        self.check_removed(removed, &mut report)?;
        Ok(report)
    }
}

#[cfg(test)]
mod tests;
