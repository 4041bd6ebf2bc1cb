//! What plans of push and pull have in common.

use std::fmt;

use format::{Digest, Name, PlannedBlob};
use serde::Serialize;

/// What is going to be transferred between the store and a hub, and what need not be.
#[derive(Debug, Serialize)]
pub struct TransferPlan {
    /// The hub's location.
    pub hub: String,
    /// The name there.
    pub name: Name,
    /// The snapshot: its manifest's digest, whatever led to it.
    pub snapshot: Digest,
    /// Blobs that the receiving side has.
    pub present: Vec<PlannedBlob>,
    /// Blobs that are going to be transferred.
    pub missing: Vec<PlannedBlob>,
    /// Blobs that a hub is going to be asked to take over from another of its names, without a byte being sent. What it does
    /// not take over is sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mountable: Vec<PlannedBlob>,
}

impl TransferPlan {
    /// Bytes of what the receiving side has.
    #[must_use]
    pub fn present_bytes(&self) -> u64 {
        bytes(&self.present)
    }

    /// Bytes of what it lacks. Of a pull that broke, a part of them may have arrived.
    #[must_use]
    pub fn missing_bytes(&self) -> u64 {
        bytes(&self.missing)
    }

    /// Bytes of what a hub may take over from another of its names.
    #[must_use]
    pub fn mountable_bytes(&self) -> u64 {
        bytes(&self.mountable)
    }

    /// All blobs of what is transferred.
    pub fn blobs(&self) -> impl Iterator<Item = &PlannedBlob> {
        self.present.iter().chain(&self.missing).chain(&self.mountable)
    }

    /// Writes a line for the whole, then one for each blob that is going to be transferred. It reads `{verb} … {way}
    /// HUB`: `push … to`, `pull … from`.
    pub(crate) fn write(&self, out: &mut fmt::Formatter<'_>, verb: &str, way: &str) -> fmt::Result {
        let Self { hub, name, snapshot, missing, mountable, .. } = self;
        let (count, all, bytes) = (missing.len(), self.blobs().count(), self.missing_bytes());
        write!(out, "{verb} {name}@{snapshot} {way} {hub}: {count} of {all} blobs, {bytes} bytes")?;
        if !mountable.is_empty() {
            let (count, bytes) = (mountable.len(), self.mountable_bytes());
            write!(out, "; {count} may be mounted, {bytes} bytes")?;
        }
        missing.iter().try_for_each(|blob| write!(out, "\n  {blob}"))
    }
}

fn bytes(blobs: &[PlannedBlob]) -> u64 {
    blobs.iter().fold(0, |sum, blob| sum.saturating_add(blob.size))
}
