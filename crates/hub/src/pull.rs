//! Pull: a snapshot of a hub to the store.
//!
//! ```text
//! plan      manifest, config and maps are read into memory and checked against each other; every blob that is
//!           missing here is looked up in the hub; nothing is stored
//! execute   free space; config and maps; blobs, several at once and each in several parts, resumed, hashed as they
//!           come, and laid out as soon as they are there; manifest; tag
//!
//! sources ──requests, 16 at most──▶ partial/HEX ──whole, hashed──▶ blobs/HEX ──frames──▶ flat/…
//! ```
//!
//! A digest is put on the plan's lease before it is tested whether the store has it. Interrupted anywhere, a pull
//! leaves no tag and no manifest: blobs and flat files that were whole, which the next try finds and collection removes
//! otherwise, and `partial/` files, which it resumes. Blobs become visible one by one and not at the end together, since
//! two pulls that share blobs in different order would wait for each other for ever.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use format::{Config, Digest, Maps, Name};
use serde::Serialize;
use store::{Lease, Store};

use crate::{Progress, RawManifest, Registry, Selector, TransferPlan};

mod error;
mod execute;
mod laying;
mod manifest;
mod parts;
mod receive;
mod sources;

pub use error::PullError;
pub use sources::Source;

/// What a pull is going to do.
#[derive(Debug, Serialize)]
pub struct PullPlan {
    /// What is going to be fetched.
    #[serde(flatten)]
    pub transfer: TransferPlan,
    /// Of the bytes that are missing, those that a broken pull has left: they are not fetched again.
    pub arrived_bytes: u64,
    /// Bytes that flat files are going to take, at most; none if they are not laid out.
    pub flat_bytes: Option<u64>,
    #[serde(skip)]
    ends: Ends,
}

/// What the plan needs to be executed.
#[derive(Debug)]
struct Ends {
    store: Store,
    sources: sources::Sources,
    /// Of the blobs that the hub has not, but a mirror: its number.
    holders: HashMap<Digest, usize>,
    lease: Lease,
    manifest: RawManifest,
    fetched: parts::Fetched,
    parts: Arc<(Config, Maps)>,
}

/// What a pull has done.
#[derive(Debug)]
pub struct Pulled {
    /// The snapshot.
    pub snapshot: Digest,
    /// Where the tag led before, if it led elsewhere.
    pub moved_from: Option<Digest>,
    /// Keeps the snapshot from being collected until this is dropped, tag or not.
    pub lease: Lease,
}

impl fmt::Display for PullPlan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.transfer.write(out, "pull", "from")
    }
}

/// Finds out what the store lacks of a snapshot, and that the hub has all of it. Stores nothing.
///
/// # Errors
/// [`PullError::Incomplete`] if the hub lacks parts too; if the snapshot is not valid; if the hub does not answer.
pub async fn plan_pull(
    store: &Store,
    registry: Arc<dyn Registry>,
    name: &Name,
    which: &Selector,
) -> Result<PullPlan, PullError> {
    let hub = Source { registry, name: name.clone() };
    plan_pull_from(store, hub, Vec::new(), which, Arc::new(())).await
}

/// As [`plan_pull`], from a hub and its mirrors: see [`Source`]. `progress` is told of those that fail.
///
/// # Errors
/// As [`plan_pull`]; the last that was asked is named.
pub async fn plan_pull_from(
    store: &Store,
    hub: Source,
    mirrors: Vec<Source>,
    which: &Selector,
    progress: Arc<dyn Progress>,
) -> Result<PullPlan, PullError> {
    parts::plan(store, sources::Sources::new(hub, mirrors, progress), which).await
}

/// As [`plan_pull_from`], for a snapshot whose manifest the caller has, and which no hub need have under any tag. The plan is
/// for [`PullPlan::fetch_parts`].
///
/// # Errors
/// As [`plan_pull_from`].
pub async fn plan_parts(
    store: &Store,
    hub: Source,
    mirrors: Vec<Source>,
    manifest: RawManifest,
    progress: Arc<dyn Progress>,
) -> Result<PullPlan, PullError> {
    let sources = sources::Sources::new(hub, mirrors, progress);
    parts::plan_parts(store, sources, parts::new_lease(store).await?, manifest).await
}

/// Fetches what the store lacks of a snapshot that it knows. Sets no tag: only the digest counts.
///
/// # Errors
/// See [`plan_pull_from`] and [`PullPlan::execute`].
pub async fn fetch_missing(
    store: &Store,
    hub: Source,
    mirrors: Vec<Source>,
    snapshot: &Digest,
    progress: Arc<dyn Progress>,
) -> Result<Pulled, PullError> {
    let which = Selector::Digest(*snapshot);
    let plan = plan_pull_from(store, hub, mirrors, &which, Arc::clone(&progress)).await?;
    plan.execute(None, progress).await
}
