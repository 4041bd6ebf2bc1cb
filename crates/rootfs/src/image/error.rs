//! Why an image cannot be a base.

use std::path::PathBuf;

use format::Digest;

use crate::{ArchiveError, LayerError, RegistryError};

/// What is wrong with an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Something that the image needs is not where it should be.
    #[error("it has no {what}")]
    Missing {
        /// A file or a blob.
        what: String,
    },
    /// There is no image of the name that was given, or several and no name.
    #[error("{reason}; it has {}", list(found))]
    NotNamed {
        /// What was looked for.
        reason: String,
        /// What is there.
        found: Vec<String>,
    },
    /// A document of it is not as such documents are.
    #[error("its {what} is not as that of an image: {reason}")]
    Malformed {
        /// The document.
        what: &'static str,
        /// What was found and what was expected.
        reason: String,
    },
    /// It is for other machines.
    #[error(
        "it is for {}: expected linux/amd64, of no variant or v1, since guests have the processor that all hosts have",
        list(found)
    )]
    Platform {
        /// For which.
        found: Vec<String>,
    },
    /// Something is not what its digest says.
    #[error("its {what} is damaged: {reason}")]
    Corrupt {
        /// The document or layer.
        what: String,
        /// What was found.
        reason: String,
    },
    /// A layer cannot be read.
    #[error("its layer {number} ({digest}): {source}")]
    Layer {
        /// Which, from 1.
        number: usize,
        /// The digest of its tar archive.
        digest: Digest,
        /// What is wrong with it.
        source: LayerError,
    },
    /// The file that holds it is no tar archive that can be read.
    #[error("{source}")]
    Archive {
        /// What is wrong with it.
        source: ArchiveError,
    },
    /// A compressed archive, in which nothing can be looked up.
    #[error("it is compressed by {by}: decompress it first")]
    Compressed {
        /// By what.
        by: &'static str,
    },
    /// Several images for this kind of machine, and none of them named.
    #[error(
        "it has several images for linux/amd64: name one of {} as TAG or, in a registry, behind an @",
        list(found)
    )]
    Ambiguous {
        /// Their digests.
        found: Vec<String>,
    },
    /// It says of no process what it is.
    #[error("it has neither ENTRYPOINT nor CMD: say warm.command in the recipe")]
    NoCommand,
    /// Its registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl ImageError {
    /// Of something that is named by the image itself.
    pub(super) fn missing(what: &str) -> Self {
        Self::Missing { what: format::excerpt(what) }
    }
}

/// Most names that an error repeats.
const MAX_LISTED: usize = 10;

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let mut shown: Vec<_> = names.iter().take(MAX_LISTED).map(|name| format::excerpt(name)).collect();
    if let Some(more) = names.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}
