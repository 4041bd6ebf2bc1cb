//! For fuzzing: what reads archives, without what is made of them.

use std::path::Path;

use tar_stream::Stream;

use crate::Silent;
use crate::archive::{Archive, Role};
use crate::tree::{self, Allowance, Folder, LayerError, MAX_SIZE, Reading, Spool};

/// Reads a tar archive that is a base (`tar = …`), with content put aside in `folder`.
///
/// # Errors
/// If it is refused.
pub fn read_base(archive: &[u8], folder: &Path) -> Result<(), LayerError> {
    read(archive, Role::File, folder)
}

/// Reads a tar archive that is a layer of an image, with content put aside in `folder`.
///
/// # Errors
/// If it is refused.
pub fn read_layer(archive: &[u8], folder: &Path) -> Result<(), LayerError> {
    read(archive, Role::Layer, folder)
}

fn read(archive: &[u8], role: Role, folder: &Path) -> Result<(), LayerError> {
    let mut spool = Spool::new(folder).map_err(LayerError::Write)?;
    let mut archive = Archive::new(Stream(archive), role);
    let (mut below, mut allowance) = (Folder::new(), Allowance::new(MAX_SIZE));
    let mut layer =
        Reading { below: &below, spool: &mut spool, allowance: &mut allowance, progress: &Silent }
            .read(&mut archive)?;
    archive.finish()?;
    tree::settle(&mut layer, &below, &mut allowance)?;
    below.cover(layer);
    Ok(())
}
