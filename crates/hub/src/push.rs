//! Push: a snapshot of the store to a hub.
//!
//! The plan asks the hub what it has; executing it sends the rest, then the config, then the manifest, asks for one byte of
//! each blob that it did not send, and moves the tag last. The bytes of a snapshot are never changed on the way, its manifest's least of all. A local blob that is
//! damaged is found while it is sent: the hub refuses it, the push names it, and no manifest follows.

use std::fmt;
use std::io::Read;
use std::sync::Arc;

use format::{Descriptor, Digest, Hasher, Name, Tag};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;
use store::{BlobError, FileError, Lease, LoadError, Snapshot, Store};
use tokio::io::AsyncReadExt;

use crate::blocking::blocking;
use crate::plan::Roles;
use crate::source::StoredBlob;
use crate::{
    CHUNK, Event, HubError, PlannedBlob, Progress, REQUESTS, RawManifest, Registry, TRANSFERS, TransferPlan,
    Upload,
};

/// Why a snapshot could not be pushed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The snapshot is not in the store in whole, or not valid.
    #[error(transparent)]
    Snapshot(#[from] LoadError),
    /// A part has changed since it was stored. The hub's tag was not moved.
    #[error(
        "{blob} is damaged in the local store: {reason}; remove it and pull a snapshot that has it, then repeat"
    )]
    Damaged {
        /// The part.
        blob: PlannedBlob,
        /// What was found.
        reason: String,
    },
    /// The hub failed. Its tag was not moved.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] BlobError),
}

impl From<FileError> for PushError {
    fn from(error: FileError) -> Self {
        Self::Store(error.into())
    }
}

/// What a push is going to do.
#[derive(Debug, Serialize)]
pub struct PushPlan {
    /// What is going to be sent; the config is the last of it.
    #[serde(flatten)]
    pub transfer: TransferPlan,
    #[serde(skip)]
    ends: Ends,
}

#[derive(Debug)]
struct Ends {
    store: Store,
    registry: Arc<dyn Registry>,
    manifest: RawManifest,
    /// Keeps the snapshot while it is sent.
    _lease: Lease,
}

impl fmt::Display for PushPlan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.transfer.write(out, "push", "to")
    }
}

/// Finds out what the hub has of the snapshot `digest`, which is to have `name` there.
///
/// # Errors
/// If the snapshot is not here in whole, or the hub does not answer.
pub async fn plan_push(
    store: &Store,
    digest: &Digest,
    registry: Arc<dyn Registry>,
    name: &Name,
) -> Result<PushPlan, PushError> {
    let (local, digest) = (store.clone(), *digest);
    let (lease, snapshot, bytes) = blocking(move || read(&local, &digest)).await?;
    let (size, limit) = (bytes.len() as u64, format::limits::MANIFEST_BYTES);
    let manifest = RawManifest::new(bytes).ok_or(BlobError::TooLarge { digest, size, limit })?;
    let roles = Roles::new(&snapshot.manifest, Some((&snapshot.config, &snapshot.maps)));
    // The config goes last: whoever finds it in the hub finds all that it names.
    let order = snapshot.manifest.layers.iter().chain([&snapshot.manifest.config]);
    let blobs: Vec<_> = order.map(|descriptor| roles.blob(descriptor)).collect();
    registry.check_writable(name).await?;
    let hub = &registry;
    let asked = stream::iter(blobs).map(|blob| async move {
        let size = match hub.blob_size(name, &blob.digest).await {
            Err(HubError::NotAHub { push_makes_one: true, .. }) => None,
            size => size?,
        };
        // A blob of another size is broken there, and sent again.
        Ok::<_, HubError>((size == Some(blob.size), blob))
    });
    let asked: Vec<_> = asked.buffered(REQUESTS).try_collect().await?;
    let (present, missing): (Vec<_>, Vec<_>) = asked.into_iter().partition(|(is_there, _)| *is_there);
    let blobs = |asked: Vec<(bool, PlannedBlob)>| asked.into_iter().map(|(_, blob)| blob).collect();
    Ok(PushPlan {
        transfer: TransferPlan {
            hub: registry.location().to_owned(),
            name: name.clone(),
            snapshot: digest,
            present: blobs(present),
            missing: blobs(missing),
        },
        ends: Ends { store: store.clone(), registry, manifest, _lease: lease },
    })
}

