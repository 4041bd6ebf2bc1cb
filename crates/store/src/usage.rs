//! How many bytes each snapshot takes, and how many of them it alone.

use std::collections::{BTreeMap, HashMap, HashSet};

use format::{Digest, FullName};

use crate::file::FileError;
use crate::fsck::Problem;
use crate::{FlatKey, Folder, LoadError, Store};

/// What one snapshot takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotUsage {
    /// The snapshot.
    pub digest: Digest,
    /// Its tags.
    pub names: Vec<FullName>,
    /// Bytes of its blobs, the manifest included.
    pub total: u64,
    /// Of these, bytes of blobs that other snapshots with tags have too.
    pub shared: u64,
    /// Of these, bytes that removing this snapshot alone would free.
    pub own: u64,
    /// Bytes on disk of its flat files, which others may use too.
    pub flat: u64,
}

/// What a store takes.
#[derive(Debug, Default)]
pub struct Usage {
    /// Snapshots with tags, but for those with a problem.
    pub snapshots: Vec<SnapshotUsage>,
    /// The tags and snapshots that cannot be read. What they share with others may be counted as the others' own.
    pub problems: Vec<Problem>,
    /// Bytes of all blobs, those that nothing uses included.
    pub blobs: u64,
    /// Bytes on disk of all flat files.
    pub flat: u64,
    /// Bytes on disk of what bake keeps.
    pub cache: u64,
    /// Bytes on disk of what broken pulls have left.
    pub partial: u64,
}

/// What a manifest says of one snapshot.
struct Parts {
    blobs: HashMap<Digest, u64>,
    flats: Result<HashSet<FlatKey>, LoadError>,
}

impl Store {
    /// Measures the store. Sizes of blobs are what manifests say. A tag or snapshot that cannot be read is named, and
    /// the others are measured all the same.
    ///
    /// # Errors
    /// If a folder of the store cannot be read.
    pub fn usage(&self) -> Result<Usage, FileError> {
        let (refs, damaged) = self.readable_refs()?;
        let mut problems: Vec<_> = damaged
            .into_iter()
            .map(|(name, source)| Problem::DamagedRef { name, source: Box::new(source) })
            .collect();
        let mut names: BTreeMap<Digest, Vec<FullName>> = BTreeMap::new();
        for (name, record) in refs {
            names.entry(record.digest).or_default().push(name);
        }
        let flats: HashMap<_, _> = self.flat_files()?.iter().map(|flat| (flat.key, flat.allocated)).collect();
        let mut manifests = Vec::new();
        let mut owners: HashMap<Digest, usize> = HashMap::new();
        for (digest, names) in names {
            match self.parts(&digest) {
                Ok(parts) => {
                    for blob in parts.blobs.keys() {
                        *owners.entry(*blob).or_default() += 1;
                    }
                    manifests.push((digest, names, parts));
                }
                Err(error) => problems.push(unreadable(&digest, &names, error)),
            }
        }
        let mut snapshots = Vec::new();
        for (digest, names, Parts { blobs, flats: keys }) in manifests {
            match keys {
                Ok(keys) => {
                    let total = blobs.values().sum();
                    let is_own = |blob: &Digest| owners.get(blob) == Some(&1);
                    let own = blobs.iter().filter(|(blob, _)| is_own(blob)).map(|(_, size)| size).sum();
                    let flat = keys.iter().filter_map(|key| flats.get(key)).sum();
                    snapshots.push(SnapshotUsage { digest, names, total, shared: total - own, own, flat });
                }
                Err(error) => problems.push(unreadable(&digest, &names, error)),
            }
        }
        Ok(Usage {
            snapshots,
            problems,
            blobs: self.blobs_size()?,
            flat: flats.values().sum(),
            cache: crate::file::tree_size(&self.folder(Folder::Cache))?,
            partial: crate::file::tree_size(&self.folder(Folder::Partial))?,
        })
    }

    fn parts(&self, digest: &Digest) -> Result<Parts, LoadError> {
        let (manifest, bytes) = self.read_manifest(digest)?;
        let mut blobs: HashMap<_, _> = manifest.blobs().map(|blob| (blob.digest, blob.size)).collect();
        blobs.insert(*digest, bytes.len() as u64);
        Ok(Parts { blobs, flats: self.flat_keys(&manifest) })
    }

    fn blobs_size(&self) -> Result<u64, FileError> {
        let mut bytes = 0;
        for digest in self.blobs()? {
            bytes += self.size_if_there(&digest)?.unwrap_or(0);
        }
        Ok(bytes)
    }
}

fn unreadable(digest: &Digest, names: &[FullName], error: LoadError) -> Problem {
    let name = names.first().map_or_else(|| digest.to_string(), ToString::to_string);
    Problem::Snapshot { name: format!("snapshot {name}"), source: Box::new(error) }
}

#[cfg(test)]
mod tests;
