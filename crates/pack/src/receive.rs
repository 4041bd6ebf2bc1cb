//! Reading the blobs of a pack: into the store, or only through the hash.
//!
//! ```text
//! this thread           finisher              layout
//! read, hash, write ──▶ sync, visible ──▶ flat files          each behind the one before it
//! ```

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use format::{Config, Digest, Hasher, Maps, PlannedBlob};
use serde::Serialize;
use store::prune::Item;
use store::{BlobError, BlobWriter, LayoutFeed, Lease, Store, layout_feed};

use crate::brought::Brought;
use crate::documents::{Documents, is_here};
use crate::head::Head;
use crate::plan::in_order;
use crate::source::Source;
use crate::{BUFFER, Missing, Progress, UnpackError, UnpackOptions};

/// Blobs that wait to be finished: the disk is to have something to do while the next one is read, and no more than that.
const QUEUE: usize = 4;

/// What was read of a pack.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Bytes of blobs that the pack has and the store had not.
    pub new_bytes: u64,
    /// Bytes of blobs that the store had.
    pub present_bytes: u64,
    /// Blobs that are nowhere.
    pub missing: Missing,
}

/// A pack whose manifest, config and maps were read.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) lease: Lease,
    pub(crate) options: UnpackOptions,
    pub(crate) source: Box<dyn Source>,
    pub(crate) head: Head,
    pub(crate) documents: Documents,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Opened")
            .field("options", &self.options)
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

impl Opened {
    /// Reads the rest of the pack, all of what it has, and stores nothing.
    pub(crate) fn verify(&mut self, progress: &dyn Progress) -> Result<Counts, UnpackError> {
        let counts = self.count_documents(progress);
        self.receive(counts, Destination::Nowhere, progress)
    }

    /// Reads the rest of the pack, stores what the store lacks, and lays out what `lay_out` has behind that. `brought` is told of
    /// what may be stored before it is.
    pub(crate) fn store_all(
        &mut self,
        lay_out: Option<&(Config, Maps)>,
        brought: &mut Brought,
        progress: &dyn Progress,
    ) -> Result<Counts, UnpackError> {
        let counts = self.count_documents(progress);
        let (store, lease) = (self.store.clone(), self.lease.clone());
        let stop = || progress.is_interrupted();
        thread::scope(|scope| {
            let (feed, arrivals) = layout_feed();
            let layout = lay_out.map(|(config, maps)| {
                let (store, lease, stop) = (&store, &lease, &stop);
                scope.spawn(move || {
                    let layout = store.layout(lease, config, maps)?.until(stop);
                    layout.follow(&arrivals, || progress.laying_out())
                })
            });
            let feed = layout.is_some().then_some(feed);
            let (sender, queue) = sync_channel(QUEUE);
            let finisher = scope.spawn(move || finish_all(&queue, feed));
            for (part, writer) in std::mem::take(&mut self.documents.new) {
                brought.add(Item::Blob(part.digest));
                // Where nobody takes it any more, nobody takes the next one either.
                sender.send(Arrived::Written(Box::new(writer), part)).ok();
            }
            let to = Destination::Store { finisher: sender, brought };
            let received = self.receive(counts, to, progress);
            // What is wrong with the flat files is said first: it ended the others, and it is what is wrong with the pack.
            let finished = finisher.join().unwrap_or_else(|panic| resume_unwind(panic));
            let (counts, feed) = match (received, finished) {
                (Ok(counts), Ok(feed)) => {
                    let feed = feed.filter(|_| counts.missing.is_empty());
                    feed.iter().for_each(LayoutFeed::all_there);
                    (Ok(counts), feed)
                }
                (Err(error), _) | (_, Err(error)) => (Err(error), None),
            };
            if let Some(layout) = layout {
                layout.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            }
            drop(feed);
            counts
        })
    }

