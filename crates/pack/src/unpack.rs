//! Unpack: a pack to the store.
//!
//! ```text
//! plan      head, config and maps are read and checked against each other; nothing is stored
//! execute   free space; config and maps; blobs as they come, hashed, and laid out behind that
//!           what neither pack nor store has is named, all of it at once
//! finish    manifest; all of the snapshot is checked; tag
//! ```
//!
//! A blob that the store has is not read again. Between the last two steps the caller may fetch what is missing, and lay out all
//! of it on the way: so nothing is laid out behind a pack that lacks something.

use format::{Config, Digest, Maps, PAGE_SIZE};
use serde::Serialize;
use store::{Store, TagAs};

use crate::brought::Brought;
use crate::documents::{self, is_here};
use crate::head::Head;
use crate::names::ProposedName;
use crate::plan::in_order;
use crate::receive::{Counts, Opened};
use crate::source::{self, Input};
use crate::{Arrived, Missing, Progress, UnpackError};

/// How a pack is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackOptions {
    /// Most bytes of the snapshot's blobs, and most bytes that they may be laid out to.
    pub max_bytes: Option<u64>,
    /// Whether flat files are laid out, as the first fork would otherwise do.
    pub lay_out: bool,
    /// Whether parts may be missing, because the caller can fetch them.
    pub may_lack: bool,
}

/// What a pack holds, as far as it says so at its beginning.
#[derive(Debug, Serialize)]
pub struct UnpackPlan {
    /// The snapshot.
    pub snapshot: Digest,
    /// The name that the pack proposes.
    pub name: Option<ProposedName>,
    /// Bytes of all of the snapshot's blobs.
    pub blob_bytes: u64,
    /// Bytes of those that the store has.
    pub present_bytes: u64,
    /// Bytes that flat files are going to take, at most; none if they are not laid out, or not known before all maps
    /// are there.
    pub flat_bytes: Option<u64>,
    #[serde(skip)]
    opened: Opened,
}

/// Reads the beginning of a pack, and checks all that it says of the snapshot. Stores nothing.
///
/// # Errors
/// If it is no pack, holds no valid snapshot, or one that is larger than the options allow.
pub fn plan_unpack(store: &Store, input: Input, options: UnpackOptions) -> Result<UnpackPlan, UnpackError> {
    let lease = store.lease()?;
    let mut source = source::open(input)?;
    let head = Head::read(&mut *source)?;
    lease.protect(&head.snapshot)?;
    let blob_bytes = head.manifest.total_size();
    check_size(&head.snapshot, "in blobs", blob_bytes, &options)?;
    let documents = documents::read(store, &lease, &head, &mut *source)?;
    let mut flat_bytes = None;
    if let Some((config, maps)) = &documents.whole {
        check_size(&head.snapshot, "laid out", laid_out_bytes(maps), &options)?;
        if options.lay_out {
            flat_bytes = Some(store.layout(&lease, config, maps)?.bytes());
        }
    }
    let mut present_bytes = 0_u64;
    for blob in in_order(&head.manifest) {
        if is_here(store, &lease, &documents.roles.blob(blob))? {
            present_bytes = present_bytes.saturating_add(blob.size);
        }
    }
    let (snapshot, name) = (head.snapshot, head.name.clone());
    let opened = Opened { store: store.clone(), lease, options, source, head, documents };
    Ok(UnpackPlan { snapshot, name, blob_bytes, present_bytes, flat_bytes, opened })
}

/// Bytes that the flat files of these maps take, at most.
pub(crate) fn laid_out_bytes(maps: &Maps) -> u64 {
    let all = maps.disks.iter().chain([&maps.memory]);
    all.fold(0, |sum, map| sum.saturating_add(map.covered_pages().saturating_mul(PAGE_SIZE)))
}

