//! Maps: how one address space, memory or a disk, is made of pieces of frame blobs and of layers
//! (docs/format.md, "Map").
//!
//! A [`Map`] is always canonical: [`Map::parse`] refuses whatever does not encode to the same plain bytes again, and
//! [`MapBuilder`] cannot make anything else. What no extent covers is zero.

use std::collections::HashMap;

use crate::limits::{
    BLOB_BYTES, BLOB_FRAMES, FRAME_PLAIN_BYTES, LAYERS, MAP_BLOBS, MAP_BYTES, MAP_EXTENTS, PAGE_SIZE,
};
use crate::zstd_frame::{self, ZstdError};
use crate::{Digest, frame};

mod codec;

/// Pages that one blob's plain stream can have.
const BLOB_PAGES: u64 = (BLOB_FRAMES * FRAME_PLAIN_BYTES) as u64 / PAGE_SIZE;

/// The codec byte of a map's blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Plain bytes follow.
    Plain = 0,
    /// One zstd frame follows.
    Zstd = 1,
}

/// Why bytes are not a map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// The first byte is no codec that is known.
    #[error("map has the unknown codec {0:?}")]
    Codec(Option<u8>),
    /// The zstd frame is not one.
    #[error("map: {0}")]
    Zstd(#[from] ZstdError),
    /// The decoded bytes break a rule.
    #[error("map is not valid: {0}")]
    Invalid(String),
}

/// A frame blob as a map lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapBlob {
    /// The blob.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// Pages of its plain stream.
    pub plain_pages: u64,
    /// Where its index lies, in bytes.
    pub index_offset: u64,
    /// Bytes of its index.
    pub index_length: u64,
    /// sha256 of its index, so that a part of the blob can be checked without the rest.
    pub index_digest: Digest,
}

impl MapBlob {
    /// What a map says of a blob with this index.
    #[must_use]
    pub fn new(digest: Digest, index: &frame::Index) -> Self {
        let bytes = index.encode();
        Self {
            digest,
            size: index.frames_bytes() + bytes.len() as u64,
            plain_pages: index.plain_pages(),
            index_offset: index.frames_bytes(),
            index_length: bytes.len() as u64,
            index_digest: Digest::of(&bytes),
        }
    }

    fn check(&self) -> Result<(), MapError> {
        let fits = self.size <= BLOB_BYTES
            && self.index_length <= frame::INDEX_MAX_BYTES
            && self.index_offset.checked_add(self.index_length) == Some(self.size)
            && (1..=BLOB_PAGES).contains(&self.plain_pages);
        if fits {
            Ok(())
        } else {
            Err(MapError::Invalid(format!("what it says of blob {} cannot be", self.digest)))
        }
    }
}

/// Where the bytes of an extent come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// From a blob's plain stream: the blob's number in the map.
    Blob(u32),
    /// From a layer's content: the layer's number in the map.
    Layer(u32),
}

/// A run of pages: 16 bytes, for maps can have millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    start: u32,
    pages: u32,
    /// A blob's number, or with the highest bit a layer's.
    source: u32,
    page: u32,
}

const LAYER_BIT: u32 = 1 << 31;

impl Extent {
    fn new(start: u64, pages: u64, source: Source, page: u64) -> Option<Self> {
        let source = match source {
            Source::Blob(n) => n,
            Source::Layer(n) => n | LAYER_BIT,
        };
        let narrow = |n: u64| u32::try_from(n).ok();
        Some(Self { start: narrow(start)?, pages: narrow(pages)?, source, page: narrow(page)? })
    }

    /// First page in the address space.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start.into()
    }

    /// Pages, at least 1.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.pages.into()
    }

    /// The page behind the last one, in the address space.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start() + self.pages()
    }

    /// Where the bytes come from.
    #[must_use]
    pub fn source(&self) -> Source {
        if self.source & LAYER_BIT == 0 {
            Source::Blob(self.source)
        } else {
            Source::Layer(self.source & !LAYER_BIT)
        }
    }

    /// First page in the source.
    #[must_use]
    pub fn page(&self) -> u64 {
        self.page.into()
    }

    fn source_end(&self) -> u64 {
        self.page() + self.pages()
    }

    /// Whether `self` goes on where `before` ends, in the address space and in the source.
    fn continues(&self, before: &Self) -> bool {
        self.source == before.source && self.start() == before.end() && self.page() == before.source_end()
    }
}

