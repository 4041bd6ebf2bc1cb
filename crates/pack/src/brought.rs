//! What an unpack has put into the store. Unless it succeeds, that goes again, but for what something else needs by then.

use std::collections::HashSet;

use format::{Config, PlannedBlob};
use store::prune::{Item, PruneError};
use store::{FileError, FlatKey, Lease, Store};

use crate::UnpackError;

/// Why what was stored is still there. Nothing leads to it: `spore prune` removes it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeBackError {
    /// A collector is at work, for which nobody waits.
    #[error("another prune is at work")]
    Busy,
    /// It could not be removed.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// The lease could not be released.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Dropped, it takes everything back, unless it was told to [keep](Brought::keep) it. What cannot be taken back then is left to
/// `prune`, as it is when the process is killed.
#[derive(Debug)]
pub(crate) struct Brought {
    store: Store,
    lease: Lease,
    items: HashSet<Item>,
}

impl Brought {
    pub(crate) fn new(store: Store, lease: Lease) -> Self {
        Self { store, lease, items: HashSet::new() }
    }

    /// Something that the store is going to have, or has by now.
    pub(crate) fn add(&mut self, item: Item) {
        self.items.insert(item);
    }

    /// What the caller is going to fetch, and what a broken fetch of it leaves.
    pub(crate) fn add_fetched(&mut self, missing: &[PlannedBlob]) -> Result<(), FileError> {
        for PlannedBlob { digest, size, .. } in missing {
            self.add(Item::Blob(*digest));
            // What another pull has left is not ours.
            if self.store.partial_bytes(digest, *size)? == 0 {
                self.add(Item::Partial(*digest));
            }
        }
        Ok(())
    }

    /// The flat files of a snapshot that are not there yet.
    pub(crate) fn add_flats(&mut self, config: &Config) -> Result<(), FileError> {
        let disks =
            config.disks.iter().map(|disk| disk.content.map_or(FlatKey::Map(disk.map), FlatKey::Layer));
        for key in disks.chain([FlatKey::Map(config.memory.map)]) {
            if self.store.open_flat(key)?.is_none() {
                self.add(Item::Flat(key));
            }
        }
        Ok(())
    }

    /// All of it stays.
    pub(crate) fn keep(&mut self) {
        self.items.clear();
    }

    /// Removes what nothing else needs.
    pub(crate) fn take_back(&mut self) -> Result<(), TakeBackError> {
        let items = std::mem::take(&mut self.items);
        if items.is_empty() {
            return Ok(());
        }
        self.lease.release()?;
        if self.store.remove_unused(&items)? { Ok(()) } else { Err(TakeBackError::Busy) }
    }

    /// The same because of an error, which is given back: with what stayed, if anything did.
    pub(crate) fn take_back_after(mut self, cause: UnpackError) -> UnpackError {
        match self.take_back() {
            Ok(()) => cause,
            Err(left) => UnpackError::Left { cause: Box::new(cause), left },
        }
    }
}

impl Drop for Brought {
    fn drop(&mut self) {
        self.take_back().ok();
    }
}
