//! An image's layers as EROFS images, lowest first.
//!
//! Where an image has more layers than a machine takes, the lowest ones become one: how many depends on their number alone, so
//! that the layers of equal images are equal.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::layer::read_tar;
use super::{Image, ImageError};
use crate::archive::{ArchiveError, Role};
use crate::error::IoContext;
use crate::tree::{self, Allowance, Folder, Spool};
use crate::{Error, Progress, erofs};

/// Makes at most `most` images, at the paths that `path` gives for their numbers.
pub(crate) fn build(
    image: &Image<'_>,
    most: usize,
    work: &Path,
    path: impl Fn(usize) -> PathBuf,
    progress: &dyn Progress,
) -> Result<Vec<PathBuf>, Error> {
    let count = image.layers.len();
    // How many of the lowest become one.
    let merged = count.saturating_sub(most) + 1;
    let wrap = |source| Error::Image { image: image.to_string(), source: Box::new(source) };
    let mut allowance = Allowance::of_an_image();
    let mut spool = Spool::new(work).io("make a file in", work)?;
    let mut below = Folder::new();
    let mut images = Vec::new();
    for number in 0..count {
        progress.stage("layer", &format!("{} of {count}", number + 1));
        let mut layer = image.read_layer(number, &mut spool, &mut allowance, progress).map_err(wrap)?;
        let digest = image.layers.get(number).map_or(image.origin.config, |layer| layer.content);
        let unfit = |source| wrap(ImageError::Layer { number: number + 1, digest, source });
        tree::settle(&mut layer, &below).map_err(unfit)?;
        let target = path(images.len());
        if number + 1 < merged {
            below.cover(layer);
            continue;
        }
        if images.is_empty() {
            // What hides something below is not needed where nothing is.
            below.cover(layer);
            erofs::write(&below, &spool, &target, progress)?;
        } else {
            erofs::write(&layer, &spool, &target, progress)?;
            below.cover(layer);
        }
        images.push(target);
        if number + 1 < count {
            spool = Spool::new(work).io("make a file in", work)?;
        }
    }
    Ok(images)
}

/// Makes one image of a tar archive, compressed or not.
pub(crate) fn build_tar(
    archive: &Path,
    work: &Path,
    target: &Path,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let wrong = |source: ArchiveError| Error::Tar { path: archive.to_owned(), source: Box::new(source) };
    let mut file = File::open(archive).io("open", archive)?;
    let mut spool = Spool::new(work).io("make a file in", work)?;
    let (mut layer, _) = read_tar(&mut file, Role::File, &mut spool, &mut Allowance::of_an_image(), progress)
        .map_err(wrong)?;
    let mut root = Folder::new();
    tree::settle(&mut layer, &root).map_err(wrong)?;
    root.cover(layer);
    erofs::write(&root, &spool, target, progress)
}
