//! Why a snapshot could not be pulled.

use format::config::ConfigError;
use format::{Digest, ManifestError, MapError, Name, SnapshotError};
use store::{BlobError, FileError, LayoutError, RefError, SpaceError};

use crate::{HubError, PlannedBlob, Selector};

/// Why a snapshot could not be pulled. No tag was set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The hub has no such manifest.
    #[error("hub {hub} has no {name}{which}: {hint}")]
    NotFound {
        /// The hub's location.
        hub: String,
        /// The name there.
        name: Name,
        /// What was asked for.
        which: Selector,
        /// What it has instead.
        hint: String,
    },
    /// A tag leads to several snapshots, or to none.
    #[error("hub {hub}: {name}{which} leads to {}", list(variants))]
    Variants {
        /// The hub's location.
        hub: String,
        /// The name there.
        name: Name,
        /// What was asked for.
        which: Selector,
        /// The snapshots.
        variants: Vec<Digest>,
    },
    /// Neither the store nor the hub has all parts. Nothing was stored.
    #[error(
        "hub {hub}: {name}@{snapshot} is not complete there; missing: {}; push it there again",
        list_parts(parts)
    )]
    Incomplete {
        /// The hub's location.
        hub: String,
        /// The name there.
        name: Name,
        /// The snapshot.
        snapshot: Digest,
        /// Every part that is missing.
        parts: Vec<PlannedBlob>,
    },
    /// A snapshot that is known here lacks parts, and there is no hub where they were to come from.
    #[error("{name}@{snapshot} is not complete here; missing: {}; {source}", list_parts(parts))]
    NoHub {
        /// The name in the hub.
        name: Name,
        /// The snapshot.
        snapshot: Digest,
        /// Every part that is missing.
        parts: Vec<PlannedBlob>,
        /// What is there instead of the hub.
        source: Box<HubError>,
    },
    /// A blob has not the size that the manifest says. It was not stored.
    #[error("{place}: {blob} has {found} bytes there; it was not stored")]
    WrongSize {
        /// The hub or the store.
        place: String,
        /// What the manifest says.
        blob: PlannedBlob,
        /// Bytes that were found; more may follow.
        found: u64,
    },
    /// A blob has not the content that its digest says. It was not stored.
    #[error("hub {hub}: {blob} is corrupt there: its content has the digest {found}; it was not stored")]
    Corrupt {
        /// The hub's location.
        hub: String,
        /// The blob.
        blob: PlannedBlob,
        /// What came.
        found: Digest,
    },
    /// A transfer broke off. What came is kept, and the next try resumes it.
    #[error("hub {hub}: {blob} broke off: {source}; repeat the pull to resume it")]
    BrokeOff {
        /// The hub's location.
        hub: String,
        /// The blob.
        blob: PlannedBlob,
        /// What was reported.
        source: std::io::Error,
    },
    /// What the name leads to is no snapshot.
    #[error("{name}@{digest}: {source}")]
    Manifest {
        /// The name in the hub.
        name: Name,
        /// The manifest.
        digest: Digest,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// An image index cannot be read.
    #[error("{name}@{digest}: image index is not valid: {source}")]
    Index {
        /// The name in the hub.
        name: Name,
        /// The index.
        digest: Digest,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A config is not one.
    #[error("{blob}: {source}")]
    Config {
        /// The config.
        blob: PlannedBlob,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// A map is not one.
    #[error("{blob}: {source}")]
    Map {
        /// The map.
        blob: PlannedBlob,
        /// What is wrong with it.
        source: MapError,
    },
    /// The parts of the snapshot do not belong together.
    #[error("{name}@{snapshot}: {source}")]
    Inconsistent {
        /// The name in the hub.
        name: Name,
        /// The snapshot.
        snapshot: Digest,
        /// What does not fit.
        source: SnapshotError,
    },
    /// The hub failed.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// It would not fit. Nothing was stored.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// The flat files cannot be laid out. All blobs are there.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The tag cannot be set.
    #[error(transparent)]
    Ref(#[from] RefError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] BlobError),
}

impl From<FileError> for PullError {
    fn from(error: FileError) -> Self {
        Self::Store(error.into())
    }
}

impl PullError {
    /// Whether a hub is to blame, so that a mirror may do better with the same digest.
    pub(super) fn is_of_hub(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::Incomplete { .. }
                | Self::WrongSize { .. }
                | Self::Corrupt { .. }
                | Self::BrokeOff { .. }
                | Self::Hub(_)
        )
    }

    /// Whether the hub cannot be reached: who says what a tag means then has to be asked elsewhere.
    pub(super) fn is_out_of_reach(&self) -> bool {
        matches!(
            self,
            Self::Hub(HubError::Unavailable { .. } | HubError::NotAHub { .. } | HubError::Io { .. })
        )
    }

    /// Whether nothing else is to be expected of the hub, either.
    pub(super) fn is_disconnection(&self) -> bool {
        self.is_out_of_reach()
            || matches!(
                self,
                Self::BrokeOff { .. } | Self::Hub(HubError::Denied { .. } | HubError::Credential { .. })
            )
    }
}

fn list(variants: &[Digest]) -> String {
    if variants.is_empty() {
        return "an image index without snapshots".to_owned();
    }
    let digests: Vec<_> = variants.iter().map(ToString::to_string).collect();
    format!("several snapshots, name one by its digest: {}", digests.join(", "))
}

fn list_parts(parts: &[PlannedBlob]) -> String {
    parts.iter().map(|part| format!("{} {}", part.role, part.digest)).collect::<Vec<_>>().join(", ")
}
