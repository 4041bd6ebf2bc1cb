//! The plan of a pull: what a snapshot consists of, what the store lacks of it, and that the hub has that.
//!
//! Config and maps are read while it is asked for the rest: over a slow link round trips are what a plan costs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use format::manifest::media_type;
use format::snapshot::{MapReader, Roles, declared_maps};
use format::{Config, Descriptor, Digest, Manifest, Map, Maps, SnapshotError, limits, snapshot};
use futures_util::future::try_join;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use store::{Lease, Store};

use super::manifest::Finder;
use super::receive::{lacking, wrong_size};
use super::sources::{Peer, Sources};
use super::{Ends, PullError, PullPlan};
use crate::blocking::blocking;
use crate::{HubError, PlannedBlob, REQUESTS, RawManifest, Selector, TRANSFERS, TransferPlan};

/// Config, then maps, as they came from the hub: verified, and not stored yet.
pub(super) type Fetched = Vec<(Digest, Vec<u8>)>;

pub(super) async fn plan(store: &Store, sources: Sources, which: &Selector) -> Result<PullPlan, PullError> {
    let lease = new_lease(store).await?;
    let raw = Finder { store, lease: &lease, sources: &sources }.find(which).await?;
    plan_parts(store, sources, lease, raw).await
}

pub(super) async fn new_lease(store: &Store) -> Result<Lease, PullError> {
    let store = store.clone();
    Ok(blocking(move || store.lease()).await?)
}

/// The plan for the snapshot with this manifest.
pub(super) async fn plan_parts(
    store: &Store,
    sources: Sources,
    lease: Lease,
    raw: RawManifest,
) -> Result<PullPlan, PullError> {
    let (snapshot, name) = (raw.digest(), sources.hub().name().clone());
    let manifest = Manifest::parse(raw.bytes()).map_err(|source| PullError::Manifest {
        name: name.clone(),
        digest: snapshot,
        source,
    })?;
    let survey = Survey { store, sources: &sources, snapshot, manifest: &manifest };
    let missing_here = survey.protect_and_test(&lease).await?;
    let surveyed =
        try_join(survey.read(&missing_here, true), survey.look_up(&survey.large(&missing_here))).await;
    let (read, mut found) = match surveyed {
        Err(PullError::Hub(error @ HubError::NotAHub { .. })) => {
            return Err(survey.no_hub(&missing_here, error).await?);
        }
        surveyed => surveyed?,
    };
    found.absent.extend(&read.absent);
    if read.parts.is_none() {
        // Without a config nobody has read the maps.
        let maps = manifest.blobs().filter(|blob| is_map(blob) && missing_here.contains(&blob.digest));
        found.absent.extend(survey.look_up(&maps.cloned().collect::<Vec<_>>()).await?.absent);
    }
    let Some(parts) = read.parts.filter(|_| found.absent.is_empty()) else {
        return Err(survey.incomplete(survey.planned(&read.roles, &found.absent)));
    };
    let (missing, present): (Vec<_>, Vec<_>) = manifest
        .blobs()
        .map(|descriptor| read.roles.blob(descriptor))
        .partition(|blob| missing_here.contains(&blob.digest));
    let arrived_bytes = arrived_bytes(store, &missing).await?;
    let (hub, store, fetched) = (sources.hub().location().to_owned(), store.clone(), read.fetched);
    Ok(PullPlan {
        transfer: TransferPlan { hub, name, snapshot, present, missing, mountable: Vec::new() },
        arrived_bytes,
        flat_bytes: None,
        ends: Ends {
            store,
            sources,
            holders: found.holders,
            lease,
            manifest: raw,
            fetched,
            parts: Arc::new(parts),
        },
    })
}

/// Bytes that broken pulls have left of `missing`.
async fn arrived_bytes(store: &Store, missing: &[PlannedBlob]) -> Result<u64, PullError> {
    let (store, missing) = (store.clone(), missing.to_vec());
    blocking(move || {
        missing.iter().try_fold(0_u64, |sum, blob| {
            Ok(sum.saturating_add(store.partial_bytes(&blob.digest, blob.size)?))
        })
    })
    .await
}

