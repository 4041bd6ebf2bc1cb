//! What a reader needs whose parts of a snapshot come from several places: what each blob is for, and which of them are maps.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Serialize;

use super::{Part, SnapshotError, describe, named_by_config};
use crate::manifest::{annotation, media_type};
use crate::{Config, Descriptor, Digest, Manifest, Map, MapError, Maps};

/// A blob of a manifest, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedBlob {
    /// What it is for, for people: `frames of disk layer0 (content sha256:…)`.
    pub role: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

impl fmt::Display for PlannedBlob {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} ({} bytes)", self.role, self.digest, self.size)
    }
}

/// What each blob of a manifest is for, as far as that is known.
#[derive(Debug, Clone)]
pub struct Roles(HashMap<Digest, String>);

impl Roles {
    /// `parts` is what could be read: [`super::closure`], [`named_by_config`], or nothing.
    #[must_use]
    pub fn new(manifest: &Manifest, parts: Vec<Part>) -> Self {
        let mut roles: HashMap<_, _> = parts.into_iter().map(|part| (part.digest, part.role)).collect();
        roles.insert(manifest.config.digest, "config".to_owned());
        Self(roles)
    }

    /// What a blob is for, where config or maps say it.
    #[must_use]
    pub fn role(&self, digest: &Digest) -> String {
        self.0.get(digest).cloned().unwrap_or_else(|| "part".to_owned())
    }

    /// A blob with what it is for. What the manifest calls it helps people, too, even if it should not be true.
    #[must_use]
    pub fn blob(&self, descriptor: &Descriptor) -> PlannedBlob {
        let Descriptor { digest, size, media_type, annotations } = descriptor;
        let unknown = || match annotations.get(annotation::TITLE) {
            Some(title) => {
                // As in `layers`, which numbers those of one role.
                let title = title.split_once(", part ").map_or(title.as_str(), |(title, _)| title);
                format!("part titled {:?}", crate::excerpt(title))
            }
            None => format!("part of type {}", crate::excerpt(media_type)),
        };
        let role = self.0.get(digest).cloned().unwrap_or_else(unknown);
        PlannedBlob { role, digest: *digest, size: *size }
    }
}

/// The maps that a config names, each once, in the manifest's order.
///
/// # Errors
/// If the manifest does not declare one as a map, or declares a map that the config does not name: before any is read.
pub fn declared_maps<'a>(
    manifest: &'a Manifest,
    config: &Config,
) -> Result<Vec<&'a Descriptor>, SnapshotError> {
    let is_map = |blob: &&Descriptor| blob.media_type == media_type::MAP;
    let mut named = HashSet::new();
    for part in named_by_config(config).into_iter().filter(|part| part.media_type == media_type::MAP) {
        let Part { digest, role, .. } = part;
        match manifest.find(&digest) {
            Some(declared) if is_map(&declared) => drop(named.insert(digest)),
            Some(declared) => {
                let (found, expected) = (crate::excerpt(&declared.media_type), media_type::MAP);
                let reason = format!("{role} {digest} is declared as {found:?}: expected {expected:?}");
                return Err(SnapshotError::Closure(reason));
            }
            None => return Err(SnapshotError::Closure(format!("{role} {digest} is not declared"))),
        }
    }
    let maps: Vec<_> = manifest.layers.iter().filter(is_map).collect();
    match maps.iter().find(|blob| !named.contains(&blob.digest)) {
        Some(extra) => {
            Err(SnapshotError::Closure(format!("{} is declared, but nothing needs it", extra.digest)))
        }
        None => Ok(maps),
    }
}

/// The maps of a config as they come, in any order.
#[derive(Debug)]
pub struct MapReader {
    layers: HashSet<Digest>,
    /// What each map is of, for errors.
    of: HashMap<Digest, String>,
    declared: HashSet<Digest>,
    maps: HashMap<Digest, Map>,
}

impl MapReader {
    /// Of which nothing has come.
    #[must_use]
    pub fn new(manifest: &Manifest, config: &Config) -> Self {
        let disks = config.disks.iter().map(|disk| (disk.map, format!("disk {}", describe(disk))));
        Self {
            of: disks.chain([(config.memory.map, "memory".to_owned())]).collect(),
            layers: config.layers().map(|disk| disk.map).collect(),
            declared: manifest.layers.iter().map(|blob| blob.digest).collect(),
            maps: HashMap::new(),
        }
    }

    /// Whether this map is a layer's, which [`Map::parse_layer`] reads.
    #[must_use]
    pub fn is_layer(&self, digest: &Digest) -> bool {
        self.layers.contains(digest)
    }

    /// Reads a map: see [`MapReader::is_layer`].
    ///
    /// # Errors
    /// If it is none, or not one that its disk can have.
    pub fn parse(bytes: &[u8], is_layer: bool) -> Result<Map, MapError> {
        if is_layer { Map::parse_layer(bytes) } else { Map::parse(bytes) }
    }

    /// A map has come, and was read.
    ///
    /// # Errors
    /// If the manifest does not declare what it needs: before the next one is read, since a manifest bounds how much that can be.
    pub fn insert(&mut self, digest: Digest, map: Map) -> Result<(), SnapshotError> {
        let undeclared = map.blobs().iter().find(|blob| !self.declared.contains(&blob.digest));
        if let Some(blob) = undeclared {
            let of = self.of.get(&digest).map_or("a map", String::as_str);
            let reason = format!("frames of {of} {} is not declared", blob.digest);
            return Err(SnapshotError::Closure(reason));
        }
        self.maps.insert(digest, map);
        Ok(())
    }

    /// The maps in the config's order; one that is missing counts as empty, for the names of what the others need.
    #[must_use]
    pub fn finish(mut self, config: &Config) -> Maps {
        // The largest of them, which are not to be there twice.
        let memory = self.maps.remove(&config.memory.map).unwrap_or_else(Map::zero_page);
        let mut later: HashMap<_, usize> = HashMap::new();
        config.disks.iter().for_each(|disk| *later.entry(disk.map).or_default() += 1);
        let take = |disk: &crate::config::Disk| {
            let uses = later.entry(disk.map).or_default();
            *uses = uses.saturating_sub(1);
            let map =
                if *uses == 0 { self.maps.remove(&disk.map) } else { self.maps.get(&disk.map).cloned() };
            map.unwrap_or_else(Map::zero_page)
        };
        Maps { memory, disks: config.disks.iter().map(take).collect() }
    }
}
