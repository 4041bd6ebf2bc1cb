//! Layers and kernels, which are expensive and the same each time: made once and kept in the store's cache.
//!
//! A base's entry is written last and names layers by digest; if what it names has gone, it is made again. A kernel's entry
//! is a folder with all that belongs to it, which appears whole.

use std::fs;
use std::path::Path;

use format::Digest;
use rootfs::{
    BaseImage, BaseSource, ImageDefaults, ImageOrigin, Kernel, LayerFile, MadeLayers, Package, Progress,
};
use serde::{Deserialize, Serialize};
use store::{FlatKey, Lease, Lock, LockKey, Store};

use super::Bake;
use crate::Error;
use crate::error::At;

/// The groups of the cache.
const BASES: &str = "bases";
const KERNELS: &str = "kernels";
const LAYERS: &str = "layers";

/// A base as the cache remembers it. The store keeps the layers that `layers` names.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Base {
    /// Lowest first.
    pub(super) layers: Vec<Digest>,
    /// Bytes of each.
    pub(super) sizes: Vec<u64>,
    pub(super) packages: Vec<Package>,
    pub(super) tools: Vec<(String, String)>,
    /// What is known of the image that it is made of, if it is one, each time from the image itself: equal layers come from
    /// images of many names.
    #[serde(skip)]
    pub(super) image: Option<ImageOrigin>,
    #[serde(skip)]
    pub(super) defaults: ImageDefaults,
}

/// The layers of a recipe, laid out flat.
pub(super) fn layers(bake: &Bake<'_>, lease: &Lease) -> Result<Base, Error> {
    let Bake { store, recipe, options, progress, .. } = *bake;
    let source = BaseSource::open(recipe, options.registries)?;
    let (image, defaults) = (source.image().cloned(), source.defaults());
    let key = source.key()?;
    let _held = store
        .lock(LockKey::Object(key), &mut || progress.stage("base", "another bake makes the same base"))?;
    let entry = format!("{}.json", key.hex());
    if !options.refresh
        && let Some(base) = read::<Base>(&store.cache_entry(BASES, &entry))?
        && protect(store, lease, &base)?
    {
        progress.stage("base", "cached");
        return Ok(Base { image, defaults, ..base });
    }
    progress.stage("base", "making layers");
    let work = store.work_folder()?;
    let until_interrupted = UntilInterrupted(bake);
    let made = Made { bake, lease };
    let BaseImage { layers, packages, tools } =
        source.build(&options.mirrors, options.max_base, &made, work.path(), &until_interrupted)?;
    for layer in layers.iter().filter(|layer| layer.is_new) {
        store.place_layer(lease, &layer.digest, &layer.path)?;
        if let Some(key) = layer.key {
            let entry = LayerEntry { digest: layer.digest, size: layer.size };
            store.write_cache_entry(LAYERS, &layer_entry(&key), &encode(&entry, LAYERS)?)?;
        }
    }
    let base = Base {
        layers: layers.iter().map(|layer| layer.digest).collect(),
        sizes: layers.iter().map(|layer| layer.size).collect(),
        packages,
        tools: tools.into_iter().map(|tool| (tool.name, tool.version)).collect(),
        image,
        defaults,
    };
    store.write_cache_entry(BASES, &entry, &encode(&base, &entry)?)?;
    Ok(base)
}

/// Hears of stages as the bake does, and stops what an interruption does not end by itself.
struct UntilInterrupted<'a>(&'a Bake<'a>);

impl Progress for UntilInterrupted<'_> {
    fn stage(&self, name: &str, detail: &str) {
        self.0.progress.stage(name, detail);
    }

    fn is_interrupted(&self) -> bool {
        self.0.is_interrupted()
    }
}

/// What is remembered of an image's layer, by its [`LayerFile::key`].
#[derive(Debug, Serialize, Deserialize)]
struct LayerEntry {
    digest: Digest,
    size: u64,
}

fn layer_entry(key: &Digest) -> String {
    format!("{}.json", key.hex())
}

/// Layers of images that bakes have made before: those that a rebuilt image shares with them are not fetched again.
struct Made<'a> {
    bake: &'a Bake<'a>,
    lease: &'a Lease,
}

