//! Maps and frame blobs as plain fields that encode to whatever they say, true or not.
//!
//! Crate `format` cannot write what it would refuse to read, so the encodings of docs/format.md are here once more.

use format::frame::Index;
use format::map::{MapBlob, Source};
use format::{Digest, Map};

const PAGE: usize = 4096;

/// A map, its extents as the columns hold them.
#[derive(Debug, Clone)]
pub struct RawMap {
    pub pages: u64,
    pub blobs: Vec<MapBlob>,
    pub layers: Vec<Digest>,
    pub extents: Vec<RawExtent>,
    /// Instead of the true counts of blobs, layers and extents.
    pub counts: [Option<u64>; 3],
}

#[derive(Debug, Clone, Copy)]
pub struct RawExtent {
    pub gap: u64,
    pub pages: u64,
    pub source: u64,
    /// Zigzag difference to where the last extent of the same source ended.
    pub page: u64,
}

impl RawMap {
    pub fn of(map: &Map) -> Self {
        let (mut end, mut ends) = (0, std::collections::HashMap::new());
        let extents = map.extents().iter().map(|extent| {
            let source = match extent.source() {
                Source::Blob(n) => u64::from(n),
                Source::Layer(n) => map.blobs().len() as u64 + u64::from(n),
            };
            let last = ends.insert(source, extent.page() + extent.pages()).unwrap_or(0);
            let gap = extent.start() - std::mem::replace(&mut end, extent.end());
            let page = zigzag(extent.page().cast_signed() - last.cast_signed());
            RawExtent { gap, pages: extent.pages(), source, page }
        });
        Self {
            pages: map.pages(),
            extents: extents.collect(),
            blobs: map.blobs().to_vec(),
            layers: map.layers().to_vec(),
            counts: [None; 3],
        }
    }

    /// The plain bytes, before which a blob has its codec byte.
    pub fn encode(&self) -> Vec<u8> {
        let [blobs, layers, extents] = self.counts;
        let mut out = b"SPOREMAP\0".to_vec();
        put(&mut out, self.pages);
        put(&mut out, blobs.unwrap_or(self.blobs.len() as u64));
        for blob in &self.blobs {
            out.extend(blob.digest.as_bytes());
            for number in [blob.size, blob.plain_pages, blob.index_offset, blob.index_length] {
                put(&mut out, number);
            }
            out.extend(blob.index_digest.as_bytes());
        }
        put(&mut out, layers.unwrap_or(self.layers.len() as u64));
        self.layers.iter().for_each(|layer| out.extend(layer.as_bytes()));
        put(&mut out, extents.unwrap_or(self.extents.len() as u64));
        let columns: [fn(&RawExtent) -> u64; 4] =
            [|extent| extent.gap, |extent| extent.pages, |extent| extent.source, |extent| extent.page];
        for column in columns {
            self.extents.iter().for_each(|extent| put(&mut out, column(extent)));
        }
        out
    }
}

/// Appends a varint in its shortest form.
pub fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

pub fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

/// A frame blob in pieces.
#[derive(Debug, Clone)]
pub struct RawBlob {
    pub frames: Vec<RawFrame>,
    /// Instead of the true number of frames.
    pub count: Option<u32>,
}

/// A frame, and what the index says of it.
#[derive(Debug, Clone)]
pub struct RawFrame {
    pub bytes: Vec<u8>,
    pub compressed: u32,
    pub plain: u32,
    pub digest: Digest,
}

impl RawFrame {
    /// A true one.
    pub fn new(plain: &[u8]) -> Self {
        let bytes = zstd::bulk::compress(plain, 3).expect("zstd compresses");
        let plain = u32::try_from(plain.len()).expect("a frame is short");
        Self::with_bytes(bytes, plain)
    }

    /// With any bytes, which the index tells truly.
    pub fn with_bytes(bytes: Vec<u8>, plain: u32) -> Self {
        let compressed = u32::try_from(bytes.len()).expect("a frame is short");
        Self { compressed, plain, digest: Digest::of(&bytes), bytes }
    }

    pub fn decode(&self) -> Vec<u8> {
        zstd::bulk::decompress(&self.bytes, self.plain as usize).expect("a true frame")
    }
}

impl RawBlob {
    /// A true blob, taken apart.
    pub fn of(bytes: &[u8], says: &MapBlob) -> Self {
        let at = usize::try_from(says.index_offset).expect("a blob is short");
        let index = Index::parse(&bytes[at..], says.index_offset).expect("the blob is a true one");
        let frame = |entry: &format::frame::FrameEntry| {
            let from = usize::try_from(entry.offset).expect("a blob is short");
            RawFrame::with_bytes(bytes[from..from + entry.compressed as usize].to_vec(), entry.plain)
        };
        Self { frames: index.frames().iter().map(frame).collect(), count: None }
    }

    /// The blob, and what a map says of it.
    pub fn encode(&self) -> (Vec<u8>, MapBlob) {
        let index = self.index();
        let mut bytes: Vec<u8> = self.frames.iter().flat_map(|frame| &frame.bytes).copied().collect();
        let index_offset = bytes.len() as u64;
        bytes.extend(&index);
        let plain: u64 = self.frames.iter().map(|frame| u64::from(frame.plain)).sum();
        let says = MapBlob {
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
            plain_pages: (plain / PAGE as u64).max(1),
            index_offset,
            index_length: index.len() as u64,
            index_digest: Digest::of(&index),
        };
        (bytes, says)
    }

    fn index(&self) -> Vec<u8> {
        let count = self.count.unwrap_or(u32::try_from(self.frames.len()).expect("few frames"));
        let follows = u32::try_from(12 + self.frames.len() * 40).expect("few frames");
        let mut index = 0x184D_2A5E_u32.to_le_bytes().to_vec();
        index.extend(follows.to_le_bytes());
        index.extend(b"SPOREIX0");
        index.extend(count.to_le_bytes());
        for frame in &self.frames {
            index.extend(frame.compressed.to_le_bytes());
            index.extend(frame.plain.to_le_bytes());
            index.extend(frame.digest.as_bytes());
        }
        index
    }

    /// Changes plain bytes from `offset` of the plain stream on, within one frame, and tells the truth about it.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let mut start = 0;
        for frame in &mut self.frames {
            let mut plain = frame.decode();
            let length = plain.len();
            if (start..start + length).contains(&offset) {
                plain[offset - start..offset - start + bytes.len()].copy_from_slice(bytes);
                *frame = RawFrame::new(&plain);
                return;
            }
            start += length;
        }
        panic!("byte {offset} is beyond the {start} of the blob");
    }

    /// Where `bytes` are in the plain stream, for the first time.
    pub fn find(&self, bytes: &[u8]) -> usize {
        let plain: Vec<u8> = self.frames.iter().flat_map(RawFrame::decode).collect();
        plain.windows(bytes.len()).position(|window| window == bytes).expect("they are there")
    }
}
