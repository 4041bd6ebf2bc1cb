//! Archives as a test wants them, header by header.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "for tests, each of which uses some of it"
)]

use tar::{EntryType, Header};
use tar_stream::{End, Entries, Entry, Error, Kind, Stream, pax};

/// An archive that is being made.
#[derive(Clone, Default)]
pub(crate) struct Archive(pub(crate) Vec<u8>);

impl Archive {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A header whose checksum is right, after `change` has changed it, and content.
    pub(crate) fn entry(
        mut self,
        kind: EntryType,
        path: &[u8],
        content: &[u8],
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..path.len()].copy_from_slice(path);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        change(&mut header);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, path: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, path.as_bytes(), content, |_| ())
    }

    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.described(EntryType::XHeader, records)
    }

    pub(crate) fn global(self, records: &[(&str, &[u8])]) -> Self {
        self.described(EntryType::XGlobalHeader, records)
    }

    fn described(self, kind: EntryType, records: &[(&str, &[u8])]) -> Self {
        let mut text = Vec::new();
        records.iter().for_each(|(key, value)| pax::push(&mut text, key, value));
        self.entry(kind, b"PaxHeaders/x", &text, |_| ())
    }

    /// A file in GNU's format 1.0, of data at these places.
    pub(crate) fn sparse(self, path: &str, size: u64, map: &str, data: &[u8]) -> Self {
        let size = size.to_string();
        let records = [
            ("GNU.sparse.major", &b"1"[..]),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", path.as_bytes()),
            ("GNU.sparse.realsize", size.as_bytes()),
        ];
        let mut content = map.as_bytes().to_vec();
        content.resize(content.len().next_multiple_of(512), 0);
        content.extend(data);
        self.pax(&records).file("GNUSparseFile.0/x", &content)
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

/// An entry, and what its file holds, holes included.
pub(crate) type Found = (Entry, Vec<u8>);

/// All entries of an archive.
pub(crate) fn read(bytes: &[u8], end: End) -> Result<Vec<Found>, Error> {
    let mut entries = Entries::new(Stream(bytes), end);
    let mut found = Vec::new();
    while let Some(entry) = entries.next_entry()? {
        let mut content = Vec::new();
        if let Kind::File { size, parts } = &entry.kind {
            content.resize(usize::try_from(*size).unwrap(), 0);
            entries.copy(parts, |bytes, offset| {
                let offset = usize::try_from(offset).unwrap();
                content[offset..][..bytes.len()].copy_from_slice(bytes);
                Ok::<_, Error>(())
            })?;
        }
        found.push((entry, content));
    }
    entries.finish(|| Ok::<_, Error>(()))?;
    Ok(found)
}

/// Reads an archive and keeps nothing of it.
pub(crate) fn pass_over(bytes: &[u8], end: End) -> Result<(), Error> {
    let mut entries = Entries::new(Stream(bytes), end);
    while let Some(entry) = entries.next_entry()? {
        if let Kind::File { parts, .. } = &entry.kind {
            entries.copy(parts, |_, _| Ok::<_, Error>(()))?;
        }
    }
    entries.finish(|| Ok(()))
}

/// Gives every block that looks like a header a right checksum, so that what is in it is looked at.
pub(crate) fn fix_sums(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        let mut header = Header::from_byte_slice(block).clone();
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
    }
}
