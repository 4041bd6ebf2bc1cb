//! Executing the plan of a pull.

use std::sync::Arc;

use futures_util::stream::{self, TryStreamExt};
use store::{BlobError, Partial, RefError, Started};
use tokio::io::AsyncReadExt;

use super::{Ends, PullError, PullPlan, Pulled, TagAs};
use crate::blocking::blocking;
use crate::{CHUNK, Event, PlannedBlob, Progress, TRANSFERS};

impl PullPlan {
    /// Fetches what is missing, then sets `tag`, if there is one, with the hub as its origin.
    ///
    /// # Errors
    /// If the tag leads elsewhere and may not move, it would not fit, or a part does not arrive as it should: no tag
    /// is set then, and the next try goes on where this one stopped.
    pub async fn execute(
        self,
        tag: Option<&TagAs>,
        progress: Arc<dyn Progress>,
    ) -> Result<Pulled, PullError> {
        self.check(tag.cloned()).await?;
        progress.event(Event::Started { blobs: self.missing.len(), bytes: self.missing_bytes() });
        let this = &self;
        let is_fetched =
            |blob: &PlannedBlob| this.ends.fetched.iter().any(|(digest, _)| *digest == blob.digest);
        let rest: Vec<_> = self.missing.iter().filter(|blob| !is_fetched(blob)).cloned().collect();
        stream::iter(rest.into_iter().map(Ok))
            .try_for_each_concurrent(TRANSFERS, |blob| this.receive(blob, Arc::clone(&progress)))
            .await?;
        self.commit(tag.cloned(), progress).await
    }

    /// What is better said before anything is transferred.
    async fn check(&self, tag: Option<TagAs>) -> Result<(), PullError> {
        let (store, snapshot, needed) = (self.ends.store.clone(), self.snapshot, self.missing_bytes());
        blocking(move || {
            if let Some(TagAs { name, may_move: false }) = tag
                && let Some(before) = store.get_ref(&name)?
                && before.digest != snapshot
            {
                return Err(RefError::Exists { name, digest: before.digest }.into());
            }
            Ok(store.ensure_space(needed)?)
        })
        .await
    }

    /// Maps, config, manifest, tag: each only when all that it leads to is there.
    async fn commit(self, tag: Option<TagAs>, progress: Arc<dyn Progress>) -> Result<Pulled, PullError> {
        let Self { hub, snapshot, ends, .. } = self;
        blocking(move || {
            let Ends { store, lease, manifest, fetched, .. } = ends;
            for (digest, bytes) in fetched {
                store.put_blob(&lease, &bytes)?;
                progress.event(Event::Moved { digest, bytes: bytes.len() as u64 });
                progress.event(Event::BlobDone { digest });
            }
            store.put_blob(&lease, manifest.bytes())?;
            let mut moved_from = None;
            if let Some(TagAs { name, may_move }) = tag {
                if may_move {
                    let before = store.set_ref(&name, &snapshot, Some(&hub))?;
                    moved_from = before.map(|before| before.digest).filter(|before| *before != snapshot);
                } else {
                    store.create_ref(&name, &snapshot, Some(&hub))?;
                }
            }
            Ok(Pulled { snapshot, moved_from, lease })
        })
        .await
    }

    async fn receive(&self, blob: PlannedBlob, progress: Arc<dyn Progress>) -> Result<(), PullError> {
        let digest = blob.digest;
        match self.try_receive(&blob, &progress).await {
            // What an earlier try had left may be what is wrong: it is gone now.
            Err((PullError::Corrupt { .. }, Resumed(true))) => self.try_receive(&blob, &progress).await,
            result => result,
        }
        .map_err(|(error, _)| error)?;
        progress.event(Event::BlobDone { digest });
        Ok(())
    }

    async fn try_receive(
        &self,
        blob: &PlannedBlob,
        progress: &Arc<dyn Progress>,
    ) -> Result<(), (PullError, Resumed)> {
        let Some(partial) = self.open(blob, progress).await.map_err(|error| (error, Resumed(false)))? else {
            return Ok(());
        };
        let resumed = Resumed(partial.offset() > 0);
        self.fill(blob, partial, progress).await.map_err(|error| (error, resumed))
    }

    /// `None` if the blob is there, perhaps because another process has just received it.
    async fn open(
        &self,
        blob: &PlannedBlob,
        progress: &Arc<dyn Progress>,
    ) -> Result<Option<Partial>, PullError> {
        let Ends { store, lease, .. } = &self.ends;
        let (store, lease, progress) = (store.clone(), lease.clone(), Arc::clone(progress));
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

    async fn fill(
        &self,
        blob: &PlannedBlob,
        mut partial: Partial,
        progress: &Arc<dyn Progress>,
    ) -> Result<(), PullError> {
        let PlannedBlob { digest, size, ref role } = *blob;
        let offset = partial.offset();
        progress.event(Event::BlobStarted { digest, role, size, offset });
        if offset < size {
            let reader = self.ends.registry.get_blob(&self.name, &digest, offset..size).await?;
            let mut reader = reader.ok_or_else(|| self.vanished(blob))?;
            let mut chunk = Vec::with_capacity(CHUNK);
            loop {
                chunk.clear();
                let read = (&mut reader).take(CHUNK as u64).read_buf(&mut chunk).await;
                let read = read.map_err(|source| self.broke_off(blob, source))?;
                if read == 0 {
                    break;
                }
                let appended = blocking(move || partial.append(&chunk).map(|()| (partial, chunk))).await;
                (partial, chunk) = appended.map_err(|error| self.wrong(blob, error))?;
                progress.event(Event::Moved { digest, bytes: read as u64 });
            }
        }
        blocking(move || partial.finish()).await.map_err(|error| self.wrong(blob, error))
    }

    /// The store's complaint about a blob, as one about the hub that it came from.
    fn wrong(&self, blob: &PlannedBlob, error: BlobError) -> PullError {
        let (hub, blob) = (self.hub.clone(), blob.clone());
        match error {
            BlobError::Size { found, .. } => {
                PullError::WrongSize { place: format!("hub {hub}"), blob, found }
            }
            BlobError::Unexpected { found, .. } => PullError::Corrupt { hub, blob, found },
            other => other.into(),
        }
    }

    fn broke_off(&self, blob: &PlannedBlob, source: std::io::Error) -> PullError {
        PullError::BrokeOff { hub: self.hub.clone(), blob: blob.clone(), source }
    }

    fn vanished(&self, blob: &PlannedBlob) -> PullError {
        PullError::Incomplete {
            hub: self.hub.clone(),
            name: self.name.clone(),
            snapshot: self.snapshot,
            parts: vec![blob.clone()],
        }
    }
}

/// Whether a transfer went on where an earlier one had stopped.
struct Resumed(bool);
