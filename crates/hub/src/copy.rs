//! Copy: a snapshot, or an image index with all of its variants, from one hub to another. Nothing is unpacked, nothing is kept
//! here, and no byte is changed: manifests go as they are, blobs are hashed on their way.
//!
//! ```text
//! plan      manifests are read; every blob is looked up in the destination, what is missing there in the source
//! execute   blobs (mounted, where both are names of one hub), configs, manifests, the index, then the tag
//! ```
//!
//! Interrupted anywhere, the destination's tag is where it was; the next try sends what is not there yet.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use format::{Digest, Manifest, Name, PlannedBlob, Tag};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;

use crate::delivery::{Delivered, Delivery, Origins, SendError, Survey};
use crate::image_index::{Artifact, ImageIndex, Kind};
use crate::source::Counted;
use crate::{
    BlobReader, BlobSource, Event, HubError, Progress, REQUESTS, RawManifest, Registry, Selector,
    TransferPlan,
};

mod error;

pub use error::CopyError;

/// Most manifests behind one tag.
const MANIFESTS: usize = 256;
/// Most bytes of them together: they are in memory until the last is put.
const MANIFEST_BYTES: usize = 64 << 20;

/// One end of a copy.
#[derive(Debug, Clone)]
pub struct CopyEnd {
    /// The hub.
    pub registry: Arc<dyn Registry>,
    /// The name there.
    pub name: Name,
}

/// What a copy is going to do.
#[derive(Debug, Serialize)]
pub struct CopyPlan {
    /// Where it comes from: the hub's location.
    pub from_hub: String,
    /// The name there.
    pub from_name: Name,
    /// The manifests that go: one, or all that an index lists.
    pub manifests: Vec<Digest>,
    /// What the destination has of their blobs. Its `snapshot` is what its tag will lead to, be it an index.
    #[serde(flatten)]
    pub transfer: TransferPlan,
    #[serde(skip)]
    ends: Ends,
}

#[derive(Debug)]
struct Ends {
    source: CopyEnd,
    target: Arc<dyn Registry>,
    items: Vec<Item>,
    index: Option<RawManifest>,
    origins: Origins,
}

/// A manifest and what it lists.
#[derive(Debug)]
struct Item {
    raw: RawManifest,
    config: Digest,
    blobs: Vec<PlannedBlob>,
}

impl fmt::Display for CopyPlan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.transfer.write(out, "copy", "to")
    }
}

/// Finds out what the hub `target` lacks of what `which` leads to in the hub `source`, and that the latter has it. Sends nothing.
///
/// # Errors
/// If it is no snapshot and no index of some, the source has not all of it, or a hub does not answer.
pub async fn plan_copy(source: &CopyEnd, which: &Selector, target: &CopyEnd) -> Result<CopyPlan, CopyError> {
    target.registry.check_writable(&target.name).await?;
    let (index, items) = source.read(which).await?;
    let mut seen = HashSet::new();
    let blobs = items.iter().flat_map(|item| item.blobs.clone()).filter(|blob| seen.insert(blob.digest));
    let mut survey = Survey::of(&target.registry, &target.name, blobs.collect()).await?;
    if source.registry.location() == target.registry.location() {
        let hint = |blob: &PlannedBlob| (blob.digest, vec![source.name.clone()]);
        let hints = survey.missing.iter().map(hint).collect();
        survey.look_elsewhere(&target.registry, &target.name, &hints).await?;
    }
    let Survey { present, missing, mountable, origins } = survey;
    source.check_complete(&missing).await?;
    let top = index.as_ref().or(items.first().map(|item| &item.raw));
    let snapshot = top.map(RawManifest::digest).ok_or_else(|| source.not_found(which))?;
    let (hub, name) = (target.registry.location().to_owned(), target.name.clone());
    Ok(CopyPlan {
        from_hub: source.registry.location().to_owned(),
        from_name: source.name.clone(),
        manifests: items.iter().map(|item| item.raw.digest()).collect(),
        transfer: TransferPlan { hub, name, snapshot, present, missing, mountable },
        ends: Ends { source: source.clone(), target: Arc::clone(&target.registry), items, index, origins },
    })
}

impl CopyEnd {
    /// The manifests that `which` leads to, and the index if it is one that lists them.
    async fn read(&self, which: &Selector) -> Result<(Option<RawManifest>, Vec<Item>), CopyError> {
        let raw = self.get(which).await?;
        if !Kind::parse(raw.bytes()).is_ok_and(|kind| kind.is_index()) {
            return Ok((None, vec![self.item(raw, true)?]));
        }
        let invalid = |reason: String| self.invalid(raw.digest(), reason);
        let index = ImageIndex::parse(raw.bytes()).map_err(|error| invalid(error.to_string()))?;
        if index.manifests.len() > MANIFESTS {
            return Err(invalid(format!("it lists more than {MANIFESTS} manifests")));
        }
        let snapshots: HashSet<_> = index.snapshots().iter().map(|entry| entry.digest).collect();
        if snapshots.is_empty() {
            return Err(invalid("it is an image index without snapshots".to_owned()));
        }
        let mut items: Vec<Item> = Vec::new();
        let mut bytes = 0;
        for digest in index.manifests.iter().map(|entry| entry.digest) {
            if items.iter().any(|item| item.raw.digest() == digest) {
                continue;
            }
            let entry = self.get(&Selector::Digest(digest)).await?;
            bytes += entry.bytes().len();
            if bytes > MANIFEST_BYTES {
                return Err(invalid(format!("its manifests have more than {MANIFEST_BYTES} bytes")));
            }
            items.push(self.item(entry, snapshots.contains(&digest))?);
        }
        Ok((Some(raw), items))
    }

