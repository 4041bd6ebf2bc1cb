//! Executing the plan of a pull.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use format::{Digest, Maps};
use futures_util::future::try_join;
use futures_util::stream::{self, TryStreamExt};
use store::{LayoutError, LayoutFeed, Lease, Store, TagAs};

use super::laying::LayoutThread;
use super::receive::Receiver;
use super::{Ends, PullError, PullPlan, Pulled};
use crate::blocking::blocking;
use crate::{Event, PlannedBlob, Progress, RawManifest, TransferPlan};

/// Blobs that are received at once. Their parts share the requests that a hub may be asked; of small ones it takes many to
/// keep those busy.
const BLOBS: usize = 8;

impl PullPlan {
    /// Has the plan lay out flat files, too, each as soon as its blobs are there: what a fork would do otherwise.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn with_layout(mut self) -> Result<Self, PullError> {
        let (store, lease, parts) =
            (self.ends.store.clone(), self.ends.lease.clone(), Arc::clone(&self.ends.parts));
        let bytes = blocking(move || {
            let (config, maps) = &*parts;
            Ok::<_, LayoutError>(store.layout(&lease, config, maps)?.bytes())
        });
        self.flat_bytes = Some(bytes.await?);
        Ok(self)
    }

    /// Fetches what is missing, then sets `tag`, if there is one, with the hub as its origin.
    ///
    /// # Errors
    /// If the tag leads elsewhere and may not move, it would not fit, or a part does not arrive as it should: no tag
    /// is set then, and the next try goes on where this one stopped.
    pub async fn execute(
        mut self,
        tag: Option<&TagAs>,
        progress: Arc<dyn Progress>,
    ) -> Result<Pulled, PullError> {
        self.bring(tag.cloned(), progress).await?;
        self.commit(tag.cloned()).await
    }

    /// Fetches what is missing but the manifest, which the caller stores when all else is there, under a lease of its own that
    /// has all parts by then.
    ///
    /// # Errors
    /// As [`PullPlan::execute`].
    pub async fn fetch_parts(mut self, progress: Arc<dyn Progress>) -> Result<(), PullError> {
        self.bring(None, progress).await
    }

    /// Fetches all but the manifest.
    async fn bring(&mut self, tag: Option<TagAs>, progress: Arc<dyn Progress>) -> Result<(), PullError> {
        self.check(tag).await?;
        let missing = &self.transfer.missing;
        progress.event(Event::Started { blobs: missing.len(), bytes: self.transfer.missing_bytes() });
        self.ends.sources.progress = Arc::clone(&progress);
        let stored = self.store_fetched(&progress).await?;
        if self.flat_bytes.is_some() {
            let Ends { store, lease, parts, .. } = &self.ends;
            let (store, lease, parts) = (store.clone(), lease.clone(), Arc::clone(parts));
            let (laying, thread) =
                LayoutThread { store, lease, parts, progress: Arc::clone(&progress) }.start();
            let laid_out = async {
                thread.await.map_err(|error| LayoutError::Io(error.into()))?.map_err(PullError::from)
            };
            try_join(self.receive_all(&stored, Some(&laying), &progress), laid_out).await?;
        } else {
            self.receive_all(&stored, None, &progress).await?;
        }
        Ok(())
    }

    /// What is better said before anything is transferred.
    async fn check(&self, tag: Option<TagAs>) -> Result<(), PullError> {
        let snapshot = self.transfer.snapshot;
        let blobs = self.transfer.missing_bytes().saturating_sub(self.arrived_bytes);
        let needed = blobs.saturating_add(self.flat_bytes.unwrap_or(0));
        let store = self.ends.store.clone();
        blocking(move || {
            if let Some(tag) = tag {
                store.check_tag(&tag, &snapshot)?;
            }
            Ok(store.ensure_space(needed)?)
        })
        .await
    }

    /// Config and maps, which were read for the plan: a pull that is killed does not fetch them again. Gives what they were.
    async fn store_fetched(&mut self, progress: &Arc<dyn Progress>) -> Result<HashSet<Digest>, PullError> {
        let (store, lease, progress) =
            (self.ends.store.clone(), self.ends.lease.clone(), Arc::clone(progress));
        let fetched = std::mem::take(&mut self.ends.fetched);
        blocking(move || {
            let mut stored = HashSet::new();
            for (digest, bytes) in fetched {
                store.put_blob(&lease, &bytes)?;
                progress.event(Event::Moved { digest, bytes: bytes.len() as u64 });
                progress.event(Event::BlobDone { digest });
                stored.insert(digest);
            }
            Ok(stored)
        })
        .await
    }

    /// Receives what is missing and not `stored`, and says of each blob that it is there.
    async fn receive_all(
        &self,
        stored: &HashSet<Digest>,
        laying: Option<&LayoutFeed>,
        progress: &Arc<dyn Progress>,
    ) -> Result<(), PullError> {
        let Ends { store, lease, sources, holders, parts, .. } = &self.ends;
        let TransferPlan { snapshot, present, missing, .. } = &self.transfer;
        let receiver = &Receiver { store, lease, sources, snapshot: *snapshot, laying, progress };
        if let Some(laying) = laying {
            // One that hears no more has failed, which ends the pull.
            let _ = present.iter().all(|blob| laying.there(blob.digest));
        }
        let blobs = in_order(missing, &parts.1).into_iter().filter(|blob| !stored.contains(&blob.digest));
        let received = stream::iter(blobs.map(Ok)).try_for_each_concurrent(BLOBS, |blob| {
            let start = holders.get(&blob.digest).copied().unwrap_or(0);
            receiver.receive(blob, start)
        });
        received.await?;
        laying.into_iter().for_each(LayoutFeed::all_there);
        Ok(())
    }

    /// Manifest, then tag: each only when all that it leads to is there.
    async fn commit(self, tag: Option<TagAs>) -> Result<Pulled, PullError> {
        let Self {
            transfer: TransferPlan { hub, name, snapshot, .. },
            ends: Ends { store, lease, manifest, .. },
            ..
        } = self;
        blocking(move || {
            let moved_from = publish(&store, &lease, &manifest, &hub, tag)?;
            // What a later push can tell the hub. A hint: without it all is as well.
            store.add_origin(&snapshot, &hub, &name).ok();
            Ok(Pulled { snapshot, moved_from, lease })
        })
        .await
    }
}

