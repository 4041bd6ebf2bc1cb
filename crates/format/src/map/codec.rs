//! The plain bytes of a map: varints, columns, and the one canonical form.

use std::collections::HashSet;

use super::{Extent, Map, MapBlob, MapError, Source};
use crate::Digest;
use crate::limits::{LAYERS, MAP_BLOBS, MAP_EXTENTS};

const MAGIC: &[u8] = b"SPOREMAP\0";

/// Takes the plain bytes as they are made: millions of extents are not to be in memory twice.
trait Sink {
    fn take(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn take(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Whether what it takes is what it was given.
struct Comparison<'a> {
    /// `None` once something differed.
    rest: Option<&'a [u8]>,
}

impl Sink for Comparison<'_> {
    fn take(&mut self, bytes: &[u8]) {
        self.rest = self.rest.and_then(|rest| rest.strip_prefix(bytes));
    }
}

/// Appends a map's plain bytes to `out`.
pub(super) fn encode(map: &Map, out: &mut Vec<u8>) {
    write(map, out);
}

fn encodes_to(map: &Map, plain: &[u8]) -> bool {
    let mut comparison = Comparison { rest: Some(plain) };
    write(map, &mut comparison);
    comparison.rest.is_some_and(<[u8]>::is_empty)
}

fn write(map: &Map, out: &mut impl Sink) {
    out.take(MAGIC);
    put(out, map.pages);
    put(out, map.blobs.len() as u64);
    for blob in &map.blobs {
        out.take(blob.digest.as_bytes());
        for number in [blob.size, blob.plain_pages, blob.index_offset, blob.index_length] {
            put(out, number);
        }
        out.take(blob.index_digest.as_bytes());
    }
    put(out, map.layers.len() as u64);
    for layer in &map.layers {
        out.take(layer.as_bytes());
    }
    write_extents(map, out);
}

fn write_extents(map: &Map, out: &mut impl Sink) {
    put(out, map.extents.len() as u64);
    let mut end = 0;
    for extent in &map.extents {
        put(out, extent.start() - end);
        end = extent.end();
    }
    for extent in &map.extents {
        put(out, extent.pages());
    }
    for extent in &map.extents {
        put(out, source_number(extent.source(), map.blobs.len()) as u64);
    }
    let mut ends = vec![0_i64; map.blobs.len() + map.layers.len()];
    for extent in &map.extents {
        let Some(last) = ends.get_mut(source_number(extent.source(), map.blobs.len())) else { continue };
        put(out, zigzag(extent.page().cast_signed() - *last));
        *last = extent.source_end().cast_signed();
    }
}

fn source_number(source: Source, blobs: usize) -> usize {
    match source {
        Source::Blob(n) => n as usize,
        Source::Layer(n) => blobs + n as usize,
    }
}

pub(super) fn decode(plain: &[u8]) -> Result<Map, MapError> {
    let mut input = Input(plain);
    if input.bytes(MAGIC.len())? != MAGIC {
        return Err(MapError::Invalid("it does not begin as a map of version 0".to_owned()));
    }
    let pages = input.number()?;
    let count = input.count(MAP_BLOBS, "blobs")?;
    let blobs = (0..count).map(|_| input.blob()).collect::<Result<Vec<_>, _>>()?;
    let count = input.count(LAYERS, "layers")?;
    let layers = (0..count).map(|_| input.digest()).collect::<Result<Vec<_>, _>>()?;
    let extents = decode_extents(&mut input, blobs.len(), layers.len())?;
    let map = Map { pages, blobs, layers, extents };
    map.check()?;
    check_canonical(&map)?;
    // Shortest varints and nothing behind the end: both show as bytes that differ.
    if !encodes_to(&map, plain) {
        return Err(MapError::Invalid("it is not encoded canonically".to_owned()));
    }
    Ok(map)
}

fn decode_extents(input: &mut Input<'_>, blobs: usize, layers: usize) -> Result<Vec<Extent>, MapError> {
    let count = input.count(MAP_EXTENTS, "extents")?;
    let overflow = || MapError::Invalid("an extent's numbers are too large".to_owned());
    let empty = Extent { start: 0, pages: 0, source: 0, page: 0 };
    // Each extent takes at least four bytes: what the rest cannot hold is not allocated.
    let mut extents = vec![empty; count.min(input.0.len() / 4 + 1)];
    if extents.len() != count {
        return Err(MapError::Invalid("it is cut short".to_owned()));
    }
    for extent in &mut extents {
        // The gap, until the lengths are known.
        extent.start = input.number()?.try_into().map_err(|_| overflow())?;
    }
    let mut end = 0_u32;
    for extent in &mut extents {
        extent.pages = input.number()?.try_into().map_err(|_| overflow())?;
        extent.start = extent.start.checked_add(end).ok_or_else(overflow)?;
        end = extent.start.checked_add(extent.pages).ok_or_else(overflow)?;
    }
    for extent in &mut extents {
        extent.source = input.source(blobs, layers)?;
    }
    let mut ends = vec![0_i64; blobs + layers];
    for extent in &mut extents {
        let last = ends.get_mut(source_number(extent.source(), blobs)).ok_or_else(overflow)?;
        let page = last.checked_add(unzigzag(input.number()?)).ok_or_else(overflow)?;
        extent.page = page.try_into().map_err(|_| overflow())?;
        *last = extent.source_end().cast_signed();
    }
    Ok(extents)
}

/// Maximal extents, and sources listed in the order of their first use, each used, each once.
fn check_canonical(map: &Map) -> Result<(), MapError> {
    let not_canonical = |reason: &str| Err(MapError::Invalid(format!("it is not canonical: {reason}")));
    if map.extents.iter().zip(map.extents.iter().skip(1)).any(|(before, extent)| extent.continues(before)) {
        return not_canonical("two extents should be one");
    }
    let (mut blobs, mut layers) = (0, 0);
    for extent in &map.extents {
        let (number, used) = match extent.source() {
            Source::Blob(n) => (n, &mut blobs),
            Source::Layer(n) => (n, &mut layers),
        };
        if number > *used {
            return not_canonical("sources are not in the order of their first use");
        }
        *used = (*used).max(number + 1);
    }
    if blobs as usize != map.blobs.len() || layers as usize != map.layers.len() {
        return not_canonical("a source is not used");
    }
    let mut seen = HashSet::new();
    if !map.blobs.iter().all(|blob| seen.insert(blob.digest))
        || !map.layers.iter().all(|layer| seen.insert(*layer))
    {
        return not_canonical("a source is listed twice");
    }
    Ok(())
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], MapError> {
        let (bytes, rest) =
            self.0.split_at_checked(count).ok_or_else(|| MapError::Invalid("it is cut short".to_owned()))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u64, MapError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.bytes(1)?.first().copied().unwrap_or(0);
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(MapError::Invalid("a number exceeds 64 bits".to_owned()))
    }

