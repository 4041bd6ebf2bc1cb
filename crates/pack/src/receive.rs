//! Reading the blobs of a pack: into the store, or only through the hash.

use format::{Digest, Hasher};
use serde::Serialize;
use store::prune::Item;
use store::{BlobError, BlobWriter};

use crate::brought::Brought;
use crate::parts::is_here;
use crate::plan::in_order;
use crate::source::Source;
use crate::unpack::Ends;
use crate::{BUFFER, Part, Progress, UnpackError};

/// What was read of a pack.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Bytes of blobs that the pack has and the store had not.
    pub new_bytes: u64,
    /// Bytes of blobs that the store had.
    pub present_bytes: u64,
    /// Blobs that are nowhere.
    pub missing: Vec<Part>,
}

impl Ends {
    /// The counts of config and maps, which were read already.
    pub(crate) fn count_known(&self) -> Counts {
        let Self { head, known, .. } = self;
        let mut counts = Counts::default();
        for blob in in_order(&head.manifest).filter(|blob| known.seen.contains(&blob.digest)) {
            if known.absent.contains(&blob.digest) {
                counts.missing.push(known.roles.part(blob));
            } else if known.fetched.iter().any(|(digest, _)| *digest == blob.digest) {
                counts.new_bytes = counts.new_bytes.saturating_add(blob.size);
            } else {
                counts.present_bytes = counts.present_bytes.saturating_add(blob.size);
            }
        }
        counts
    }

    /// Reads the rest of the pack, and stores what the store lacks, if it is to. `on_blob` is called for each blob that is in
    /// the store, and says whether to go on.
    pub(crate) fn receive(
        &mut self,
        counts: &mut Counts,
        mut brought: Option<&mut Brought>,
        progress: &dyn Progress,
        on_blob: &mut dyn FnMut(Digest) -> bool,
    ) -> Result<(), UnpackError> {
        let Self { store, lease, options, source, head, known } = self;
        let mut buffer = vec![0; BUFFER];
        for blob in in_order(&head.manifest).filter(|blob| !known.seen.contains(&blob.digest)) {
            let part = known.roles.part(blob);
            let is_packed = source.start(blob)?;
            if is_here(store, lease, &part)? {
                counts.present_bytes = counts.present_bytes.saturating_add(part.size);
                progress.moved(part.size);
            } else if !is_packed {
                counts.missing.push(part);
                continue;
            } else {
                counts.new_bytes = counts.new_bytes.saturating_add(part.size);
                // What cannot become whole is read to its end for the names of what is missing, and not stored.
                let is_wanted = counts.missing.is_empty() || options.may_lack;
                let Some(brought) = brought.as_mut().filter(|_| is_wanted) else {
                    copy(&mut **source, Target::Nowhere(Hasher::new()), &part, &mut buffer, progress)?;
                    continue;
                };
                brought.add(Item::Blob(part.digest));
                let writer = Box::new(store.blob_writer(lease)?);
                copy(&mut **source, Target::Store(writer), &part, &mut buffer, progress)?;
            }
            if !on_blob(part.digest) {
                return Ok(());
            }
        }
        Ok(source.finish()?)
    }
}

/// Where a blob goes.
enum Target {
    Store(Box<BlobWriter>),
    /// It is only hashed.
    Nowhere(Hasher),
}

/// Reads the blob that `source` has come to.
fn copy(
    source: &mut dyn Source,
    mut target: Target,
    part: &Part,
    buffer: &mut [u8],
    progress: &dyn Progress,
) -> Result<(), UnpackError> {
    loop {
        if progress.is_interrupted() {
            return Err(UnpackError::Interrupted);
        }
        let length = source.read(buffer)?;
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
        match &mut target {
            Target::Store(writer) => writer.append(bytes)?,
            Target::Nowhere(hasher) => hasher.update(bytes),
        }
        progress.moved(length as u64);
    }
    let corrupt = |found| UnpackError::Corrupt { part: part.clone(), found };
    match target {
        Target::Store(writer) => writer.finish(Some(&part.digest)).map(drop).map_err(|error| match error {
            BlobError::Unexpected { found, .. } => corrupt(found),
            error => error.into(),
        }),
        Target::Nowhere(hasher) => {
            let found = hasher.finish();
            if found == part.digest { Ok(()) } else { Err(corrupt(found)) }
        }
    }
}
