//! The local store: snapshots, their tags, and what is derived from them, in one folder that any number of
//! commands use at once and that no crash can break.
//!
//! ```text
//! oci-layout, index.json      what other OCI tools read; index.json is derived from refs/
//! version                     by which rules all of it is made
//! blobs/sha256/HEX            content, verified when it entered, never changed
//! refs/NAME                   one tag each, its full name percent-encoded
//! flat/{layer,map}-HEX        maps laid out for engines: a cache
//! framings/HEX                how a layer was cut into frames here: a cache
//! origins/HEX                 in which hubs a snapshot was seen: hints
//! partial/HEX                 blobs that have not arrived in whole
//! sandboxes/ID/               one folder per sandbox; its file `snapshot` names the manifest
//! cache/                      bases, layers of images, kernels; what the engine can do
//! leases/, locks/, tmp/, trash/
//! ```
//!
//! Invariants:
//! - A blob is visible only in whole, and only after its digest was verified. A tag or a sandbox is visible only
//!   when all of its snapshot is.
//! - Whoever will need a digest puts it on a [`Lease`] before testing whether it is there, as
//!   [`Store::claim_blob`] does. The collector (see [`prune`]) relies on nothing else.
//! - Digests decide. Tags only lead to them ([`resolve`]), and nothing is found because its name looks alike.
//! - All calls block, and none prints or uses a network.

mod blob;
mod cache;
mod file;
mod flat_files;
mod frames;
mod framings;
pub mod fsck;
mod layout;
mod lease;
mod load;
mod lock;
pub mod mend;
mod open;
mod origins;
mod partial;
pub mod prune;
mod reach;
pub mod refs;
pub mod resolve;
mod sandboxes;
mod space;
mod sweep;
mod trash;
pub mod usage;
mod work;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use blob::{BlobError, BlobWriter};
pub use file::{FileError, what_is_full};
pub use flat_files::{FlatFile, FlatKey, FlatWriter};
pub use frames::{FramesError, Framing};
pub use layout::{Arrivals, Flats, LayerFile, Layout, LayoutError, LayoutFeed, Stop, layout_feed};
pub use lease::Lease;
pub use load::{LoadError, MissingPart, Snapshot};
pub use lock::{Lock, LockKey};
pub use open::{OpenError, Store};
pub use partial::{Partial, Started};
pub use refs::{RefError, RefRecord, TagAs};
pub use resolve::{ResolveError, Resolved};
pub use sandboxes::{SandboxDraft, SandboxError, SandboxId};
pub use space::SpaceError;
pub use work::WorkFolder;

pub(crate) use open::Folder;
