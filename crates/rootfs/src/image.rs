//! Container images as bases: opened by their manifest and config, read layer by layer.
//!
//! ```text
//! reference   what a recipe says, parsed
//! documents   manifest, index and config, as far as they matter
//! blobs       where the bytes are: a layout folder, an archive, a registry
//! members     the files of such an archive
//! registries  how registries are reached: a trait
//! layer       one layer: its blob's digest, unpacking, its own digest
//! stack       all layers: trees, whiteouts, at most so many EROFS images
//! ```
//!
//! Invariants:
//! - Nothing is believed. Documents are bounded and hashed, a layer's blob is hashed as it arrives, and so is what it unpacks
//!   to: an image whose layers are not what its config says is refused.
//! - The bytes of layers are a function of what the image's layers unpack to, and of how many layers there may be: an image is
//!   the same from a registry, a folder and an archive, and so is one whose blobs were compressed otherwise.
//! - A tag is resolved once, when the image is opened.

use std::collections::BTreeMap;
use std::fmt;

use format::Digest;

use crate::Error;
use crate::recipe::{Base, ImageReference, ImageSource, Recipe};

mod blobs;
mod documents;
mod error;
mod layer;
mod members;
mod registries;
mod stack;

use blobs::Blobs;
use documents::ImageConfig;
pub use error::ImageError;
use layer::LayerSource;
pub use registries::{NoRegistries, Registries};
pub(crate) use stack::{build, build_tar};

/// A container image, opened: what it consists of is known, and nothing but its manifest and its config was read.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    /// What the recipe says, for errors.
    name: String,
    origin: ImageOrigin,
    defaults: ImageDefaults,
    /// Lowest first.
    layers: Vec<LayerSource>,
    blobs: Blobs<'a>,
}

/// What a base was made from, for provenance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageOrigin {
    /// Where it was said to be, as recipes say it.
    pub reference: String,
    /// The digest of its manifest, which `docker save` does not keep.
    pub manifest: Option<Digest>,
    /// The digest of its config, which names its layers: what docker calls the image's id.
    pub config: Digest,
}

/// What an image says of the processes in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageDefaults {
    /// `USER`: a name or number, with a group behind a colon if it has one.
    pub user: Option<String>,
    /// `WORKDIR`, absolute.
    pub cwd: Option<String>,
    /// `ENV`.
    pub env: BTreeMap<String, String>,
    /// `ENTRYPOINT` and then `CMD`; empty if there are neither.
    pub command: Vec<String>,
}

impl<'a> Image<'a> {
    /// Opens the image that a recipe's base is; `None` if it is something else.
    pub(crate) fn open(recipe: &'a Recipe, registries: &'a dyn Registries) -> Result<Option<Self>, Error> {
        let Base::Image(reference) = &recipe.base else { return Ok(None) };
        let wrap = |source| Error::Image { image: reference.to_string(), source: Box::new(source) };
        Self::open_reference(reference, registries).map(Some).map_err(wrap)
    }

    fn open_reference(
        reference: &'a ImageReference,
        registries: &'a dyn Registries,
    ) -> Result<Self, ImageError> {
        let (blobs, found) = match &reference.source {
            ImageSource::Layout { folder, tag } => blobs::layout(folder.absolute(), tag.as_deref())?,
            ImageSource::OciArchive { file, tag } => blobs::oci_archive(file.absolute(), tag.as_deref())?,
            ImageSource::DockerArchive { file, name } => {
                blobs::docker_archive(file.absolute(), name.as_deref())?
            }
            ImageSource::Registry(image) => blobs::registry(image, registries)?,
        };
        let config = ImageConfig::parse(&found.config)?;
        let layers = LayerSource::pair(found.layers, &config)?;
        let config_digest = Digest::of(&found.config);
        Ok(Self {
            name: reference.to_string(),
            origin: ImageOrigin {
                reference: reference.to_string(),
                manifest: found.manifest,
                config: config_digest,
            },
            defaults: config.defaults()?,
            layers,
            blobs,
        })
    }

    /// What it is.
    pub(crate) fn origin(&self) -> &ImageOrigin {
        &self.origin
    }

    /// What it says of the processes in it.
    pub(crate) fn defaults(&self) -> &ImageDefaults {
        &self.defaults
    }
}

impl fmt::Display for Image<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)
    }
}

/// What an image was found to be made of.
struct Found {
    manifest: Option<Digest>,
    config: Vec<u8>,
    layers: Vec<blobs::Location>,
}
