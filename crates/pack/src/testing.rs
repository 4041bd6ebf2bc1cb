//! For fuzzing: what reads the archive that a pack is, without what is in it.

use tar_stream::Stream;

use crate::ReadError;
use crate::archive::Entries;

/// The places and sizes in bytes of the files that a pack's archive has.
///
/// # Errors
/// If it is refused.
pub fn read_archive(archive: &[u8]) -> Result<Vec<(u64, u64)>, ReadError> {
    let mut entries = Entries::new(Stream(archive));
    let mut found = Vec::new();
    while let Some(entry) = entries.next()? {
        found.push((entry.start, entry.size));
    }
    Ok(found)
}
