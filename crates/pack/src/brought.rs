//! What an unpack has put into the store. Unless it succeeds, that goes again, but for what something else needs by then.

use format::Config;
use store::prune::Item;
use store::{FileError, FlatKey, Lease, Store};

/// Dropped, it takes everything back, unless it was told to [keep](Brought::keep) it. What cannot be taken back is left to
/// `prune`, as it is when the process is killed.
#[derive(Debug)]
pub(crate) struct Brought {
    store: Store,
    lease: Lease,
    items: Vec<Item>,
}

impl Brought {
    pub(crate) fn new(store: Store, lease: Lease) -> Self {
        Self { store, lease, items: Vec::new() }
    }

    /// Something that the store is going to have, or has by now.
    pub(crate) fn add(&mut self, item: Item) {
        self.items.push(item);
    }

    /// The flat files of a snapshot that are not there yet.
    pub(crate) fn add_flats(&mut self, config: &Config) -> Result<(), FileError> {
        let disks =
            config.disks.iter().map(|disk| disk.content.map_or(FlatKey::Map(disk.map), FlatKey::Layer));
        for key in disks.chain([FlatKey::Map(config.memory.map)]) {
            if self.store.open_flat(key)?.is_none() {
                self.items.push(Item::Flat(key));
            }
        }
        Ok(())
    }

    /// All of it stays.
    pub(crate) fn keep(&mut self) {
        self.items.clear();
    }
}

impl Drop for Brought {
    fn drop(&mut self) {
        if self.items.is_empty() {
            return;
        }
        let taken_back = self.lease.release().map_err(Into::into);
        taken_back.and_then(|()| self.store.remove_unused(std::mem::take(&mut self.items))).ok();
    }
}