/// Stores the manifest and sets the tag; gives where that led before, if elsewhere.
fn publish(
    store: &Store,
    lease: &Lease,
    manifest: &RawManifest,
    hub: &str,
    tag: Option<TagAs>,
) -> Result<Option<Digest>, PullError> {
    let snapshot = store.put_blob(lease, manifest.bytes())?;
    Ok(tag.map(|tag| store.set_tag(&tag, &snapshot, Some(hub))).transpose()?.flatten())
}

/// The order in which blobs are fetched: those first after which there is most to do. A layer is hashed and has to be there
/// before memory that points into it; what is no frame is needed by nobody.
fn in_order(missing: &[PlannedBlob], maps: &Maps) -> Vec<PlannedBlob> {
    let mut ranks = HashMap::new();
    for map in maps.disks.iter().chain([&maps.memory]) {
        let rank = u8::from(map.check_layer().is_err());
        for blob in map.blobs() {
            ranks.entry(blob.digest).and_modify(|known: &mut u8| *known = rank.min(*known)).or_insert(rank);
        }
    }
    let mut order = missing.to_vec();
    order.sort_by_key(|blob| ranks.get(&blob.digest).copied().unwrap_or(u8::MAX));
    order
}

#[cfg(test)]
mod tests {
    use store::SpaceError;

    use super::*;
    use crate::testing::{SampleSpec, put_sample};
    use crate::{HubLocation, Selector};

    /// Neither what is in `partial/` nor what was laid out needs space again.
    #[tokio::test]
    async fn what_is_there_needs_no_space_again() {
        let temp = tempfile::tempdir().unwrap();
        let (source, store) =
            ["source", "store"].map(|name| Store::open(&temp.path().join(name)).unwrap()).into();
        let sample = put_sample(&source, &SampleSpec::default()).unwrap();
        let hub = HubLocation::folder(&temp.path().join("hub")).unwrap();
        let hub = crate::open(&hub, &crate::testing::no_access()).unwrap();
        let (name, which) = ("sample".parse().unwrap(), Selector::Digest(sample.digest));
        let push = crate::plan_push(&source, &sample.digest, Arc::clone(&hub), &name).await.unwrap();
        push.execute(None, Arc::new(())).await.unwrap();
        let plan = async || {
            let plan = crate::plan_pull(&store, Arc::clone(&hub), &name, &which).await.unwrap();
            plan.with_layout().await.unwrap()
        };
        let first = plan().await;
        let flat_bytes = first.flat_bytes.unwrap();
        assert!(first.arrived_bytes == 0 && flat_bytes > 0);
        let frames = first.transfer.missing.iter().find(|blob| blob.role == "frames of memory").unwrap();
        let blob = source.read_blob(&frames.digest, 1 << 20).unwrap();
        let partial = temp.path().join("store/partial").join(frames.digest.hex());
        std::fs::write(&partial, &blob[..1000]).unwrap();
        assert_eq!(plan().await.arrived_bytes, 1000);

        let mut large = plan().await;
        let size = store.free_space().unwrap().saturating_mul(2);
        large.transfer.missing[0].size = size;
        let needed = large.transfer.missing_bytes() - 1000 + flat_bytes;
        let Err(PullError::Space(SpaceError::TooLittle { needed: found, .. })) = large.check(None).await
        else {
            panic!("it was to be too large");
        };
        assert_eq!(found, needed);
        first.execute(None, Arc::new(())).await.unwrap();
        let again = plan().await;
        assert_eq!((again.transfer.missing_bytes(), again.arrived_bytes, again.flat_bytes), (0, 0, Some(0)));
    }
}
