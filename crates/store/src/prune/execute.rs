//! Carrying out a plan, and settling a trash that a killed collector has left.

use std::fs;

use format::{Digest, Manifest};

use crate::file::{At, FileError, found, names, remove_file, remove_tree, rename_new, sync_folder};
use crate::prune::{Candidate, Item, PruneError, PrunePlan};
use crate::reach::Reached;
use crate::{BlobError, Folder, Lock, LockKey, Store, cache, lock};

/// What a collection did.
#[derive(Debug, Default)]
pub struct PruneReport {
    /// Things that were removed.
    pub removed: usize,
    /// Bytes that this freed, as the plan said.
    pub bytes: u64,
    /// Things of the plan that stayed, because something uses them by now.
    pub kept: usize,
    /// What nothing uses and yet could not be removed: every collection tries it again.
    pub stuck: Vec<FileError>,
}

/// Called before each change that a collection makes, so that tests can stop it there or do something in between.
type Step<'a> = &'a mut dyn FnMut() -> Result<(), PruneError>;

impl Store {
    /// Removes what `plan` lists and nothing uses by now. `on_wait` is called if another collector is at work: this
    /// one waits then.
    ///
    /// # Errors
    /// If what something needs cannot be read, or a candidate cannot be moved to the trash.
    /// What is still in the trash then is settled when the store is opened next.
    pub fn prune(&self, plan: &PrunePlan, on_wait: &mut dyn FnMut()) -> Result<PruneReport, PruneError> {
        let lock = self.lock(LockKey::Collector, on_wait)?;
        let mut stuck = Vec::new();
        self.sweep_leftovers(&lock, &mut stuck)?;
        self.sweep_locks(&lock)?;
        let mut report = self.prune_stepwise(&lock, plan, &mut || Ok(()))?;
        report.stuck.append(&mut stuck);
        Ok(report)
    }

    pub(super) fn prune_stepwise(
        &self,
        lock: &Lock,
        plan: &PrunePlan,
        step: Step<'_>,
    ) -> Result<PruneReport, PruneError> {
        // What is stuck now is stuck later, too, when it is reported.
        self.settle_trash(lock, plan.keep_caches, &mut Vec::new(), step)?;
        let reached = self.reach(&mut || drop(step()))?;
        let still = |candidate: &&Candidate| !reached.has(&candidate.item, plan.keep_caches);
        let candidates: Vec<&Candidate> = plan.candidates.iter().filter(still).collect();
        let mut syncs_manifests = true;
        for candidate in &candidates {
            // Manifests come first, and stay away after a crash if anything of theirs does.
            if syncs_manifests && candidate.why != super::Why::Untagged {
                sync_folder(&self.folder(Folder::Blobs))?;
                syncs_manifests = false;
            }
            step()?;
            self.discard(&candidate.item)?;
        }
        let mut report = PruneReport::default();
        let reached = self.settle_trash(lock, plan.keep_caches, &mut report.stuck, step)?;
        self.forget_framings(&|map| reached.blobs.contains(map))?;
        self.forget_origins(&|snapshot| reached.blobs.contains(snapshot))?;
        for candidate in &plan.candidates {
            if self.place_of(&candidate.item).exists() {
                report.kept += 1;
            } else if !self.trash_path(&candidate.item).exists() {
                report.removed += 1;
                report.bytes += candidate.bytes;
            }
        }
        Ok(report)
    }

    /// Puts one candidate into the trash, if it is still there and in nobody's hands.
    fn discard(&self, item: &Item) -> Result<(), FileError> {
        let place = self.place_of(item);
        if let Item::Partial(_) = item {
            // Its lock says whether a pull goes on with it.
            return lock::remove_unlocked(&place).map(drop);
        }
        let _held = match item {
            // Its lock says whether a bake works with it. It is held until the entry is gone from its place.
            Item::Cache(path) => match cache::lock_key(path).map(|key| self.try_lock(key)).transpose()? {
                Some(None) => return Ok(()),
                held => held,
            },
            _ => None,
        };
        found(fs::rename(&place, self.trash_path(item)).at("remove", &place)).map(drop)
    }

