//! For fuzzing: what reads archives, without what is made of them.

use std::path::Path;

use tar_stream::Stream;

use crate::Silent;
use crate::archive::{Archive, ArchiveError, Role};
use crate::tree::{self, Allowance, Folder, Spool};

/// Reads a tar archive that is a base (`tar = …`), with content put aside in `folder`.
///
/// # Errors
/// If it is refused.
pub fn read_base(archive: &[u8], folder: &Path) -> Result<(), ArchiveError> {
    read(archive, Role::File, folder)
}

/// Reads a tar archive that is a layer of an image, with content put aside in `folder`.
///
/// # Errors
/// If it is refused.
pub fn read_layer(archive: &[u8], folder: &Path) -> Result<(), ArchiveError> {
    read(archive, Role::Layer, folder)
}

fn read(archive: &[u8], role: Role, folder: &Path) -> Result<(), ArchiveError> {
    let mut spool = Spool::new(folder).map_err(ArchiveError::Write)?;
    let mut archive = Archive::new(Stream(archive), role);
    let mut layer = tree::read(&mut archive, &mut spool, &mut Allowance::of_an_image(), &Silent)?;
    archive.finish(|| Ok(()))?;
    let mut below = Folder::new();
    tree::settle(&mut layer, &below)?;
    below.cover(layer);
    Ok(())
}
