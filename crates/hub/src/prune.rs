//! Prune: taking out of a hub of files what no tag leads to any more. Plan, show, execute, for folders and buckets alike.
//!
//! What a tag leads to is kept: its manifest or image index, those that an index lists, and their blobs. So is what a manifest
//! leads to that is younger than the grace, tag or not: its tag may be about to come. All else goes once it is older than
//! the grace. Lineage and subjects are information: they keep nothing. A tag or manifest that cannot be read stops it all,
//! since nobody knows then what it needs.
//!
//! # Why a push at the same time loses nothing
//!
//! A push takes, for each blob, one of two ways, then puts the manifest, then reads a byte of each blob that it had skipped,
//! then moves the tag:
//!
//! - It sends the blob, which is young then.
//! - It finds the blob and skips it. If that one is older than half the default grace, the push makes it young again
//!   ([`crate::Registry::refresh_blob`]); else it stays younger than the grace for another half of it, and pushes are shorter.
//!
//! Prune asks for the age of each object right before it deletes it, so it deletes a skipped blob only if the push makes it
//! young between that question and the deletion: the push's byte is then read in vain, and the blob is sent again. From
//! the moment that the manifest is there, it is young itself, and every reading of tags and manifests finds it; prune reads them
//! anew before it deletes, and again each minute. What is left is a prune that stands still between a question and its
//! deletion while a push does all of its second half. Stores offer nothing that would exclude that.
//!
//! With a grace shorter than the default one, a push may skip what is due already, and what a ticket relies on may go before the
//! ticket ends: nobody should push then.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use format::{Digest, Name};

use serde::Serialize;

use crate::{HubError, Registry, Selector};

mod marking;

use marking::mark;

/// How old what nothing needs must be, unless somebody says otherwise.
pub const GRACE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// What is older than this is made young again by a push that skips it.
pub(crate) const MIN_YOUNG: Duration = Duration::from_secs(GRACE.as_secs() / 2);
/// The shortest grace that leaves a push that is under way its blobs.
pub const MIN_GRACE: Duration = Duration::from_secs(60 * 60);
/// How long what was read of tags and manifests is believed.
const BELIEVED: Duration = Duration::from_secs(60);

/// A hub of files, as prune sees it.
#[async_trait]
pub trait Storage: Send + Sync {
    /// The time by the clock that the objects' times come from.
    ///
    /// # Errors
    /// If nothing can be written there; if there is no hub.
    async fn now(&self) -> Result<SystemTime, HubError>;

    /// All that can be pruned: tags are not among it.
    ///
    /// # Errors
    /// If it cannot be listed.
    async fn stored(&self) -> Result<Vec<Stored>, HubError>;

    /// When an object was written or made young; `None` if it is not there.
    ///
    /// # Errors
    /// If the hub does not answer.
    async fn modified(&self, object: &StoredObject) -> Result<Option<SystemTime>, HubError>;

    /// Deletes an object. One that is gone already is no error.
    ///
    /// # Errors
    /// If it cannot be deleted.
    async fn delete(&self, object: &StoredObject) -> Result<(), HubError>;
}

/// Something that a hub of files holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredObject {
    /// A manifest of a name, under its digest.
    Manifest(Name, Digest),
    /// A blob. Manifests are blobs, too.
    Blob(Digest),
    /// What somebody has begun to write.
    Unfinished {
        /// Where, within the hub.
        path: String,
        /// The upload in parts that it is, where it is one.
        upload: Option<String>,
    },
}

impl fmt::Display for StoredObject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(name, digest) => write!(out, "manifest {name}@{digest}"),
            Self::Blob(digest) => write!(out, "blob {digest}"),
            Self::Unfinished { path, .. } => write!(out, "unfinished {path}"),
        }
    }
}

/// An object, its size, and when it was written or made young.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What it is.
    pub object: StoredObject,
    /// Its bytes.
    pub size: u64,
    /// When.
    pub modified: SystemTime,
}

/// Why a hub could not be pruned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// The hub failed.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Nobody knows what something needs.
    #[error(
        "hub {hub}: {name}{which} {reason}: nothing was removed since what it needs is not known; push it again, or \
         remove it"
    )]
    Unreadable {
        /// The hub's location.
        hub: String,
        /// The name.
        name: Name,
        /// The tag or manifest.
        which: Selector,
        /// What is wrong.
        reason: String,
    },
    /// Hubs of this kind prune themselves.
    #[error(
        "hub {hub} cannot be pruned from here: registries collect by themselves, at their owner's command"
    )]
    Unsupported {
        /// Its location.
        hub: String,
    },
}

