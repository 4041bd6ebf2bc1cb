//! Frame blobs: zstd frames one after another, closed by a skippable frame that indexes them
//! (docs/format.md, "Frame blob"; skippable frames are RFC 8878, section 3.1.2).
//!
//! An [`Index`] is checked in whole when it is parsed: its lengths are in bounds, are whole pages, and add up to
//! where it lies. [`Reader`] decodes a frame only after its compressed bytes had the digest that the index says.

use crate::Digest;
use crate::limits::{BLOB_BYTES, BLOB_FRAMES, FRAME_COMPRESSED_BYTES, FRAME_PLAIN_BYTES, PAGE_SIZE};
use crate::zstd_frame::{Decoder, ZstdError};

const SKIPPABLE_MAGIC: u32 = 0x184D_2A5E;
const INDEX_MAGIC: &[u8; 8] = b"SPOREIX0";
const HEADER_BYTES: usize = 8 + 8 + 4;
const ENTRY_BYTES: usize = 4 + 4 + 32;

/// The longest index that a blob can have, in bytes.
pub const INDEX_MAX_BYTES: u64 = (HEADER_BYTES + BLOB_FRAMES * ENTRY_BYTES) as u64;

/// Why bytes are not a frame blob, or not the frame that an index says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The index is not one.
    #[error("frame index is not valid: {0}")]
    Index(String),
    /// Compressed bytes are not those that the index says.
    #[error("frame {frame} has the digest {found}: expected {expected}")]
    Digest {
        /// Number of the frame in its blob.
        frame: usize,
        /// What its bytes hash to.
        found: Digest,
        /// What the index says.
        expected: Digest,
    },
    /// The frame does not decode to what the index says.
    #[error("frame {frame}: {source}")]
    Zstd {
        /// Number of the frame in its blob.
        frame: usize,
        /// What is wrong with it.
        source: ZstdError,
    },
    /// A page beyond the blob's plain stream was asked for.
    #[error("page {page} is beyond the {pages} pages of the blob")]
    OutOfRange {
        /// The page.
        page: u64,
        /// How many there are.
        pages: u64,
    },
}

/// What the index says of one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameEntry {
    /// Where its compressed bytes begin in the blob.
    pub offset: u64,
    /// Compressed bytes.
    pub compressed: u32,
    /// Plain bytes, whole pages.
    pub plain: u32,
    /// First page in the blob's plain stream.
    pub first_page: u64,
    /// sha256 of the compressed bytes.
    pub digest: Digest,
}

impl FrameEntry {
    /// Pages that the frame holds.
    #[must_use]
    pub fn pages(&self) -> u64 {
        u64::from(self.plain) / PAGE_SIZE
    }
}

/// The index of a frame blob.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Index {
    frames: Vec<FrameEntry>,
}

impl Index {
    /// Reads the index that lies at `offset` of a blob and is `bytes` in whole.
    ///
    /// # Errors
    /// If it is not one, or its frames do not end at `offset`.
    pub fn parse(bytes: &[u8], offset: u64) -> Result<Self, FrameError> {
        let error = |reason: String| FrameError::Index(reason);
        let (header, entries) = bytes
            .split_at_checked(HEADER_BYTES)
            .ok_or_else(|| error(format!("{} bytes are less than its header", bytes.len())))?;
        let count = entries.len() / ENTRY_BYTES;
        if count > BLOB_FRAMES || entries.len() % ENTRY_BYTES != 0 || header != index_header(count).as_slice()
        {
            return Err(error("its header is not that of an index of this length".to_owned()));
        }
        let mut index = Self { frames: Vec::with_capacity(count) };
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            let (compressed, rest) = take_u32(entry);
            let (plain, digest) = take_u32(rest);
            let digest =
                <[u8; 32]>::try_from(digest).map_err(|_| error("an entry is cut short".to_owned()))?;
            index.push(compressed, plain, Digest::from_bytes(digest))?;
        }
        let end = index.frames_bytes();
        if end != offset {
            return Err(error(format!("its frames end at byte {end}, it lies at byte {offset}")));
        }
        Ok(index)
    }

    fn push(&mut self, compressed: u32, plain: u32, digest: Digest) -> Result<(), FrameError> {
        let number = self.frames.len();
        if compressed == 0 || compressed as usize > FRAME_COMPRESSED_BYTES {
            return Err(FrameError::Index(format!("frame {number} says {compressed} compressed bytes")));
        }
        if plain == 0 || plain as usize > FRAME_PLAIN_BYTES || u64::from(plain) % PAGE_SIZE != 0 {
            return Err(FrameError::Index(format!("frame {number} says {plain} plain bytes")));
        }
        let (offset, first_page) = (self.frames_bytes(), self.plain_pages());
        self.frames.push(FrameEntry { offset, compressed, plain, first_page, digest });
        Ok(())
    }

    /// The index as it closes a blob, skippable frame and all.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = index_header(self.frames.len());
        for frame in &self.frames {
            bytes.extend(frame.compressed.to_le_bytes());
            bytes.extend(frame.plain.to_le_bytes());
            bytes.extend(frame.digest.as_bytes());
        }
        bytes
    }

    /// The frames in order.
    #[must_use]
    pub fn frames(&self) -> &[FrameEntry] {
        &self.frames
    }

    /// Pages of the blob's plain stream.
    #[must_use]
    pub fn plain_pages(&self) -> u64 {
        self.frames.last().map_or(0, |frame| frame.first_page + frame.pages())
    }

    /// Compressed bytes of all frames: where the index lies.
    #[must_use]
    pub fn frames_bytes(&self) -> u64 {
        self.frames.last().map_or(0, |frame| frame.offset + u64::from(frame.compressed))
    }

    /// The number of the frame that holds `page` of the plain stream.
    ///
    /// # Errors
    /// If there is no such page.
    pub fn frame_of(&self, page: u64) -> Result<usize, FrameError> {
        let pages = self.plain_pages();
        if page >= pages {
            return Err(FrameError::OutOfRange { page, pages });
        }
        Ok(self.frames.partition_point(|frame| frame.first_page <= page).saturating_sub(1))
    }

    fn encoded_bytes(frames: usize) -> u64 {
        (HEADER_BYTES + frames * ENTRY_BYTES) as u64
    }
}

