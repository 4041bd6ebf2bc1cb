//! Tar archives that nobody vouches for, read one entry after another: ustar, pax, and what GNU tar writes.
//!
//! ```text
//!  Input ──▶ Blocks: headers with a right checksum, their content, the end ──▶ Entries: long names, pax records and
//!  (stream, file)                  │                                            maps of holes, put together
//!                                  ▼                                                    ▼
//!                     packs, which take plain headers only                  trees that are copied, bases
//! ```
//!
//! Nothing here touches a file or judges a name: an [`Entry`] says what its archive says, and what may become of it is for the
//! caller to decide. Headers are decoded by the types of the crate `tar`; its own reader takes memory for whatever
//! length is announced, splits pax records at newlines, which values may hold, and takes the end of the input for that of the archive.
//!
//! Invariants:
//! - Memory is bounded whatever comes: at most [`MAX_EXTENSION_BYTES`] in [`MAX_EXTENSIONS`] headers before an entry, and
//!   [`MAX_PARTS`] parts of a file with holes.
//! - Names and targets have at most [`MAX_NAME`] bytes and no zero byte; targets of links are not empty. A size is at most [`MAX_FILE`].
//! - A number, record or map that cannot be understood is an error, and never a default value.
//! - Where the input ends is an error, but where [`End`] says otherwise.
//!
//! Sources: POSIX.1-2024, `pax`, "pax Interchange Format" and "ustar Interchange Format"; the GNU tar manual, "Basic Tar Format" and
//! "Storing Sparse Files"; star(5) for `SCHILY.*`.

mod blocks;
mod entries;
mod error;
mod extensions;
mod input;
mod number;
pub mod pax;
mod sparse;
mod time;

pub use blocks::{Blocks, End};
pub use entries::{Entries, Entry, Kind};
pub use error::{Error, Within, shown};
pub use extensions::{MAX_EXTENSION_BYTES, MAX_EXTENSIONS};
pub use input::{FileInput, Input, Stream};
pub use sparse::{MAX_PARTS, Part};
pub use time::Time;

/// Bytes of a block, the unit of an archive.
pub const BLOCK: usize = 512;

/// Most bytes of a name, and of what a link leads to: what Linux takes for a path.
pub const MAX_NAME: usize = 4096;

/// Most bytes of a file: more than any has, and little enough to calculate with.
pub const MAX_FILE: u64 = 1 << 50;

/// Most bytes behind the block of zeros that ends an archive: writers fill up their last record, which has 10 KiB unless they
/// were told otherwise.
pub const MAX_FILLING: u64 = 1 << 20;

/// Bytes of zeros that fill up the last block of `size` bytes.
#[must_use]
pub const fn padding(size: u64) -> u64 {
    // Of no size does this overflow.
    size.wrapping_neg() % BLOCK as u64
}
