//! Bringing blobs and a manifest into a hub, wherever they come from: what a push and a copy have in common.
//!
//! Blobs first, the config the last of them, then the manifest. Until a manifest lists a blob a hub may collect it, and some
//! answer from a cache that it is there: so one byte of each blob that was not sent is asked for once the manifest is there,
//! of all of them if the hub refuses the manifest, and what is missing is sent again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use format::{Digest, Name};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;
use tokio::io::AsyncReadExt;

use crate::{
    BlobSource, Event, HubError, PlannedBlob, Progress, Put, REQUESTS, RawManifest, Registry, TRANSFERS,
    TransferPlan, Upload,
};

/// Names of the same hub that are asked for one blob.
const SOURCES: usize = 4;
/// How often what a hub has lost is sent again.
const ROUNDS: usize = 4;

/// What came of bringing blobs into a hub: each of a snapshot's blobs is in one of the three sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// Bytes of the blobs that were sent.
    pub sent_bytes: u64,
    /// Bytes of the blobs that the hub took over from another of its names.
    pub mounted_bytes: u64,
    /// Bytes of the blobs that were there.
    pub skipped_bytes: u64,
}

/// Names of a hub that may have a blob.
pub(crate) type Origins = HashMap<Digest, Vec<Name>>;

/// What a hub has of some blobs.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) present: Vec<PlannedBlob>,
    pub(crate) missing: Vec<PlannedBlob>,
    /// Missing under this name, and there under one of the `origins`.
    pub(crate) mountable: Vec<PlannedBlob>,
    pub(crate) origins: Origins,
}

/// A blob that could not be brought there.
#[derive(Debug)]
pub(crate) struct SendError {
    pub(crate) blob: PlannedBlob,
    pub(crate) source: HubError,
}

impl Survey {
    /// Asks the hub for each blob. One of another size is broken there, and missing.
    pub(crate) async fn of(
        registry: &Arc<dyn Registry>,
        name: &Name,
        blobs: Vec<PlannedBlob>,
    ) -> Result<Self, HubError> {
        let asked = stream::iter(blobs).map(|blob| async move {
            let size = match registry.blob_size(name, &blob.digest).await {
                Err(HubError::NotAHub { push_makes_one: true, .. }) => None,
                size => size?,
            };
            Ok::<_, HubError>((size == Some(blob.size), blob))
        });
        let asked: Vec<_> = asked.buffered(REQUESTS).try_collect().await?;
        let (present, missing): (Vec<_>, Vec<_>) = asked.into_iter().partition(|(is_there, _)| *is_there);
        let blobs = |asked: Vec<(bool, PlannedBlob)>| asked.into_iter().map(|(_, blob)| blob).collect();
        Ok(Self { present: blobs(present), missing: blobs(missing), ..Self::default() })
    }

    /// Finds out what of the missing the hub has under a name that `hints` give: they may be wrong.
    pub(crate) async fn look_elsewhere(
        &mut self,
        registry: &Arc<dyn Registry>,
        name: &Name,
        hints: &Origins,
    ) -> Result<(), HubError> {
        let asked = stream::iter(std::mem::take(&mut self.missing)).map(|blob| async move {
            let hinted = hints.get(&blob.digest).into_iter().flatten();
            for other in hinted.filter(|other| *other != name).take(SOURCES) {
                match registry.blob_size(other, &blob.digest).await {
                    Ok(size) if size == Some(blob.size) => return Ok((blob, Some(other.clone()))),
                    // As good as an error of this push: the hub does not answer.
                    Err(error @ HubError::Unavailable { .. }) => return Err(error),
                    // Such as a name that others may read and we may not.
                    _ => {}
                }
            }
            Ok((blob, None))
        });
        for (blob, source) in asked.buffered(REQUESTS).try_collect::<Vec<_>>().await? {
            match source {
                Some(source) => {
                    self.origins.insert(blob.digest, vec![source]);
                    self.mountable.push(blob);
                }
                None => self.missing.push(blob),
            }
        }
        Ok(())
    }
}

/// Blobs and a manifest on their way to a name of a hub.
pub(crate) struct Delivery<'a, S> {
    registry: &'a Arc<dyn Registry>,
    transfer: &'a TransferPlan,
    origins: &'a Origins,
    /// Where the bytes of a blob come from.
    source: S,
    progress: &'a Arc<dyn Progress>,
    /// How each blob came there that was brought; the last way counts.
    put: Mutex<HashMap<Digest, Put>>,
}