/// How one address space is made; always canonical.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    pages: u64,
    blobs: Vec<MapBlob>,
    layers: Vec<Digest>,
    extents: Vec<Extent>,
}

impl Map {
    /// Reads a map's blob.
    ///
    /// # Errors
    /// If it is not one, exceeds a bound, or is not canonical.
    pub fn parse(bytes: &[u8]) -> Result<Self, MapError> {
        match bytes.split_first() {
            Some((0, plain)) if plain.len() <= MAP_BYTES => codec::decode(plain),
            Some((0, plain)) => Err(MapError::Invalid(format!("{} bytes are too many", plain.len()))),
            Some((1, frame)) => codec::decode(&zstd_frame::decode(frame, MAP_BYTES)?),
            other => Err(MapError::Codec(other.map(|(codec, _)| *codec))),
        }
    }

    /// Reads a layer's map. It has few extents, where any other may have millions: so that no machine has these for every
    /// layer, what is no layer's is refused before the next one is read.
    ///
    /// # Errors
    /// As [`Map::parse`] and [`Map::check_layer`].
    pub fn parse_layer(bytes: &[u8]) -> Result<Self, MapError> {
        let map = Self::parse(bytes)?;
        map.check_layer().map(|()| map)
    }

    /// One page of zeros.
    pub(crate) fn zero_page() -> Self {
        Self { pages: 1, blobs: Vec::new(), layers: Vec::new(), extents: Vec::new() }
    }

    /// The map's blob.
    ///
    /// # Errors
    /// If the map is too large for the format, or memory for the encoder cannot be had.
    pub fn encode(&self, codec: Codec) -> Result<Vec<u8>, MapError> {
        let mut bytes = vec![codec as u8];
        codec::encode(self, &mut bytes);
        let plain = bytes.get(1..).unwrap_or_default();
        if plain.len() > MAP_BYTES {
            return Err(MapError::Invalid(format!("{} bytes are more than {MAP_BYTES}", plain.len())));
        }
        if codec == Codec::Zstd {
            let frame = zstd_frame::encode(plain).map_err(|e| ZstdError::Corrupt(e.to_string()))?;
            bytes.truncate(1);
            bytes.extend(frame);
        }
        Ok(bytes)
    }

    /// Pages of the address space.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Bytes of the address space.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pages * PAGE_SIZE
    }

    /// The blobs that extents point into, in the order of their first use.
    #[must_use]
    pub fn blobs(&self) -> &[MapBlob] {
        &self.blobs
    }

    /// The layers that extents point into, in the order of their first use.
    #[must_use]
    pub fn layers(&self) -> &[Digest] {
        &self.layers
    }

    /// The extents, sorted, disjoint and maximal.
    #[must_use]
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Pages that are not holes: what is laid out in a flat file.
    #[must_use]
    pub fn covered_pages(&self) -> u64 {
        self.extents.iter().map(Extent::pages).sum()
    }

    /// Checks that this is a layer's map: every page covered, whole blobs in order.
    ///
    /// # Errors
    /// If it is not.
    pub fn check_layer(&self) -> Result<(), MapError> {
        let mut next = 0;
        for (n, extent) in self.extents.iter().enumerate() {
            let blob = self.blobs.get(n).filter(|blob| {
                extent.source() == Source::Blob(u32::try_from(n).unwrap_or(u32::MAX))
                    && (extent.start(), extent.page(), extent.pages()) == (next, 0, blob.plain_pages)
            });
            if blob.is_none() {
                return Err(MapError::Invalid("a layer's map must hold whole blobs in order".to_owned()));
            }
            next = extent.end();
        }
        if next == self.pages {
            Ok(())
        } else {
            Err(MapError::Invalid("a layer's map must cover every page".to_owned()))
        }
    }

    /// The rules that one map alone can break, besides being canonical.
    fn check(&self) -> Result<(), MapError> {
        let invalid = |reason: &str| Err(MapError::Invalid(reason.to_owned()));
        if self.pages == 0 || self.pages > u64::from(u32::MAX) {
            return invalid("its address space has no pages, or more than 2^32 - 1");
        }
        if self.blobs.len() > MAP_BLOBS || self.layers.len() > LAYERS || self.extents.len() > MAP_EXTENTS {
            return invalid("it has more blobs, layers or extents than a map may have");
        }
        self.blobs.iter().try_for_each(MapBlob::check)?;
        let mut before: Option<&Extent> = None;
        for extent in &self.extents {
            let source_pages = match extent.source() {
                Source::Blob(n) => self.blobs.get(n as usize).map(|blob| blob.plain_pages),
                // How long a layer is, the config says: checked there.
                Source::Layer(n) => self.layers.get(n as usize).map(|_| u64::from(u32::MAX)),
            };
            if source_pages.is_none_or(|pages| extent.source_end() > pages) {
                return invalid("an extent reaches beyond its source");
            }
            if extent.pages == 0 || extent.end() > self.pages {
                return invalid("an extent is empty or reaches beyond the address space");
            }
            if before.is_some_and(|before| extent.start() < before.end()) {
                return invalid("its extents overlap or are not sorted");
            }
            before = Some(extent);
        }
        Ok(())
    }
}

