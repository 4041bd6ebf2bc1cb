//! A hub that does what hubs should not.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use format::{Digest, Name, Tag};
use hub::testing::Failing;
use hub::{BlobReader, HubError, Put, RawManifest, Registry, Selector, Upload};
use tokio::io::AsyncReadExt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The blob ends early, without an error.
    Short(Digest, u64),
    /// Every blob that is read from its first byte breaks off there.
    BreaksAt(u64),
    /// The blob never ends.
    Endless(Digest),
    /// Any manifest is this one.
    Manifest(RawManifest),
    /// The blob, which a hub in this folder has, is collected right before a manifest is put.
    Collects(PathBuf),
}

/// A good hub behind a fault. Counts the bytes that were asked for.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) inner: Arc<dyn Registry>,
    pub(crate) fault: Fault,
    pub(crate) asked: AtomicUsize,
    collected: AtomicBool,
}

impl Broken {
    pub(crate) fn new(inner: Arc<dyn Registry>, fault: Fault) -> Arc<Self> {
        Arc::new(Self { inner, fault, asked: AtomicUsize::new(0), collected: AtomicBool::new(false) })
    }
}

#[async_trait]
impl Registry for Broken {
    fn location(&self) -> &str {
        self.inner.location()
    }

    async fn check_writable(&self, name: &Name) -> Result<(), HubError> {
        self.inner.check_writable(name).await
    }

    async fn get_manifest(&self, name: &Name, which: &Selector) -> Result<Option<RawManifest>, HubError> {
        match &self.fault {
            Fault::Manifest(manifest) => Ok(Some(manifest.clone())),
            _ => self.inner.get_manifest(name, which).await,
        }
    }

    async fn put_manifest(&self, name: &Name, manifest: &RawManifest) -> Result<(), HubError> {
        match &self.fault {
            // What was sent again since is listed by a manifest.
            Fault::Collects(blob) if !self.collected.swap(true, Ordering::Relaxed) => {
                std::fs::remove_file(blob).unwrap();
            }
            _ => {}
        }
        self.inner.put_manifest(name, manifest).await
    }

    async fn put_tag(&self, name: &Name, tag: &Tag, manifest: &RawManifest) -> Result<(), HubError> {
        self.inner.put_tag(name, tag, manifest).await
    }

    async fn blob_size(&self, name: &Name, digest: &Digest) -> Result<Option<u64>, HubError> {
        self.inner.blob_size(name, digest).await
    }

    async fn get_blob(
        &self,
        name: &Name,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Option<BlobReader>, HubError> {
        self.asked.fetch_add(usize::try_from(range.end - range.start).unwrap(), Ordering::Relaxed);
        let Some(reader) = self.inner.get_blob(name, digest, range.clone()).await? else { return Ok(None) };
        Ok(Some(match self.fault {
            Fault::Short(of, bytes) if of == *digest => Box::pin(reader.take(bytes)),
            Fault::BreaksAt(bytes) if range.start == 0 && range.end > bytes => {
                Box::pin(reader.take(bytes).chain(Failing))
            }
            Fault::Endless(of) if of == *digest => Box::pin(reader.chain(tokio::io::repeat(0))),
            _ => reader,
        }))
    }

    async fn put_blob(&self, name: &Name, blob: &Upload<'_>) -> Result<Put, HubError> {
        self.inner.put_blob(name, blob).await
    }

    async fn tags(&self, name: &Name) -> Result<Vec<Tag>, HubError> {
        self.inner.tags(name).await
    }

    async fn names(&self) -> Result<Vec<Name>, HubError> {
        self.inner.names().await
    }
}
