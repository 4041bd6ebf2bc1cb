//! Why an image cannot be a base.

use std::path::PathBuf;

use format::Digest;

use crate::ArchiveError;

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
    #[error("it is for {}: expected linux/amd64", list(found))]
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
        /// What is wrong with the archive.
        source: ArchiveError,
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
    /// Its registry failed.
    #[error(transparent)]
    Registry(Box<dyn std::error::Error + Send + Sync>),
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