    /// Reads the blobs that are left, in order; until nobody takes them any more, who has failed then and says so. They are added to
    /// `counts`.
    fn receive(
        &mut self,
        mut counts: Counts,
        mut to: Destination<'_>,
        progress: &dyn Progress,
    ) -> Result<Counts, UnpackError> {
        let Self { store, lease, options, source, head, documents } = self;
        let mut buffer = vec![0; BUFFER];
        for blob in in_order(&head.manifest).filter(|blob| !documents.seen.contains(&blob.digest)) {
            let part = documents.roles.blob(blob);
            let (is_packed, is_here) = (source.start(blob)?, is_here(store, lease, &part)?);
            match (is_here, is_packed) {
                (true, _) => counts.present_bytes = counts.present_bytes.saturating_add(part.size),
                (false, true) => counts.new_bytes = counts.new_bytes.saturating_add(part.size),
                (false, false) => counts.missing.0.push(part.clone()),
            }
            // What cannot become whole is read to its end for the names of what is missing, and not stored.
            let can_be_whole = counts.missing.is_empty() || options.may_lack;
            let was_read = is_packed && !(is_here && matches!(to, Destination::Store { .. }));
            let arrived = match &mut to {
                Destination::Store { .. } if is_here => Some(Arrived::Here(part.digest)),
                Destination::Store { brought, .. } if is_packed && can_be_whole => {
                    brought.add(Item::Blob(part.digest));
                    let mut writer = Box::new(store.blob_writer(lease)?);
                    read(&mut **source, &mut buffer, progress, |bytes| Ok(writer.append(bytes)?))?;
                    Some(Arrived::Written(writer, part))
                }
                _ if is_packed => {
                    let mut hasher = Hasher::new();
                    read(&mut **source, &mut buffer, progress, |bytes| {
                        hasher.update(bytes);
                        Ok(())
                    })?;
                    let found = hasher.finish();
                    if found != part.digest {
                        return Err(UnpackError::Corrupt { part, found });
                    }
                    None
                }
                _ => None,
            };
            if !was_read {
                progress.moved(blob.size);
            }
            if let (Destination::Store { finisher, .. }, Some(arrived)) = (&to, arrived)
                && finisher.send(arrived).is_err()
            {
                return Ok(counts);
            }
        }
        source.finish()?;
        Ok(counts)
    }

    /// The counts of config and maps, which were read already.
    fn count_documents(&self, progress: &dyn Progress) -> Counts {
        let Self { head, documents, .. } = self;
        let mut counts = Counts::default();
        for blob in in_order(&head.manifest).filter(|blob| documents.seen.contains(&blob.digest)) {
            progress.moved(blob.size);
            if documents.absent.contains(&blob.digest) {
                counts.missing.0.push(documents.roles.blob(blob));
            } else if documents.is_new(&blob.digest) {
                counts.new_bytes = counts.new_bytes.saturating_add(blob.size);
            } else {
                counts.present_bytes = counts.present_bytes.saturating_add(blob.size);
            }
        }
        counts
    }
}

/// Where the blobs of a pack go.
enum Destination<'a> {
    /// They are only hashed.
    Nowhere,
    /// Into the store, by way of who finishes them.
    Store { finisher: SyncSender<Arrived>, brought: &'a mut Brought },
}

/// What the finisher is told.
enum Arrived {
    /// All of a blob was written.
    Written(Box<BlobWriter>, PlannedBlob),
    /// The store has it.
    Here(Digest),
}

/// Makes blobs visible as they come, and tells the layout of them; it is given back for the last word.
fn finish_all(
    queue: &Receiver<Arrived>,
    feed: Option<LayoutFeed>,
) -> Result<Option<LayoutFeed>, UnpackError> {
    for arrived in queue {
        let digest = match arrived {
            Arrived::Here(digest) => digest,
            Arrived::Written(writer, part) => {
                finish_blob(*writer, &part)?;
                part.digest
            }
        };
        if feed.as_ref().is_some_and(|feed| !feed.there(digest)) {
            // Laying out has failed, and says so itself.
            return Ok(None);
        }
    }
    Ok(feed)
}

fn finish_blob(writer: BlobWriter, part: &PlannedBlob) -> Result<(), UnpackError> {
    writer.finish(Some(&part.digest)).map(drop).map_err(|error| match error {
        BlobError::Unexpected { found, .. } => UnpackError::Corrupt { part: part.clone(), found },
        error => error.into(),
    })
}

/// Gives `take` the blob that `source` has come to.
fn read(
    source: &mut dyn Source,
    buffer: &mut [u8],
    progress: &dyn Progress,
    mut take: impl FnMut(&[u8]) -> Result<(), UnpackError>,
) -> Result<(), UnpackError> {
    loop {
        if progress.is_interrupted() {
            return Err(UnpackError::Interrupted);
        }
        let length = source.read(buffer)?;
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        take(bytes)?;
        progress.moved(length as u64);
    }
}
