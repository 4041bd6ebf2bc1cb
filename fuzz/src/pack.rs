//! Packs for the target that reads them whole.
//!
//! In a pack everything is named by its digest, from the frames up to the index, so that nearly every change to one ends at the
//! first comparison. What is fuzzed is therefore a script, of which a pack is made whose names, lengths, digests and sums are right:
//!
//! ```text
//! sample  { kind  rank  length (u16, little-endian)  content }        what others refer to comes first
//! ```
//!
//! The records follow those of a whole pack ([`samples`]), to which the first byte leads; there may be none. Entries come in the order of
//! their ranks, those of one rank in that of the script. In a content, `FF 'D' n` stands for the digest of record `n`, one of those
//! before it; `FF 'S' n` for its size; `FF 'B' n` for the digest's 32 bytes.

use std::error::Error;
use std::sync::LazyLock;

use format::map::Codec;
use format::{Digest, Map};
use tar::{EntryType, Header};

use crate::json;
use crate::sample::{Sample, sample};
use crate::tar::{BLOCK, with_right_sums};

const TOKEN: u8 = 0xFF;

/// What a record becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A file with the name of its digest.
    Blob,
    /// `oci-layout`
    Layout,
    /// `index.json`
    Index,
    /// Part of the archive as it is, but for the sums of headers; in whole blocks.
    Raw,
    /// A file with the name that the record has whose number is the first byte.
    Impostor,
    /// Its first two bytes say how many bytes the archive lacks at its end.
    Cut,
    /// Changes a document ([`json::edited`]): the record whose number is the first byte.
    Edit,
    /// Changes bytes: of the record whose number is the first byte, from where the next two say, as many as the fourth says are replaced.
    Splice,
    /// Lets the record whose number is the first byte come elsewhere: the second byte is its rank. From 128 on the pack lacks it.
    Move,
}

const KINDS: [Kind; 9] = [
    Kind::Blob,
    Kind::Layout,
    Kind::Index,
    Kind::Raw,
    Kind::Impostor,
    Kind::Cut,
    Kind::Edit,
    Kind::Splice,
    Kind::Move,
];
/// From this rank on, a record is not in the pack.
pub const ABSENT: u8 = 128;

/// A piece of a script.
#[derive(Debug, Clone)]
pub struct Record {
    pub kind: Kind,
    pub rank: u8,
    pub content: Vec<u8>,
}

impl Record {
    /// Appends it to a script.
    pub fn write(&self, script: &mut Vec<u8>) {
        let length = u16::try_from(self.content.len()).expect("a record is short");
        script.extend([self.kind as u8, self.rank]);
        script.extend(length.to_le_bytes());
        script.extend(&self.content);
    }
}

/// The records of a script. The last one may be cut short.
fn records(mut script: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while let [kind, rank, low, high, rest @ ..] = script {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (content, rest) = rest.split_at(length);
        let kind = KINDS[usize::from(*kind) % KINDS.len()];
        records.push(Record { kind, rank: *rank, content: content.to_vec() });
        script = rest;
    }
    records
}

/// Packs that are whole: of one layer and of two, and one whose maps are compressed.
pub fn samples() -> &'static [Vec<Record>] {
    static SAMPLES: LazyLock<Vec<Vec<Record>>> = LazyLock::new(|| {
        let sample = |(layers, codec)| sample(layers, codec).and_then(|sample| records_of(&sample));
        let made = [(1, Codec::Plain), (2, Codec::Plain), (1, Codec::Zstd)].map(sample);
        made.into_iter().map(|made| made.expect("it is always the same")).collect()
    });
    &SAMPLES
}

/// The pack that a script describes.
pub fn assemble(script: &[u8]) -> Vec<u8> {
    let Some((first, script)) = script.split_first() else { return Vec::new() };
    let mut records = samples().get(usize::from(*first)).cloned().unwrap_or_default();
    for record in self::records(script) {
        change(&mut records, &record);
        records.push(record);
    }
    let mut known: Vec<(Digest, usize)> = Vec::new();
    for record in &mut records {
        record.content = with_references(&record.content, &known);
        known.push((Digest::of(&record.content), record.content.len()));
    }
    let mut order: Vec<_> = records.iter().zip(&known).filter(|(record, _)| record.rank < ABSENT).collect();
    order.sort_by_key(|(record, _)| record.rank);
    let (mut pack, mut cut) = (Vec::new(), 0);
    for (Record { kind, content, .. }, (digest, _)) in order {
        match (kind, content.as_slice()) {
            (Kind::Blob, _) => put(&mut pack, &blob_name(digest), content),
            (Kind::Layout, _) => put(&mut pack, "oci-layout", content),
            (Kind::Index, _) => put(&mut pack, "index.json", content),
            (Kind::Raw, _) => {
                pack.extend(with_right_sums(content));
                pad(&mut pack);
            }
            (Kind::Impostor, [n, content @ ..]) => {
                let digest = known.get(usize::from(*n)).map_or(digest, |(digest, _)| digest);
                put(&mut pack, &blob_name(digest), content);
            }
            (Kind::Cut, [low, high, ..]) => cut = usize::from(u16::from_le_bytes([*low, *high])),
            _ => {}
        }
    }
    pack.extend([0; 2 * BLOCK]);
    pack.truncate(pack.len().saturating_sub(cut));
    pack
}