fn is_map(blob: &Descriptor) -> bool {
    blob.media_type == media_type::MAP
}

/// Looks at one snapshot on both sides.
struct Survey<'a> {
    store: &'a Store,
    sources: &'a Sources,
    snapshot: Digest,
    manifest: &'a Manifest,
}

/// Where blobs are that are missing here.
#[derive(Default)]
struct Found {
    /// By the number of their source, unless that is the first.
    holders: HashMap<Digest, usize>,
    /// Those that no source has.
    absent: HashSet<Digest>,
}

/// Config and maps.
struct Read {
    /// Those that were missing here.
    fetched: Fetched,
    roles: Roles,
    /// If all of them could be had.
    parts: Option<(Config, Maps)>,
    /// Those that no source has.
    absent: HashSet<Digest>,
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
                    let blob = Roles::new(&manifest, Vec::new()).blob(descriptor);
                    let place = format!("store {}", store.root().display());
                    return Err(PullError::WrongSize { place, blob, found });
                }
            }
            Ok(missing)
        })
        .await
    }

    /// What is missing here and is not read for the plan.
    fn large(&self, missing_here: &HashSet<Digest>) -> Vec<Descriptor> {
        let is_large = |blob: &&Descriptor| blob.digest != self.manifest.config.digest && !is_map(blob);
        let missing = self.manifest.blobs().filter(|blob| missing_here.contains(&blob.digest));
        missing.filter(is_large).cloned().collect()
    }

    /// Who has `wanted`.
    async fn look_up(&self, wanted: &[Descriptor]) -> Result<Found, PullError> {
        let roles = Roles::new(self.manifest, Vec::new());
        let blobs: Vec<_> = wanted.iter().map(|descriptor| roles.blob(descriptor)).collect();
        let asked = stream::iter(blobs).map(|blob| self.find(blob));
        let mut asked = asked.buffer_unordered(REQUESTS);
        let mut found = Found::default();
        while let Some((digest, holder)) = asked.next().await {
            match holder {
                Ok(0) => {}
                Ok(number) => drop(found.holders.insert(digest, number)),
                Err(PullError::Incomplete { .. }) => drop(found.absent.insert(digest)),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The number of the first source that has a blob.
    async fn find(&self, blob: PlannedBlob) -> (Digest, Result<usize, PullError>) {
        let mut turn = self.sources.turn(0, PullError::is_of_hub);
        let found = loop {
            let peer = turn.peer();
            let failed = match peer.blob_size(&blob.digest).await {
                Ok(Some(size)) if size == blob.size => break Ok(turn.number()),
                Ok(Some(size)) => wrong_size(peer, &blob, size),
                Ok(None) => lacking(peer, self.snapshot, &blob),
                Err(error) => error.into(),
            };
            if let Err(error) = turn.pass(failed) {
                break Err(error);
            }
        };
        (blob.digest, found)
    }

    /// Reads config and maps wherever they are, if it `may_ask` the sources, and checks all that is known of the snapshot.
    async fn read(&self, missing_here: &HashSet<Digest>, may_ask: bool) -> Result<Read, PullError> {
        let mut read = Read {
            fetched: Fetched::new(),
            roles: Roles::new(self.manifest, Vec::new()),
            parts: None,
            absent: HashSet::new(),
        };
        let can_be_read = |digest: &Digest| may_ask || !missing_here.contains(digest);
        let descriptor = &self.manifest.config;
        let blob = read.roles.blob(descriptor);
        if !can_be_read(&descriptor.digest) {
            return Ok(read);
        }
        let Some(bytes) = self.small(blob.clone(), missing_here, limits::CONFIG_BYTES).await? else {
            read.absent.insert(descriptor.digest);
            return Ok(read);
        };
        let config = Config::parse(&bytes).map_err(|source| PullError::Config { blob, source })?;
        if missing_here.contains(&descriptor.digest) {
            read.fetched.push((descriptor.digest, bytes));
        }

        let mut maps = MapReader::new(self.manifest, &config);
        let wanted = declared_maps(self.manifest, &config).map_err(|source| self.inconsistent(source))?;
        let named = Roles::new(self.manifest, snapshot::named_by_config(&config));
        let wanted = wanted.into_iter().filter(|blob| can_be_read(&blob.digest)).map(|blob| named.blob(blob));
        let wanted: Vec<_> = wanted.map(|blob| (maps.is_layer(&blob.digest), blob)).collect();
        let mut arriving = stream::iter(wanted)
            .map(|(is_layer, blob)| self.map(blob, is_layer, missing_here))
            .buffered(TRANSFERS);
        while let Some((digest, map)) = arriving.try_next().await? {
            match map {
                Some((map, bytes)) => {
                    read.fetched.extend(bytes.map(|bytes| (digest, bytes)));
                    maps.insert(digest, map).map_err(|source| self.inconsistent(source))?;
                }
                None => drop(read.absent.insert(digest)),
            }
        }
        let is_whole = may_ask && read.absent.is_empty();
        drop(arriving);
        let maps = maps.finish(&config);
        read.roles = Roles::new(self.manifest, snapshot::closure(&config, &maps));
        if is_whole {
            snapshot::check(self.manifest, &config, &maps).map_err(|source| self.inconsistent(source))?;
            read.parts = Some((config, maps));
        }
        Ok(read)
    }

    /// A map, and its bytes if it was missing here; `None` if no source has it.
    async fn map(
        &self,
        blob: PlannedBlob,
        is_layer: bool,
        missing_here: &HashSet<Digest>,
    ) -> Result<(Digest, Option<(Map, Option<Vec<u8>>)>), PullError> {
        let digest = blob.digest;
        let Some(bytes) = self.small(blob.clone(), missing_here, limits::MAP_BYTES).await? else {
            return Ok((digest, None));
        };
        let is_new = missing_here.contains(&digest);
        blocking(move || {
            let map = MapReader::parse(&bytes, is_layer);
            let map = map.map_err(|source| PullError::Map { blob, source })?;
            Ok((digest, Some((map, is_new.then_some(bytes)))))
        })
        .await
    }

    /// All of a small blob, verified: from a source if it is missing here, `None` if none has it.
    async fn small(
        &self,
        blob: PlannedBlob,
        missing_here: &HashSet<Digest>,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, PullError> {
        if !missing_here.contains(&blob.digest) {
            let (store, digest) = (self.store.clone(), blob.digest);
            return Ok(Some(blocking(move || store.read_blob(&digest, limit)).await?));
        }
        let mut turn = self.sources.turn(0, PullError::is_of_hub);
        loop {
            match self.small_from(turn.peer(), &blob).await.map_err(|error| turn.pass(error)) {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(Ok(())) => {}
                Err(Err(PullError::Incomplete { .. })) => return Ok(None),
                Err(Err(error)) => return Err(error),
            }
        }
    }

    async fn small_from(&self, peer: &Peer, blob: &PlannedBlob) -> Result<Vec<u8>, PullError> {
        peer.small(blob).await?.ok_or_else(|| lacking(peer, self.snapshot, blob))
    }

    fn planned(&self, roles: &Roles, digests: &HashSet<Digest>) -> Vec<PlannedBlob> {
        let is_wanted = |descriptor: &&Descriptor| digests.contains(&descriptor.digest);
        self.manifest.blobs().filter(is_wanted).map(|blob| roles.blob(blob)).collect()
    }

    /// The manifest was here, the hub is not there: what is missing is named by what else is here.
    async fn no_hub(&self, missing_here: &HashSet<Digest>, source: HubError) -> Result<PullError, PullError> {
        let roles = self.read(missing_here, false).await?.roles;
        let (name, snapshot, source) = (self.sources.hub().name().clone(), self.snapshot, Box::new(source));
        Ok(PullError::NoHub { name, snapshot, parts: self.planned(&roles, missing_here), source })
    }

    fn incomplete(&self, parts: Vec<PlannedBlob>) -> PullError {
        let (hub, name, snapshot) = (self.sources.all(), self.sources.hub().name().clone(), self.snapshot);
        PullError::Incomplete { hub, name, snapshot, parts }
    }

    fn inconsistent(&self, source: SnapshotError) -> PullError {
        let name = self.sources.hub().name().clone();
        PullError::Inconsistent { name, snapshot: self.snapshot, source }
    }
}
