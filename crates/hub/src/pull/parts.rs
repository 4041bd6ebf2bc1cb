//! The plan of a pull: what a snapshot consists of, what the store lacks of it, and that the hub has that.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use format::map::MapBuilder;
use format::{Config, Descriptor, Digest, Manifest, Map, Maps, Name, SnapshotError, limits, snapshot};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use store::{Lease, Store};

use super::manifest::Finder;
use super::{Ends, PullError, PullPlan};
use crate::blocking::blocking;
use crate::plan::Roles;
use crate::{HubError, PlannedBlob, REQUESTS, Registry, Selector, TRANSFERS, TransferPlan, describe};

/// Maps, then the config, as they came from the hub: verified, and not stored yet.
pub(super) type Fetched = Vec<(Digest, Vec<u8>)>;

pub(super) async fn plan(
    store: &Store,
    registry: Arc<dyn Registry>,
    name: &Name,
    which: &Selector,
) -> Result<PullPlan, PullError> {
    let local = store.clone();
    let lease = blocking(move || local.lease()).await?;
    let raw = Finder { store, lease: &lease, registry: &registry, name }.find(which).await?;
    let snapshot = raw.digest();
    let manifest = Manifest::parse(raw.bytes()).map_err(|source| PullError::Manifest {
        name: name.clone(),
        digest: snapshot,
        source,
    })?;
    let survey = Survey { store, registry: &registry, name, snapshot, manifest: &manifest };
    let missing_here = survey.protect_and_test(&lease).await?;
    let missing_there = match survey.look_up(&missing_here).await {
        Err(PullError::Hub(error @ HubError::NotAHub { .. })) => {
            return Err(survey.no_hub(&missing_here, error).await?);
        }
        found => found?,
    };
    let (fetched, roles) = survey.read(&missing_here, &missing_there).await?;
    if !missing_there.is_empty() {
        return Err(survey.incomplete(survey.planned(&roles, &missing_there)));
    }
    let (missing, present): (Vec<_>, Vec<_>) = manifest
        .blobs()
        .map(|descriptor| roles.blob(descriptor))
        .partition(|blob| missing_here.contains(&blob.digest));
    let hub = registry.location().to_owned();
    Ok(PullPlan {
        transfer: TransferPlan { hub, name: name.clone(), snapshot, present, missing, mountable: Vec::new() },
        ends: Ends { store: store.clone(), registry, lease, manifest: raw, fetched },
    })
}

/// Looks at one snapshot on both sides.
struct Survey<'a> {
    store: &'a Store,
    registry: &'a Arc<dyn Registry>,
    name: &'a Name,
    snapshot: Digest,
    manifest: &'a Manifest,
}

