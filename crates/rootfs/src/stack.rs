//! The layers of a base while they are made, lowest first, and what they look like together.

use std::fs::File;
use std::path::{Path, PathBuf};

use format::Digest;

use crate::error::IoContext;
use crate::tree::{self, Allowance, Folder, LayerError, Reading, Spool};
use crate::{Error, Progress, erofs};

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerFile {
    /// The EROFS image.
    pub path: PathBuf,
    /// The digest of its bytes, which is the layer's identity.
    pub digest: Digest,
    /// Its size in bytes, a multiple of 4096.
    pub size: u64,
    /// What equal layers of other images on the same layers have in common; of images only.
    pub key: Option<Digest>,
    /// Whether it was made just now, in the caller's folder. Otherwise it is one of [`MadeLayers`](crate::MadeLayers).
    pub is_new: bool,
}

/// Layers so far. What they hold is bounded together.
pub(crate) struct Stack<'a> {
    folder: &'a Path,
    pub(crate) spool: Spool,
    pub(crate) allowance: Allowance,
    /// All layers on top of one another.
    pub(crate) below: Folder,
    layers: Vec<LayerFile>,
    pub(crate) progress: &'a dyn Progress,
}

impl<'a> Stack<'a> {
    /// None, of a base that may unpack to `max_size` bytes. Images and what else is needed on the way go into `folder`.
    pub(crate) fn new(folder: &'a Path, max_size: u64, progress: &'a dyn Progress) -> Result<Self, Error> {
        Ok(Self {
            folder,
            spool: Spool::new(folder).io("make a file in", folder)?,
            allowance: Allowance::new(max_size),
            below: Folder::new(),
            layers: Vec::new(),
            progress,
        })
    }

    /// How the next layer is read.
    pub(crate) fn reading(&mut self) -> Reading<'_> {
        let Self { spool, allowance, below, progress, .. } = self;
        Reading { below, spool, allowance, progress: *progress }
    }

    /// Completes a layer by those below.
    pub(crate) fn settle(&mut self, layer: &mut Folder) -> Result<(), LayerError> {
        tree::settle(layer, &self.below, &mut self.allowance)
    }

    /// Puts a settled layer on top that becomes one image with the next.
    pub(crate) fn merge(&mut self, layer: Folder) {
        self.below.cover(layer);
        self.allowance.count_again(&self.below);
    }

    /// Puts a settled layer on top.
    pub(crate) fn push(&mut self, layer: Folder) -> Result<(), Error> {
        let path = self.folder.join(format!("layer-{:02}.erofs", self.layers.len()));
        let Self { spool, progress, .. } = self;
        let (digest, size) = if self.layers.is_empty() {
            // What hides something below is not needed where nothing is.
            self.below.cover(layer);
            erofs::write(&self.below, spool, &path, *progress)?
        } else {
            let written = erofs::write(&layer, spool, &path, *progress)?;
            self.below.cover(layer);
            written
        };
        self.allowance.count_again(&self.below);
        self.layers.push(LayerFile { path, digest, size, key: None, is_new: true });
        Ok(())
    }

    /// Puts a layer on top that was made before, on the same layers.
    pub(crate) fn push_made(&mut self, layer: LayerFile) -> Result<(), Error> {
        let file = File::open(&layer.path).io("open", &layer.path)?;
        let number = self.spool.next_image().io("read", &layer.path)?;
        let tree = erofs::read(&file, number).io("read", &layer.path)?;
        self.spool.add_image(file).io("read", &layer.path)?;
        self.merge(tree);
        self.layers.push(layer);
        Ok(())
    }

    /// Says by what the uppermost layer can be found again.
    pub(crate) fn name_top(&mut self, key: Digest) {
        if let Some(top) = self.layers.last_mut() {
            top.key = Some(key);
        }
    }

    /// All of them.
    pub(crate) fn finish(self) -> Vec<LayerFile> {
        self.layers
    }
}
