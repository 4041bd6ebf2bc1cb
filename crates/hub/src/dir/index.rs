//! The file `index.json`, by which tools of OCI layouts find tags. Spore writes it here, and reads it through web
//! servers alone.

use super::file::{self, DirError};
use super::writable::Writable;
use crate::image_index::{Entry, ImageIndex};

const INDEX_FILE: &str = "index.json";

/// The index of a hub without tags, where there is none: no OCI layout is without one.
pub(super) fn begin(hub: &Writable) -> Result<(), DirError> {
    let locked = hub.names()?;
    locked.lock()?;
    if file::size(&hub.root().path().join(INDEX_FILE))?.is_some() {
        return Ok(());
    }
    place(hub, Vec::new())
}

/// Puts one with these entries in the place of whatever is there.
pub(super) fn place(hub: &Writable, entries: Vec<Entry>) -> Result<(), DirError> {
    let path = hub.root().path().join(INDEX_FILE);
    let bytes = ImageIndex::new(entries).encode().map_err(|error| DirError::io("encode", &path, error))?;
    let mut temp = hub.temp_file()?;
    temp.append(&bytes)?;
    temp.place(hub.root(), INDEX_FILE)
}
