//! Why something could not be copied.

use std::io;

use format::{Digest, ManifestError, Name};

use crate::{HubError, PlannedBlob, Selector};

/// Why something could not be copied. The destination's tag was not moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The source has no such manifest.
    #[error("hub {hub} has no {name}{which}")]
    NotFound {
        /// The source's location.
        hub: String,
        /// The name there.
        name: Name,
        /// What was asked for.
        which: Selector,
    },
    /// What is behind the name is no snapshot.
    #[error("{name}@{digest}: {source}")]
    Manifest {
        /// The name in the source.
        name: Name,
        /// The manifest.
        digest: Digest,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// An index, or something that it lists, cannot be read.
    #[error("{name}@{digest}: {reason}")]
    Invalid {
        /// The name in the source.
        name: Name,
        /// The index or the manifest.
        digest: Digest,
        /// What was found and what was expected.
        reason: String,
    },
    /// Neither hub has all parts. Nothing was sent.
    #[error(
        "hub {hub}: {name} is not complete there; missing: {}; push it there again",
        blobs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    Incomplete {
        /// The source's location.
        hub: String,
        /// The name there.
        name: Name,
        /// Every part that is missing, or has another size.
        blobs: Vec<PlannedBlob>,
    },
    /// A blob of the source is not what its digest says. The destination did not take it.
    #[error("hub {hub}: {blob} is corrupt there: {reason}")]
    Corrupt {
        /// The source's location.
        hub: String,
        /// The blob.
        blob: PlannedBlob,
        /// What was found.
        reason: String,
    },
    /// The source gave only a part of a blob.
    #[error("hub {hub}: {blob} broke off: {source}; repeat the copy, which sends only what is not there yet")]
    BrokeOff {
        /// The source's location.
        hub: String,
        /// The blob.
        blob: PlannedBlob,
        /// What was reported.
        source: io::Error,
    },
    /// One of the hubs failed.
    #[error(transparent)]
    Hub(#[from] HubError),
}
