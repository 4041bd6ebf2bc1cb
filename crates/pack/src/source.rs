//! A pack that is read. What comes from a pipe is taken as it comes, in the order in which packs are written; in a file all
//! headers are read first, so that its order does not matter.
//!
//! ```text
//! head ──▶ manifest ──▶ declare ──▶ open, read … (each blob of the manifest, in a pack's order) ──▶ finish
//! ```

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use format::{Descriptor, Digest, Manifest, limits};

use crate::archive::{Entries, Entry, FileTape, Stream};
use crate::error::ReadError;
use crate::names::{EntryName, LAYOUT_BYTES};
use crate::plan::in_order;

/// Where a pack is read from.
pub enum Input {
    /// Bytes that come once.
    Stream(Box<dyn Read + Send>),
    /// A regular file.
    File(File),
}

impl std::fmt::Debug for Input {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Stream(_) => "Stream",
            Self::File(_) => "File",
        })
    }
}

/// A pack.
#[derive(Debug)]
pub(crate) struct Source {
    bytes: Bytes,
    /// Place in a pack's order, and bytes, of each blob that the manifest declares.
    declared: HashMap<Digest, (usize, u64)>,
    manifest: Option<Digest>,
}

enum Bytes {
    Stream {
        entries: Entries<Stream>,
        /// The next entry, once it was looked at.
        next: Option<Option<Entry>>,
        taken: HashSet<Digest>,
    },
    File {
        file: File,
        found: HashMap<EntryName, Entry>,
        /// Where the current blob goes on, and its bytes that are left.
        current: (u64, u64),
    },
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(if matches!(self, Self::Stream { .. }) { "Stream" } else { "File" })
    }
}

impl Source {
    /// Of a file all headers are read.
    pub(crate) fn open(input: Input) -> Result<Self, ReadError> {
        let bytes = match input {
            Input::Stream(stream) => {
                Bytes::Stream { entries: Entries::new(Stream(stream)), next: None, taken: HashSet::new() }
            }
            Input::File(file) => {
                let mut found = HashMap::new();
                let end = file.metadata()?.len();
                let mut entries = Entries::new(FileTape { file: &file, at: 0, end });
                while let Some(entry) = entries.next()? {
                    if found.insert(entry.name, entry.clone()).is_some() {
                        return Err(twice(entry.name));
                    }
                }
                Bytes::File { file, found, current: (0, 0) }
            }
        };
        Ok(Self { bytes, declared: HashMap::new(), manifest: None })
    }

    /// `oci-layout` and `index.json`, in whole.
    pub(crate) fn head(&mut self) -> Result<(Vec<u8>, Vec<u8>), ReadError> {
        if let Bytes::File { .. } = self.bytes {
            return Ok((self.named(EntryName::Layout)?, self.named(EntryName::Index)?));
        }
        let (mut layout, mut index) = (None, None);
        loop {
            if let (Some(layout), Some(index)) = (&mut layout, &mut index) {
                return Ok((std::mem::take(layout), std::mem::take(index)));
            }
            let missing = if layout.is_none() { EntryName::Layout } else { EntryName::Index };
            let entry = self.advance()?.ok_or_else(|| ReadError::Lacks(missing.to_string()))?;
            let place = match entry.name {
                EntryName::Layout => &mut layout,
                EntryName::Index => &mut index,
                EntryName::Blob(_) => return Err(ReadError::Order(entry.name.to_string())),
            };
            if place.is_some() {
                return Err(twice(entry.name));
            }
            *place = Some(self.small(&entry)?);
        }
    }

    /// The manifest, in whole.
    pub(crate) fn manifest(&mut self, digest: Digest) -> Result<Vec<u8>, ReadError> {
        self.manifest = Some(digest);
        let name = EntryName::Blob(digest);
        if let Bytes::File { .. } = self.bytes {
            return self.named(name);
        }
        match self.advance()? {
            Some(entry) if entry.name == name => self.small(&entry),
            Some(entry) => Err(ReadError::Order(entry.name.to_string())),
            None => Err(ReadError::Lacks(name.to_string())),
        }
    }

