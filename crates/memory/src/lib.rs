//! What of a guest's memory has to be kept.
//!
//! A frozen guest's memory is a sparse file. Most of its pages are zero (freed pages are, with `init_on_free=1`), and a
//! good part of the rest is cached file content, equal to pages of the layers that travel with the snapshot anyway.
//! [`scan`] sorts the pages into these three kinds; only the last kind is compressed and stored.
//!
//! Invariants: a page is called zero or equal only after its bytes were compared; memory use is bounded by
//! [`format::limits::MAP_EXTENTS`] runs of 16 bytes and [`INDEX_PAGES`] index entries of 8, together 80 MiB, whatever
//! the file's size and however many cores there are.

mod layers;
mod scan;

pub use layers::{INDEX_PAGES, LayerPages};
pub use scan::{Content, Run, ScanError, scan};

/// [`format::PAGE_SIZE`] for buffers.
pub const PAGE: usize = 4096;
const _: () = assert!(PAGE as u64 == format::PAGE_SIZE);

/// Whether all bytes are zero.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    rest.iter().all(|byte| *byte == 0)
        && chunks.iter().all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
}
