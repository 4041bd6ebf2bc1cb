//! The archives that bases are made of: `tar-stream` reads them, here their entries are judged.
//!
//! What holds of every [`Entry`]: its path is relative to the root, has no `..`, and is bounded in length and depth; so is the path
//! of what a hard link leads to. Nothing here touches a file: a path is a list of names, and what becomes of them is the
//! caller's to say.

use tar_stream::{End, Entries, Input, Part};

mod entry;
mod error;
mod path;

pub(crate) use entry::{Attributes, Entry, Kind, Special};
pub use error::ArchiveError;
pub(crate) use path::{EntryName, EntryPath};
pub(crate) use tar_stream::Time;

/// What an archive is, which decides how strictly it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A layer of an image. A digest says whether it is whole, so its end need not be marked; and kaniko and ko write
    /// absolute names into layers, which mean the image's root there.
    Layer,
    /// A file that somebody made. One that lacks its end is half of one; and names in it are relative, but for that of the root
    /// itself.
    File,
}

/// An archive that is being read.
pub(crate) struct Archive<I> {
    entries: Entries<I>,
    role: Role,
}

impl<I: Input> Archive<I> {
    pub(crate) fn new(input: I, role: Role) -> Self {
        let end = match role {
            Role::Layer => End::Open,
            Role::File => End::Marked,
        };
        Self { entries: Entries::new(input, end), role }
    }

    /// Where the content of the entry that [`Self::next`] gave begins in the archive.
    pub(crate) fn position(&self) -> u64 {
        self.entries.position()
    }

    /// The next entry; what was not read of the content of the one before is passed over.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        self.entries.next_entry()?.map(|entry| Entry::check(entry, self.role)).transpose()
    }

    /// Gives `write` the data of the file that the last entry is, piece by piece, with the place of each in the file.
    pub(crate) fn copy<E: From<tar_stream::Error>>(
        &mut self,
        parts: &[Part],
        write: impl FnMut(&[u8], u64) -> Result<(), E>,
    ) -> Result<(), E> {
        self.entries.copy(parts, write)
    }

    /// Reads what follows the archive's end, so that the input's bytes were all seen: at most [`tar_stream::MAX_FILLING`] bytes.
    pub(crate) fn finish(&mut self) -> Result<(), ArchiveError> {
        self.entries.finish(|| Ok(()))
    }
}

#[cfg(test)]
mod tests;
