//! What a snapshot is, as types: digests, references, manifest, config, maps and frames.
//!
//! Everything here parses, checks and encodes; nothing here opens a file, a socket or a clock. Every byte it
//! reads is taken for hostile: lengths are checked before anything is allocated, unknown fields and versions
//! are refused, and what has two spellings is accepted in one of them only. `docs/format.md` is the
//! specification; where code and document differ, one of them has a bug.

#![cfg_attr(test, allow(clippy::cast_possible_truncation))]

pub mod config;
pub mod digest;
pub mod frame;
pub mod limits;
pub mod manifest;
pub mod map;
pub mod reference;
pub mod snapshot;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod zstd_frame;

pub use config::{Config, ConfigError};
pub use digest::{Digest, DigestError, Hasher};
pub use limits::PAGE_SIZE;
pub use manifest::{Descriptor, Manifest, ManifestError};
pub use map::{Map, MapError};
pub use reference::{FullName, HubName, Name, Reference, ReferenceError, Tag};
pub use snapshot::{Maps, PlannedBlob, SnapshotError};

/// At most 80 characters of foreign text, for error messages.
#[must_use]
pub fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod golden;
