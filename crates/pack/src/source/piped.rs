//! A pack from a pipe: taken as it comes, in the order in which packs are written. What is in another one cannot be read.

use std::collections::HashSet;
use std::io::Read;

use format::{Descriptor, Digest};

use super::{Declared, Source, twice};
use crate::archive::{Entries, Entry, Pipe, Stream};
use crate::error::ReadError;
use crate::names::EntryName;

pub(super) struct Piped {
    entries: Entries<Pipe>,
    /// The next entry, once it was looked at.
    next: Option<Option<Entry>>,
    declared: Declared,
    /// The manifest and the blobs that were come to.
    taken: HashSet<Digest>,
}

impl Piped {
    pub(super) fn new(stream: Box<dyn Read + Send>) -> Self {
        let entries = Entries::new(Stream(stream));
        Self { entries, next: None, declared: Declared::default(), taken: HashSet::new() }
    }

    fn advance(&mut self) -> Result<Option<Entry>, ReadError> {
        self.next.take().map_or_else(|| self.entries.next(), Ok)
    }

    fn peek(&mut self) -> Result<Option<Entry>, ReadError> {
        let next = self.advance()?;
        self.next = Some(next.clone());
        Ok(next)
    }

    /// The place of a blob that has not come before.
    fn place_of(&self, entry: &Entry) -> Result<usize, ReadError> {
        match entry.name {
            EntryName::Blob(digest) if self.taken.contains(&digest) => Err(twice(entry.name)),
            _ => self.declared.place_of(entry),
        }
    }
}

impl Source for Piped {
    fn head(&mut self) -> Result<(Vec<u8>, Vec<u8>), ReadError> {
        let (mut layout, mut index) = (None, None);
        loop {
            let missing = match (layout.take(), index.take()) {
                (Some(layout), Some(index)) => return Ok((layout, index)),
                (None, found) => {
                    index = found;
                    EntryName::Layout
                }
                (found, None) => {
                    layout = found;
                    EntryName::Index
                }
            };
            let entry = self.advance()?.ok_or_else(|| ReadError::Lacks(missing.to_string()))?;
            let place = match entry.name {
                EntryName::Layout => &mut layout,
                EntryName::Index => &mut index,
                EntryName::Blob(_) => return Err(ReadError::Order(entry.name.to_string())),
            };
            if place.is_some() {
                return Err(twice(entry.name));
            }
            *place = Some(self.document(&entry)?);
        }
    }

    fn manifest(&mut self, digest: Digest) -> Result<Vec<u8>, ReadError> {
        let name = EntryName::Blob(digest);
        match self.advance()? {
            Some(entry) if entry.name == name => {
                self.taken.insert(digest);
                self.document(&entry)
            }
            Some(entry) => Err(ReadError::Order(entry.name.to_string())),
            None => Err(ReadError::Lacks(name.to_string())),
        }
    }

    fn declare(&mut self, declared: Declared) -> Result<(), ReadError> {
        self.declared = declared;
        Ok(())
    }

    fn has(&self, _: &Digest) -> Option<bool> {
        None
    }

    fn start(&mut self, blob: &Descriptor) -> Result<bool, ReadError> {
        let Some(entry) = self.peek()? else { return Ok(false) };
        if entry.name == EntryName::Blob(blob.digest) {
            self.place_of(&entry)?;
            self.taken.insert(blob.digest);
            self.next = None;
            return Ok(true);
        }
        let wanted = self.declared.0.get(&blob.digest).map_or(usize::MAX, |(place, _)| *place);
        if self.place_of(&entry)? > wanted {
            return Ok(false);
        }
        Err(ReadError::Order(entry.name.to_string()))
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        self.entries.read(buffer)
    }

    fn finish(&mut self) -> Result<(), ReadError> {
        let Some(entry) = self.peek()? else { return Ok(()) };
        self.place_of(&entry)?;
        Err(ReadError::Order(entry.name.to_string()))
    }
}
