//! Container images as bases: opened by their manifest and config, read layer by layer.
//!
//! ```text
//! reference   what a recipe says, parsed
//! documents   manifest, index and config, as far as they matter
//! blobs       where the bytes are: a layout folder, an archive, a registry
//! members     the files of such an archive
//! file        one file of this host
//! compression what a file is compressed by
//! registries  how registries are reached: a trait
//! made        layers that were made before: a trait
//! layer       one layer: its blob's digest, unpacking, its own digest
//! watched     a reader that hashes, and stops when it is to
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
use crate::key::{LAYER_VERSION, json_digest};
use crate::recipe::{ImageReference, ImageSource};
use crate::stack::Stack;

mod blobs;
mod compression;
mod documents;
mod error;
mod file;
mod layer;
mod made;
mod members;
mod registries;
mod watched;

use blobs::Blobs;
use documents::ImageConfig;
pub use error::ImageError;
use layer::LayerSource;
pub(crate) use layer::read_tar;
pub use made::{MadeLayers, NoLayers};
pub use registries::{NoRegistries, Registries, RegistryError, RegistryErrorKind};
pub(crate) use watched::Watched;

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
    /// Opens an image.
    pub(crate) fn open(reference: &'a ImageReference, registries: &'a dyn Registries) -> Result<Self, Error> {
        let wrap = |source| Error::Image { image: reference.to_string(), source: Box::new(source) };
        Self::open_reference(reference, registries).map_err(wrap)
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

    /// Puts its layers on an empty stack, as at most `most`. Where it has more, the lowest become one: how many depends on their
    /// number alone, so that the layers of equal images are equal. Those in `made` are taken as they are, from the lowest one on.
    pub(crate) fn stack(
        &self,
        most: usize,
        made: &dyn MadeLayers,
        stack: &mut Stack<'_>,
    ) -> Result<(), Error> {
        let wrap = |source| Error::Image { image: self.to_string(), source: Box::new(source) };
        let count = self.layers.len();
        // How many of the lowest become one.
        let merged = count.saturating_sub(most) + 1;
        let keys = self.keys(merged)?;
        let found: Vec<_> = keys.iter().map_while(|key| made.find(key)).collect();
        let is_there = if found.is_empty() { 0 } else { merged - 1 + found.len() };
        for layer in found {
            stack.push_made(layer)?;
        }
        for (number, layer) in (1..).zip(&self.layers).skip(is_there) {
            stack.progress.stage("layer", &format!("{number} of {count}"));
            let layer = layer.read(number, self, stack).map_err(wrap)?;
            let Some(at) = number.checked_sub(merged) else {
                stack.merge(layer);
                continue;
            };
            stack.push(layer)?;
            if let Some(key) = keys.get(at) {
                stack.name_top(*key);
            }
        }
        Ok(())
    }

    /// What each layer can be found again by, if the lowest `merged` are one: the OCI image specification's chain id, which names it and
    /// all below, and how many are one.
    fn keys(&self, merged: usize) -> Result<Vec<Digest>, Error> {
        let mut chain: Option<Digest> = None;
        let mut keys = Vec::new();
        for (number, layer) in (1..).zip(&self.layers) {
            let id = match chain {
                None => layer.content,
                Some(below) => Digest::of(format!("{below} {}", layer.content).as_bytes()),
            };
            chain = Some(id);
            if number >= merged {
                keys.push(json_digest(&(LAYER_VERSION, id, merged))?);
            }
        }
        Ok(keys)
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
