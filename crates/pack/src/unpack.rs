//! Unpack: a pack to the store.
//!
//! ```text
//! plan      head, config and maps are read into memory and checked against each other; nothing is stored
//! execute   free space; config and maps; blobs as they come, hashed, and laid out behind that
//!           what neither pack nor store has is named, all of it at once
//! finish    manifest; all of the snapshot is checked; tag
//! ```
//!
//! A blob that the store has is not read again. Between the last two steps the caller may fetch what is missing.

use format::{Digest, FullName, Maps, PAGE_SIZE};
use serde::Serialize;
use store::prune::Item;
use store::{Lease, RefError, Store};

use crate::brought::Brought;
use crate::head::Head;
use crate::laying::{Layer, beside};
use crate::parts::{self, Known, is_here};
use crate::plan::in_order;
use crate::receive::Counts;
use crate::source::{self, Input, Source};
use crate::{Arrived, Progress, UnpackError};

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

/// The tag that is set when all is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagAs {
    /// The tag.
    pub name: FullName,
    /// Whether one that leads elsewhere is moved.
    pub may_move: bool,
}

/// What a pack holds, as far as it says so at its beginning.
#[derive(Debug, Serialize)]
pub struct UnpackPlan {
    /// The snapshot.
    pub snapshot: Digest,
    /// The name that the pack proposes: for people, and untrusted.
    pub name: Option<String>,
    /// Bytes of all of the snapshot's blobs.
    pub blob_bytes: u64,
    /// Bytes of those that the store has.
    pub present_bytes: u64,
    /// Bytes that flat files are going to take, at most; none if they are not laid out, or not known before all maps
    /// are there.
    pub flat_bytes: Option<u64>,
    #[serde(skip)]
    ends: Ends,
}

/// What the plan needs to be executed.
pub(crate) struct Ends {
    pub(crate) store: Store,
    pub(crate) lease: Lease,
    pub(crate) options: UnpackOptions,
    pub(crate) source: Box<dyn Source>,
    pub(crate) head: Head,
    pub(crate) known: Known,
}

impl std::fmt::Debug for Ends {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Ends")
            .field("options", &self.options)
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
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
    let known = parts::read(store, &lease, &head, &mut *source)?;
    let mut flat_bytes = None;
    if let Some((config, maps)) = &known.parts {
        check_size(&head.snapshot, "laid out", laid_out_bytes(maps), &options)?;
        if options.lay_out {
            flat_bytes = Some(store.layout(&lease, config, maps)?.bytes());
        }
    }
    let mut present_bytes = 0_u64;
    for blob in in_order(&head.manifest) {
        if is_here(store, &lease, &known.roles.part(blob))? {
            present_bytes = present_bytes.saturating_add(blob.size);
        }
    }
    let (snapshot, name) = (head.snapshot, head.name.clone());
    let ends = Ends { store: store.clone(), lease, options, source, head, known };
    Ok(UnpackPlan { snapshot, name, blob_bytes, present_bytes, flat_bytes, ends })
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
    /// Reads all of the pack and verifies it, and stores nothing.
    ///
    /// # Errors
    /// If it is damaged. That parts are missing is no error here.
    pub fn verify(mut self, progress: &dyn Progress) -> Result<Counts, UnpackError> {
        let mut counts = self.ends.count_known();
        self.ends.receive(&mut counts, None, progress, &mut |_| true)?;
        Ok(counts)
    }

    /// Takes what the store lacks out of the pack.
    ///
    /// # Errors
    /// If the tag leads elsewhere and may not move; if it would not fit; if the pack is damaged; if parts are missing and may not.
    /// The store is then as it was.
    pub fn execute(mut self, tag: &TagAs, progress: &dyn Progress) -> Result<Arrived, UnpackError> {
        self.check(tag)?;
        let Ends { store, lease, options, known, head, .. } = &mut self.ends;
        let (store, lease, options) = (store.clone(), lease.clone(), *options);
        let mut brought = Brought::new(store.clone(), lease.clone());
        let parts = known.parts.take();
        if let Some((config, _)) = parts.as_ref().filter(|_| options.lay_out) {
            brought.add_flats(config)?;
        }
        let (snapshot, manifest) = (head.snapshot, std::mem::take(&mut head.bytes));
        let mut counts = self.ends.count_known();
        for (digest, bytes) in std::mem::take(&mut self.ends.known.fetched) {
            brought.add(Item::Blob(digest));
            store.put_blob(&lease, &bytes)?;
        }
        let layer = parts.as_ref().filter(|_| options.lay_out);
        let layer = layer.map(|parts| Layer { store: &store, lease: &lease, parts });
        let ends = &mut self.ends;
        beside(layer, |told| {
            ends.receive(&mut counts, Some(&mut brought), progress, &mut |digest| told.there(digest))?;
            if counts.missing.is_empty() {
                progress.laying_out();
                told.all_there();
            }
            Ok(())
        })?;
        if !counts.missing.is_empty() && !options.may_lack {
            return Err(UnpackError::Missing { snapshot, parts: counts.missing });
        }
        Ok(Arrived {
            snapshot,
            counts,
            store,
            lease,
            options,
            manifest,
            is_checked: parts.is_some(),
            brought,
        })
    }

    /// What is better said before anything is read.
    fn check(&self, tag: &TagAs) -> Result<(), UnpackError> {
        let Ends { store, head, options, source, known, .. } = &self.ends;
        if let TagAs { name, may_move: false } = tag
            && let Some(before) = store.get_ref(name)?
            && before.digest != self.snapshot
        {
            return Err(RefError::Exists { name: name.clone(), digest: before.digest }.into());
        }
        let mut missing = Vec::new();
        for blob in in_order(&head.manifest).filter(|blob| source.lacks(&blob.digest)) {
            if !store.has_blob(&blob.digest)? {
                missing.push(known.roles.part(blob));
            }
        }
        if !missing.is_empty() && !options.may_lack {
            return Err(UnpackError::Missing { snapshot: self.snapshot, parts: missing });
        }
        let blobs = self.blob_bytes.saturating_sub(self.present_bytes);
        Ok(store.ensure_space(blobs.saturating_add(self.flat_bytes.unwrap_or(0)))?)
    }
}
