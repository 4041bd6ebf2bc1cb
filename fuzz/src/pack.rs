//! Packs for the target that reads them whole.
//!
//! In a pack everything is named by its digest, from the frames up to the index, so that nearly every change to one ends at the
//! first comparison. What is fuzzed is therefore a script, of which a pack is made whose names, lengths, digests and sums are right:
//!
//! ```text
//! kind  rank  length (u16, little-endian)  content        one record after another, what others refer to first
//! ```
//!
//! Entries come in the order of their ranks, those of one rank in that of the script. In a content, `FF 'D' n` stands for the digest of
//! record `n`, one of those before it; `FF 'S' n` for its size; `FF 'B' n` for the digest's 32 bytes.

use format::Digest;
use tar::{EntryType, Header};

use crate::tar::{BLOCK, with_right_sums};

const TOKEN: u8 = 0xFF;

/// What a record becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A file with the name of its digest.
    Blob = 0,
    /// `oci-layout`
    Layout = 1,
    /// `index.json`
    Index = 2,
    /// A blob that others may refer to and the pack lacks.
    Absent = 3,
    /// Part of the archive as it is, but for the sums of headers; in whole blocks.
    Raw = 4,
    /// Its first two bytes say how many bytes the archive lacks at its end.
    Cut = 5,
}

const KINDS: [Kind; 6] = [Kind::Blob, Kind::Layout, Kind::Index, Kind::Absent, Kind::Raw, Kind::Cut];

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

/// The pack that a script describes.
pub fn assemble(script: &[u8]) -> Vec<u8> {
    let mut records = records(script);
    let mut known: Vec<(Digest, usize)> = Vec::new();
    for record in &mut records {
        record.content = with_references(&record.content, &known);
        known.push((Digest::of(&record.content), record.content.len()));
    }
    let mut order: Vec<_> = records.iter().zip(&known).collect();
    order.sort_by_key(|(record, _)| record.rank);
    let (mut pack, mut cut) = (Vec::new(), 0);
    for (record, (digest, _)) in order {
        match record.kind {
            Kind::Blob => put(&mut pack, &format!("blobs/sha256/{}", digest.hex()), &record.content),
            Kind::Layout => put(&mut pack, "oci-layout", &record.content),
            Kind::Index => put(&mut pack, "index.json", &record.content),
            Kind::Absent => {}
            Kind::Raw => {
                pack.extend(with_right_sums(&record.content));
                pad(&mut pack);
            }
            Kind::Cut => {
                let bytes = [0, 1].map(|at| record.content.get(at).copied().unwrap_or(0));
                cut = usize::from(u16::from_le_bytes(bytes));
            }
        }
    }
    pack.extend([0; 2 * BLOCK]);
    pack.truncate(pack.len().saturating_sub(cut));
    pack
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
pub fn refer(content: &[u8], known: &[(Digest, usize)]) -> Vec<u8> {
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
