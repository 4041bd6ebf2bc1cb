//! A hub in a folder: an OCI image layout, laid out so that with one rewrite rule (`/v2/NAME/blobs/DIGEST` to
//! `blobs/sha256/HEX`) any web server makes a read-only OCI registry of it.
//!
//! ```text
//! oci-layout, index.json           what OCI tools read; index.json is derived from the tags
//! blobs/sha256/HEX                 blobs, and manifests too: once per hub
//! v2/NAME/manifests/{TAG,DIGEST}   manifests
//! catalog.json, index.html         what people and their browsers read
//! tmp/                             what is being written
//! ```
//!
//! Any number of pushers and pullers use it at once, on one filesystem, without a process that serves it.
//!
//! Invariants:
//! - Every file gets its name when it is whole: temporary file, fsync, rename, fsync of the folder.
//! - The umask decides who else may read and write: files are made with 0666, folders with 0777, less the umask.
//! - Nothing is written through a symbolic link below the hub's folder. Reading follows them.
//! - A folder without `oci-layout` is no hub, and reading it says so, lest a mistyped location looks like an empty hub.
//!   The first push makes one of a folder that is absent or empty, and of no other.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use format::{Digest, Hasher, Name, Tag, limits};
use tokio::io::AsyncReadExt;

use crate::blocking::blocking;
use crate::prune::Storage;
use crate::{BlobReader, CHUNK, HubError, Page, Put, RawManifest, Registry, Selector, Site, Upload};

mod file;
mod folder;
mod index;
mod layout;
mod manifests;
mod pages;
mod serving;
mod storage;
mod writable;

use file::DirError;
use folder::TempFile;
use layout::Layout;
pub(crate) use layout::{LAYOUT, LAYOUT_FILE};
pub use serving::{BlobUpload, TopFile, Uploads};

/// A hub in a folder.
#[derive(Debug, Clone)]
pub struct DirHub {
    layout: Arc<Layout>,
    location: Arc<str>,
}

impl DirHub {
    pub(crate) fn new(root: PathBuf, location: String) -> Self {
        Self { layout: Arc::new(Layout::new(root)), location: location.into() }
    }

    /// [`Registry::blob_size`] of a blob that is the same under all names.
    ///
    /// # Errors
    /// If it cannot be examined.
    pub async fn size_of(&self, digest: &Digest) -> Result<Option<u64>, HubError> {
        let digest = *digest;
        self.run(move |layout| {
            layout.check()?;
            file::size(&layout.blob_path(&digest))
        })
        .await
    }

    /// [`Registry::get_blob`] of a blob that is the same under all names.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn part_of(&self, digest: &Digest, range: Range<u64>) -> Result<Option<BlobReader>, HubError> {
        let digest = *digest;
        let length = range.end.saturating_sub(range.start);
        let opened = self.run(move |layout| {
            layout.check()?;
            let path = layout.blob_path(&digest);
            let Some(mut file) = file::open(&path)? else { return Ok(None) };
            file.seek(SeekFrom::Start(range.start)).map_err(|error| DirError::io("read", &path, error))?;
            Ok(Some(file))
        });
        Ok(opened.await?.map(|file| {
            let mut file = tokio::fs::File::from_std(file);
            file.set_max_buf_size(CHUNK);
            Box::pin(file.take(length)) as BlobReader
        }))
    }

    /// Runs `work`, which blocks, and tells its errors as this hub's.
    async fn run<T, F>(&self, work: F) -> Result<T, HubError>
    where
        T: Send + 'static,
        F: FnOnce(&Layout) -> Result<T, DirError> + Send + 'static,
    {
        let layout = Arc::clone(&self.layout);
        blocking(move || work(&layout)).await.map_err(|error| error.of(&self.location))
    }
}

#[async_trait]
impl Registry for DirHub {
    fn location(&self) -> &str {
        &self.location
    }

    async fn check_writable(&self, name: &Name) -> Result<(), HubError> {
        let name = name.clone();
        self.run(move |layout| layout.check_writable(&name)).await
    }

    async fn get_manifest(&self, name: &Name, which: &Selector) -> Result<Option<RawManifest>, HubError> {
        let (name, which) = (name.clone(), which.clone());
        self.run(move |layout| manifests::get(layout, &name, &which)).await
    }

    async fn put_manifest(&self, name: &Name, manifest: &RawManifest) -> Result<(), HubError> {
        let (name, manifest) = (name.clone(), manifest.clone());
        self.run(move |layout| manifests::put(layout, &name, &manifest)).await
    }

