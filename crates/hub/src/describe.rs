//! What a hub's tags lead to and what its snapshots are, read without a store: for catalogues and listings.
//!
//! What is described has passed all that a pull asks before it stores anything: manifest, config and maps are bounded,
//! have their digests and belong together, and the hub has every blob in its size. Frames and states are not read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use format::manifest::media_type;
use format::snapshot::Roles;
use format::{Config, Descriptor, Digest, Manifest, Map, Maps, Name, SnapshotError, Tag, limits, snapshot};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::Semaphore;

use crate::blocking::blocking;
use crate::image_index::{ImageIndex, Kind};
use crate::{PlannedBlob, PullError, REQUESTS, Registry, Selector, remote};

/// What a tag leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// The digest of the manifest, or of the image index.
    pub digest: Digest,
    /// The snapshot, or each variant that the index lists, once.
    pub snapshots: Vec<Digest>,
}

/// A snapshot as its manifest, its config and its maps describe it.
#[derive(Debug, Clone)]
pub struct Description {
    /// The snapshot: its manifest's digest.
    pub digest: Digest,
    /// Bytes of the manifest itself.
    pub manifest_bytes: u64,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its config.
    pub config: Config,
    /// The frame blobs that its memory is made of. All others are of disks only.
    pub memory_frames: HashSet<Digest>,
}

/// Describes what is in one hub.
#[derive(Debug)]
pub struct Describer {
    registry: Arc<dyn Registry>,
    /// Maps may be large: those of one snapshot at a time.
    maps: Semaphore,
}

impl Describer {
    /// For what is in `registry`.
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        Self { registry, maps: Semaphore::new(1) }
    }

    /// What `tag` leads to. Nothing but the manifest or the image index is looked at.
    ///
    /// # Errors
    /// If there is no such tag, what it leads to is neither a snapshot's manifest nor an image index that lists one, or
    /// the hub fails.
    pub async fn tagged(&self, name: &Name, tag: &Tag) -> Result<Tagged, PullError> {
        let which = Selector::Tag(tag.clone());
        let raw = remote::manifest(&self.registry, name, &which).await?;
        let digest = raw.digest();
        if !Kind::parse(raw.bytes()).is_ok_and(|kind| kind.is_index()) {
            // What is no snapshot is said of what the tag leads to, whether or not it is there by its digest too.
            remote::parse(name, &raw)?;
            return Ok(Tagged { digest, snapshots: vec![digest] });
        }
        let index = ImageIndex::parse(raw.bytes()).map_err(|source| PullError::Index {
            name: name.clone(),
            digest,
            source,
        })?;
        let mut seen = HashSet::new();
        let snapshots: Vec<_> = index.snapshots().iter().map(|entry| entry.digest).collect();
        let snapshots: Vec<_> = snapshots.into_iter().filter(|digest| seen.insert(*digest)).collect();
        if snapshots.is_empty() {
            let hub = self.registry.location().to_owned();
            return Err(PullError::Variants { hub, name: name.clone(), which, variants: snapshots });
        }
        Ok(Tagged { digest, snapshots })
    }

    /// The snapshot `digest`.
    ///
    /// # Errors
    /// As of a pull that stores nothing: if a part is not there in its size, not what its digest says or not valid, if
    /// the parts do not belong together, or the hub fails.
    pub async fn snapshot(&self, name: &Name, digest: &Digest) -> Result<Description, PullError> {
        let raw = remote::manifest(&self.registry, name, &Selector::Digest(*digest)).await?;
        let manifest = remote::parse(name, &raw)?;
        let manifest_bytes = raw.bytes().len() as u64;
        drop(raw);
        let reader = Reader { registry: &self.registry, name, snapshot: *digest, manifest: &manifest };
        reader.look_up_all().await?;
        let config = remote::config(&self.registry, name, digest, &manifest).await?;
        let memory_frames = {
            // It is never closed; if it were, less memory would be the only thing that is not kept to.
            let _one_at_a_time = self.maps.acquire().await.ok();
            reader.memory_frames(&config).await?
        };
        Ok(Description { digest: *digest, manifest_bytes, manifest, config, memory_frames })
    }
}

/// Reads one snapshot.
struct Reader<'a> {
    registry: &'a Arc<dyn Registry>,
    name: &'a Name,
    snapshot: Digest,
    manifest: &'a Manifest,
}

impl Reader<'_> {
    /// Refuses a snapshot of which the hub lacks a part.
    async fn look_up_all(&self) -> Result<(), PullError> {
        let roles = &Roles::new(self.manifest, Vec::new());
        let asked = stream::iter(self.manifest.blobs().cloned().collect::<Vec<_>>());
        let asked = asked.map(|descriptor| async move {
            match self.registry.blob_size(self.name, &descriptor.digest).await? {
                Some(size) if size == descriptor.size => Ok(None),
                Some(found) => {
                    let (place, blob) = (self.hub(), roles.blob(&descriptor));
                    Err(PullError::WrongSize { place, blob, found })
                }
                None => Ok(Some(roles.blob(&descriptor))),
            }
        });
        let absent: Vec<_> =
            asked.buffered(REQUESTS).try_filter_map(async |absent| Ok(absent)).try_collect().await?;
        if absent.is_empty() { Ok(()) } else { Err(self.incomplete(absent)) }
    }

    /// Checks that manifest, config and maps belong together.
    async fn memory_frames(&self, config: &Config) -> Result<HashSet<Digest>, PullError> {
        let layers: HashSet<Digest> = config.layers().map(|disk| disk.map).collect();
        let mut maps = HashMap::new();
        for part in snapshot::named_by_config(config) {
            if part.media_type == media_type::MAP && !maps.contains_key(&part.digest) {
                let map = self.map(self.declared(&part)?, layers.contains(&part.digest)).await?;
                maps.insert(part.digest, map);
            }
        }
        let absent = |digest: &Digest| {
            self.inconsistent(SnapshotError::Closure(format!("the map {digest} is not named by the config")))
        };
        let map = |digest: &Digest| maps.get(digest).cloned().ok_or_else(|| absent(digest));
        let disks: Result<_, _> = config.disks.iter().map(|disk| map(&disk.map)).collect();
        let maps = Maps { memory: map(&config.memory.map)?, disks: disks? };
        snapshot::check(self.manifest, config, &maps).map_err(|source| self.inconsistent(source))?;
        Ok(maps.memory.blobs().iter().map(|blob| blob.digest).collect())
    }

    fn declared(&self, part: &snapshot::Part) -> Result<PlannedBlob, PullError> {
        let fits = |blob: &&Descriptor| blob.size <= limits::MAP_BYTES as u64;
        let declared = self.manifest.find(&part.digest).filter(fits).ok_or_else(|| {
            let reason = format!("{} {} is not declared, or too large", part.role, part.digest);
            self.inconsistent(SnapshotError::Closure(reason))
        })?;
        Ok(PlannedBlob { role: part.role.clone(), digest: part.digest, size: declared.size })
    }

    async fn map(&self, blob: PlannedBlob, is_layer: bool) -> Result<Map, PullError> {
        let bytes = remote::small(&**self.registry, self.name, &blob).await?;
        let bytes = bytes.ok_or_else(|| self.incomplete(vec![blob.clone()]))?;
        blocking(move || {
            let map = Map::parse(&bytes).and_then(|map| {
                // A layer's map has few extents, any other may have millions: not to be held for every layer.
                if is_layer { map.check_layer().map(|()| map) } else { Ok(map) }
            });
            map.map_err(|source| PullError::Map { blob, source })
        })
        .await
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
