//! A snapshot as one file: an OCI image layout in a tar, written and read as a stream (docs/format.md, "Pack").
//!
//! ```text
//! archive   tar headers: what is written, and the few kinds that are read
//! names     what an entry may be called, and the two small documents of an image layout
//! plan      which blobs go into a pack; writes them
//! file      the file that a pack is written to: there in whole or not at all
//! source    a pack that is read: in its order from a pipe, in any order from a file
//! head      what a pack says of itself, up to its manifest
//! documents config and maps of the snapshot, wherever they are
//! unpack    plan and execute: pack → store
//! receive   the blobs of a pack, into the store or only through the hash; flat files are laid out behind that
//! missing   what neither pack nor store has, by what it is for
//! arrived   what was read, until its tag is set
//! brought   what an unpack has put into the store, taken back if it fails
//! ```
//!
//! Invariants:
//! - Equal snapshots under equal names make equal packs: every header is derived from digest and size.
//! - A pack is never believed. Nothing in it chooses a path: blobs go into the store under the digests that they have, all else is
//!   read into memory or a temporary file, bounded. What the manifest does not declare is refused, and so is every entry that is not a
//!   plain file or one of the layout's folders.
//! - Nothing is stored before all that can be known of the snapshot was checked: manifest, config and maps come first.
//! - The tag is set last. An unpack that fails takes back what it had stored; one that is killed leaves garbage for
//!   `prune`, and no tag.
//! - All calls block, and none prints.

mod archive;
mod arrived;
mod brought;
mod documents;
mod error;
mod file;
mod head;
mod missing;
mod names;
mod plan;
mod receive;
mod source;
#[cfg(feature = "testing")]
pub mod testing;
mod unpack;

pub use arrived::{Arrived, Unpacked};
pub use brought::TakeBackError;
pub use error::{PackError, ReadError, UnpackError};
pub use file::PackFile;
pub use missing::Missing;
pub use names::ProposedName;
pub use plan::{Contents, PackPlan, plan_pack};
pub use receive::Counts;
pub use source::Input;
pub use unpack::{UnpackOptions, UnpackPlan, plan_unpack};

/// Bytes that are read and written at once.
const BUFFER: usize = 1 << 20;

/// Whoever wants to know how far a pack is, and can stop it.
pub trait Progress: Sync {
    /// So many more bytes were written to the pack; or, of a pack that is read, so many more bytes of the snapshot's blobs were
    /// read, found in the store, or found to be missing.
    fn moved(&self, _bytes: u64) {}

    /// All is read, and flat files are still being laid out.
    fn laying_out(&self) {}

    /// Whether to stop; asked before every piece that is read, written, or laid out.
    fn is_interrupted(&self) -> bool {
        false
    }
}

/// Nobody wants to know.
impl Progress for () {}