impl<'a, S, B> Delivery<'a, S>
where
    S: Fn(&PlannedBlob) -> B,
    B: BlobSource,
{
    pub(crate) fn new(
        registry: &'a Arc<dyn Registry>,
        transfer: &'a TransferPlan,
        origins: &'a Origins,
        progress: &'a Arc<dyn Progress>,
        source: S,
    ) -> Self {
        Self { registry, transfer, origins, source, progress, put: Mutex::default() }
    }

    /// Brings what is missing, `configs` after all else: whoever finds one in the hub finds what it names.
    pub(crate) async fn send_missing(&self, configs: &HashSet<Digest>) -> Result<(), SendError> {
        let TransferPlan { missing, mountable, present, .. } = self.transfer;
        self.keep(present).await?;
        let (last, rest): (Vec<_>, Vec<_>) =
            mountable.iter().chain(missing).cloned().partition(|blob| configs.contains(&blob.digest));
        self.send_all(rest, self.origins).await?;
        self.send_all(last, self.origins).await
    }

    /// Puts the manifest, and what the hub has no more of the blobs that it lists.
    pub(crate) async fn put_manifest(
        &self,
        manifest: &RawManifest,
        listed: &HashSet<Digest>,
    ) -> Result<(), SendError> {
        let TransferPlan { name, present, mountable, .. } = self.transfer;
        let is_listed = |blob: &&PlannedBlob| listed.contains(&blob.digest);
        let mut unsent: Vec<_> = present.iter().chain(mountable).filter(is_listed).cloned().collect();
        let mut refusal = None;
        for _ in 0..ROUNDS {
            let put = self.registry.put_manifest(name, manifest).await;
            let gone = match &put {
                Ok(()) => self.gone(&unsent).await,
                // A registry refuses a manifest when it has not all that this lists.
                Err(HubError::Malformed { .. }) => {
                    let all: Vec<_> = self.transfer.blobs().filter(is_listed).cloned().collect();
                    self.gone(&all).await
                }
                Err(_) => Ok(Vec::new()),
            };
            let of_manifest = |source| SendError { blob: self.manifest_as_blob(manifest), source };
            let gone = gone.map_err(of_manifest)?;
            if gone.is_empty() {
                put.map_err(of_manifest)?;
                return Ok(());
            }
            unsent.retain(|blob| !gone.contains(blob));
            refusal = put.err();
            // Without asking other names: what it said that it has there proved to be nothing.
            self.send_all(gone, &Origins::new()).await?;
        }
        let lost = || HubError::Unavailable {
            hub: self.registry.location().to_owned(),
            action: format!("keep what is sent for {}", manifest.digest()),
            source: std::io::Error::other("what it had is gone again and again"),
        };
        Err(SendError { blob: self.manifest_as_blob(manifest), source: refusal.unwrap_or_else(lost) })
    }

    /// Makes what is not sent young again, where `prune` may take it for abandoned soon: before the manifest is put.
    async fn keep(&self, present: &[PlannedBlob]) -> Result<(), SendError> {
        let kept = stream::iter(present.iter().cloned().map(Ok));
        kept.try_for_each_concurrent(REQUESTS, |blob| async move {
            let refreshed = self.registry.refresh_blob(&self.transfer.name, &blob.digest).await;
            refreshed.map_err(|source| SendError { blob, source })
        })
        .await
    }

    async fn send_all(&self, blobs: Vec<PlannedBlob>, origins: &Origins) -> Result<(), SendError> {
        let sending = stream::iter(blobs.into_iter().map(Ok));
        let names = |blob: &PlannedBlob| origins.get(&blob.digest).map(Vec::as_slice).unwrap_or_default();
        sending
            .try_for_each_concurrent(TRANSFERS, |blob| {
                let names = names(&blob);
                self.send(blob, names)
            })
            .await
    }

    async fn send(&self, blob: PlannedBlob, mount_from: &[Name]) -> Result<(), SendError> {
        let PlannedBlob { digest, size, .. } = blob;
        let source = (self.source)(&blob);
        let upload = Upload { digest, size, source: &source, mount_from };
        match self.registry.put_blob(&self.transfer.name, &upload).await {
            Ok(put) => {
                self.put.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, put);
                self.progress.event(Event::BlobDone { digest });
                Ok(())
            }
            Err(source) => Err(SendError { blob, source }),
        }
    }

    /// What came of it so far.
    pub(crate) fn delivered(&self) -> Delivered {
        let put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
        let mut delivered = Delivered::default();
        for blob in self.transfer.blobs() {
            let sum = match put.get(&blob.digest) {
                Some(Put::Sent) => &mut delivered.sent_bytes,
                Some(Put::Mounted) => &mut delivered.mounted_bytes,
                Some(Put::There) | None => &mut delivered.skipped_bytes,
            };
            *sum += blob.size;
        }
        delivered
    }

    fn manifest_as_blob(&self, manifest: &RawManifest) -> PlannedBlob {
        let size = manifest.bytes().len() as u64;
        PlannedBlob { role: "manifest".to_owned(), digest: manifest.digest(), size }
    }

    /// Those of `blobs` whose first byte can't be read.
    async fn gone(&self, blobs: &[PlannedBlob]) -> Result<Vec<PlannedBlob>, HubError> {
        let tested = stream::iter(blobs.iter().cloned()).map(|blob| async move {
            let reader = self.registry.get_blob(&self.transfer.name, &blob.digest, 0..1).await?;
            let is_there = match reader {
                Some(mut reader) => blob.size == 0 || reader.read_u8().await.is_ok(),
                None => false,
            };
            Ok::<_, HubError>((!is_there).then_some(blob))
        });
        tested.buffered(REQUESTS).try_filter_map(async |gone| Ok(gone)).try_collect().await
    }
}
