//! A pack that is read, from a pipe or from a file.
//!
//! ```text
//! head ──▶ manifest ──▶ declare ──▶ start, read … (each blob of the manifest, in a pack's order) ──▶ finish
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

use format::{Descriptor, Digest, Manifest, limits};

use crate::archive::Entry;
use crate::error::ReadError;
use crate::names::{EntryName, LAYOUT_BYTES};
use crate::plan::in_order;

mod piped;
mod seekable;

use piped::Piped;
use seekable::Seekable;

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

/// A pack. What is called is called in the order that is drawn above.
pub(crate) trait Source {
    /// `oci-layout` and `index.json`, in whole.
    fn head(&mut self) -> Result<(Vec<u8>, Vec<u8>), ReadError>;

    /// The manifest, in whole.
    fn manifest(&mut self, digest: Digest) -> Result<Vec<u8>, ReadError>;

    /// Says which blobs there may be.
    fn declare(&mut self, declared: Declared) -> Result<(), ReadError>;

    /// Whether the pack has this blob, if that is known before it is come to.
    fn has(&self, digest: &Digest) -> Option<bool>;

    /// Goes to a blob's first byte; `false` if the pack has it not.
    fn start(&mut self, blob: &Descriptor) -> Result<bool, ReadError>;

    /// Reads on in what was come to; 0 at its end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError>;

    /// Nothing may be left.
    fn finish(&mut self) -> Result<(), ReadError>;

    /// The `size` bytes, which the caller has bounded, of what was just come to.
    fn all(&mut self, size: u64) -> Result<Vec<u8>, ReadError> {
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

    /// All of an entry that was just come to, and is no blob but the manifest.
    fn document(&mut self, entry: &Entry) -> Result<Vec<u8>, ReadError> {
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
}

/// Of a file all headers are read.
pub(crate) fn open(input: Input) -> Result<Box<dyn Source>, ReadError> {
    Ok(match input {
        Input::Stream(stream) => Box::new(Piped::new(stream)),
        Input::File(file) => Box::new(Seekable::open(file)?),
    })
}

/// What a manifest says of the entries that may follow it.
#[derive(Debug, Default)]
pub(crate) struct Declared(HashMap<Digest, (usize, u64)>);

impl Declared {
    pub(crate) fn by(manifest: &Manifest) -> Self {
        let blobs = in_order(manifest).enumerate();
        Self(blobs.map(|(place, blob)| (blob.digest, (place, blob.size))).collect())
    }

    /// The place of an entry in a pack's order, if it is a blob that was declared, of this size.
    fn place_of(&self, entry: &Entry) -> Result<usize, ReadError> {
        let refused = |reason| ReadError::entry(&entry.name.to_string(), reason);
        let EntryName::Blob(digest) = entry.name else { return Err(twice(entry.name)) };
        match self.0.get(&digest) {
            Some((place, size)) if *size == entry.size => Ok(*place),
            Some((_, size)) => {
                Err(refused(format!("it has {} bytes: the manifest declares {size}", entry.size)))
            }
            None => Err(refused("the manifest does not declare it".to_owned())),
        }
    }
}

fn twice(name: EntryName) -> ReadError {
    ReadError::entry(&name.to_string(), "it comes twice")
}
