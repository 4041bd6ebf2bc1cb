//! Layers that were made before, of this image or another. Who calls this crate has a cache; this crate has none.

use format::Digest;

use crate::stack::LayerFile;

/// Layers of images that were made before.
pub trait MadeLayers {
    /// The one with this [`LayerFile::key`], if it is still there. It stays as it is until the layers are made.
    fn find(&self, key: &Digest) -> Option<LayerFile>;
}

/// None.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLayers;

impl MadeLayers for NoLayers {
    fn find(&self, _: &Digest) -> Option<LayerFile> {
        None
    }
}
