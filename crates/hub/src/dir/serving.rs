//! What a server over a folder needs besides what every hub does: uploads whose digest is not known when they begin, the
//! files at the top, removing what was put, and how full it is.
//!
//! - Uploads of a server lie in `tmp/serve`, which it holds a lock on. Whoever gets that lock knows that what lies there is
//!   of a server that has died, and removes it.

use std::path::Path;

use bytes::Bytes;
use format::{Digest, Hasher, Name, Tag};

use super::file::{self, DirError};
use super::folder::Folder;
use super::layout::Layout;
use super::{CHUNK, DirHub, Incoming, manifests, read_manifest};
use crate::{BlobReader, HubError, HubLocation, LocationError, Page, Put};

/// A file at the top of a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopFile {
    /// `oci-layout`.
    Layout,
    /// `index.json`.
    Index,
    /// What browsers read.
    Page(Page),
}

impl TopFile {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Layout, Self::Index, Self::Page(Page::Catalog), Self::Page(Page::Html)];

    /// Its name.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Layout => "oci-layout",
            Self::Index => "index.json",
            Self::Page(page) => page.file_name(),
        }
    }

    /// Its media type, as HTTP says it.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Layout | Self::Index => "application/json",
            Self::Page(page) => page.media_type(),
        }
    }
}

/// The uploads of one server; none of them outlives it.
#[derive(Debug)]
pub struct Uploads {
    hub: DirHub,
    /// Holds the lock.
    _folder: Folder,
}

/// A blob that arrives piece by piece. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct BlobUpload {
    hub: DirHub,
    incoming: Incoming,
}

impl DirHub {
    /// The hub in the folder at `path`, which need not be there.
    ///
    /// # Errors
    /// If the path cannot be resolved.
    pub fn at(path: &Path) -> Result<Self, LocationError> {
        let location = HubLocation::folder(path)?;
        let text = location.to_string();
        match location {
            HubLocation::Folder(root) => Ok(Self::new(root, text)),
            _ => Err(LocationError::Invalid { text, reason: "expected a folder" }),
        }
    }

    /// Refuses a folder that is no hub.
    ///
    /// # Errors
    /// [`HubError::NotAHub`]; if the folder cannot be read.
    pub async fn check(&self) -> Result<(), HubError> {
        self.run(Layout::check).await
    }

    /// The place for one server's uploads, from which those of servers that have died are removed. Makes the hub if it is
    /// not there. None if another server has it.
    ///
    /// # Errors
    /// If the folder neither is a hub nor can be made one, or cannot be written.
    pub async fn uploads(&self) -> Result<Option<Uploads>, HubError> {
        let folder = self.run(|layout| {
            let folder = layout.prepare()?.served()?;
            if !folder.try_lock()? {
                return Ok(None);
            }
            for entry in file::entries(folder.path())? {
                folder.remove(&entry.name)?;
            }
            Ok(Some(folder))
        });
        Ok(folder.await?.map(|folder| Uploads { hub: self.clone(), _folder: folder }))
    }

    /// A file at the top and its bytes.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn top_file(&self, which: TopFile) -> Result<Option<(BlobReader, u64)>, HubError> {
        let opened = self.run(move |layout| {
            layout.check()?;
            let path = layout.root().join(which.file_name());
            let Some(file) = file::open(&path)? else { return Ok(None) };
            let size = file.metadata().map_err(|error| DirError::io("examine", &path, error))?.len();
            Ok(Some((file, size)))
        });
        Ok(opened.await?.map(|(file, size)| {
            let mut file = tokio::fs::File::from_std(file);
            file.set_max_buf_size(CHUNK);
            (Box::pin(tokio::io::AsyncReadExt::take(file, size)) as BlobReader, size)
        }))
    }

    /// Removes a tag; `false` if there is none. What it leads to stays.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub async fn remove_tag(&self, name: &Name, tag: &Tag) -> Result<bool, HubError> {
        let (name, tag) = (name.clone(), tag.clone());
        self.run(move |layout| manifests::remove(layout, &name, &[tag.to_string()])).await
    }

    /// Removes a manifest from a name, and the tags there that lead to it; `false` if it is not there. Blobs stay: others may
    /// need them.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub async fn remove_manifest(&self, name: &Name, digest: &Digest) -> Result<bool, HubError> {
        let (name, digest) = (name.clone(), *digest);
        self.run(move |layout| {
            let folder = layout.manifests_path(&name);
            let mut gone = Vec::new();
            for tag in manifests::tags(layout, &name)? {
                let manifest = read_manifest(&folder.join(tag.as_str()))?;
                if manifest.is_some_and(|manifest| manifest.digest() == digest) {
                    gone.push(tag.to_string());
                }
            }
            // Last: as long as it is there, the same request removes the rest.
            gone.push(digest.to_string());
            manifests::remove(layout, &name, &gone)
        })
        .await
    }

    /// Bytes of all blobs.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub async fn blob_bytes(&self) -> Result<u64, HubError> {
        self.run(|layout| {
            layout.check()?;
            let folder = layout.blobs_path();
            let entries = file::entries(&folder)?.into_iter().filter(|entry| !entry.is_folder);
            let sizes = entries.map(|entry| Ok(file::size(&folder.join(entry.name))?.unwrap_or(0)));
            sizes.sum()
        })
        .await
    }

    /// Bytes that are free where the hub lies.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub async fn free_bytes(&self) -> Result<u64, HubError> {
        self.run(|layout| {
            let found = rustix::fs::statvfs(layout.root());
            let found = found.map_err(|error| DirError::io("examine", layout.root(), error))?;
            Ok(found.f_bavail.saturating_mul(found.f_frsize))
        })
        .await
    }
}

impl Uploads {
    /// Begins one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn begin(&self) -> Result<BlobUpload, HubError> {
        let temp = self.hub.run(|layout| layout.prepare()?.served_file()).await?;
        let incoming = Incoming { temp, hasher: Hasher::new(), size: 0 };
        Ok(BlobUpload { hub: self.hub.clone(), incoming })
    }
}

impl BlobUpload {
    /// Bytes that have come.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.incoming.size
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// If they cannot be written. The upload is gone then.
    pub async fn append(self, bytes: Bytes) -> Result<Self, HubError> {
        let Self { hub, incoming } = self;
        let incoming = hub.run(move |_| incoming.append(&bytes)).await?;
        Ok(Self { hub, incoming })
    }

    /// Makes it a blob, or finds that the hub has had it.
    ///
    /// # Errors
    /// [`HubError::Corrupt`] if it has another digest; if it cannot be written. The upload is gone then.
    pub async fn finish(self, digest: &Digest) -> Result<Put, HubError> {
        let Self { hub, incoming } = self;
        let (digest, size) = (*digest, incoming.size);
        hub.run(move |layout| {
            let was_there = file::size(&layout.blob_path(&digest))? == Some(size);
            incoming.finish(layout, &digest, size)?;
            Ok(if was_there { Put::There } else { Put::Sent })
        })
        .await
    }
}