/// Does to the records before it what a record says.
fn change(records: &mut [Record], by: &Record) {
    let Some((n, how)) = by.content.split_first() else { return };
    let Some(record) = records.get_mut(usize::from(*n)) else { return };
    match (by.kind, how) {
        (Kind::Edit, changes) => record.content = json::edited(&record.content, changes),
        (Kind::Splice, [low, high, removed, with @ ..]) => {
            let length = record.content.len();
            let start = usize::from(u16::from_le_bytes([*low, *high])) % (length + 1);
            let end = (start + usize::from(*removed)).min(length);
            record.content.splice(start..end, with.iter().copied());
        }
        (Kind::Move, [rank, ..]) => record.rank = *rank,
        _ => {}
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The records of a whole pack.
fn records_of(sample: &Sample) -> Result<Vec<Record>, Box<dyn Error>> {
    let Sample { config, manifest, blobs, .. } = sample;
    let mut known = Vec::new();
    let mut records = Vec::new();
    let place = |digest: &Digest| manifest.layers.iter().position(|blob| blob.digest == *digest);
    let is_map =
        |digest: &Digest| config.memory.map == *digest || config.disks.iter().any(|disk| disk.map == *digest);
    for (n, bytes) in blobs.iter().enumerate() {
        let digest = Digest::of(bytes);
        let is_frames = sample.maps.disks.iter().chain([&sample.maps.memory]).flat_map(Map::blobs);
        let rank = match place(&digest) {
            _ if n + 1 == blobs.len() => 2,
            None => 3,
            Some(_) if is_map(&digest) => 4,
            Some(_) if is_frames.into_iter().all(|blob| blob.digest != digest) => 5,
            // Those of memory are declared before those of disks.
            Some(_) if sample.maps.memory.blobs().iter().any(|blob| blob.digest == digest) => 6,
            Some(_) => 7,
        };
        records.push(Record { kind: Kind::Blob, rank, content: refer(bytes, &known) });
        known.push((digest, bytes.len()));
    }
    let (digest, size) = known.last().ok_or("there is a manifest")?;
    let index = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": format::manifest::media_type::MANIFEST,
            "digest": digest,
            "size": size,
            "annotations": { "org.opencontainers.image.ref.name": "sample:1" },
        }],
    });
    // Keys are sorted, so that the size does not follow the digest.
    let text = index.to_string().replace(&format!("\"size\":{size}"), "\"size\":@");
    let mut content = refer(text.as_bytes(), &known);
    let at = content.iter().position(|byte| *byte == b'@').ok_or("there is a size")?;
    content.splice(at..=at, [0xFF, b'S', u8::try_from(known.len() - 1)?]);
    records.push(Record { kind: Kind::Index, rank: 1, content });
    let layout = br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec();
    records.push(Record { kind: Kind::Layout, rank: 0, content: layout });
    Ok(records)
}

fn with_references(content: &[u8], known: &[(Digest, usize)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    let mut rest = content;
    while let [first, after @ ..] = rest {
        if let [TOKEN, what, n, after_token @ ..] = rest
            && let Some((digest, size)) = known.get(usize::from(*n))
            && b"DSB".contains(what)
        {
            match what {
                b'D' => out.extend(digest.to_string().bytes()),
                b'S' => out.extend(size.to_string().bytes()),
                _ => out.extend(digest.as_bytes()),
            }
            rest = after_token;
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

/// The content with what it has of the digests and sizes of these records, by number, as references.
fn refer(content: &[u8], known: &[(Digest, usize)]) -> Vec<u8> {
    let mut content = content.to_vec();
    for (n, (digest, size)) in known.iter().enumerate() {
        let n = u8::try_from(n).expect("a script is short");
        let text = digest.to_string();
        let described = format!("{text}\",\"size\":{size}");
        let reference = [&[TOKEN, b'D', n][..], b"\",\"size\":", &[TOKEN, b'S', n]].concat();
        content = replace(&content, described.as_bytes(), &reference);
        content = replace(&content, text.as_bytes(), &[TOKEN, b'D', n]);
        content = replace(&content, digest.as_bytes(), &[TOKEN, b'B', n]);
    }
    content
}

fn replace(content: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = content;
    while let Some((first, after)) = rest.split_first() {
        match rest.strip_prefix(what) {
            Some(after) => {
                out.extend(with);
                rest = after;
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

/// Appends a file to an archive.
fn put(pack: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut header = Header::new_ustar();
    header.set_path(name).expect("a name is short");
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    header.set_cksum();
    pack.extend(header.as_bytes());
    pack.extend(content);
    pad(pack);
}

fn pad(pack: &mut Vec<u8>) {
    pack.resize(pack.len().next_multiple_of(BLOCK), 0);
}
