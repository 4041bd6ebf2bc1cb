//! Reading a snapshot by its digest: manifest, config and maps, checked against each other, and everything that
//! is missing said at once.

use std::collections::HashMap;
use std::fmt;

use format::config::{ConfigError, DiskRole};
use format::{Config, Digest, Manifest, ManifestError, Map, MapError, Maps, SnapshotError, limits, snapshot};

use crate::{BlobError, FileError, Lease, Store};

/// A snapshot that is in the store in whole.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its name: the digest of its manifest.
    pub digest: Digest,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its config.
    pub config: Config,
    /// Its maps.
    pub maps: Maps,
}

/// A part of a snapshot that is not in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingPart {
    /// What it is, for people: `layer3 of 11 (content sha256:…)`.
    pub role: String,
    /// Its digest.
    pub digest: Digest,
}

impl fmt::Display for MissingPart {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.role, self.digest)
    }
}

/// Why a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Parts are not in the store: all of them are listed.
    #[error("snapshot {digest} is not complete here; missing: {}; pull it to fetch them", list(parts))]
    Missing {
        /// The snapshot.
        digest: Digest,
        /// Every part that is missing.
        parts: Vec<MissingPart>,
    },
    /// Its manifest is not one.
    #[error("snapshot {digest}: {source}")]
    Manifest {
        /// The blob that was to be a manifest.
        digest: Digest,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// Its config is not one.
    #[error("config {digest}: {source}")]
    Config {
        /// The blob that was to be a config.
        digest: Digest,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// One of its maps is not one.
    #[error("map {digest}: {source}")]
    Map {
        /// The blob that was to be a map.
        digest: Digest,
        /// What is wrong with it.
        source: MapError,
    },
    /// Its parts do not belong together.
    #[error("snapshot {digest}: {source}")]
    Inconsistent {
        /// The snapshot.
        digest: Digest,
        /// What does not fit.
        source: SnapshotError,
    },
    /// A part could not be read.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl LoadError {
    fn without_manifest(digest: &Digest) -> Self {
        Self::Missing {
            digest: *digest,
            parts: vec![MissingPart { role: "manifest".to_owned(), digest: *digest }],
        }
    }
}

impl From<FileError> for LoadError {
    fn from(error: FileError) -> Self {
        Self::Blob(error.into())
    }
}

fn list(parts: &[MissingPart]) -> String {
    parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Store {
    /// The manifest `digest` and its bytes.
    ///
    /// # Errors
    /// If it is not there, damaged, or not the manifest of a snapshot.
    pub fn read_manifest(&self, digest: &Digest) -> Result<(Manifest, Vec<u8>), LoadError> {
        let bytes = self.read_blob(digest, limits::MANIFEST_BYTES)?;
        let manifest =
            Manifest::parse(&bytes).map_err(|source| LoadError::Manifest { digest: *digest, source })?;
        Ok((manifest, bytes))
    }

    /// The config `digest`.
    ///
    /// # Errors
    /// If it is not there, damaged, or not a config.
    pub fn read_config(&self, digest: &Digest) -> Result<Config, LoadError> {
        let bytes = self.read_blob(digest, limits::CONFIG_BYTES)?;
        Config::parse(&bytes).map_err(|source| LoadError::Config { digest: *digest, source })
    }

    /// The map `digest`.
    ///
    /// # Errors
    /// If it is not there, damaged, or not a map.
    pub fn read_map(&self, digest: &Digest) -> Result<Map, LoadError> {
        let bytes = self.read_blob(digest, limits::MAP_BYTES)?;
        Map::parse(&bytes).map_err(|source| LoadError::Map { digest: *digest, source })
    }

    /// Protects a snapshot and makes sure that all its blobs are there.
    ///
    /// # Errors
    /// If it is no snapshot, or one is missing.
    pub fn claim_snapshot(&self, lease: &Lease, digest: &Digest) -> Result<Manifest, LoadError> {
        lease.protect(digest)?;
        let manifest = self.find_manifest(digest)?;
        let mut is_whole = true;
        // The manifest last: nobody is to see it without the rest.
        for part in manifest.blobs().map(|blob| &blob.digest).chain([digest]) {
            is_whole = is_whole && self.rescue_blob(part)?;
        }
        if is_whole {
            return Ok(manifest);
        }
        let parts = self.missing_parts(&manifest)?;
        // Collected between the two looks, manifest and all.
        if parts.is_empty() {
            return Err(LoadError::without_manifest(digest));
        }
        Err(LoadError::Missing { digest: *digest, parts })
    }

    /// Claims a snapshot and loads it: all of it stays as long as the lease.
    ///
    /// # Errors
    /// As [`Store::claim_snapshot`] and [`Store::load_snapshot`].
    pub fn load_leased(&self, lease: &Lease, digest: &Digest) -> Result<Snapshot, LoadError> {
        let manifest = self.claim_snapshot(lease, digest)?;
        self.load_parts(digest, manifest)
    }

    /// The snapshot `digest`, if all of it is here and fits together. Its parts can go unless it was claimed before (see
    /// [`Store::claim_snapshot`]): a lease alone does not bring back what a collector has in its hands.
    ///
    /// # Errors
    /// [`LoadError::Missing`] with everything that is missing; else what is damaged or does not fit.
    pub fn load_snapshot(&self, digest: &Digest) -> Result<Snapshot, LoadError> {
        let manifest = self.find_manifest(digest)?;
        let parts = self.missing_parts(&manifest)?;
        if !parts.is_empty() {
            return Err(LoadError::Missing { digest: *digest, parts });
        }
        self.load_parts(digest, manifest)
    }

    /// The manifest of the snapshot `digest`, which is said to be incomplete without it.
    fn find_manifest(&self, digest: &Digest) -> Result<Manifest, LoadError> {
        match self.read_manifest(digest) {
            Ok((manifest, _)) => Ok(manifest),
            Err(LoadError::Blob(BlobError::Missing { .. })) => Err(LoadError::without_manifest(digest)),
            Err(error) => Err(error),
        }
    }

    /// Reads what `manifest` lists, all of which was there.
    fn load_parts(&self, digest: &Digest, manifest: Manifest) -> Result<Snapshot, LoadError> {
        let config = self.read_config(&manifest.config.digest)?;
        let memory = self.read_map(&config.memory.map)?;
        let mut disks = Vec::new();
        for disk in &config.disks {
            let map = self.read_map(&disk.map)?;
            if disk.role == DiskRole::Layer {
                // Before the next one is read: a layer's map is small, and many maps of millions of extents are not
                // to be in memory together.
                map.check_layer().map_err(|source| LoadError::Map { digest: disk.map, source })?;
            }
            disks.push(map);
        }
        let maps = Maps { memory, disks };
        snapshot::check(&manifest, &config, &maps)
            .map_err(|source| LoadError::Inconsistent { digest: *digest, source })?;
        Ok(Snapshot { digest: *digest, manifest, config, maps })
    }

    /// Every blob that `manifest` lists and the store has not, named as well as the parts that are here allow.
    ///
    /// # Errors
    /// If the store, or a part that is there, cannot be read.
    pub fn missing_parts(&self, manifest: &Manifest) -> Result<Vec<MissingPart>, LoadError> {
        let mut digests = Vec::new();
        for blob in manifest.blobs() {
            if !self.is_readable(&blob.digest)? {
                digests.push((blob.digest, &blob.media_type));
            }
        }
        if digests.is_empty() {
            return Ok(Vec::new());
        }
        let roles = self.roles(manifest)?;
        let part = |(digest, media_type): (Digest, &String)| {
            let role = roles.get(&digest).cloned();
            MissingPart { role: role.unwrap_or_else(|| format!("part of type {media_type}")), digest }
        };
        Ok(digests.into_iter().map(part).collect())
    }

    /// What each blob is for, as far as config and maps are here.
    fn roles(&self, manifest: &Manifest) -> Result<HashMap<Digest, String>, LoadError> {
        let mut roles = HashMap::from([(manifest.config.digest, "config".to_owned())]);
        if !self.is_readable(&manifest.config.digest)? {
            return Ok(roles);
        }
        let config = self.read_config(&manifest.config.digest)?;
        for part in snapshot::named_by_config(&config) {
            roles.entry(part.digest).or_insert(part.role);
        }
        let layers = config.layers().count();
        let disks = config.disks.iter().map(|disk| match disk.content {
            Some(content) => (disk.map, format!("{} of {layers} layers (content {content})", disk.id)),
            None => (disk.map, format!("disk {}", disk.id)),
        });
        for (digest, of) in std::iter::once((config.memory.map, "memory".to_owned())).chain(disks) {
            roles.insert(digest, format!("map of {of}"));
            if self.is_readable(&digest)? {
                for blob in self.read_map(&digest)?.blobs() {
                    roles.entry(blob.digest).or_insert_with(|| format!("frames of {of}"));
                }
            }
        }
        for attachment in &config.attachments {
            roles.entry(attachment.digest).or_insert_with(|| format!("attachment {}", attachment.media_type));
        }
        Ok(roles)
    }

    /// Whether a blob can be opened, wherever it is: see [`Store::open_blob`].
    fn is_readable(&self, digest: &Digest) -> Result<bool, FileError> {
        match self.open_blob(digest) {
            Ok(_) => Ok(true),
            Err(BlobError::File(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests;
