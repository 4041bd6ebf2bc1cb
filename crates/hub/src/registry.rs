//! The trait that every kind of hub implements, and the types it speaks.
//!
//! It is small for implementors. Everything that is the same for all of them (plans, order, parallelism, what to do
//! about a missing part) is in [`crate::pull`] and [`crate::push`].

use std::fmt;
use std::io;
use std::ops::Range;
use std::pin::Pin;

use async_trait::async_trait;
use format::{Digest, Name, Tag, limits};
use tokio::io::AsyncRead;

use crate::prune::Storage;
use crate::{HubError, Referrer, referrers};

/// The bytes of a blob as they arrive.
pub type BlobReader = Pin<Box<dyn AsyncRead + Send>>;

/// Where the bytes of a blob come from. It can be opened again, so that a hub can try again.
#[async_trait]
pub trait BlobSource: Send + Sync {
    /// The bytes from the first one on.
    ///
    /// # Errors
    /// If they cannot be had.
    async fn open(&self) -> io::Result<BlobReader>;
}

/// A blob that is to be put into a hub.
#[derive(Clone, Copy)]
pub struct Upload<'a> {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// Where they come from.
    pub source: &'a dyn BlobSource,
    /// Names of the same hub that may have it already: guesses, for hubs that keep each name's blobs apart.
    pub mount_from: &'a [Name],
}

/// How a blob came into a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// All of its bytes were sent.
    Sent,
    /// The hub took it over from another of its names.
    Mounted,
    /// It was there.
    There,
}

/// Which manifest of a name is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Selector {
    /// The one that a tag leads to.
    Tag(Tag),
    /// The one with this digest.
    Digest(Digest),
}

impl fmt::Display for Selector {
    /// With its separator, as it follows a name: `:latest`, `@sha256:…`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(out, ":{tag}"),
            Self::Digest(digest) => write!(out, "@{digest}"),
        }
    }
}

/// The bytes of a manifest or an image index, and the digest that they have: it is computed, never taken over.
#[derive(Clone, PartialEq, Eq)]
pub struct RawManifest {
    digest: Digest,
    bytes: Vec<u8>,
}

impl RawManifest {
    /// Hashes `bytes`; `None` if they are more than a manifest may have.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= limits::MANIFEST_BYTES).then(|| Self { digest: Digest::of(&bytes), bytes })
    }

    /// The digest of the bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for RawManifest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "RawManifest({}, {} bytes)", self.digest, self.bytes.len())
    }
}

/// What hubs of files can hold besides snapshots, for people and web servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// `catalog.json`.
    Catalog,
    /// `index.html`.
    Html,
}

/// The part of a hub of files (a folder, a bucket) that a browser reads.
#[async_trait]
pub trait Site: Send + Sync {
    /// Writes a page, whole or not at all.
    ///
    /// # Errors
    /// If there is no hub, or it cannot be written.
    async fn put_page(&self, page: Page, bytes: Vec<u8>) -> Result<(), HubError>;

    /// Derives `index.json` anew from all tags.
    ///
    /// # Errors
    /// If there is no hub, a tag cannot be read, or it cannot be written.
    async fn refresh_index(&self) -> Result<(), HubError>;
}

/// A place that holds snapshots. `crate::conformance` (feature `testing`) says in code what is said here in words.
///
/// A future of any method may be dropped at any point: what it was writing must not be visible then, unless it is
/// whole. What is absent from a hub is `None`, not an error; where there is no hub at all, everything that reads is
/// [`HubError::NotAHub`], and what puts makes one if hubs of this kind can be made so.
#[async_trait]
pub trait Registry: fmt::Debug + Send + Sync {
    /// Where it is, in the form that [`crate::HubLocation`] reads.
    fn location(&self) -> &str;

    /// Whether this hub can be put to at all, and `name` into it: asked before a push reads or sends anything.
    ///
    /// # Errors
    /// If nothing can be put, and why.
    async fn check_writable(&self, name: &Name) -> Result<(), HubError>;

    /// A manifest or an image index.
    ///
    /// # Errors
    /// [`HubError::Corrupt`] if what is there under a digest has another one; if it cannot be read.
    async fn get_manifest(&self, name: &Name, which: &Selector) -> Result<Option<RawManifest>, HubError>;

    /// Makes a manifest or an image index available by its digest. The caller has put all blobs that it lists.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn put_manifest(&self, name: &Name, manifest: &RawManifest) -> Result<(), HubError>;

    /// Lets `tag` lead to a manifest that was put.
    ///
    /// # Errors
    /// If it cannot be written. The tag then leads where it led, or to the whole new manifest.
    async fn put_tag(&self, name: &Name, tag: &Tag, manifest: &RawManifest) -> Result<(), HubError>;

    /// Bytes of a blob.
    ///
    /// # Errors
    /// If the hub does not answer.
    async fn blob_size(&self, name: &Name, digest: &Digest) -> Result<Option<u64>, HubError>;

    /// The bytes `range` of a blob, less where the blob ends before. They are not verified.
    ///
    /// # Errors
    /// If it cannot be read.
    async fn get_blob(
        &self,
        name: &Name,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Option<BlobReader>, HubError>;

    /// Stores a blob; one that is there with its size may be left as it is. What is stored has this size and this
    /// digest: the hub, or the implementation, has verified it, and otherwise nothing is visible.
    ///
    /// # Errors
    /// [`HubError::Corrupt`] if the source gives other bytes; [`HubError::Source`] if it fails; if they cannot be stored.
    async fn put_blob(&self, name: &Name, blob: &Upload<'_>) -> Result<Put, HubError>;

    /// The manifests that name `subject` as theirs, of one type if `artifact_type` says which.
    ///
    /// # Errors
    /// If they cannot be listed.
    async fn referrers(
        &self,
        name: &Name,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Referrer>, HubError> {
        referrers::by_tag(self, name, subject, artifact_type).await
    }

    /// Puts a manifest that names a subject, so that it is among its referrers. The caller has put all blobs that it lists.
    ///
    /// # Errors
    /// If it names none, or cannot be written.
    async fn put_referrer(&self, name: &Name, manifest: &RawManifest) -> Result<(), HubError> {
        self.put_manifest(name, manifest).await?;
        referrers::list_under_tag(self, name, manifest).await
    }

    /// The tags of a name, sorted; none if there is no such name.
    ///
    /// # Errors
    /// If they cannot be listed.
    async fn tags(&self, name: &Name) -> Result<Vec<Tag>, HubError>;

    /// All names, sorted.
    ///
    /// # Errors
    /// [`HubError::Unsupported`] where hubs of this kind do not tell; if they cannot be listed.
    async fn names(&self) -> Result<Vec<Name>, HubError>;

    /// Makes a blob that a push found there, and does not send, young again if [`crate::prune`] could take it for
    /// abandoned soon. One that is gone is no error: the push asks for it again, once it has put the manifest.
    ///
    /// # Errors
    /// If it cannot be made young.
    async fn refresh_blob(&self, _name: &Name, _digest: &Digest) -> Result<(), HubError> {
        Ok(())
    }

    /// Where pages for a browser go; none where hubs of this kind hold none.
    fn site(&self) -> Option<&dyn Site> {
        None
    }

    /// What can be pruned; none where hubs of this kind collect by themselves.
    fn storage(&self) -> Option<&dyn Storage> {
        None
    }
}

impl Page {
    /// Its name in a hub of files.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Catalog => "catalog.json",
            Self::Html => "index.html",
        }
    }

    /// Its media type, as HTTP says it.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Catalog => "application/json",
            Self::Html => "text/html; charset=utf-8",
        }
    }
}
