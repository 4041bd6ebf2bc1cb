//! A pack that was read, until its tag is set.

use format::Digest;
use store::prune::Item;
use store::{Lease, Store};

use crate::brought::Brought;
use crate::receive::Counts;
use crate::unpack::{check_size, laid_out_bytes};
use crate::{Progress, TagAs, UnpackError, UnpackOptions};

/// A pack that was read. Dropped before [`Arrived::finish`], it takes back what it has stored.
#[derive(Debug)]
pub struct Arrived {
    /// The snapshot.
    pub snapshot: Digest,
    /// What was read, and what is missing.
    pub counts: Counts,
    pub(crate) store: Store,
    pub(crate) lease: Lease,
    pub(crate) options: UnpackOptions,
    pub(crate) manifest: Vec<u8>,
    /// Whether all that bounds the snapshot's size was known before anything was stored.
    pub(crate) is_checked: bool,
    pub(crate) brought: Brought,
}

/// What an unpack has done.
#[derive(Debug)]
pub struct Unpacked {
    /// The snapshot.
    pub snapshot: Digest,
    /// Where the tag led before, if it led elsewhere.
    pub moved_from: Option<Digest>,
}

impl Arrived {
    /// Stores the manifest, so that what is missing can be fetched by the snapshot's digest.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn store_manifest(&mut self) -> Result<(), UnpackError> {
        if !self.store.claim_blob(&self.lease, &self.snapshot)? {
            self.brought.add(Item::Blob(self.snapshot));
            self.store.put_blob(&self.lease, &self.manifest)?;
        }
        Ok(())
    }

    /// Checks all of the snapshot, lays out what is not yet, and sets the tag.
    ///
    /// # Errors
    /// If parts are still missing or do not belong together; if the tag leads elsewhere and may not move.
    pub fn finish(mut self, tag: &TagAs, progress: &dyn Progress) -> Result<Unpacked, UnpackError> {
        self.store_manifest()?;
        let Self { snapshot, store, lease, options, is_checked, brought, .. } = &mut self;
        let loaded = store.load_leased(lease, snapshot)?;
        if !*is_checked {
            check_size(snapshot, "laid out", laid_out_bytes(&loaded.maps), options)?;
        }
        if options.lay_out {
            progress.laying_out();
            brought.add_flats(&loaded.config)?;
            store.lay_out(lease, &loaded, &mut || ())?;
        }
        let TagAs { name, may_move } = tag;
        let before = if *may_move {
            store.set_ref(name, snapshot, None)?
        } else {
            store.create_ref(name, snapshot, None)?;
            None
        };
        brought.keep();
        let moved_from = before.map(|before| before.digest).filter(|before| before != snapshot);
        Ok(Unpacked { snapshot: *snapshot, moved_from })
    }
}