    /// Says which blobs there may be.
    pub(crate) fn declare(&mut self, manifest: &Manifest) -> Result<(), ReadError> {
        let blobs = in_order(manifest).enumerate();
        self.declared = blobs.map(|(place, blob)| (blob.digest, (place, blob.size))).collect();
        let Bytes::File { found, .. } = &self.bytes else { return Ok(()) };
        for entry in found.values() {
            match entry.name {
                EntryName::Blob(digest) if self.manifest != Some(digest) => drop(self.place_of(entry)?),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether it is known already that the pack has not this blob. From a pipe nothing is.
    pub(crate) fn lacks(&self, digest: &Digest) -> bool {
        match &self.bytes {
            Bytes::Stream { .. } => false,
            Bytes::File { found, .. } => !found.contains_key(&EntryName::Blob(*digest)),
        }
    }

    /// Goes to a blob's first byte; `false` if the pack has it not. Blobs are to be opened in a pack's order.
    pub(crate) fn start(&mut self, blob: &Descriptor) -> Result<bool, ReadError> {
        if let Bytes::File { found, current, .. } = &mut self.bytes {
            let entry = found.get(&EntryName::Blob(blob.digest));
            *current = entry.map_or((0, 0), |entry| (entry.start, entry.size));
            return Ok(entry.is_some());
        }
        let Some(entry) = self.peek()? else { return Ok(false) };
        let wanted = self.declared.get(&blob.digest).map_or(usize::MAX, |(place, _)| *place);
        match self.place_of(&entry)? {
            place if place > wanted => Ok(false),
            place if place < wanted => Err(ReadError::Order(entry.name.to_string())),
            _ => {
                self.advance()?;
                if let Bytes::Stream { taken, .. } = &mut self.bytes {
                    taken.insert(blob.digest);
                }
                Ok(true)
            }
        }
    }

    /// Reads on in the current blob; 0 at its end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        match &mut self.bytes {
            Bytes::Stream { entries, .. } => entries.read(buffer),
            Bytes::File { file, current: (at, left), .. } => {
                let length = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                let wanted = buffer.get_mut(..length).unwrap_or_default();
                if wanted.is_empty() {
                    return Ok(0);
                }
                let length = read_at(file, wanted, *at)?;
                if length == 0 {
                    return Err(ReadError::CutShort { at: *at, during: "a blob".to_owned() });
                }
                (*at, *left) = (*at + length as u64, left.saturating_sub(length as u64));
                Ok(length)
            }
        }
    }

    /// Nothing may be left.
    pub(crate) fn finish(&mut self) -> Result<(), ReadError> {
        if let Bytes::File { .. } = self.bytes {
            return Ok(());
        }
        let Some(entry) = self.peek()? else { return Ok(()) };
        self.place_of(&entry)?;
        Err(ReadError::Order(entry.name.to_string()))
    }

    /// The place of a blob in a pack's order. What comes twice, or is not declared so, has none.
    fn place_of(&self, entry: &Entry) -> Result<usize, ReadError> {
        let EntryName::Blob(digest) = entry.name else { return Err(twice(entry.name)) };
        let is_taken = match &self.bytes {
            Bytes::Stream { taken, .. } => taken.contains(&digest) || self.manifest == Some(digest),
            Bytes::File { .. } => false,
        };
        let refused = |reason| ReadError::entry(&entry.name.to_string(), reason);
        match self.declared.get(&digest) {
            _ if is_taken => Err(twice(entry.name)),
            None => Err(refused("the manifest does not declare it".to_owned())),
            Some((_, size)) if *size != entry.size => {
                Err(refused(format!("it has {} bytes: the manifest declares {size}", entry.size)))
            }
            Some((place, _)) => Ok(*place),
        }
    }

    fn peek(&mut self) -> Result<Option<Entry>, ReadError> {
        let next = self.advance()?;
        if let Bytes::Stream { next: kept, .. } = &mut self.bytes {
            *kept = Some(next.clone());
        }
        Ok(next)
    }

    fn advance(&mut self) -> Result<Option<Entry>, ReadError> {
        match &mut self.bytes {
            Bytes::Stream { entries, next, .. } => next.take().map_or_else(|| entries.next(), Ok),
            Bytes::File { .. } => Ok(None),
        }
    }

    fn named(&mut self, name: EntryName) -> Result<Vec<u8>, ReadError> {
        let Bytes::File { found, current, .. } = &mut self.bytes else { return Ok(Vec::new()) };
        let entry = found.get(&name).cloned().ok_or_else(|| ReadError::Lacks(name.to_string()))?;
        *current = (entry.start, entry.size);
        self.small(&entry)
    }

    /// All of the entry that was just come to.
    fn small(&mut self, entry: &Entry) -> Result<Vec<u8>, ReadError> {
        let limit = match entry.name {
            EntryName::Layout => LAYOUT_BYTES,
            EntryName::Index | EntryName::Blob(_) => limits::MANIFEST_BYTES as u64,
        };
        if entry.size > limit {
            let reason = format!("it has {} bytes: at most {limit} are allowed", entry.size);
            return Err(ReadError::entry(&entry.name.to_string(), reason));
        }
        self.all(entry.size)
    }

    /// The `size` bytes, which the caller has bounded, of what was just come to.
    pub(crate) fn all(&mut self, size: u64) -> Result<Vec<u8>, ReadError> {
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        let mut filled = 0;
        loop {
            let length = self.read(bytes.get_mut(filled..).unwrap_or_default())?;
            filled += length;
            if length == 0 {
                return Ok(bytes);
            }
        }
    }
}

fn twice(name: EntryName) -> ReadError {
    ReadError::entry(&name.to_string(), "it comes twice")
}

fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
