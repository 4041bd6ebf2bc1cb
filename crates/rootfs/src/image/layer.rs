//! One layer's bytes: hashed as they arrive, unpacked, hashed again.

use std::io::{self, BufReader, Read};

use format::Digest;
use tar_stream::Stream;

use super::blobs::Location;
use super::compression::Compression;
use super::documents::ImageConfig;
use super::watched::Watched;
use super::{Image, ImageError};
use crate::archive::{Archive, ArchiveError, Role};
use crate::stack::Stack;
use crate::tree::{Folder, LayerError};

/// How large a window a zstd frame may ask for, as a power of two: 64 MiB, which all but `zstd --ultra -22` and `--long` stay
/// within. It is in memory beside the tree.
const ZSTD_WINDOW: u32 = 26;
/// Bytes that are unpacked at once.
const READ_AT_ONCE: usize = 64 << 10;
/// Most bytes of a blob that are read on behind what could be unpacked of it.
const MAX_REST: u64 = 4 << 20;

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

    /// Reads the layer, the `number`th from 1, as a settled tree for the top of `stack`, and verifies it.
    pub(super) fn read(
        &self,
        number: usize,
        image: &Image<'_>,
        stack: &mut Stack<'_>,
    ) -> Result<Folder, ImageError> {
        let corrupt = |reason: String| ImageError::Corrupt {
            what: format!("layer {number} ({})", self.content),
            reason,
        };
        let named = |source| ImageError::Layer { number, digest: self.content, source };
        let (blob, expected) = image.blobs.open(&self.location)?;
        let mut blob = Watched::new(blob, stack.progress, None);
        let found = read_tar(&mut blob, Role::Layer, stack);
        if let Err(LayerError::Interrupted | LayerError::Read(_)) = found {
            return found.map(|(folder, _)| folder).map_err(named);
        }
        let is_whole = blob.reads_to_its_end(MAX_REST).map_err(named)?;
        if is_whole {
            // That the blob is another one explains best why it cannot be unpacked.
            let digest = blob.finish();
            if let Some(expected) = expected.filter(|expected| *expected != digest) {
                return Err(corrupt(format!("its blob should be {expected} and is {digest}")));
            }
        }
        let (mut folder, content) = found.map_err(named)?;
        if !is_whole {
            return Err(corrupt("it goes on behind its end".to_owned()));
        }
        if content != self.content {
            return Err(corrupt(format!("it unpacks to {content}")));
        }
        stack.settle(&mut folder).map_err(named)?;
        Ok(folder)
    }
}

/// Reads a tar archive, compressed or not, as a tree for the top of `stack`, and gives the digest of the archive as it is unpacked.
pub(crate) fn read_tar(
    input: &mut Watched<'_, impl Read>,
    role: Role,
    stack: &mut Stack<'_>,
) -> Result<(Folder, Digest), LayerError> {
    let limit = stack.allowance.content();
    let found = unpack(input).map_err(|error| ArchiveError::read(error).into()).and_then(|unpacked| {
        let mut unpacked = Watched::new(unpacked, stack.progress, Some(limit));
        let found = read_all(&mut unpacked, role, stack);
        // Headers count as well, else an archive of nothing else would have no end.
        let (all, files) = (unpacked.count(), limit - stack.allowance.content());
        let charged = stack.allowance.take_content(all.saturating_sub(files));
        match unpacked.take_failure(&stack.allowance) {
            // A decoder that fails.
            Some(LayerError::Read(error)) => Err(ArchiveError::read(error).into()),
            Some(failure) => Err(failure),
            None => charged.and(found).map(|folder| (folder, unpacked.finish())),
        }
    });
    match input.take_failure(&stack.allowance) {
        Some(failure) => Err(failure),
        None => found,
    }
}

fn read_all(
    unpacked: &mut Watched<'_, impl Read>,
    role: Role,
    stack: &mut Stack<'_>,
) -> Result<Folder, LayerError> {
    let unpacked: &mut dyn Read = unpacked;
    let mut archive = Archive::new(Stream(BufReader::with_capacity(READ_AT_ONCE, unpacked)), role);
    let folder = stack.reading().read(&mut archive)?;
    archive.finish()?;
    Ok(folder)
}

/// The bytes that `input` unpacks to, by what it begins with. All that goes on is streams: how much comes out is for the
/// reader to bound.
fn unpack<'a>(mut input: &'a mut impl Read) -> io::Result<Box<dyn Read + 'a>> {
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
