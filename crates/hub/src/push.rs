//! Push: a snapshot of the store to a hub.
//!
//! The plan asks the hub what it has, and what of the rest it has under a name that this store remembers; executing it brings
//! what is missing (`delivery`) and moves the tag last. The bytes of a snapshot are never changed on the way, its manifest's
//! least of all. A local blob that is damaged is found while it is sent: the hub refuses it, the push names it, and no manifest
//! follows.

use std::fmt;
use std::io::Read;
use std::sync::Arc;

use format::snapshot::{Roles, closure};
use format::{Descriptor, Digest, Hasher, Name, Tag};
use serde::Serialize;
use store::{BlobError, FileError, Lease, LoadError, Snapshot, Store};

use crate::blocking::blocking;
use crate::delivery::{Delivered, Delivery, Origins, SendError, Survey};
use crate::remote::read_config;
use crate::source::StoredBlob;
use crate::variants::index_with;
use crate::{CHUNK, Event, HubError, PlannedBlob, Progress, PullError, RawManifest, Registry, TransferPlan};

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
    /// The tag leads to what cannot take a variant. It was not moved.
    #[error("the tag takes no variant: {0}")]
    Variants(#[source] Box<PullError>),
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
    config: Digest,
    origins: Origins,
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
    let roles = Roles::new(&snapshot.manifest, closure(&snapshot.config, &snapshot.maps));
    // The config goes last: whoever finds it in the hub finds all that it names.
    let order = snapshot.manifest.layers.iter().chain([&snapshot.manifest.config]);
    let blobs: Vec<_> = order.map(|descriptor| roles.blob(descriptor)).collect();
    registry.check_writable(name).await?;
    let mut survey = Survey::of(&registry, name, blobs).await?;
    let (local, hub) = (store.clone(), registry.location().to_owned());
    let wanted = survey.missing.iter().map(|blob| blob.digest).collect();
    let hints = blocking(move || local.blob_origins(&hub, &wanted)).await?;
    survey.look_elsewhere(&registry, name, &hints).await?;
    let Survey { present, missing, mountable, origins } = survey;
    let (hub, name, config) = (registry.location().to_owned(), name.clone(), snapshot.manifest.config.digest);
    Ok(PushPlan {
        transfer: TransferPlan { hub, name, snapshot: digest, present, missing, mountable },
        ends: Ends { store: store.clone(), registry, manifest, config, origins, _lease: lease },
    })
}

/// The snapshot, all of it under a lease, and the bytes of its manifest.
pub(crate) fn read(store: &Store, digest: &Digest) -> Result<(Lease, Snapshot, Vec<u8>), PushError> {
    let lease = store.lease()?;
    let snapshot = store.load_leased(&lease, digest)?;
    let (_, bytes) = store.read_manifest(digest)?;
    let roles = Roles::new(&snapshot.manifest, closure(&snapshot.config, &snapshot.maps));
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
    pub async fn execute(
        self,
        tag: Option<&Tag>,
        progress: Arc<dyn Progress>,
    ) -> Result<Delivered, PushError> {
        let delivered = self.deliver(&progress).await?;
        if let Some(tag) = tag {
            self.ends.registry.put_tag(&self.transfer.name, tag, &self.ends.manifest).await?;
        }
        Ok(delivered)
    }

    /// Like [`PushPlan::execute`], but what `tag` leads to there stays, as another variant: unless it is for the same hosts, in
    /// whose place this one goes. The tag then leads to an image index. Of two who do this at the same moment, one may lose
    /// its variant.
    ///
    /// # Errors
    /// As there; [`PushError::Variants`] if the tag leads to something else than snapshots.
    pub async fn execute_as_variant(
        self,
        tag: &Tag,
        progress: Arc<dyn Progress>,
    ) -> Result<Delivered, PushError> {
        let delivered = self.deliver(&progress).await?;
        let (registry, name) = (&self.ends.registry, &self.transfer.name);
        let index = async {
            let new = read_config(registry, name, &self.ends.manifest).await?;
            index_with(registry, name, tag, &new).await
        };
        let index = index.await.map_err(|error| match error {
            PullError::Hub(error) => error.into(),
            error => PushError::Variants(Box::new(error)),
        })?;
        registry.put_manifest(name, &index).await?;
        registry.put_tag(name, tag, &index).await?;
        Ok(delivered)
    }

    async fn deliver(&self, progress: &Arc<dyn Progress>) -> Result<Delivered, PushError> {
        let Ends { store, registry, manifest, config, origins, .. } = &self.ends;
        let TransferPlan { ref hub, ref name, snapshot, ref missing, ref mountable, .. } = self.transfer;
        let (blobs, bytes) = (missing.len() + mountable.len(), self.transfer.missing_bytes());
        progress.event(Event::Started { blobs, bytes });
        let stored = |blob: &PlannedBlob| {
            let PlannedBlob { role, digest, size } = blob.clone();
            StoredBlob { store: store.clone(), digest, size, role, progress: Arc::clone(progress) }
        };
        let delivery = Delivery::new(registry, &self.transfer, origins, progress, stored);
        let delivered = async {
            delivery.send_missing(&[*config].into()).await?;
            let all = self.transfer.blobs().map(|blob| blob.digest).collect();
            delivery.put_manifest(manifest, &all).await
        };
        if let Err(error) = delivered.await {
            return Err(self.explain(error).await?);
        }
        let delivered = delivery.delivered();
        let (store, hub, name) = (store.clone(), hub.clone(), name.clone());
        // What a later push can tell the hub. A hint: without it all is as well.
        blocking(move || store.add_origin(&snapshot, &hub, &name)).await.ok();
        Ok(delivered)
    }

    /// A blob that a hub finds to be another one may be damaged here.
    async fn explain(&self, error: SendError) -> Result<PushError, PushError> {
        let SendError { blob, source } = error;
        if matches!(source, HubError::Corrupt { .. }) {
            let (store, digest) = (self.ends.store.clone(), blob.digest);
            let found = blocking(move || hash(&store, &digest)).await?;
            if found != digest {
                let reason = format!("its content has the digest {found}");
                return Ok(PushError::Damaged { blob, reason });
            }
        }
        Ok(source.into())
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
