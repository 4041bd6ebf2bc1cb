//! One layer's bytes: hashed as they arrive, unpacked, hashed again.

use std::io::{self, BufReader, Read};

use format::{Digest, Hasher};
use tar_stream::Stream;

use super::blobs::Location;
use super::documents::ImageConfig;
use super::{Image, ImageError};
use crate::Progress;
use crate::archive::{Archive, ArchiveError, Role};
use crate::tree::{self, Allowance, Folder, Spool};

/// How large a window a zstd frame may ask for, as a power of two: 128 MiB, what `zstd` itself takes without `--long`.
const ZSTD_WINDOW: u32 = 27;
/// Bytes that are unpacked at once.
const READ_AT_ONCE: usize = 64 << 10;
/// Bytes that are passed over at once.
const DRAINED_AT_ONCE: u64 = 1 << 20;

/// A layer: where it is and what it unpacks to.
#[derive(Debug)]
pub(super) struct LayerSource {
    location: Location,
    /// The digest of its tar archive.
    pub(super) content: Digest,
}

impl LayerSource {
    /// Puts together what manifest and config say of the layers.
    pub(super) fn pair(locations: Vec<Location>, config: &ImageConfig) -> Result<Vec<Self>, ImageError> {
        let contents = config.diff_ids();
        if locations.len() != contents.len() || contents.is_empty() {
            let (blobs, contents) = (locations.len(), contents.len());
            let reason =
                format!("it names {contents} layers, its manifest {blobs}: expected as many, at least 1");
            return Err(ImageError::Malformed { what: "config", reason });
        }
        let pair = |(location, content): (Location, &Digest)| Self { location, content: *content };
        Ok(locations.into_iter().zip(contents).map(pair).collect())
    }
}

impl Image<'_> {
    /// Reads layer `number`, counted from 0, as a tree, and verifies it.
    pub(super) fn read_layer(
        &self,
        number: usize,
        spool: &mut Spool,
        allowance: &mut Allowance,
        progress: &dyn Progress,
    ) -> Result<Folder, ImageError> {
        let layer =
            self.layers.get(number).ok_or_else(|| ImageError::Missing { what: "such layer".to_owned() })?;
        let what = || format!("layer {} ({})", number + 1, layer.content);
        let (blob, expected) = self.blobs.open(&layer.location)?;
        let mut blob = Hashing::new(blob);
        let named = |source| ImageError::Layer { number: number + 1, digest: layer.content, source };
        let found = match read_tar(&mut blob, Role::Layer, spool, allowance, progress) {
            Err(ArchiveError::Interrupted) => return Err(named(ArchiveError::Interrupted)),
            found => found,
        };
        // That the blob is another one explains best why it cannot be unpacked.
        drain(&mut blob, progress).map_err(named)?;
        let digest = blob.finish();
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            let reason = format!("its blob should be {expected} and is {digest}");
            return Err(ImageError::Corrupt { what: what(), reason });
        }
        let (folder, content) = found.map_err(named)?;
        if content != layer.content {
            return Err(ImageError::Corrupt { what: what(), reason: format!("it unpacks to {content}") });
        }
        Ok(folder)
    }
}

/// Reads a tar archive, compressed or not, as a tree, and gives the digest of the archive as it is unpacked.
pub(crate) fn read_tar(
    input: &mut dyn Read,
    role: Role,
    spool: &mut Spool,
    allowance: &mut Allowance,
    progress: &dyn Progress,
) -> Result<(Folder, Digest), ArchiveError> {
    let mut unpacked = unpack(input).map_err(ArchiveError::read)?;
    let mut hashing = Hashing::new(&mut *unpacked);
    let folder = {
        let reader: &mut dyn Read = &mut hashing;
        let input = Stream(BufReader::with_capacity(READ_AT_ONCE, reader));
        let mut archive = Archive::new(input, role);
        let folder = tree::read(&mut archive, spool, allowance, progress)?;
        archive.finish(|| go_on(progress))?;
        folder
    };
    Ok((folder, hashing.finish()))
}

fn go_on(progress: &dyn Progress) -> Result<(), ArchiveError> {
    if progress.is_interrupted() { Err(ArchiveError::Interrupted) } else { Ok(()) }
}

fn drain(input: &mut impl Read, progress: &dyn Progress) -> Result<(), ArchiveError> {
    loop {
        go_on(progress)?;
        let piece = io::copy(&mut input.take(DRAINED_AT_ONCE), &mut io::sink());
        if piece.map_err(ArchiveError::read)? == 0 {
            return Ok(());
        }
    }
}

/// The bytes that `input` unpacks to, by what it begins with. All that goes on is streams: how much comes out is for the
/// reader to bound.
fn unpack<'a>(mut input: &'a mut dyn Read) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = Vec::new();
    (&mut input).take(4).read_to_end(&mut magic)?;
    let compression = Compression::of(&magic);
    let input = io::Cursor::new(magic).chain(input);
    Ok(match compression {
        None => Box::new(input),
        Some(Compression::Gzip) => Box::new(flate2::read::MultiGzDecoder::new(input)),
        Some(Compression::Zstd) => {
            let mut decoder = zstd::stream::read::Decoder::new(input)?;
            decoder.window_log_max(ZSTD_WINDOW)?;
            Box::new(decoder)
        }
        Some(other) => {
            let reason = format!("it is compressed by {}: expected gzip, zstd or nothing", other.name());
            return Err(io::Error::other(reason));
        }
    })
}

/// What a file is compressed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Compression {
    /// By the bytes that it begins with.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        let known: [(&[u8], Self); 4] = [
            (&[0x1f, 0x8b], Self::Gzip),
            (&[0x28, 0xb5, 0x2f, 0xfd], Self::Zstd),
            (b"\xfd7zX", Self::Xz),
            (b"BZh", Self::Bzip2),
        ];
        known.into_iter().find_map(|(magic, name)| start.starts_with(magic).then_some(name))
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }
}

/// Hashes what is read through it.
struct Hashing<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Hashing<R> {
    fn new(inner: R) -> Self {
        Self { inner, hasher: Hasher::new() }
    }

    fn finish(self) -> Digest {
        self.hasher.finish()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
