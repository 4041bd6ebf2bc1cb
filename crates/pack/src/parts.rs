//! The blobs of a snapshot by what they are for, and those of them that say so: config and maps.

use std::collections::{HashMap, HashSet};
use std::fmt;

use format::manifest::{annotation, media_type};
use format::map::MapBuilder;
use format::snapshot::Part as Named;
use format::{Config, Descriptor, Digest, Manifest, Map, Maps, SnapshotError, limits, snapshot};
use serde::Serialize;
use store::{Lease, Store};

use crate::UnpackError;
use crate::head::Head;
use crate::source::Source;

/// A blob of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What it is for, for people: `frames of disk layer0 (content sha256:…)`.
    pub role: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, digest, size } = self;
        write!(out, "{role} {digest} ({size} bytes)")
    }
}

/// Parts in a sentence.
pub(crate) fn list(parts: &[Part]) -> String {
    parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What each blob is for, as far as that is known.
#[derive(Debug, Clone)]
pub(crate) struct Roles(HashMap<Digest, String>);

impl Roles {
    pub(crate) fn new(manifest: &Manifest, named: Vec<Named>) -> Self {
        let mut roles: HashMap<_, _> = named.into_iter().map(|part| (part.digest, part.role)).collect();
        roles.insert(manifest.config.digest, "config".to_owned());
        Self(roles)
    }

    pub(crate) fn part(&self, blob: &Descriptor) -> Part {
        let Descriptor { digest, size, media_type, annotations } = blob;
        // What the manifest calls it helps people, even if it should not be true.
        let unknown = || match annotations.get(annotation::TITLE) {
            Some(title) => format!("part titled {:?}", format::excerpt(title)),
            None => format!("part of type {:?}", format::excerpt(media_type)),
        };
        let role = self.0.get(digest).cloned().unwrap_or_else(unknown);
        Part { role, digest: *digest, size: *size }
    }
}

/// Config and maps, as far as pack and store have them.
pub(crate) struct Known {
    /// Those that the pack has and the store had not, in a pack's order.
    pub(crate) fetched: Vec<(Digest, Vec<u8>)>,
    /// Those that were looked for, wherever they were found.
    pub(crate) seen: HashSet<Digest>,
    /// Those that are nowhere.
    pub(crate) absent: HashSet<Digest>,
    pub(crate) roles: Roles,
    /// If all of them could be had: checked against each other and against the manifest.
    pub(crate) parts: Option<(Config, Maps)>,
}

/// Reads them from a pack whose manifest was read just now, or from the store.
pub(crate) fn read(
    store: &Store,
    lease: &Lease,
    head: &Head,
    source: &mut dyn Source,
) -> Result<Known, UnpackError> {
    let Head { manifest, snapshot, .. } = head;
    let mut known = Known {
        fetched: Vec::new(),
        seen: HashSet::new(),
        absent: HashSet::new(),
        roles: Roles::new(manifest, Vec::new()),
        parts: None,
    };
    let inconsistent = |source| UnpackError::Inconsistent { snapshot: *snapshot, source };
    let mut reader = Reader { store, lease, source, known: &mut known };
    let Some(small) = reader.small(&manifest.config, limits::CONFIG_BYTES)? else { return Ok(known) };
    let config = Config::parse(&small.bytes)
        .map_err(|source| UnpackError::Config { part: reader.known.roles.part(&manifest.config), source })?;
    reader.keep(&manifest.config, small);
    reader.known.roles = Roles::new(manifest, snapshot::named_by_config(&config));
    let layers: HashSet<Digest> = config.layers().map(|disk| disk.map).collect();
    let named = check_declared(manifest, &config).map_err(inconsistent)?;
    let mut maps = HashMap::new();
    for blob in manifest.layers.iter().filter(|blob| blob.media_type == media_type::MAP) {
        if !named.contains(&blob.digest) {
            // More maps than a config can name are not to be read.
            let reason = format!("{} is declared, but nothing needs it", blob.digest);
            return Err(inconsistent(SnapshotError::Closure(reason)));
        }
        let Some(small) = reader.small(blob, limits::MAP_BYTES)? else { continue };
        let map = Map::parse(&small.bytes).and_then(|map| {
            // A layer's map has few extents, any other may have millions: not to be held for every layer.
            if layers.contains(&blob.digest) { map.check_layer().map(|()| map) } else { Ok(map) }
        });
        let part = || reader.known.roles.part(blob);
        maps.insert(blob.digest, map.map_err(|source| UnpackError::Map { part: part(), source })?);
        reader.keep(blob, small);
    }
    let is_whole = known.absent.is_empty();
    let maps = in_config_order(&config, maps).map_err(inconsistent)?;
    known.roles = Roles::new(manifest, snapshot::closure(&config, &maps));
    if is_whole {
        snapshot::check(manifest, &config, &maps).map_err(inconsistent)?;
        known.parts = Some((config, maps));
    }
    Ok(known)
}

/// The maps that the config names. The manifest has to declare each as one.
fn check_declared(manifest: &Manifest, config: &Config) -> Result<HashSet<Digest>, SnapshotError> {
    let is_map = |part: &Named| part.media_type == media_type::MAP;
    let maps = snapshot::named_by_config(config).into_iter().filter(is_map).map(|part| {
        match manifest.find(&part.digest) {
            Some(declared) if declared.media_type == media_type::MAP => Ok(part.digest),
            _ => Err(SnapshotError::Closure(format!("{} {} is not declared", part.role, part.digest))),
        }
    });
    maps.collect()
}

/// One that is missing counts as empty, for the names of what the others need.
fn in_config_order(config: &Config, mut maps: HashMap<Digest, Map>) -> Result<Maps, SnapshotError> {
    let empty = MapBuilder::new(1).finish().map_err(|error| SnapshotError::Closure(error.to_string()))?;
    let map = |digest: &Digest| maps.get(digest).unwrap_or(&empty).clone();
    let disks = config.disks.iter().map(|disk| map(&disk.map)).collect();
    // The largest of them, which is not to be there twice.
    let memory = maps.remove(&config.memory.map).unwrap_or(empty);
    Ok(Maps { memory, disks })
}

struct Reader<'a> {
    store: &'a Store,
    lease: &'a Lease,
    source: &'a mut dyn Source,
    known: &'a mut Known,
}

