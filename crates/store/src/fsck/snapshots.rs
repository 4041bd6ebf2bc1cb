//! Reading every tag, sandbox and snapshot again.

use std::collections::{BTreeMap, HashMap};

use format::map::MapBlob;
use format::{Digest, FullName, Manifest};

use crate::file::{FileError, names};
use crate::fsck::{Problem, Report};
use crate::layout::read_index;
use crate::prune::PruneError;
use crate::refs::full_name;
use crate::{Folder, Lease, LoadError, Snapshot, Store};

/// The tags of each snapshot.
pub(super) type Tags = BTreeMap<Digest, Vec<FullName>>;

impl Store {
    /// Checks that tags and sandboxes lead somewhere, puts that on the lease, and gives the tags.
    pub(super) fn check_roots(&self, lease: &Lease, report: &mut Report) -> Result<Tags, FileError> {
        let mut tags = Tags::new();
        for file_name in names(&self.folder(Folder::Refs))? {
            let Some(name) = full_name(&file_name) else { continue };
            match self.read_ref(&file_name) {
                Ok(None) => {}
                Ok(Some(record)) => {
                    lease.protect(&record.digest)?;
                    let is_same = self.read_ref(&file_name)?.is_some_and(|now| now.digest == record.digest);
                    if is_same && !self.has_blob(&record.digest)? {
                        report.problems.push(Problem::DanglingRef { name, digest: record.digest });
                    } else {
                        tags.entry(record.digest).or_default().push(name);
                    }
                }
                Err(source) => report.problems.push(Problem::DamagedRef { name, source: Box::new(source) }),
            }
        }
        for id in self.sandboxes()? {
            let digest = match self.sandbox_snapshot(&id) {
                Ok(digest) => digest,
                Err(error) => {
                    report.problems.push(error.into());
                    continue;
                }
            };
            digest.iter().try_for_each(|digest| lease.protect(digest))?;
            let leads = match digest {
                Some(digest) => self.has_blob(&digest)?,
                None => false,
            };
            if !leads && self.sandbox_path(&id).exists() {
                report.problems.push(Problem::DanglingSandbox { id });
            }
        }
        Ok(tags)
    }

    /// Reads every manifest in the store and what belongs to it.
    pub(super) fn check_snapshots(&self, tags: &Tags, report: &mut Report) -> Result<(), FileError> {
        let mut checked = HashMap::new();
        for digest in self.blobs()? {
            let manifest = match self.manifest_among_blobs(&digest) {
                Ok(Some(manifest)) => manifest,
                Err(PruneError::File(error)) => return Err(error),
                // Damaged, which is said already, or no manifest.
                Ok(None) | Err(_) => continue,
            };
            report.snapshots += 1;
            let name = tags.get(&digest).and_then(|names| names.first());
            let name = name.map_or_else(|| format!("snapshot {digest}"), |name| format!("snapshot {name}"));
            name_users(&mut report.problems, &manifest, &name);
            match self.load_snapshot(&digest) {
                Ok(snapshot) => self.check_frames(&name, &snapshot, &mut checked, &mut report.problems),
                // Collected since it was listed.
                Err(LoadError::Missing { .. }) if !self.has_blob(&digest)? => {}
                Err(error) => report.problems.push(Problem::Snapshot { name, source: Box::new(error) }),
            }
        }
        Ok(())
    }

    /// Checks that each frame blob of a snapshot has the index that its maps say. Blobs that are `checked` already
    /// for another snapshot, which said the same of them, are not read again.
    fn check_frames(
        &self,
        name: &str,
        snapshot: &Snapshot,
        checked: &mut HashMap<Digest, MapBlob>,
        problems: &mut Vec<Problem>,
    ) {
        let maps = std::iter::once(&snapshot.maps.memory).chain(&snapshot.maps.disks);
        for blob in maps.flat_map(format::Map::blobs) {
            if checked.get(&blob.digest) == Some(blob) {
                continue;
            }
            let file = self.open_blob(&blob.digest).map_err(Into::into);
            match file.and_then(|file| read_index(&file, blob)) {
                Ok(_) => drop(checked.insert(blob.digest, blob.clone())),
                Err(error) => {
                    problems.push(Problem::Frames { name: name.to_owned(), source: Box::new(error) });
                }
            }
        }
    }
}

/// Adds the snapshot `name` to the damaged blobs that it has.
fn name_users(problems: &mut [Problem], manifest: &Manifest, name: &str) {
    for problem in problems {
        if let Problem::DamagedBlob { digest, users, .. } = problem
            && manifest.find(digest).is_some()
        {
            users.push(name.to_owned());
        }
    }
}
