//! Executing the plan of a pull.

use std::sync::Arc;

use futures_util::stream::{self, TryStreamExt};
use store::{BlobError, FileError, Partial, RefError, Started, Store};
use tokio::io::AsyncReadExt;

use super::{Ends, PullError, PullPlan, Pulled, TagAs};
use crate::blocking::blocking;
use crate::{CHUNK, Event, PlannedBlob, Progress, TRANSFERS, TransferPlan};

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
        let this = &self;
        let missing = &this.transfer.missing;
        progress.event(Event::Started { blobs: missing.len(), bytes: this.transfer.missing_bytes() });
        let is_fetched =
            |blob: &PlannedBlob| this.ends.fetched.iter().any(|(digest, _)| *digest == blob.digest);
        let rest: Vec<_> = missing.iter().filter(|blob| !is_fetched(blob)).cloned().collect();
        stream::iter(rest.into_iter().map(Ok))
            .try_for_each_concurrent(TRANSFERS, |blob| this.receive(blob, Arc::clone(&progress)))
            .await?;
        self.commit(tag.cloned(), progress).await
    }

    /// What is better said before anything is transferred.
    async fn check(&self, tag: Option<TagAs>) -> Result<(), PullError> {
        let TransferPlan { snapshot, ref missing, .. } = self.transfer;
        let (store, missing) = (self.ends.store.clone(), missing.clone());
        blocking(move || {
            if let Some(TagAs { name, may_move: false }) = tag
                && let Some(before) = store.get_ref(&name)?
                && before.digest != snapshot
            {
                return Err(RefError::Exists { name, digest: before.digest }.into());
            }
            Ok(store.ensure_space(bytes_to_come(&store, &missing)?)?)
        })
        .await
    }

    /// Maps, config, manifest, tag: each only when all that it leads to is there.
    async fn commit(self, tag: Option<TagAs>, progress: Arc<dyn Progress>) -> Result<Pulled, PullError> {
        let Self { transfer: TransferPlan { hub, name, snapshot, .. }, ends } = self;
        blocking(move || {
            let Ends { store, lease, manifest, fetched, .. } = ends;
            for (digest, bytes) in fetched {
                store.put_blob(&lease, &bytes)?;
                progress.event(Event::Moved { digest, bytes: bytes.len() as u64 });
                progress.event(Event::BlobDone { digest });
            }
            store.put_blob(&lease, manifest.bytes())?;
            // What a later push can tell the hub. A hint: without it all is as well.
            store.add_origin(&snapshot, &hub, &name).ok();
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
            let reader = self.ends.registry.get_blob(&self.transfer.name, &digest, offset..size).await?;
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
        let (hub, blob) = (self.transfer.hub.clone(), blob.clone());
        match error {
            BlobError::Size { found, .. } => {
                PullError::WrongSize { place: format!("hub {hub}"), blob, found }
            }
            BlobError::Unexpected { found, .. } => PullError::Corrupt { hub, blob, found },
            other => other.into(),
        }
    }

    fn broke_off(&self, blob: &PlannedBlob, source: std::io::Error) -> PullError {
        PullError::BrokeOff { hub: self.transfer.hub.clone(), blob: blob.clone(), source }
    }

    fn vanished(&self, blob: &PlannedBlob) -> PullError {
        PullError::Incomplete {
            hub: self.transfer.hub.clone(),
            name: self.transfer.name.clone(),
            snapshot: self.transfer.snapshot,
            parts: vec![blob.clone()],
        }
    }
}

/// Bytes that `missing` still takes on the disk: what broken pulls left is going to be resumed.
fn bytes_to_come(store: &Store, missing: &[PlannedBlob]) -> Result<u64, FileError> {
    missing.iter().try_fold(0_u64, |sum, blob| {
        let to_come = blob.size.saturating_sub(store.partial_bytes(&blob.digest)?);
        Ok(sum.saturating_add(to_come))
    })
}

/// Whether a transfer went on where an earlier one had stopped.
struct Resumed(bool);

#[cfg(test)]
mod tests {
    use std::fs::File;

    use format::Digest;
    use store::SpaceError;

    use super::*;
    use crate::{HubLocation, RawManifest};

    #[tokio::test]
    async fn what_a_broken_pull_left_needs_no_space_again() {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(&temp.path().join("store")).unwrap();
        let digest = Digest::of(b"large");
        let size = store.free_space().unwrap().saturating_mul(2).max(1 << 20);
        let plan = PullPlan {
            transfer: TransferPlan {
                hub: "hub".into(),
                name: "numpy".parse().unwrap(),
                snapshot: Digest::of(b"snapshot"),
                present: Vec::new(),
                missing: vec![PlannedBlob { role: "frames".into(), digest, size }],
                mountable: Vec::new(),
            },
            ends: Ends {
                lease: store.lease().unwrap(),
                registry: crate::open(
                    &HubLocation::folder(temp.path()).unwrap(),
                    &crate::testing::no_access(),
                )
                .unwrap(),
                manifest: RawManifest::new(Vec::new()).unwrap(),
                fetched: Vec::new(),
                store,
            },
        };
        let Err(PullError::Space(SpaceError::TooLittle { needed, .. })) = plan.check(None).await else {
            panic!("it was to be too large");
        };
        assert_eq!(needed, size);
        // A hole takes no space, and counts like what was received.
        let partial = File::create(temp.path().join("store/partial").join(digest.hex())).unwrap();
        for (left, fits) in [(1, false), (size - 1, true), (size, true), (size + 1, true)] {
            partial.set_len(left).unwrap();
            assert_eq!(plan.check(None).await.is_ok(), fits, "{left} of {size} bytes are there");
        }
    }
}