impl Survey<'_> {
    /// Puts all blobs on the lease, and only then tests which of them the store lacks.
    async fn protect_and_test(&self, lease: &Lease) -> Result<HashSet<Digest>, PullError> {
        let (store, lease, manifest) = (self.store.clone(), lease.clone(), self.manifest.clone());
        let snapshot = self.snapshot;
        blocking(move || {
            lease.protect(&snapshot)?;
            let mut missing = HashSet::new();
            for descriptor in manifest.blobs() {
                lease.protect(&descriptor.digest)?;
                if !store.has_blob(&descriptor.digest)? {
                    missing.insert(descriptor.digest);
                    continue;
                }
                let found = store.blob_size(&descriptor.digest)?;
                if found != descriptor.size {
                    let blob = Roles::new(&manifest, None).blob(descriptor);
                    let place = format!("store {}", store.root().display());
                    return Err(PullError::WrongSize { place, blob, found });
                }
            }
            Ok(missing)
        })
        .await
    }

    /// Which of `wanted` the hub lacks as well.
    async fn look_up(&self, wanted: &HashSet<Digest>) -> Result<HashSet<Digest>, PullError> {
        let wanted: Vec<_> =
            self.manifest.blobs().filter(|blob| wanted.contains(&blob.digest)).cloned().collect();
        let asked = stream::iter(wanted).map(|descriptor| async move {
            match self.registry.blob_size(self.name, &descriptor.digest).await? {
                Some(size) if size != descriptor.size => Err(PullError::WrongSize {
                    place: self.hub(),
                    blob: Roles::new(self.manifest, None).blob(&descriptor),
                    found: size,
                }),
                Some(_) => Ok(None),
                None => Ok(Some(descriptor.digest)),
            }
        });
        asked.buffered(REQUESTS).try_filter_map(async |absent| Ok(absent)).try_collect().await
    }

    /// Reads config and maps wherever they are, and checks all that is known of the snapshot.
    async fn read(
        &self,
        missing_here: &HashSet<Digest>,
        missing_there: &HashSet<Digest>,
    ) -> Result<(Fetched, Roles), PullError> {
        let mut fetched = Fetched::new();
        let mut roles = Roles::new(self.manifest, None);
        let descriptor = &self.manifest.config;
        if missing_there.contains(&descriptor.digest) {
            return Ok((fetched, roles));
        }
        let blob = roles.blob(descriptor);
        let bytes = self.small(blob.clone(), missing_here, limits::CONFIG_BYTES).await?;
        let config = Config::parse(&bytes).map_err(|source| PullError::Config { blob, source })?;

        let mut maps = HashMap::new();
        let layers: HashSet<Digest> = config.layers().map(|disk| disk.map).collect();
        let wanted = self.declared_maps(&config)?;
        let wanted = wanted.into_iter().filter(|blob| !missing_there.contains(&blob.digest));
        let mut arriving = stream::iter(wanted)
            .map(|blob| (layers.contains(&blob.digest), blob))
            .map(|(is_layer, blob)| self.map(blob, is_layer, missing_here))
            .buffered(TRANSFERS);
        while let Some((digest, map, bytes)) = arriving.try_next().await? {
            fetched.extend(bytes.map(|bytes| (digest, bytes)));
            maps.insert(digest, map);
        }
        if missing_here.contains(&descriptor.digest) {
            fetched.push((descriptor.digest, bytes));
        }
        let maps = self.known_maps(&config, &maps)?;
        roles = Roles::new(self.manifest, Some((&config, &maps)));
        if missing_there.is_empty() {
            snapshot::check(self.manifest, &config, &maps).map_err(|source| self.inconsistent(source))?;
        }
        Ok((fetched, roles))
    }

    /// The maps that the config names, each once, with the sizes that the manifest declares.
    fn declared_maps(&self, config: &Config) -> Result<Vec<PlannedBlob>, PullError> {
        let mut seen = HashSet::new();
        let parts = snapshot::named_by_config(config);
        let maps = parts.into_iter().filter(|part| part.media_type == format::manifest::media_type::MAP);
        let declared = maps.filter(|part| seen.insert(part.digest)).map(|part| {
            let declared = self.manifest.find(&part.digest);
            let declared =
                declared.filter(|blob| blob.size <= limits::MAP_BYTES as u64).ok_or_else(|| {
                    let reason = format!("{} {} is not declared, or too large", part.role, part.digest);
                    self.inconsistent(SnapshotError::Closure(reason))
                })?;
            Ok(PlannedBlob { role: part.role, digest: part.digest, size: declared.size })
        });
        declared.collect()
    }

    async fn map(
        &self,
        blob: PlannedBlob,
        is_layer: bool,
        missing_here: &HashSet<Digest>,
    ) -> Result<(Digest, Map, Option<Vec<u8>>), PullError> {
        let digest = blob.digest;
        let bytes = self.small(blob.clone(), missing_here, limits::MAP_BYTES).await?;
        let is_new = missing_here.contains(&digest);
        blocking(move || {
            let map = Map::parse(&bytes).and_then(|map| {
                // A layer's map has few extents, any other may have millions: not to be held for every layer.
                if is_layer { map.check_layer().map(|()| map) } else { Ok(map) }
            });
            let map = map.map_err(|source| PullError::Map { blob, source })?;
            Ok((digest, map, is_new.then_some(bytes)))
        })
        .await
    }

    /// The maps in the config's order; one that is missing counts as empty, for the names of what the others need.
    fn known_maps(&self, config: &Config, maps: &HashMap<Digest, Map>) -> Result<Maps, PullError> {
        let empty = MapBuilder::new(1).finish();
        let empty = empty.map_err(|error| self.inconsistent(SnapshotError::Closure(error.to_string())))?;
        let map = |digest: &Digest| maps.get(digest).unwrap_or(&empty).clone();
        let disks = config.disks.iter().map(|disk| map(&disk.map)).collect();
        Ok(Maps { memory: map(&config.memory.map), disks })
    }

    /// All of a small blob, verified: from the hub if it is missing here.
    async fn small(
        &self,
        blob: PlannedBlob,
        missing_here: &HashSet<Digest>,
        limit: usize,
    ) -> Result<Vec<u8>, PullError> {
        if !missing_here.contains(&blob.digest) {
            let (store, digest) = (self.store.clone(), blob.digest);
            return Ok(blocking(move || store.read_blob(&digest, limit)).await?);
        }
        let bytes = describe::small(&**self.registry, self.name, &blob).await?;
        bytes.ok_or_else(|| self.incomplete(vec![blob]))
    }

    fn planned(&self, roles: &Roles, digests: &HashSet<Digest>) -> Vec<PlannedBlob> {
        let is_wanted = |descriptor: &&Descriptor| digests.contains(&descriptor.digest);
        self.manifest.blobs().filter(is_wanted).map(|blob| roles.blob(blob)).collect()
    }

    /// The manifest was here, the hub is not there: what is missing is named by what else is here.
    async fn no_hub(&self, missing_here: &HashSet<Digest>, source: HubError) -> Result<PullError, PullError> {
        let (_, roles) = self.read(missing_here, missing_here).await?;
        let (name, snapshot, source) = (self.name.clone(), self.snapshot, Box::new(source));
        Ok(PullError::NoHub { name, snapshot, parts: self.planned(&roles, missing_here), source })
    }

    fn incomplete(&self, parts: Vec<PlannedBlob>) -> PullError {
        let (hub, name, snapshot) = (self.hub(), self.name.clone(), self.snapshot);
        PullError::Incomplete { hub, name, snapshot, parts }
    }

    fn inconsistent(&self, source: SnapshotError) -> PullError {
        PullError::Inconsistent { name: self.name.clone(), snapshot: self.snapshot, source }
    }

    fn hub(&self) -> String {
        self.registry.location().to_owned()
    }
}
