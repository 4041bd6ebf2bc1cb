//! Hubs, the places that hold snapshots for others, and the two acts between a hub and the local store.
//!
//! ```text
//! location   what --hub says, parsed
//! open       from there to a ...
//! registry   the trait that every kind of hub implements, kept small for those who do
//! dir        a hub in a folder
//! bucket     a hub in a bucket of an S3-compatible store
//! oci        a hub that is an OCI registry
//! web        a hub that a web server gives out
//! push       plan, show, execute: store → hub
//! pull       plan, show, execute: hub → store
//! copy       plan, show, execute: hub → hub
//! describe   what a hub's tags and snapshots are, read without a store
//! prune      plan, show, execute: what no tag of a hub needs goes
//! ```
//!
//! Invariants:
//! - A hub is never believed. Manifests are bounded and hashed here ([`RawManifest`]), blobs are hashed by the store as
//!   they arrive, lengths are compared with what the manifest says.
//! - Digests decide what a snapshot consists of. A tag is resolved once, by whoever asked for it by name.
//! - On both sides the tag moves last: first blobs, then config, then manifest, then the tag. Whatever is
//!   interrupted leaves no tag, and nothing visible that is not whole and verified.
//! - A future that is dropped stops. The one blocking step that it was at still ends by itself, which is no different
//!   from being dropped a moment later.
//! - Nothing here prints: see [`Progress`].

mod access;
mod blocking;
pub mod bucket;
#[cfg(feature = "testing")]
pub mod conformance;
pub mod copy;
pub mod credentials;
mod delivery;
pub mod describe;
pub mod dir;
mod error;
mod http;
mod image_index;
mod location;
pub mod oci;
mod offers;
mod open;
mod pem;
mod percent;
mod plan;
pub mod progress;
pub mod prune;
pub mod pull;
pub mod push;
mod random;
mod referrers;
mod registry;
mod remote;
mod source;
#[cfg(feature = "testing")]
pub mod testing;
mod variants;
pub mod web;

pub use access::Access;
pub use copy::{CopyEnd, CopyError, CopyPlan, plan_copy};
pub use delivery::Delivered;
pub use error::HubError;
pub use format::PlannedBlob;
pub use location::{HubLocation, LocationError};
pub use offers::{BadOffer, Offer, Offers, list_offers};
pub use open::open;
pub use plan::TransferPlan;
pub use progress::{Event, Progress};
pub use prune::{PruneError, PrunePlan, Pruned, plan_prune};
pub use pull::{PullError, PullPlan, Pulled, Source, fetch_missing, plan_parts, plan_pull, plan_pull_from};
pub use push::{PushError, PushPlan, plan_push};
pub use referrers::Referrer;
pub use registry::{BlobReader, BlobSource, Page, Put, RawManifest, Registry, Selector, Site, Upload};
pub use remote::{RemoteSnapshot, VariantKey, read_snapshot};
pub use store::TagAs;
pub use variants::read_variants;

/// Blobs that are transferred at once: enough to keep two cores hashing while others wait for the network.
const TRANSFERS: usize = 4;

/// Requests of one hub that are under way at once.
const REQUESTS: usize = 16;

/// Bytes of a blob that are held in memory while it is transferred.
const CHUNK: usize = 1 << 20;