    async fn get(&self, which: &Selector) -> Result<RawManifest, CopyError> {
        let raw = self.registry.get_manifest(&self.name, which).await?;
        let raw = raw.ok_or_else(|| self.not_found(which))?;
        match which {
            Selector::Digest(digest) if *digest != raw.digest() => {
                let reason = format!("the manifest that came has the digest {}", raw.digest());
                let hub = self.registry.location().to_owned();
                Err(HubError::Corrupt { hub, digest: *digest, reason }.into())
            }
            _ => Ok(raw),
        }
    }

    /// What others keep beside snapshots in an index goes with them, and is looked into no further than a registry does.
    fn item(&self, raw: RawManifest, is_snapshot: bool) -> Result<Item, CopyError> {
        if is_snapshot {
            let (name, digest) = (self.name.clone(), raw.digest());
            Manifest::parse(raw.bytes()).map_err(|source| CopyError::Manifest { name, digest, source })?;
        }
        let artifact =
            Artifact::parse(raw.bytes()).map_err(|error| self.invalid(raw.digest(), error.to_string()))?;
        let (config, blobs) = (artifact.config.digest, artifact.blobs());
        Ok(Item { raw, config, blobs })
    }

    /// That this hub has what the other one lacks.
    async fn check_complete(&self, wanted: &[PlannedBlob]) -> Result<(), CopyError> {
        let asked = stream::iter(wanted).map(|blob| async move {
            let size = self.registry.blob_size(&self.name, &blob.digest).await?;
            Ok::<_, HubError>((size != Some(blob.size)).then(|| blob.clone()))
        });
        let blobs: Vec<_> =
            asked.buffered(REQUESTS).try_filter_map(async |absent| Ok(absent)).try_collect().await?;
        if blobs.is_empty() {
            return Ok(());
        }
        let (hub, name) = (self.registry.location().to_owned(), self.name.clone());
        Err(CopyError::Incomplete { hub, name, blobs })
    }

    fn not_found(&self, which: &Selector) -> CopyError {
        let (hub, name) = (self.registry.location().to_owned(), self.name.clone());
        CopyError::NotFound { hub, name, which: which.clone() }
    }

    fn invalid(&self, digest: Digest, reason: String) -> CopyError {
        CopyError::Invalid { name: self.name.clone(), digest, reason }
    }
}

impl CopyPlan {
    /// Sends what is missing, then the manifests, then lets `tag`, if there is one, lead to them.
    ///
    /// # Errors
    /// If a blob of the source is damaged or does not arrive, or a hub fails: the tag is not moved.
    pub async fn execute(
        self,
        tag: Option<&Tag>,
        progress: Arc<dyn Progress>,
    ) -> Result<Delivered, CopyError> {
        let Ends { target, items, index, .. } = &self.ends;
        let delivered = self.deliver(&progress).await.map_err(|error| self.explain(error))?;
        let name = &self.transfer.name;
        if let Some(index) = index {
            target.put_manifest(name, index).await?;
        }
        let top = index.as_ref().or(items.first().map(|item| &item.raw));
        if let (Some(tag), Some(top)) = (tag, top) {
            target.put_tag(name, tag, top).await?;
        }
        Ok(delivered)
    }

    async fn deliver(&self, progress: &Arc<dyn Progress>) -> Result<Delivered, SendError> {
        let Ends { source, target, items, origins, .. } = &self.ends;
        let TransferPlan { missing, mountable, .. } = &self.transfer;
        let (blobs, bytes) = (missing.len() + mountable.len(), self.transfer.missing_bytes());
        progress.event(Event::Started { blobs, bytes });
        let remote = |blob: &PlannedBlob| RemoteBlob {
            end: source.clone(),
            blob: blob.clone(),
            progress: Arc::clone(progress),
        };
        let delivery = Delivery::new(target, &self.transfer, origins, progress, remote);
        delivery.send_missing(&items.iter().map(|item| item.config).collect()).await?;
        for item in items {
            let listed = item.blobs.iter().map(|blob| blob.digest).collect();
            delivery.put_manifest(&item.raw, &listed).await?;
        }
        Ok(delivery.delivered())
    }

    /// The destination's complaint about a blob, as one about the source that it came from.
    fn explain(&self, error: SendError) -> CopyError {
        let SendError { blob, source } = error;
        let hub = self.from_hub.clone();
        match source {
            HubError::Corrupt { reason, .. } => CopyError::Corrupt { hub, blob, reason },
            HubError::Source { source, .. } => CopyError::BrokeOff { hub, blob, source },
            source => source.into(),
        }
    }
}

/// A blob of a hub as a source for another one.
struct RemoteBlob {
    end: CopyEnd,
    blob: PlannedBlob,
    progress: Arc<dyn Progress>,
}

#[async_trait]
impl BlobSource for RemoteBlob {
    async fn open(&self) -> io::Result<BlobReader> {
        let PlannedBlob { role, digest, size } = &self.blob;
        let progress = Arc::clone(&self.progress);
        let reader = if *size == 0 {
            // A range of no bytes cannot be asked for.
            Box::pin(tokio::io::empty())
        } else {
            let reader = self.end.registry.get_blob(&self.end.name, digest, 0..*size).await;
            let gone = || io::Error::new(io::ErrorKind::NotFound, "it is not there any more");
            reader.map_err(io::Error::other)?.ok_or_else(gone)?
        };
        progress.event(Event::BlobStarted { digest: *digest, role, size: *size, offset: 0 });
        Ok(Box::pin(Counted { inner: reader, digest: *digest, progress }))
    }
}
