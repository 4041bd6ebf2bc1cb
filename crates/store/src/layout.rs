//! Lays a map out in one flat file, which engines map or attach.
//!
//! Frames are checked and decoded on up to eight cores and written where the map's extents want them; zero pages stay
//! holes, found by content. How much will be written is known from the map and checked against free space first. The file becomes
//! visible when it is whole; a layer's, moreover, only when it had the sha256 that is its identity.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use format::frame::{FrameError, Index};
use format::map::{Extent, MapBlob, Source};
use format::{Digest, Hasher, Map, PAGE_SIZE};

use crate::file::Output;
use crate::{BlobError, FileError, Store};

mod follow;
mod frames;
mod snapshot;
mod work;

pub use follow::{Arrivals, LayoutFeed, layout_feed};
use frames::write_blob;
pub use snapshot::{Flats, Layout};

/// Says whether to stop; asked before every piece of work that takes a while.
pub type Stop<'a> = &'a (dyn Fn() -> bool + Sync);

/// Goes on to the end.
pub(crate) const NEVER: Stop<'static> = &|| false;

/// Why a map could not be laid out.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A blob could not be opened.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A blob, or a layer's flat file, could not be read.
    #[error("{digest} cannot be read: {source}")]
    Read {
        /// The blob, or the layer.
        digest: Digest,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no room for it.
    #[error(transparent)]
    Space(#[from] crate::SpaceError),
    /// A blob's frames are not what the map or the index says.
    #[error("blob {blob}: {source}")]
    Frame {
        /// The blob.
        blob: Digest,
        /// What is wrong with it.
        source: FrameError,
    },
    /// A blob's index is not the one that the map says.
    #[error("blob {blob}: its index has the digest {found}: expected {expected}")]
    Index {
        /// The blob.
        blob: Digest,
        /// What the bytes hash to.
        found: Digest,
        /// What the map says.
        expected: Digest,
    },
    /// A blob does not hold what the map says.
    #[error("blob {blob} has {found} plain pages: the map says {expected}")]
    Pages {
        /// The blob.
        blob: Digest,
        /// Pages by its index.
        found: u64,
        /// Pages by the map.
        expected: u64,
    },
    /// A layer's bytes are not those of its identity. It was not kept.
    #[error("a layer has the content {found}: its snapshot declares {expected}; it was not kept")]
    Content {
        /// What its bytes hash to.
        found: Digest,
        /// What the config declares.
        expected: Digest,
    },
    /// Memory points into a layer that is not laid out.
    #[error("layer {0} has to be laid out before the memory that points into it")]
    NoLayer(Digest),
    /// The host gave no thread, memory or descriptor.
    #[error("cannot lay out a map: {0}")]
    Io(#[from] io::Error),
    /// A file of the store could not be made.
    #[error(transparent)]
    File(#[from] FileError),
    /// It was told to stop.
    #[error("interrupted")]
    Stopped,
}

/// A layer's flat file.
#[derive(Debug)]
pub struct LayerFile {
    /// sha256 of its bytes.
    pub content: Digest,
    /// The file.
    pub file: File,
}

/// Writes what `map` describes to `out`, an empty file; pages that are not covered, or are zero, stay holes.
///
/// # Errors
/// If a blob is missing or damaged, or `out` cannot be written.
pub(crate) fn write_map(
    store: &Store,
    map: &Map,
    layers: &[LayerFile],
    out: &Output,
) -> Result<(), LayoutError> {
    out.set_len(map.bytes())?;
    let order = BySource::new(map);
    for (number, blob) in (0..).zip(map.blobs()) {
        let file = store.open_blob(&blob.digest)?;
        write_blob(&file, blob, order.of(map, Source::Blob(number)), out, NEVER, &mut |_| ())?;
    }
    copy_layers(map, &order, layers, out, NEVER)
}

/// The numbers of a map's extents, in the order of where their pages come from.
#[derive(Debug, Default)]
struct BySource(Vec<u32>);

impl BySource {
    fn new(map: &Map) -> Self {
        let mut order: Vec<u32> = (0..).take(map.extents().len()).collect();
        order.sort_unstable_by_key(|number| {
            map.extents().get(*number as usize).map(|extent| (key(extent.source()), extent.page()))
        });
        Self(order)
    }

    /// The extents that have their pages from `source`, by page.
    fn of<'a>(&'a self, map: &'a Map, source: Source) -> impl Iterator<Item = &'a Extent> {
        let extent = |number: &u32| map.extents().get(*number as usize);
        let before = |limit| {
            self.0.partition_point(|number| extent(number).is_some_and(|one| key(one.source()) < limit))
        };
        let (is_layer, number) = key(source);
        let range = before((is_layer, number))..before((is_layer, number.saturating_add(1)));
        self.0.get(range).unwrap_or_default().iter().filter_map(extent)
    }
}

fn key(source: Source) -> (bool, u32) {
    match source {
        Source::Blob(n) => (false, n),
        Source::Layer(n) => (true, n),
    }
}

/// Writes the pages that a map has from layers.
fn copy_layers(
    map: &Map,
    order: &BySource,
    layers: &[LayerFile],
    out: &Output,
    stop: Stop<'_>,
) -> Result<(), LayoutError> {
    for (number, content) in (0..).zip(map.layers()) {
        let layer = layers.iter().find(|layer| layer.content == *content);
        let layer = layer.ok_or(LayoutError::NoLayer(*content))?;
        copy_layer(layer, order.of(map, Source::Layer(number)), out, stop)?;
    }
    Ok(())
}

fn copy_layer<'a>(
    layer: &LayerFile,
    extents: impl Iterator<Item = &'a Extent>,
    out: &Output,
    stop: Stop<'_>,
) -> Result<(), LayoutError> {
    const BUFFER_PAGES: u64 = 256;
    let mut buffer = Vec::new();
    for extent in extents {
        let mut done = 0;
        while done < extent.pages() {
            if stop() {
                return Err(LayoutError::Stopped);
            }
            let pages = (extent.pages() - done).min(BUFFER_PAGES);
            buffer.resize(bytes(pages), 0);
            let read = layer.file.read_exact_at(&mut buffer, (extent.page() + done) * PAGE_SIZE);
            read.map_err(|source| LayoutError::Read { digest: layer.content, source })?;
            out.write_at(&buffer, (extent.start() + done) * PAGE_SIZE)?;
            done += pages;
        }
    }
    Ok(())
}

/// The index of a blob, if it is the one that the map says.
pub(crate) fn read_index(file: &File, blob: &MapBlob) -> Result<Index, LayoutError> {
    // A map's lengths are in bounds, so this is at most `frame::INDEX_MAX_BYTES`.
    let mut encoded = vec![0; usize::try_from(blob.index_length).unwrap_or(0)];
    file.read_exact_at(&mut encoded, blob.index_offset)
        .map_err(|source| LayoutError::Read { digest: blob.digest, source })?;
    let found = Digest::of(&encoded);
    if found != blob.index_digest {
        return Err(LayoutError::Index { blob: blob.digest, found, expected: blob.index_digest });
    }
    let index = Index::parse(&encoded, blob.index_offset)
        .map_err(|source| LayoutError::Frame { blob: blob.digest, source })?;
    if index.plain_pages() != blob.plain_pages {
        let (found, expected) = (index.plain_pages(), blob.plain_pages);
        return Err(LayoutError::Pages { blob: blob.digest, found, expected });
    }
    Ok(index)
}

/// sha256 of a whole file.
pub(crate) fn hash_file(file: &File) -> io::Result<Digest> {
    let (mut hasher, mut buffer, mut at) = (Hasher::new(), vec![0; 1 << 20], 0);
    loop {
        let length = match file.read_at(&mut buffer, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            length => length?,
        };
        if length == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(buffer.get(..length).unwrap_or_default());
        at += length as u64;
    }
}

/// Pages of one frame, blob or map as bytes in a buffer: at most 4 MiB here.
fn bytes(pages: u64) -> usize {
    usize::try_from(pages * PAGE_SIZE).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
