//! A frozen guest becomes a snapshot: pages are compared, compressed and mapped, and config and manifest are written.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::time::Instant;

use format::config::{
    BaseOrigin, Config, Disk, DiskRole, Kernel as KernelBlobs, Lineage, Machine, Memory, Package, Provenance,
    RecipeOrigin, layer_id,
};
use format::manifest::{annotation, media_type};
use format::map::{Codec, MapBuilder};
use format::{Descriptor, Digest, Manifest, Map, Maps, PAGE_SIZE, snapshot, zstd_frame};
use memory::{Content, LayerPages, Run};
use rootfs::Kernel;
use store::{FlatKey, Framing, Lease, Store};

use super::base::Base;
use super::machine::Frozen;
use super::{Bake, Parts, guest};
use crate::Error;
use crate::error::At;

/// What a snapshot is captured from.
pub(super) struct Capture<'a> {
    pub(super) bake: &'a Bake<'a>,
    pub(super) lease: &'a Lease,
    pub(super) base: &'a Base,
    pub(super) kernel: &'a Kernel,
    pub(super) vm: &'a Frozen,
}

impl Capture<'_> {
    /// Stores everything, the manifest last, and gives its digest, the bytes of all blobs, and where they are.
    pub(super) fn commit(&self, work: &Path) -> Result<(Digest, u64, Parts), Error> {
        let progress = self.bake.progress;
        let mut parts = Parts::default();
        progress.stage("store", "layers");
        let mut disks = Vec::new();
        let mut maps = Vec::new();
        for (number, content) in (0_u8..).zip(&self.base.layers) {
            let (disk, map) = self.layer(number, content)?;
            parts.layers += blob_bytes(&map);
            disks.push(disk);
            maps.push(map);
        }
        progress.stage("store", "writable disk");
        let (disk, map) = self.writable()?;
        parts.writable = blob_bytes(&map);
        disks.push(disk);
        maps.push(map);
        progress.stage("store", "memory");
        let memory = self.memory(&mut parts)?;
        let memory_map = self.put_map(&memory)?;
        let config = self.config(work, disks, memory_map)?;
        let maps = Maps { memory, disks: maps };
        let (digest, size) = self.put_manifest(&config, &maps)?;
        Ok((digest, size, parts))
    }

    fn layer(&self, number: u8, content: &Digest) -> Result<(Disk, Map), Error> {
        let file = self.open_layer(content)?;
        let size = file.metadata().at("examine", Path::new("a layer"))?.len();
        let (digest, map) = match self.known_framing(content, size)? {
            Some(known) => known,
            None => {
                let pages = size / PAGE_SIZE;
                let write = || self.bake.store.write_layer_frames(self.lease, &file, pages);
                let map = timed("frame a layer", write)?;
                let digest = self.put_map(&map)?;
                self.bake.store.set_framing(content, &digest)?;
                (digest, map)
            }
        };
        Ok((
            Disk { id: layer_id(number), role: DiskRole::Layer, size, map: digest, content: Some(*content) },
            map,
        ))
    }

    fn open_layer(&self, content: &Digest) -> Result<File, Error> {
        let gone = || Error::Format(format!("layer {content} was removed while it was in use"));
        self.bake.store.open_flat(FlatKey::Layer(*content))?.ok_or_else(gone)
    }

    /// How this store has framed the layer before, if all of that is still there: equal layers then share blobs.
    fn known_framing(&self, content: &Digest, size: u64) -> Result<Option<(Digest, Map)>, Error> {
        let Some(digest) = self.bake.store.framing(content)? else { return Ok(None) };
        if !self.bake.store.claim_blob(self.lease, &digest)? {
            return Ok(None);
        }
        let map = self.bake.store.read_map(&digest)?;
        for blob in map.blobs() {
            if !self.bake.store.claim_blob(self.lease, &blob.digest)? {
                return Ok(None);
            }
        }
        Ok((map.bytes() == size && map.check_layer().is_ok()).then_some((digest, map)))
    }

    fn writable(&self) -> Result<(Disk, Map), Error> {
        let path = &self.vm.writable;
        let file = File::open(path).at("open", path)?;
        let size = file.metadata().at("examine", path)?.len();
        let runs = timed("sort the pages of the writable disk", || memory::scan(&file, None))?;
        let map = timed("frame the writable disk", || self.store_runs(&file, size / PAGE_SIZE, runs))?;
        let digest = self.put_map(&map)?;
        Ok((
            Disk { id: "writable".to_owned(), role: DiskRole::Writable, size, map: digest, content: None },
            map,
        ))
    }

    fn memory(&self, parts: &mut Parts) -> Result<Map, Error> {
        let path = &self.vm.memory;
        let file = File::open(path).at("open", path)?;
        let mut layers = Vec::new();
        for content in &self.base.layers {
            layers.push(self.open_layer(content)?);
        }
        let index = timed("index the pages of the layers", || LayerPages::index(layers.iter().collect()));
        let index = index.at("read the layers of", path)?;
        let runs = timed("sort the pages of the memory", || memory::scan(&file, Some(&index)))?;
        // It can be larger than all that follows needs.
        drop(index);
        for run in &runs {
            match run.content {
                Content::New => parts.memory_pages += u64::from(run.pages),
                Content::Layer { .. } => parts.layer_pages += u64::from(run.pages),
            }
        }
        let pages = self.vm.machine.memory_pages();
        let map = timed("frame the memory", || self.store_runs(&file, pages, runs))?;
        parts.memory = blob_bytes(&map);
        Ok(map)
    }

    fn store_runs(&self, file: &File, pages: u64, runs: Vec<Run>) -> Result<Map, Error> {
        store_runs(self.bake.store, self.lease, &self.base.layers, file, pages, runs)
    }

    fn put_map(&self, map: &Map) -> Result<Digest, Error> {
        let bytes = map.encode(Codec::Zstd).map_err(|error| Error::Format(error.to_string()))?;
        Ok(self.bake.store.put_blob(self.lease, &bytes)?)
    }

    fn put_file(&self, path: &Path) -> Result<Digest, Error> {
        let bytes = fs::read(path).at("read", path)?;
        Ok(self.bake.store.put_blob(self.lease, &bytes)?)
    }

    fn config(&self, work: &Path, disks: Vec<Disk>, memory_map: Digest) -> Result<Config, Error> {
        let state = fs::read(&self.vm.state).at("read", &self.vm.state)?;
        let state = zstd_frame::encode(&state).at("compress", &self.vm.state)?;
        let kernel = KernelBlobs {
            command_line: self.vm.machine.kernel.command_line.clone(),
            image: self.put_file(&work.join(guest::KERNEL_FILE))?,
            initrd: self.put_file(&work.join(guest::INITRD_FILE))?,
        };
        Ok(Config {
            version: 0,
            architecture: format::config::Architecture::Amd64,
            machine: Machine { kernel, ..self.vm.machine.clone() },
            engine: self.vm.description.clone().with_state(self.bake.store.put_blob(self.lease, &state)?),
            memory: Memory { map: memory_map },
            disks,
            lineage: Lineage::default(),
            provenance: self.provenance()?,
            attachments: Vec::new(),
        })
    }

    fn provenance(&self) -> Result<Provenance, Error> {
        let packages = self.base.packages.iter().chain(&self.kernel.package);
        Ok(Provenance {
            recipe: Some(RecipeOrigin {
                name: self.bake.recipe.name.to_string(),
                version: self.bake.recipe.version.to_string(),
                digest: self.bake.recipe.digest,
            }),
            base: self.base.image.as_ref().map(|image| BaseOrigin {
                reference: image.reference.clone(),
                manifest: image.manifest,
                config: image.config,
            }),
            packages: packages
                .map(|package| Package {
                    name: package.name.clone(),
                    version: package.version.clone(),
                    licences: package.licenses.clone(),
                    source: package.source.clone(),
                    source_version: package.source_version.clone(),
                })
                .collect(),
            tools: self.base.tools.iter().cloned().collect(),
            kernel_version: self.kernel.version.clone(),
            agent_version: self.bake.options.agent_version.to_owned(),
            created_at: self.bake.options.created_at.clone(),
        })
    }

    fn put_manifest(&self, config: &Config, maps: &Maps) -> Result<(Digest, u64), Error> {
        let format = |error: &dyn std::fmt::Display| Error::Format(error.to_string());
        let bytes = config.encode().map_err(|error| format(&error))?;
        let config_blob = Descriptor {
            media_type: media_type::CONFIG.to_owned(),
            digest: self.bake.store.put_blob(self.lease, &bytes)?,
            size: bytes.len() as u64,
            annotations: BTreeMap::new(),
        };
        let layers = snapshot::layers(config, maps, |part| self.bake.store.blob_size(&part.digest))?;
        let manifest = Manifest::new(config_blob, layers, self.annotations());
        snapshot::check(&manifest, config, maps).map_err(|error| format(&error))?;
        let bytes = manifest.encode().map_err(|error| format(&error))?;
        Ok((self.bake.store.put_blob(self.lease, &bytes)?, manifest.total_size()))
    }

    fn annotations(&self) -> BTreeMap<String, String> {
        let mut annotations = BTreeMap::from([
            (annotation::TITLE.to_owned(), self.bake.recipe.name.to_string()),
            (annotation::VERSION.to_owned(), self.bake.recipe.version.to_string()),
            (annotation::CREATED.to_owned(), self.bake.options.created_at.clone()),
        ]);
        let base = match (&self.bake.recipe.base, &self.base.image) {
            (rootfs::Base::Debian(debian), _) => Some(format!("debian {}", debian.suite)),
            (_, image) => image.as_ref().map(|image| image.reference.clone()),
        };
        annotations.extend(base.map(|base| (annotation::BASE_NAME.to_owned(), base)));
        if let Some(licenses) = &self.bake.recipe.licenses {
            annotations.insert(annotation::LICENSES.to_owned(), licenses.clone());
        }
        annotations
    }
}