    async fn put_tag(&self, name: &Name, tag: &Tag, manifest: &RawManifest) -> Result<(), HubError> {
        let (name, tag, manifest) = (name.clone(), tag.clone(), manifest.clone());
        self.run(move |layout| manifests::put_tag(layout, &name, &tag, &manifest)).await
    }

    async fn blob_size(&self, _: &Name, digest: &Digest) -> Result<Option<u64>, HubError> {
        self.size_of(digest).await
    }

    async fn get_blob(
        &self,
        _: &Name,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Option<BlobReader>, HubError> {
        self.part_of(digest, range).await
    }

    async fn put_blob(&self, name: &Name, blob: &Upload<'_>) -> Result<Put, HubError> {
        let Upload { digest, size, source, .. } = *blob;
        let unreadable = |source| HubError::Source { digest, source };
        let name = name.clone();
        let prepared = self.run(move |layout| {
            layout.check_writable(&name)?;
            if file::size(&layout.blob_path(&digest))? == Some(size) {
                return Ok(None);
            }
            layout.prepare()?.temp_file().map(Some)
        });
        let Some(temp) = prepared.await? else { return Ok(Put::There) };
        let mut reader = source.open().await.map_err(unreadable)?;
        let mut incoming = Incoming { temp, hasher: Hasher::new(), size: 0 };
        let mut chunk = Vec::with_capacity(CHUNK);
        loop {
            chunk.clear();
            // One byte more than announced is enough to know.
            let wanted = (CHUNK as u64).min((size - incoming.size).saturating_add(1));
            let read = (&mut reader).take(wanted).read_buf(&mut chunk).await.map_err(unreadable)?;
            if read == 0 {
                break;
            }
            (incoming, chunk) = self.run(move |_| Ok((incoming.append(&chunk)?, chunk))).await?;
            if incoming.size > size {
                break;
            }
        }
        self.run(move |layout| incoming.finish(layout, &digest, size)).await?;
        Ok(Put::Sent)
    }

    async fn tags(&self, name: &Name) -> Result<Vec<Tag>, HubError> {
        let name = name.clone();
        self.run(move |layout| manifests::tags(layout, &name)).await
    }

    async fn names(&self) -> Result<Vec<Name>, HubError> {
        self.run(manifests::names).await
    }

    async fn refresh_blob(&self, _: &Name, digest: &Digest) -> Result<(), HubError> {
        let digest = *digest;
        self.run(move |layout| storage::refresh(layout, &digest)).await
    }

    fn site(&self) -> Option<&dyn Site> {
        Some(self)
    }

    fn storage(&self) -> Option<&dyn Storage> {
        Some(self)
    }
}

#[async_trait]
impl Site for DirHub {
    async fn put_page(&self, page: Page, bytes: Vec<u8>) -> Result<(), HubError> {
        self.run(move |layout| pages::put(layout, page, &bytes)).await
    }

    async fn refresh_index(&self) -> Result<(), HubError> {
        self.run(pages::refresh_index).await
    }
}

/// A blob on its way into the hub.
#[derive(Debug)]
struct Incoming {
    temp: TempFile,
    hasher: Hasher,
    size: u64,
}

impl Incoming {
    fn append(mut self, chunk: &[u8]) -> Result<Self, DirError> {
        self.temp.append(chunk)?;
        self.hasher.update(chunk);
        self.size += chunk.len() as u64;
        Ok(self)
    }

    fn finish(self, layout: &Layout, digest: &Digest, size: u64) -> Result<(), DirError> {
        let corrupt = |reason| DirError::Corrupt { digest: *digest, reason };
        if self.size != size {
            let relation = if self.size > size { "more" } else { "fewer" };
            return Err(corrupt(format!(
                "its source gave {relation} than the {size} bytes announced; not stored"
            )));
        }
        let found = self.hasher.finish();
        if found != *digest {
            return Err(corrupt(format!("its source gave bytes with the digest {found}; not stored")));
        }
        self.temp.place(&layout.prepare()?.blobs()?, &digest.hex())
    }
}

/// A manifest's bytes, bounded.
fn read_manifest(path: &std::path::Path) -> Result<Option<RawManifest>, DirError> {
    let Some(file) = file::open(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(limits::MANIFEST_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| DirError::io("read", path, error))?;
    let large =
        || DirError::malformed(path, format!("more than {} bytes for a manifest", limits::MANIFEST_BYTES));
    RawManifest::new(bytes).ok_or_else(large).map(Some)
}

#[cfg(test)]
mod tests;