/// What nothing in a hub needs.
pub struct PrunePlan<'a> {
    /// What would go, in the order in which it would.
    pub unneeded: Vec<Stored>,
    /// Bytes of what is needed, or too young.
    pub kept_bytes: u64,
    hub: &'a dyn Registry,
    storage: &'a dyn Storage,
    grace: Duration,
    now: SystemTime,
}

/// What a prune has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Objects that were removed.
    pub removed: usize,
    /// Their bytes.
    pub freed_bytes: u64,
    /// Objects that are needed by now.
    pub kept: usize,
}

/// Finds what in `hub` nothing needs that is at least as old as `grace`.
///
/// # Errors
/// If a tag or manifest cannot be read, or the hub cannot be listed or written to.
pub async fn plan_prune(hub: &dyn Registry, grace: Duration) -> Result<PrunePlan<'_>, PruneError> {
    let unsupported = || PruneError::Unsupported { hub: hub.location().to_owned() };
    let storage = hub.storage().ok_or_else(unsupported)?;
    let now = storage.now().await?;
    // Listed before it is marked: what comes meanwhile is not on the list.
    let stored = storage.stored().await?;
    let needed = mark(hub, young_manifests(&stored, now, grace)).await?;
    let is_unneeded =
        |stored: &Stored| is_due(stored.modified, now, grace) && !needed.contains(&stored.object);
    let (mut unneeded, kept): (Vec<_>, Vec<_>) = stored.into_iter().partition(is_unneeded);
    // Manifests first: what is left of a prune that broke off leads nobody to what is gone.
    unneeded.sort_unstable_by(|a, b| a.object.cmp(&b.object));
    let kept_bytes = kept.iter().fold(0_u64, |sum, stored| sum.saturating_add(stored.size));
    Ok(PrunePlan { unneeded, kept_bytes, hub, storage, grace, now })
}

fn is_due(modified: SystemTime, now: SystemTime, grace: Duration) -> bool {
    now.duration_since(modified).is_ok_and(|age| age >= grace)
}

fn young_manifests(stored: &[Stored], now: SystemTime, grace: Duration) -> Vec<(Name, Digest)> {
    let young = stored.iter().filter(|stored| !is_due(stored.modified, now, grace));
    let manifest = |stored: &Stored| match &stored.object {
        StoredObject::Manifest(name, digest) => Some((name.clone(), *digest)),
        StoredObject::Blob(_) | StoredObject::Unfinished { .. } => None,
    };
    young.filter_map(manifest).collect()
}

impl PrunePlan<'_> {
    /// Bytes of what would go.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.unneeded.iter().fold(0, |sum, stored| sum.saturating_add(stored.size))
    }

    /// Derives `index.json` anew, and removes what is still not needed.
    ///
    /// # Errors
    /// As [`plan_prune`]. What was removed until then was not needed.
    pub async fn execute(self) -> Result<Pruned, PruneError> {
        // First, since it may list what lost its tag: a prune that breaks off then leaves it leading nobody to what is gone.
        if let Some(site) = self.hub.site() {
            site.refresh_index().await?;
        }
        let mut pruned = Pruned::default();
        let mut left = self.unneeded.as_slice();
        while !left.is_empty() {
            let stored = self.storage.stored().await?;
            let needed = mark(self.hub, young_manifests(&stored, self.now, self.grace)).await?;
            let since = Instant::now();
            while let Some((next, rest)) = left.split_first().filter(|_| since.elapsed() < BELIEVED) {
                left = rest;
                if needed.contains(&next.object) || !self.is_still_due(&next.object).await? {
                    pruned.kept += 1;
                    continue;
                }
                self.storage.delete(&next.object).await?;
                pruned.removed += 1;
                pruned.freed_bytes = pruned.freed_bytes.saturating_add(next.size);
            }
        }
        Ok(pruned)
    }

    async fn is_still_due(&self, object: &StoredObject) -> Result<bool, HubError> {
        let modified = self.storage.modified(object).await?;
        Ok(modified.is_some_and(|modified| is_due(modified, self.now, self.grace)))
    }
}