fn index_header(count: usize) -> Vec<u8> {
    let follows = u32::try_from(HEADER_BYTES - 8 + count * ENTRY_BYTES).unwrap_or(u32::MAX);
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    [&SKIPPABLE_MAGIC.to_le_bytes()[..], &follows.to_le_bytes(), INDEX_MAGIC, &count.to_le_bytes()].concat()
}

fn take_u32(bytes: &[u8]) -> (u32, &[u8]) {
    bytes.split_first_chunk::<4>().map_or((0, &[]), |(number, rest)| (u32::from_le_bytes(*number), rest))
}

/// Plans a frame blob: takes compressed frames in order and knows when the blob is full.
///
/// It holds the index, not the frames: the caller writes those as it pushes them.
#[derive(Debug, Default)]
pub struct BlobBuilder {
    index: Index,
}

impl BlobBuilder {
    /// Whether a frame of `compressed` bytes still fits.
    #[must_use]
    pub fn fits(&self, compressed: usize) -> bool {
        let frames = self.index.frames.len() + 1;
        let bytes = self.index.frames_bytes() + compressed as u64 + Index::encoded_bytes(frames);
        frames <= BLOB_FRAMES && bytes <= BLOB_BYTES
    }

    /// Whether nothing was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.frames.is_empty()
    }

    /// Pages that were pushed.
    #[must_use]
    pub fn plain_pages(&self) -> u64 {
        self.index.plain_pages()
    }

    /// Takes the next frame, which the caller has asked [`BlobBuilder::fits`] for.
    ///
    /// # Errors
    /// If its lengths are out of bounds.
    pub fn push(&mut self, compressed: &[u8], plain_bytes: usize) -> Result<(), FrameError> {
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        self.index.push(length(compressed.len()), length(plain_bytes), Digest::of(compressed))
    }

    /// The finished index.
    #[must_use]
    pub fn finish(self) -> Index {
        self.index
    }
}

/// Decodes the frames of blobs, reusing its memory.
pub struct Reader(Decoder);

impl Reader {
    /// A reader.
    ///
    /// # Errors
    /// If memory for it cannot be had.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self(Decoder::new()?))
    }

    /// Decodes frame `number` of `index` from its compressed bytes into `plain`, which gets the length that the index says.
    ///
    /// # Errors
    /// If the bytes are not those that the index says, or do not decode to what it says.
    pub fn decode(
        &mut self,
        index: &Index,
        number: usize,
        compressed: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        let pages = index.plain_pages();
        let entry = index.frames.get(number).ok_or(FrameError::OutOfRange { page: pages, pages })?;
        let found = Digest::of(compressed);
        if found != entry.digest {
            return Err(FrameError::Digest { frame: number, found, expected: entry.digest });
        }
        plain.resize(entry.plain as usize, 0);
        self.0.decode_exactly(compressed, plain).map_err(|source| FrameError::Zstd { frame: number, source })
    }
}

#[cfg(test)]
mod tests;
