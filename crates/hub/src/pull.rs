//! Pull: a snapshot of a hub to the store.
//!
//! ```text
//! plan      manifest, config and maps are read into memory and checked against each other; every blob that is
//!           missing here is looked up in the hub; nothing is stored
//! execute   free space, blobs (resumed, hashed as they come), maps, config, manifest, tag
//! ```
//!
//! A digest is put on the plan's lease before it is tested whether the store has it. Interrupted anywhere, a pull
//! leaves no tag and no manifest: blobs that were whole, which the next try finds and collection removes otherwise, and
//! `partial/` files, which it resumes. Blobs become visible one by one and not at the end together, since two pulls
//! that share blobs in different order would wait for each other for ever.

use std::fmt;
use std::sync::Arc;

use format::{Digest, FullName, Name};
use serde::Serialize;
use store::{Lease, Store};

use crate::{Progress, RawManifest, Registry, Selector, TransferPlan};

mod error;
mod execute;
mod manifest;
mod parts;

pub use error::PullError;

/// What a pull is going to do.
#[derive(Debug, Serialize)]
pub struct PullPlan {
    /// What is going to be fetched.
    #[serde(flatten)]
    pub transfer: TransferPlan,
    #[serde(skip)]
    ends: Ends,
}

/// What the plan needs to be executed.
#[derive(Debug)]
struct Ends {
    store: Store,
    registry: Arc<dyn Registry>,
    lease: Lease,
    manifest: RawManifest,
    fetched: parts::Fetched,
}

/// The tag that a pull sets when all is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagAs {
    /// The tag.
    pub name: FullName,
    /// Whether one that leads elsewhere is moved.
    pub may_move: bool,
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
    parts::plan(store, registry, name, which).await
}

/// Fetches what the store lacks of a snapshot that it knows. Sets no tag: only the digest counts.
///
/// # Errors
/// See [`plan_pull`] and [`PullPlan::execute`].
pub async fn fetch_missing(
    store: &Store,
    registry: Arc<dyn Registry>,
    name: &Name,
    snapshot: &Digest,
    progress: Arc<dyn Progress>,
) -> Result<Pulled, PullError> {
    let plan = plan_pull(store, registry, name, &Selector::Digest(*snapshot)).await?;
    plan.execute(None, progress).await
}