/// The snapshot, all of it under a lease, and the bytes of its manifest.
pub(crate) fn read(store: &Store, digest: &Digest) -> Result<(Lease, Snapshot, Vec<u8>), PushError> {
    let lease = store.lease()?;
    let snapshot = store.load_leased(&lease, digest)?;
    let (_, bytes) = store.read_manifest(digest)?;
    let roles = Roles::new(&snapshot.manifest, Some((&snapshot.config, &snapshot.maps)));
    for descriptor in snapshot.manifest.blobs() {
        check_size(store, &roles, descriptor)?;
    }
    Ok((lease, snapshot, bytes))
}

fn check_size(store: &Store, roles: &Roles, descriptor: &Descriptor) -> Result<(), PushError> {
    let size = store.blob_size(&descriptor.digest)?;
    if size == descriptor.size {
        return Ok(());
    }
    Err(PushError::Damaged { blob: roles.blob(descriptor), reason: format!("it has {size} bytes") })
}

impl PushPlan {
    /// Sends what is missing, then the manifest, then lets `tag`, if there is one, lead to it. Dropped before its end,
    /// it leaves the tag where it was, and blobs that the next try does not send again.
    ///
    /// # Errors
    /// If a local blob is damaged or the hub fails: the tag is not moved.
    pub async fn execute(self, tag: Option<&Tag>, progress: Arc<dyn Progress>) -> Result<(), PushError> {
        let this = &self;
        let TransferPlan { name, missing, .. } = &this.transfer;
        progress.event(Event::Started { blobs: missing.len(), bytes: this.transfer.missing_bytes() });
        crate::prune::keep(&*this.ends.registry, name, this.transfer.present.iter().map(|blob| &blob.digest))
            .await?;
        let (rest, config) = missing.split_at(missing.len().saturating_sub(1));
        for part in [rest, config] {
            stream::iter(part.iter().cloned().map(Ok))
                .try_for_each_concurrent(TRANSFERS, |blob| this.send(blob, Arc::clone(&progress)))
                .await?;
        }
        this.put_manifest(&progress).await?;
        if let Some(tag) = tag {
            this.ends.registry.put_tag(name, tag, &this.ends.manifest).await?;
        }
        Ok(())
    }

    /// Puts the manifest, and what the hub had when it was planned and has not any more: until a manifest lists a blob a
    /// hub may collect it, and some answer from a cache that it is there. A hub may refuse the manifest for that.
    async fn put_manifest(&self, progress: &Arc<dyn Progress>) -> Result<(), PushError> {
        let Ends { registry, manifest, .. } = &self.ends;
        let mut skipped = self.transfer.present.clone();
        loop {
            let put = registry.put_manifest(&self.transfer.name, manifest).await;
            let gone = self.gone(&skipped).await?;
            if gone.is_empty() {
                return Ok(put?);
            }
            skipped.retain(|blob| !gone.contains(blob));
            for blob in gone {
                self.send(blob, Arc::clone(progress)).await?;
            }
        }
    }

    /// Those of `blobs` whose first byte can't be read.
    async fn gone(&self, blobs: &[PlannedBlob]) -> Result<Vec<PlannedBlob>, PushError> {
        let tested = stream::iter(blobs.iter().cloned()).map(|blob| async move {
            let reader = self.ends.registry.get_blob(&self.transfer.name, &blob.digest, 0..1).await?;
            let is_there = match reader {
                Some(mut reader) => blob.size == 0 || reader.read_u8().await.is_ok(),
                None => false,
            };
            Ok::<_, PushError>((!is_there).then_some(blob))
        });
        tested.buffered(REQUESTS).try_filter_map(async |gone| Ok(gone)).try_collect().await
    }

    async fn send(&self, blob: PlannedBlob, progress: Arc<dyn Progress>) -> Result<(), PushError> {
        let Ends { store, registry, .. } = &self.ends;
        let PlannedBlob { digest, size, role } = blob.clone();
        let source = StoredBlob { store: store.clone(), digest, size, role, progress: Arc::clone(&progress) };
        let upload = Upload { digest, size, source: &source, mount_from: &[] };
        match registry.put_blob(&self.transfer.name, &upload).await {
            Ok(_) => {
                progress.event(Event::BlobDone { digest });
                Ok(())
            }
            Err(error @ HubError::Corrupt { .. }) => {
                let store = store.clone();
                match blocking(move || hash(&store, &digest)).await? {
                    found if found == digest => Err(error.into()),
                    found => Err(PushError::Damaged {
                        blob,
                        reason: format!("its content has the digest {found}"),
                    }),
                }
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What a blob of the store really holds.
pub(crate) fn hash(store: &Store, digest: &Digest) -> Result<Digest, PushError> {
    let mut file = store.open_blob(digest)?;
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; CHUNK]);
    let unreadable = |source| HubError::Source { digest: *digest, source };
    loop {
        let read = file.read(&mut buffer).map_err(unreadable)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}
