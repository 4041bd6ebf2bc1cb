//! A pack that was read, until its tag is set.

use format::Digest;
use store::prune::Item;
use store::{Lease, Store, TagAs};

use crate::brought::{Brought, TakeBackError};
use crate::receive::Counts;
use crate::unpack::{check_size, laid_out_bytes};
use crate::{Progress, UnpackError, UnpackOptions};

/// A pack that was read. Unless it is [finished](Arrived::finish), what it has stored is taken back: by
/// [`Arrived::take_back`], which says whether that could be done, or else when it is dropped.
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
    /// The manifest, by which what is missing can be fetched. The store has it only when all else is there.
    #[must_use]
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// Whether whoever fetches what is missing may lay out flat files on the way: if they are to be, and are known to be as small as
    /// they have to be.
    #[must_use]
    pub fn may_be_laid_out(&self) -> bool {
        self.options.lay_out && self.is_checked
    }

    /// Checks all of the snapshot, lays out what is not yet, and sets the tag.
    ///
    /// # Errors
    /// If parts are still missing or do not belong together; if the tag leads elsewhere and may not move; if it was stopped. What
    /// was stored is taken back then.
    pub fn finish(mut self, tag: &TagAs, progress: &dyn Progress) -> Result<Unpacked, UnpackError> {
        match self.commit(tag, progress) {
            Ok(unpacked) => {
                self.brought.keep();
                Ok(unpacked)
            }
            Err(cause) => Err(self.brought.take_back_after(cause)),
        }
    }

    /// Gives up: takes back what was stored.
    ///
    /// # Errors
    /// If something stayed.
    pub fn take_back(mut self) -> Result<(), TakeBackError> {
        self.brought.take_back()
    }

    fn commit(&mut self, tag: &TagAs, progress: &dyn Progress) -> Result<Unpacked, UnpackError> {
        let Self { snapshot, store, lease, options, is_checked, brought, manifest, counts, .. } = self;
        if !counts.missing.is_empty() {
            claim_all(store, lease, counts)?;
        }
        // All that it leads to is there by now.
        if !store.claim_blob(lease, snapshot)? {
            brought.add(Item::Blob(*snapshot));
            store.put_blob(lease, manifest)?;
        }
        let loaded = store.load_leased(lease, snapshot)?;
        if !*is_checked {
            check_size(snapshot, "laid out", laid_out_bytes(&loaded.maps), options)?;
        }
        if options.lay_out {
            brought.add_flats(&loaded.config)?;
            let stop = || progress.is_interrupted();
            let layout = store.layout(lease, &loaded.config, &loaded.maps)?.until(&stop);
            store.ensure_space(layout.bytes())?;
            progress.laying_out();
            layout.finish(&mut || ())?;
        }
        if progress.is_interrupted() {
            return Err(UnpackError::Interrupted);
        }
        Ok(Unpacked { snapshot: *snapshot, moved_from: store.set_tag(tag, snapshot, None)? })
    }
}

/// What was missing is to be there by now.
fn claim_all(store: &Store, lease: &Lease, counts: &Counts) -> Result<(), UnpackError> {
    for part in &counts.missing.0 {
        if !store.claim_blob(lease, &part.digest)? {
            return Err(store::BlobError::Missing { digest: part.digest }.into());
        }
    }
    Ok(())
}