/// Stores the new pages of `runs` densely, and maps all of them. There can be millions: nothing else here has one item
/// for each, but the map.
fn store_runs(
    store: &Store,
    lease: &Lease,
    layers: &[Digest],
    file: &File,
    pages: u64,
    runs: Vec<Run>,
) -> Result<Map, Error> {
    let new = runs.iter().filter(|run| run.content == Content::New);
    let new = new.map(|run| (u64::from(run.start), u64::from(run.pages)));
    let blobs = store.write_frames(lease, file, new, Framing::PRIVATE)?;
    let invalid = |error: format::MapError| Error::Format(error.to_string());
    let mut builder = MapBuilder::new(pages);
    let mut blobs = blobs.iter();
    let (mut blob, mut used) = (blobs.next(), 0);
    for run in runs {
        let (mut start, mut left) = (u64::from(run.start), u64::from(run.pages));
        if let Content::Layer { layer, page } = run.content {
            let content = layers.get(layer as usize);
            let content = content.ok_or_else(|| Error::Format("a page of no layer".to_owned()))?;
            builder.layer(start, left, *content, page.into()).map_err(invalid)?;
            continue;
        }
        while left > 0 {
            let current =
                blob.ok_or_else(|| Error::Format("fewer pages were stored than read".to_owned()))?;
            let here = left.min(current.plain_pages - used);
            builder.blob(start, here, current, used).map_err(invalid)?;
            (start, left, used) = (start + here, left - here, used + here);
            if used == current.plain_pages {
                (blob, used) = (blobs.next(), 0);
            }
        }
    }
    builder.finish().map_err(invalid)
}

/// Says in the log how long a step took.
fn timed<T>(step: &str, act: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = act();
    tracing::info!(step, seconds = begun.elapsed().as_secs_f64(), "done");
    result
}

fn blob_bytes(map: &Map) -> u64 {
    map.blobs().iter().map(|blob| blob.size).sum()
}

#[cfg(test)]
mod tests;