/// Refuses what takes more than the options allow.
pub(crate) fn check_size(
    snapshot: &Digest,
    what: &'static str,
    bytes: u64,
    options: &UnpackOptions,
) -> Result<(), UnpackError> {
    match options.max_bytes {
        Some(limit) if bytes > limit => {
            Err(UnpackError::TooLarge { snapshot: *snapshot, what, bytes, limit })
        }
        _ => Ok(()),
    }
}

impl UnpackPlan {
    /// Reads all that the pack has and compares it with the digests, whatever the store has of it; stores nothing. What frames
    /// decode to is not looked at: that shows when they are laid out.
    ///
    /// # Errors
    /// If it is damaged. That parts are missing is no error here.
    pub fn verify(mut self, progress: &dyn Progress) -> Result<Counts, UnpackError> {
        self.opened.verify(progress)
    }

    /// Takes what the store lacks out of the pack.
    ///
    /// # Errors
    /// If the tag leads elsewhere and may not move; if it would not fit; if the pack is damaged; if parts are missing and may not;
    /// if it was stopped. The store is then as it was, unless the error is [`UnpackError::Left`].
    pub fn execute(mut self, tag: &TagAs, progress: &dyn Progress) -> Result<Arrived, UnpackError> {
        let missing = self.check(tag)?;
        let documents = self.opened.documents.whole.take();
        let Opened { store, lease, options, .. } = &self.opened;
        let (store, lease, options) = (store.clone(), lease.clone(), *options);
        let mut brought = Brought::new(store.clone(), lease.clone());
        // Where something is missing, whoever fetches it lays out all of it.
        let lays_out =
            options.lay_out && (!options.may_lack || missing.is_some_and(|missing| missing.is_empty()));
        match bring(&mut self.opened, documents.as_ref(), lays_out, &mut brought, progress) {
            Err(cause) => Err(brought.take_back_after(cause)),
            Ok(counts) => Ok(Arrived {
                snapshot: self.snapshot,
                counts,
                store,
                lease,
                options,
                manifest: self.opened.head.bytes,
                is_checked: documents.is_some(),
                brought,
            }),
        }
    }

    /// What is better said before anything is read. Gives what is missing, if that is known already.
    fn check(&self, tag: &TagAs) -> Result<Option<Missing>, UnpackError> {
        let Opened { store, lease, head, options, source, documents } = &self.opened;
        store.check_tag(tag, &self.snapshot)?;
        let mut missing = Some(Missing::default());
        for blob in in_order(&head.manifest) {
            let part = documents.roles.blob(blob);
            match source.has(&blob.digest) {
                Some(true) => {}
                _ if is_here(store, lease, &part)? => {}
                Some(false) => missing.as_mut().map(|missing| missing.0.push(part)).unwrap_or_default(),
                None => missing = None,
            }
        }
        match &missing {
            Some(parts) if !parts.is_empty() && !options.may_lack => {
                return Err(UnpackError::Missing { snapshot: self.snapshot, parts: parts.clone() });
            }
            _ => {}
        }
        let blobs = self.blob_bytes.saturating_sub(self.present_bytes);
        store.ensure_space(blobs.saturating_add(self.flat_bytes.unwrap_or(0)))?;
        Ok(missing)
    }
}

fn bring(
    opened: &mut Opened,
    documents: Option<&(Config, Maps)>,
    lays_out: bool,
    brought: &mut Brought,
    progress: &dyn Progress,
) -> Result<Counts, UnpackError> {
    // Whoever lays them out: this, or who fetches what is missing.
    if let Some((config, _)) = documents.filter(|_| opened.options.lay_out) {
        brought.add_flats(config)?;
    }
    let counts = opened.store_all(documents.filter(|_| lays_out), brought, progress)?;
    if !counts.missing.is_empty() && !opened.options.may_lack {
        return Err(UnpackError::Missing { snapshot: opened.head.snapshot, parts: counts.missing });
    }
    brought.add_fetched(&counts.missing.0)?;
    Ok(counts)
}