    /// Puts back what is in use of all that is in the trash, and unlinks the rest. Says what is in use.
    ///
    /// What can be neither put back nor removed stays, and is added to `stuck`: nobody is to be kept from a whole store
    /// by one leftover.
    pub(crate) fn settle_trash(
        &self,
        _held: &Lock,
        keep_caches: bool,
        stuck: &mut Vec<FileError>,
        step: Step<'_>,
    ) -> Result<Reached, PruneError> {
        let reached = self.reach(&mut || drop(step()));
        let folder = self.folder(Folder::Trash);
        let (mut back, mut gone) = (Vec::new(), Vec::new());
        for name in names(&folder)? {
            let path = folder.join(&name);
            let Some(item) = Item::from_trash(&name) else {
                gone.push((false, path));
                continue;
            };
            match self.sort_trash(&item, reached.as_ref().ok(), keep_caches) {
                Ok((is_manifest, true)) => back.push((is_manifest, item)),
                Ok((is_manifest, false)) => gone.push((is_manifest, path)),
                Err(error) => stuck.push(error),
            }
        }
        self.put_all_back(back, stuck, step)?;
        gone.sort_by_key(|(is_manifest, _)| !*is_manifest);
        for (_, path) in gone {
            step()?;
            let is_folder = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
            stuck.extend(if is_folder { remove_tree(&path) } else { remove_file(&path) }.err());
        }
        reached
    }

    /// Whether something in the trash is a manifest, and whether it is to be put back. If what is `reached` is not
    /// known, all of it could be in use.
    fn sort_trash(
        &self,
        item: &Item,
        reached: Option<&Reached>,
        keep_caches: bool,
    ) -> Result<(bool, bool), FileError> {
        let is_manifest = matches!(item, Item::Blob(digest) if self.is_manifest(digest)?);
        let can_return = matches!(item, Item::Blob(_) | Item::Flat(_));
        let is_in_use = can_return && reached.is_none_or(|reached| reached.has(item, keep_caches))
            || self.has_users(item)?;
        Ok((is_manifest, is_in_use))
    }

    /// Puts back items, of which the manifests are marked: they come last, and not at all if anything else in the
    /// trash is stuck, so that none is there without its parts.
    fn put_all_back(
        &self,
        mut items: Vec<(bool, Item)>,
        stuck: &mut Vec<FileError>,
        step: Step<'_>,
    ) -> Result<(), PruneError> {
        items.sort_by_key(|(is_manifest, _)| *is_manifest);
        let (parts, manifests) = items.split_at(items.partition_point(|(is_manifest, _)| !is_manifest));
        for (_, item) in parts {
            step()?;
            stuck.extend(self.put_back(item).err());
        }
        if manifests.is_empty() || !stuck.is_empty() {
            return Ok(());
        }
        sync_folder(&self.folder(Folder::Blobs))?;
        for (_, item) in manifests {
            step()?;
            stuck.extend(self.put_back(item).err());
        }
        Ok(())
    }

    fn put_back(&self, item: &Item) -> Result<(), FileError> {
        let trash = self.trash_path(item);
        match found(rename_new(&trash, &self.place_of(item)))? {
            // Made anew meanwhile.
            Some(false) => remove_file(&trash),
            // Put back, now or by who needs it.
            Some(true) | None => Ok(()),
        }
    }

    /// Whether sandboxes hold links to a flat file in the trash.
    fn has_users(&self, item: &Item) -> Result<bool, FileError> {
        use std::os::unix::fs::MetadataExt;
        let path = self.trash_path(item);
        let metadata = found(fs::symlink_metadata(&path).at("examine", &path))?;
        Ok(matches!(item, Item::Flat(_)) && metadata.is_some_and(|metadata| metadata.nlink() > 1))
    }

    /// Whether a blob is a snapshot's manifest.
    pub(super) fn is_manifest(&self, digest: &Digest) -> Result<bool, FileError> {
        self.manifest_if_whole(digest).map(|manifest| manifest.is_some())
    }

    /// A blob as a snapshot's manifest, if it is one. One that is damaged is not: it protects nothing.
    pub(super) fn manifest_if_whole(&self, digest: &Digest) -> Result<Option<Manifest>, FileError> {
        match self.manifest_among_blobs(digest) {
            Err(PruneError::File(error)) => Err(error),
            manifest => Ok(manifest.unwrap_or_default()),
        }
    }

    /// Bytes of a blob, if it is there.
    pub(crate) fn size_if_there(&self, digest: &Digest) -> Result<Option<u64>, FileError> {
        match self.blob_size(digest) {
            Ok(size) => Ok(Some(size)),
            Err(BlobError::File(error)) => Err(error),
            Err(_) => Ok(None),
        }
    }
}