/// All of a blob.
struct Small {
    bytes: Vec<u8>,
    is_new: bool,
}

impl Reader<'_> {
    /// All of a blob, verified; `None` if it is nowhere. The manifest bounds its size by its type.
    fn small(&mut self, blob: &Descriptor, limit: usize) -> Result<Option<Small>, UnpackError> {
        let part = self.known.roles.part(blob);
        let is_here = is_here(self.store, self.lease, &part)?;
        self.known.seen.insert(blob.digest);
        let is_packed = self.source.start(blob)?;
        if is_here {
            return Ok(Some(Small { bytes: self.store.read_blob(&blob.digest, limit)?, is_new: false }));
        }
        if !is_packed {
            self.known.absent.insert(blob.digest);
            return Ok(None);
        }
        let bytes = self.source.all(blob.size)?;
        let found = Digest::of(&bytes);
        if found != blob.digest {
            return Err(UnpackError::Corrupt { part, found });
        }
        Ok(Some(Small { bytes, is_new: true }))
    }

    /// Remembers what the store is to have.
    fn keep(&mut self, blob: &Descriptor, small: Small) {
        if small.is_new {
            self.known.fetched.push((blob.digest, small.bytes));
        }
    }
}

/// Protects a blob and says whether the store has it, of the size that was declared.
pub(crate) fn is_here(store: &Store, lease: &Lease, part: &Part) -> Result<bool, UnpackError> {
    if !store.claim_blob(lease, &part.digest)? {
        return Ok(false);
    }
    let found = store.blob_size(&part.digest)?;
    if found == part.size { Ok(true) } else { Err(UnpackError::Size { part: part.clone(), found }) }
}