    fn count(&mut self, limit: usize, what: &str) -> Result<usize, MapError> {
        let number = self.number()?;
        usize::try_from(number)
            .ok()
            .filter(|count| *count <= limit)
            .ok_or_else(|| MapError::Invalid(format!("it says {number} {what}: at most {limit} are allowed")))
    }

    fn digest(&mut self) -> Result<Digest, MapError> {
        let bytes =
            self.bytes(32)?.try_into().map_err(|_| MapError::Invalid("it is cut short".to_owned()))?;
        Ok(Digest::from_bytes(bytes))
    }

    fn blob(&mut self) -> Result<MapBlob, MapError> {
        Ok(MapBlob {
            digest: self.digest()?,
            size: self.number()?,
            plain_pages: self.number()?,
            index_offset: self.number()?,
            index_length: self.number()?,
            index_digest: self.digest()?,
        })
    }

    fn source(&mut self, blobs: usize, layers: usize) -> Result<u32, MapError> {
        let number = self.count((blobs + layers).saturating_sub(1), "as an extent's source")?;
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(if number < blobs { narrow(number) } else { narrow(number - blobs) | super::LAYER_BIT })
    }
}

fn put(out: &mut impl Sink, mut number: u64) {
    while number >= 0x80 {
        out.take(&[(number & 0x7F) as u8 | 0x80]);
        number >>= 7;
    }
    out.take(&[(number & 0x7F) as u8]);
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}
