//! A pack in a file: all headers are read first, so that its order does not matter.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use format::{Descriptor, Digest};

use super::{Declared, Source, twice};
use crate::archive::{Entries, Entry, FileInput};
use crate::error::ReadError;
use crate::names::EntryName;

pub(super) struct Seekable {
    file: File,
    entries: HashMap<EntryName, Entry>,
    manifest: Option<Digest>,
    /// Where what was come to goes on, and its bytes that are left.
    at: u64,
    left: u64,
}

impl Seekable {
    pub(super) fn open(file: File) -> Result<Self, ReadError> {
        let mut found = HashMap::new();
        let mut entries = Entries::new(FileInput::new(&file)?);
        while let Some(entry) = entries.next()? {
            if found.insert(entry.name, entry.clone()).is_some() {
                return Err(twice(entry.name));
            }
        }
        Ok(Self { file, entries: found, manifest: None, at: 0, left: 0 })
    }

    fn go_to(&mut self, name: EntryName) -> Option<Entry> {
        let entry = self.entries.get(&name).cloned()?;
        (self.at, self.left) = (entry.start, entry.size);
        Some(entry)
    }

    fn whole(&mut self, name: EntryName) -> Result<Vec<u8>, ReadError> {
        let entry = self.go_to(name).ok_or_else(|| ReadError::Lacks(name.to_string()))?;
        self.document(&entry)
    }
}

impl Source for Seekable {
    fn head(&mut self) -> Result<(Vec<u8>, Vec<u8>), ReadError> {
        Ok((self.whole(EntryName::Layout)?, self.whole(EntryName::Index)?))
    }

    fn manifest(&mut self, digest: Digest) -> Result<Vec<u8>, ReadError> {
        self.manifest = Some(digest);
        self.whole(EntryName::Blob(digest))
    }

    fn declare(&mut self, declared: Declared) -> Result<(), ReadError> {
        let is_blob = |entry: &&Entry| match entry.name {
            EntryName::Blob(digest) => self.manifest != Some(digest),
            EntryName::Layout | EntryName::Index => false,
        };
        self.entries.values().filter(is_blob).try_for_each(|entry| declared.place_of(entry).map(drop))
    }

    fn has(&self, digest: &Digest) -> Option<bool> {
        Some(self.entries.contains_key(&EntryName::Blob(*digest)))
    }

    fn start(&mut self, blob: &Descriptor) -> Result<bool, ReadError> {
        Ok(self.go_to(EntryName::Blob(blob.digest)).is_some())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let length = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let Some(wanted) = buffer.get_mut(..length).filter(|wanted| !wanted.is_empty()) else { return Ok(0) };
        let read = loop {
            match self.file.read_at(wanted, self.at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // All of it was there when the headers were read.
                Ok(0) => return Err(ReadError::CutShort { at: self.at, during: "a blob".to_owned() }),
                read => break read? as u64,
            }
        };
        (self.at, self.left) = (self.at + read, self.left - read);
        usize::try_from(read).map_err(|error| io::Error::other(error).into())
    }

    fn finish(&mut self) -> Result<(), ReadError> {
        Ok(())
    }
}
