//! Receiving one blob: the slots that it lacks, at once, from the first source that gives it.

use std::ops::Range;
use std::sync::Arc;

use format::Digest;
use futures_util::future::join_all;
use store::{BlobError, LayoutFeed, Lease, Partial, Started, Store};
use tokio_util::sync::CancellationToken;

use super::PullError;
use super::sources::{Peer, Sources};
use crate::blocking::blocking;
use crate::{CHUNK, Event, HubError, PlannedBlob, Progress};

/// What receives the blobs of one pull.
pub(super) struct Receiver<'a> {
    pub(super) store: &'a Store,
    pub(super) lease: &'a Lease,
    pub(super) sources: &'a Sources,
    pub(super) snapshot: Digest,
    /// Told of each blob that is there.
    pub(super) laying: Option<&'a LayoutFeed>,
    pub(super) progress: &'a Arc<dyn Progress>,
}

impl Receiver<'_> {
    /// Brings a blob into the store, from the source with the number `start` or one behind it.
    pub(super) async fn receive(&self, blob: PlannedBlob, start: usize) -> Result<(), PullError> {
        let digest = blob.digest;
        let mut turn = self.sources.turn(start, PullError::is_of_hub);
        while let Err(error) = self.receive_from(turn.peer(), &blob).await {
            turn.pass(error)?;
        }
        if let Some(laying) = self.laying {
            // One that hears no more has failed, which ends the pull.
            let _ = laying.there(digest);
        }
        self.progress.event(Event::BlobDone { digest });
        Ok(())
    }

    async fn receive_from(&self, peer: &Peer, blob: &PlannedBlob) -> Result<(), PullError> {
        match self.try_receive_from(peer, blob).await {
            // What an earlier try, or another source, had left may be what is wrong: it is gone now.
            Err((PullError::Corrupt { .. }, Resumed(true))) => self.try_receive_from(peer, blob).await,
            result => result,
        }
        .map_err(|(error, _)| error)
    }

    async fn try_receive_from(&self, peer: &Peer, blob: &PlannedBlob) -> Result<(), (PullError, Resumed)> {
        let Some(partial) = self.open(blob).await.map_err(|error| (error, Resumed(false)))? else {
            return Ok(());
        };
        let offset = partial.arrived();
        let PlannedBlob { digest, size, ref role } = *blob;
        self.progress.event(Event::BlobStarted { digest, role, size, offset });
        let partial = Arc::new(partial);
        let filled = self.fill(peer, blob, &partial).await;
        let finished = match filled {
            Ok(()) => self.finish(peer, blob, partial).await,
            Err(error) => Err(error),
        };
        finished.map_err(|error| (error, Resumed(offset > 0)))
    }

    /// `None` if the blob is there, perhaps because another process has just received it.
    async fn open(&self, blob: &PlannedBlob) -> Result<Option<Partial>, PullError> {
        let (store, lease, progress) = (self.store.clone(), self.lease.clone(), Arc::clone(self.progress));
        let PlannedBlob { digest, size, .. } = *blob;
        let started = blocking(move || {
            let mut on_wait = || progress.event(Event::Waiting { digest });
            Partial::open(&store, &lease, &digest, size, &mut on_wait)
        });
        match started.await? {
            Started::Complete => Ok(None),
            Started::Receive(partial) => Ok(Some(partial)),
        }
    }

    async fn fill(&self, peer: &Peer, blob: &PlannedBlob, partial: &Arc<Partial>) -> Result<(), PullError> {
        let gaps = partial.gaps();
        if gaps.is_empty() {
            return Ok(());
        }
        let stop = CancellationToken::new();
        if peer.gives_parts() {
            let filled = join_all(gaps.into_iter().map(|gap| {
                let stop = &stop;
                async move {
                    let filled = self.fill_gap(peer, blob, partial, gap, stop).await;
                    filled.inspect_err(|_| stop.cancel())
                }
            }));
            match filled.await.into_iter().find_map(Result::err) {
                None => return Ok(()),
                Some(PullError::Hub(HubError::Unsupported { .. })) => peer.note_whole_only(),
                Some(error) => return Err(error),
            }
            let PlannedBlob { digest, size, ref role } = *blob;
            self.progress.event(Event::BlobStarted { digest, role, size, offset: 0 });
        }
        self.fill_gap(peer, blob, partial, 0..blob.size, &CancellationToken::new()).await
    }

    /// Writes `gap`, or until it is stopped: then, too, nothing is being written any more when this returns.
    async fn fill_gap(
        &self,
        peer: &Peer,
        blob: &PlannedBlob,
        partial: &Arc<Partial>,
        gap: Range<u64>,
        stop: &CancellationToken,
    ) -> Result<(), PullError> {
        let asked = stop.run_until_cancelled(peer.get_blob(&blob.digest, gap.clone())).await;
        let Some(body) = asked.transpose()? else { return Ok(()) };
        let mut body = body.ok_or_else(|| lacking(peer, self.snapshot, blob))?;
        let (mut at, mut chunk) = (gap.start, Vec::with_capacity(CHUNK));
        loop {
            chunk.clear();
            let Some(read) = stop.run_until_cancelled(body.read(&mut chunk)).await else { return Ok(()) };
            let bytes = read.map_err(|source| broke_off(peer, blob, source))? as u64;
            if bytes == 0 && at == gap.end {
                return Ok(());
            }
            if bytes == 0 || bytes > gap.end - at {
                return Err(wrong_size(peer, blob, at + bytes));
            }
            let partial = Arc::clone(partial);
            let written = blocking(move || partial.write(at, &chunk).map(|()| chunk));
            chunk = written.await.map_err(|error| wrong(peer, blob, error))?;
            at += bytes;
            self.progress.event(Event::Moved { digest: blob.digest, bytes });
        }
    }

    async fn finish(&self, peer: &Peer, blob: &PlannedBlob, partial: Arc<Partial>) -> Result<(), PullError> {
        // All that wrote to it have come to their end.
        let Some(partial) = Arc::into_inner(partial) else { return Err(wrong_size(peer, blob, 0)) };
        blocking(move || partial.finish()).await.map_err(|error| wrong(peer, blob, error))
    }
}

/// Whether a transfer went on where an earlier one had stopped.
struct Resumed(bool);

/// The store's complaint about a blob, as one about the hub that it came from.
fn wrong(peer: &Peer, blob: &PlannedBlob, error: BlobError) -> PullError {
    match error {
        BlobError::Size { found, .. } => wrong_size(peer, blob, found),
        BlobError::Unexpected { found, .. } => {
            PullError::Corrupt { hub: peer.location().to_owned(), blob: blob.clone(), found }
        }
        other => other.into(),
    }
}

pub(super) fn wrong_size(peer: &Peer, blob: &PlannedBlob, found: u64) -> PullError {
    PullError::WrongSize { place: format!("hub {}", peer.location()), blob: blob.clone(), found }
}

pub(super) fn broke_off(peer: &Peer, blob: &PlannedBlob, source: std::io::Error) -> PullError {
    PullError::BrokeOff { hub: peer.location().to_owned(), blob: blob.clone(), source }
}

pub(super) fn lacking(peer: &Peer, snapshot: Digest, blob: &PlannedBlob) -> PullError {
    let (hub, name) = (peer.location().to_owned(), peer.name().clone());
    PullError::Incomplete { hub, name, snapshot, parts: vec![blob.clone()] }
}