/// Makes a canonical map from runs of pages in ascending order.
#[derive(Debug)]
pub struct MapBuilder {
    map: Map,
    blob_numbers: HashMap<Digest, u32>,
    layer_numbers: HashMap<Digest, u32>,
}

impl MapBuilder {
    /// A map of `pages` pages, all of them holes.
    #[must_use]
    pub fn new(pages: u64) -> Self {
        Self {
            map: Map { pages, blobs: Vec::new(), layers: Vec::new(), extents: Vec::new() },
            blob_numbers: HashMap::new(),
            layer_numbers: HashMap::new(),
        }
    }

    /// Says that `pages` pages from `start` are those from `page` of the plain stream of `blob`.
    ///
    /// # Errors
    /// If there are too many extents or blobs. Order and ranges are checked by [`MapBuilder::finish`].
    pub fn blob(&mut self, start: u64, pages: u64, blob: &MapBlob, page: u64) -> Result<(), MapError> {
        let number = number_of(&mut self.blob_numbers, blob.digest)?;
        if number as usize == self.map.blobs.len() {
            self.map.blobs.push(blob.clone());
        }
        self.push(start, pages, Source::Blob(number), page)
    }

    /// Says that `pages` pages from `start` are those from `page` of the layer whose content is `layer`.
    ///
    /// # Errors
    /// If there are too many extents. Order and ranges are checked by [`MapBuilder::finish`].
    pub fn layer(&mut self, start: u64, pages: u64, layer: Digest, page: u64) -> Result<(), MapError> {
        let number = number_of(&mut self.layer_numbers, layer)?;
        if number as usize == self.map.layers.len() {
            self.map.layers.push(layer);
        }
        self.push(start, pages, Source::Layer(number), page)
    }

    fn push(&mut self, start: u64, pages: u64, source: Source, page: u64) -> Result<(), MapError> {
        let extent = Extent::new(start, pages, source, page)
            .ok_or_else(|| MapError::Invalid("a page's number exceeds 2^32 - 1".to_owned()))?;
        if let Some(last) = self.map.extents.last_mut().filter(|last| extent.continues(last)) {
            last.pages = last
                .pages
                .checked_add(extent.pages)
                .ok_or_else(|| MapError::Invalid("a page's number exceeds 2^32 - 1".to_owned()))?;
            return Ok(());
        }
        if self.map.extents.len() == MAP_EXTENTS {
            return Err(MapError::Invalid(format!("it needs more than {MAP_EXTENTS} extents")));
        }
        self.map.extents.push(extent);
        Ok(())
    }

    /// The map.
    ///
    /// # Errors
    /// If the runs were not ascending and disjoint, or reach out of their sources or the address space.
    pub fn finish(self) -> Result<Map, MapError> {
        self.map.check()?;
        Ok(self.map)
    }
}

fn number_of(numbers: &mut HashMap<Digest, u32>, digest: Digest) -> Result<u32, MapError> {
    let next = u32::try_from(numbers.len()).map_err(|_| MapError::Invalid("too many sources".to_owned()))?;
    Ok(*numbers.entry(digest).or_insert(next))
}

#[cfg(test)]
mod tests;