impl MadeLayers for Made<'_> {
    fn find(&self, key: &Digest) -> Option<LayerFile> {
        let Bake { store, options, .. } = *self.bake;
        if options.refresh {
            return None;
        }
        // It is a cache: what cannot be read is made again.
        let path = store.cache_entry(LAYERS, &layer_entry(key));
        let LayerEntry { digest, size } = read(&path).ok().flatten()?;
        store.claim_flat(self.lease, FlatKey::Layer(digest)).ok().flatten()?;
        let path = store.flat_path(FlatKey::Layer(digest));
        Some(LayerFile { path, digest, size, key: Some(*key), is_new: false })
    }
}

/// Whether all layers are there; from now on they stay.
fn protect(store: &Store, lease: &Lease, base: &Base) -> Result<bool, Error> {
    for layer in &base.layers {
        if store.claim_flat(lease, FlatKey::Layer(*layer))?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes `layer0` and so on in `folder` links to the layers.
pub(super) fn link_layers(store: &Store, base: &Base, folder: &Path) -> Result<(), Error> {
    for (number, layer) in (0..).zip(&base.layers) {
        let to = folder.join(format::config::layer_id(number));
        if !store.link_flat(FlatKey::Layer(*layer), &to)? {
            return Err(Error::Format(format!("layer {layer} was removed while it was in use")));
        }
    }
    Ok(())
}

/// What is remembered of a kernel beside its files.
#[derive(Debug, Serialize, Deserialize)]
struct KernelEntry {
    version: String,
    package: Option<Package>,
}

const KERNEL_IMAGE: &str = "vmlinuz";
const KERNEL_MODULES: &str = "modules";
const KERNEL_ENTRY: &str = "kernel.json";

/// A kernel that stays where it is until this is dropped: a collection of caches leaves alone what is locked.
pub(super) struct HeldKernel {
    pub(super) kernel: Kernel,
    _held: Option<Lock>,
}

impl HeldKernel {
    /// What is known of the kernel, whose files may go now.
    pub(super) fn release(self) -> Kernel {
        self.kernel
    }
}

/// The guest's kernel: the user's, a cached one, or Debian's.
pub(super) fn kernel(bake: &Bake<'_>) -> Result<HeldKernel, Error> {
    if let Some((image, modules)) = &bake.options.kernel {
        return Ok(HeldKernel { kernel: Kernel::from_files(image, modules.as_deref())?, _held: None });
    }
    let key = rootfs::kernel_key(bake.recipe)?;
    let held = bake
        .store
        .lock(LockKey::Object(key), &mut || bake.progress.stage("kernel", "another bake uses it"))?;
    Ok(HeldKernel { kernel: cached_kernel(bake, &key)?, _held: Some(held) })
}

/// Debian's kernel, from the cache if it is there. The caller holds the lock of `key`.
fn cached_kernel(bake: &Bake<'_>, key: &Digest) -> Result<Kernel, Error> {
    let Bake { store, recipe, options, progress, .. } = *bake;
    let folder = store.cache_entry(KERNELS, &key.hex());
    let there = |version, package| Kernel {
        image: folder.join(KERNEL_IMAGE),
        version,
        modules: Some(folder.join(KERNEL_MODULES)).filter(|modules| modules.is_dir()),
        package,
    };
    if !options.refresh
        && let Some(KernelEntry { version, package }) = read(&folder.join(KERNEL_ENTRY))?
    {
        progress.stage("kernel", &format!("cached: {version}"));
        return Ok(there(version, package));
    }
    let work = store.work_folder()?;
    // The work folder is locked by name: one in it moves.
    let made = work.path().join("kernel");
    fs::create_dir(&made).at("create", &made)?;
    let Kernel { version, package, .. } = rootfs::fetch_kernel(recipe, &options.mirrors, &made, progress)?;
    let entry = KernelEntry { version, package };
    let path = made.join(KERNEL_ENTRY);
    fs::write(&path, encode(&entry, KERNEL_ENTRY)?).at("write", &path)?;
    store.place_cache_entry(KERNELS, &key.hex(), &made)?;
    Ok(there(entry.version, entry.package))
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match fs::read(path) {
        // An entry of another version is as good as none: it is a cache.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("read", path),
    }
}

fn encode(entry: &impl Serialize, name: &str) -> Result<Vec<u8>, Error> {
    serde_json::to_vec_pretty(entry).at("encode", Path::new(name))
}
