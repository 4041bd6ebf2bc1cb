//! Collection: what nothing uses is found, shown, and removed, while other commands go on.
//!
//! ```text
//! plan      read the roots; what they do not lead to is a candidate
//! execute   1. rename candidates into trash/, manifests first
//!           2. read the roots again, leases first
//!           3. put back what they lead to now, manifests last
//!           4. unlink the rest of the trash
//! ```
//!
//! Nobody is ever stopped: a command that needs a blob puts it on its lease and then tests whether it is there. If
//! the test comes after 1, the command takes the blob back from the trash, or makes it anew if it is gone from there
//! too; if before, step 2 sees the lease. A crash leaves a filled trash at worst, which the next [`Store::open`]
//! settles by steps 2 to 4.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use crate::reach::Reached;
use crate::{Folder, LockKey, Store, cache};

pub(crate) mod error;
mod execute;

pub use error::PruneError;
pub use execute::PruneReport;

pub use crate::trash::Item;

/// Why something can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The manifest of a snapshot without a tag or a sandbox.
    Untagged,
    /// No snapshot that is in use has it.
    Unused,
    /// A pull that broke, and that nobody has resumed.
    BrokenPull,
    /// A cache, and caches were to go too.
    Cache,
}

impl fmt::Display for Why {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Untagged => "a snapshot without a tag",
            Self::Unused => "nothing uses it",
            Self::BrokenPull => "a pull that broke",
            Self::Cache => "a cache",
        })
    }
}

/// Something that a plan would remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What.
    pub item: Item,
    /// Why it can go.
    pub why: Why,
    /// Bytes that this frees, as far as that is known.
    pub bytes: u64,
}

/// What a collection would remove, as things were when it was planned.
#[derive(Debug, Clone)]
pub struct PrunePlan {
    /// In the order of removal: manifests first.
    pub candidates: Vec<Candidate>,
    keep_caches: bool,
}

impl PrunePlan {
    /// Bytes that it would free.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.candidates.iter().map(|candidate| candidate.bytes).sum()
    }
}

impl Reached {
    fn has(&self, item: &Item, keep_caches: bool) -> bool {
        match item {
            Item::Blob(digest) => self.blobs.contains(digest),
            Item::Flat(key) => self.flats.contains(key) || keep_caches && self.cached_flats.contains(key),
            Item::Partial(_) | Item::Cache(_) | Item::Sandbox(_) => false,
        }
    }
}

impl Store {
    /// What nothing uses. With `all`, also what is kept only to make the next fork or bake faster: flat files that no
    /// sandbox links to, and bake's cache.
    ///
    /// # Errors
    /// If what a tag, sandbox or lease needs cannot be read.
    pub fn plan_prune(&self, all: bool) -> Result<PrunePlan, PruneError> {
        let blobs = self.blobs()?;
        let flats = self.flat_files()?;
        let reached = self.reach(&mut || ())?;
        let mut manifests = Vec::new();
        let mut rest = Vec::new();
        for digest in blobs.into_iter().filter(|digest| !reached.blobs.contains(digest)) {
            let Some(bytes) = self.size_if_there(&digest)? else { continue };
            let is_manifest = self.is_manifest(&digest)?;
            let (list, why) =
                if is_manifest { (&mut manifests, Why::Untagged) } else { (&mut rest, Why::Unused) };
            list.push(Candidate { item: Item::Blob(digest), why, bytes });
        }
        manifests.append(&mut rest);
        let mut candidates = manifests;
        for flat in flats.into_iter().filter(|flat| flat.users == 0) {
            let item = Item::Flat(flat.key);
            if !reached.has(&item, !all) {
                let why = if reached.has(&item, true) { Why::Cache } else { Why::Unused };
                candidates.push(Candidate { item, why, bytes: flat.allocated });
            }
        }
        for (digest, bytes) in self.broken_pulls(Duration::ZERO)? {
            candidates.push(Candidate { item: Item::Partial(digest), why: Why::BrokenPull, bytes });
        }
        if all {
            for path in cache::entries(self)? {
                let bytes = crate::file::tree_size(&self.folder(Folder::Cache).join(&path))?;
                candidates.push(Candidate { item: Item::Cache(path), why: Why::Cache, bytes });
            }
        }
        Ok(PrunePlan { candidates, keep_caches: !all })
    }

    /// Removes those of `items` that nothing needs: what a command has brought that failed, and gives up. It has released
    /// its lease before. What a snapshot without a tag needs that is not among `items` stays, too: another command has brought
    /// that.
    ///
    /// Nobody waits here: `false` if a collector is at work. The next one removes what this one has not.
    ///
    /// # Errors
    /// As [`Store::prune`].
    pub fn remove_unused(&self, items: &HashSet<Item>) -> Result<bool, PruneError> {
        let Some(lock) = self.try_lock(LockKey::Collector)? else { return Ok(false) };
        let plan = self.plan_removal(items)?;
        self.prune_stepwise(&lock, &plan, &mut || Ok(())).map(|_| true)
    }

    fn plan_removal(&self, items: &HashSet<Item>) -> Result<PrunePlan, PruneError> {
        // Before the blobs are listed: whoever has dropped a lease by then has its manifest among them.
        let reached = self.reach(&mut || ())?;
        let (mut candidates, mut needed) = (Vec::new(), HashSet::new());
        for digest in self.blobs()?.into_iter().filter(|digest| !reached.blobs.contains(digest)) {
            let item = Item::Blob(digest);
            match self.manifest_if_whole(&digest)? {
                Some(_) if items.contains(&item) => {
                    candidates.push(Candidate { item, why: Why::Untagged, bytes: 0 });
                }
                Some(manifest) => needed.extend(manifest.blobs().map(|blob| Item::Blob(blob.digest))),
                None => {}
            }
        }
        let manifests: HashSet<_> = candidates.iter().map(|candidate| candidate.item.clone()).collect();
        let rest = items.iter().filter(|item| !manifests.contains(item) && !needed.contains(item));
        let rest = rest.filter(|item| !reached.has(item, true));
        candidates.extend(rest.map(|item| Candidate { item: item.clone(), why: Why::Unused, bytes: 0 }));
        Ok(PrunePlan { candidates, keep_caches: true })
    }
}

#[cfg(test)]
mod tests;
