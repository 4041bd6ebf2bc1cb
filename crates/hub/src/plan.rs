//! What plans of push and pull have in common.

use std::collections::HashMap;
use std::fmt;

use format::{Config, Descriptor, Digest, Manifest, Maps, snapshot};
use serde::Serialize;

/// A blob in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedBlob {
    /// What it is for, for people: `frames of disk layer0 (content sha256:…)`.
    pub role: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

impl fmt::Display for PlannedBlob {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} ({} bytes)", self.role, self.digest, self.size)
    }
}

/// Bytes of all of `blobs`.
pub(crate) fn bytes(blobs: &[PlannedBlob]) -> u64 {
    blobs.iter().fold(0, |sum, blob| sum.saturating_add(blob.size))
}

/// What each blob of a manifest is for, as far as config and maps say.
pub(crate) struct Roles(HashMap<Digest, String>);

impl Roles {
    /// `known` is what could be read of the config and the maps.
    pub(crate) fn new(manifest: &Manifest, known: Option<(&Config, &Maps)>) -> Self {
        let parts = known.map(|(config, maps)| snapshot::closure(config, maps)).unwrap_or_default();
        let mut roles: HashMap<_, _> = parts.into_iter().map(|part| (part.digest, part.role)).collect();
        roles.insert(manifest.config.digest, "config".to_owned());
        Self(roles)
    }

    pub(crate) fn blob(&self, descriptor: &Descriptor) -> PlannedBlob {
        let Descriptor { digest, size, media_type, .. } = descriptor;
        let role = self.0.get(digest).cloned().unwrap_or_else(|| format!("part of type {media_type}"));
        PlannedBlob { role, digest: *digest, size: *size }
    }
}
