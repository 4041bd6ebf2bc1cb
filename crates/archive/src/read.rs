//! What a copy takes of a tar stream: content, modes, times and links. Owners, attributes and access lists are passed over, as
//! they are when a tree is written.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use tar_stream::{End, Entries, Part, Stream, Time};

use crate::Error;

/// A file, folder or link of a stream. Nothing in it was checked against a destination.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: Kind,
    /// With set-user-id, set-group-id and sticky bits.
    pub(crate) mode: u32,
    pub(crate) time: Time,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its data is to be taken by [`Reader::copy_to`].
    File {
        size: u64,
        parts: Vec<Part>,
    },
    Folder,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    Other(&'static str),
}

impl From<tar_stream::Kind> for Kind {
    fn from(kind: tar_stream::Kind) -> Self {
        use tar_stream::Kind as Found;
        match kind {
            Found::File { size, parts } => Self::File { size, parts },
            Found::Folder => Self::Folder,
            Found::Symlink(target) => Self::Symlink(target),
            Found::HardLink(target) => Self::HardLink(target),
            Found::Fifo => Self::Other("a named pipe"),
            Found::CharacterDevice(..) | Found::BlockDevice(..) => Self::Other("a device"),
            Found::Unknown(_) => Self::Other("of an unknown kind"),
        }
    }
}

/// A stream, up to its end marker: whoever copies may go on with what is behind it.
pub(crate) struct Reader<R>(Entries<Stream<R>>);

impl<R: Read> Reader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self(Entries::new(Stream(input), End::Marked))
    }

    /// The next entry, passing over what was not taken of the last one; `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Error> {
        let Some(entry) = self.0.next_entry()? else { return Ok(None) };
        let tar_stream::Entry { path: name, kind, mode, time, .. } = entry;
        Ok(Some(Entry { name, kind: kind.into(), mode: mode.into(), time }))
    }

    /// Takes the data of the file that was the last entry. `failed` says what was tried when an error is the file's.
    pub(crate) fn copy_to(
        &mut self,
        file: &File,
        parts: &[Part],
        failed: impl Fn(io::Error) -> Error,
    ) -> Result<(), Error> {
        self.0.copy(parts, |bytes, offset| file.write_all_at(bytes, offset).map_err(&failed))
    }
}
