//! A hub in a bucket of an S3-compatible store, in the layout of a folder's ([`crate::dir`]): each can be copied to the other
//! as it is.
//!
//! ```text
//! location     s3://BUCKET[/PREFIX][?endpoint=URL&region=REGION]
//! environment  who asks, as AWS's tools know it; profile: the files they share
//! transport    the S3 client's requests over the HTTP of all hubs
//! objects      keys, objects, lists; refusals: what failures mean
//! reading      ranges of a blob, resumed where a connection breaks
//! upload       a blob at once or in parts
//! index        names, tags, index.json, pages
//! storage      what there is and how old, for `prune`
//! presign      uploads that somebody without credentials may make, signed (sigv4); ticket: what they are written down in
//! ```
//!
//! Invariants:
//! - An object is visible when it is whole: stores see to that. Nothing else is ever under a blob's digest than its bytes.
//! - A tag is one object: the last writer wins. `index.json` is derived and may lag behind where the store cannot compare
//!   before it writes; whoever lists all tags makes it anew.
//! - A bucket without `oci-layout` is no hub. The first push makes one of an empty bucket or prefix, and of no other.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use format::{Digest, Name, Tag, limits};
use tokio::sync::OnceCell;

use crate::image_index::Kind;
use crate::prune::{MIN_YOUNG, Storage};
use crate::{Access, BlobReader, HubError, Put, RawManifest, Registry, Selector, Site, Upload};

pub(crate) mod environment;
mod identity;
mod index;
mod location;
mod objects;
mod presign;
mod profile;
mod reading;
mod refusals;
mod sigv4;
mod storage;
mod ticket;
mod transport;
mod upload;

pub use environment::AwsEnvironment;
pub use location::BucketLocation;
use objects::{Content, Expect, Objects};
pub use presign::{LONGEST, presign};
pub use ticket::{SignedPut, TICKET_BYTES, Ticket, TicketError, TicketPush};

const LAYOUT_FILE: &str = "oci-layout";
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// More than any `oci-layout` has.
const LAYOUT_LIMIT: usize = 4096;
const LAYOUT_CONTENT: Content<'_> = Content::page("application/vnd.oci.layout.header.v1+json");
const BLOBS: &str = "blobs/sha256/";
const NAMES: &str = "v2/";
/// Objects that are here for moments.
const TMP: &str = "tmp/";
const MANIFESTS: &str = "manifests";

/// What to give instead of a place that is no hub.
const EXPECTED: &str = "give a bucket, or a prefix in one, that `spore push --hub` wrote";

/// A hub in a bucket.
#[derive(Debug)]
pub struct BucketHub {
    objects: Arc<Objects>,
    is_hub: AtomicBool,
    /// Whether the store compares before it writes; asked once.
    compares: OnceCell<bool>,
}

impl BucketHub {
    pub(crate) fn new(location: &BucketLocation, access: &Access) -> Result<Self, HubError> {
        let objects = Arc::new(Objects::open(location, access)?);
        Ok(Self { objects, is_hub: AtomicBool::new(false), compares: OnceCell::new() })
    }

    /// Refuses to read what is no hub.
    async fn check(&self) -> Result<(), HubError> {
        // Twice, since it may have become a hub while what it holds instead was looked for.
        if self.is_hub.load(Ordering::Relaxed) || self.read_layout().await? {
            return Ok(());
        }
        let instead = self.instead_of_hub().await?;
        if self.read_layout().await? { Ok(()) } else { Err(instead) }
    }

    async fn read_layout(&self) -> Result<bool, HubError> {
        let Some((bytes, _)) = self.objects.read(LAYOUT_FILE, LAYOUT_LIMIT).await? else { return Ok(false) };
        let found = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
        if found != serde_json::from_slice(LAYOUT).ok() {
            let reason = format!("expected {}", String::from_utf8_lossy(LAYOUT));
            return Err(self.objects.malformed(LAYOUT_FILE, reason));
        }
        self.is_hub.store(true, Ordering::Relaxed);
        Ok(true)
    }

    /// What is there instead of a hub.
    async fn instead_of_hub(&self) -> Result<HubError, HubError> {
        // One more than what of a hub that is just being made is not in the way.
        let (objects, prefixes) = self.objects.list_level("", 4).await?;
        let ours = [BLOBS, NAMES, TMP].map(|key| key.split('/').next().unwrap_or_default());
        let found = objects.iter().map(|object| &object.location).chain(&prefixes);
        let mut keys = found.map(|path| self.objects.key(path.as_ref()));
        let hub = self.objects.location().to_owned();
        Ok(match keys.find(|key| !ours.contains(key)) {
            None => {
                let reason = format!("it is not a hub: it has no {LAYOUT_FILE}; {EXPECTED}");
                HubError::NotAHub { hub, reason, push_makes_one: true }
            }
            Some(other) => {
                let found = format!("it holds {other:?} and no {LAYOUT_FILE}");
                let reason = format!("it is not a hub: {found}; {EXPECTED}, or an empty one to push to");
                HubError::NotAHub { hub, reason, push_makes_one: false }
            }
        })
    }

    async fn check_can_be_hub(&self) -> Result<(), HubError> {
        match self.check().await {
            Err(HubError::NotAHub { push_makes_one: true, .. }) => Ok(()),
            result => result,
        }
    }

    /// Makes it a hub, if it is none and can be made one.
    async fn prepare(&self) -> Result<(), HubError> {
        self.check_can_be_hub().await?;
        if !self.is_hub.load(Ordering::Relaxed) {
            self.objects.write(LAYOUT_FILE, LAYOUT, &LAYOUT_CONTENT, Expect::Anything).await?;
            self.is_hub.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Makes a blob young again if it is at least so old.
    async fn refresh_older(&self, digest: &Digest, old: Duration) -> Result<(), HubError> {
        let Some(found) = self.objects.head(&blob_key(digest)).await? else { return Ok(()) };
        let age = SystemTime::now().duration_since(found.last_modified.into());
        if age.is_ok_and(|age| age < old) {
            return Ok(());
        }
        self.renew(digest).await
    }

    /// Makes a blob young again.
    pub(crate) async fn renew(&self, digest: &Digest) -> Result<(), HubError> {
        self.objects.renew(&blob_key(digest)).await.map(drop)
    }

    /// The media type of what is to be stored as a manifest.
    fn media_type(&self, manifest: &RawManifest) -> Result<String, HubError> {
        match Kind::parse(manifest.bytes()).ok().filter(Kind::is_known) {
            Some(kind) => Ok(kind.media_type),
            None => Err(self
                .corrupt(&manifest.digest(), "it is neither an OCI manifest nor an image index".to_owned())),
        }
    }

    fn corrupt(&self, digest: &Digest, reason: String) -> HubError {
        HubError::Corrupt { hub: self.objects.location().to_owned(), digest: *digest, reason }
    }
}

fn blob_key(digest: &Digest) -> String {
    format!("{BLOBS}{}", digest.hex())
}

fn manifest_key(name: &Name, which: &Selector) -> String {
    let folder = manifests_prefix(name);
    match which {
        Selector::Tag(tag) => format!("{folder}{tag}"),
        Selector::Digest(digest) => format!("{folder}{digest}"),
    }
}

fn manifests_prefix(name: &Name) -> String {
    format!("{NAMES}{name}/{MANIFESTS}/")
}

#[async_trait]
impl Registry for BucketHub {
    fn location(&self) -> &str {
        self.objects.location()
    }

    /// A store decides with the first request that writes; that nobody asks, it need not be asked.
    async fn check_writable(&self, name: &Name) -> Result<(), HubError> {
        if self.objects.is_anonymous {
            let (hub, action) =
                (self.location().to_owned(), "push without credentials of AWS's kind".to_owned());
            return Err(HubError::Denied { hub, action });
        }
        if name.as_str().split('/').any(|part| part == MANIFESTS) {
            let reason =
                format!("a bucket cannot hold a name with the component {MANIFESTS:?}; choose another");
            return Err(self.objects.malformed(&format!("{NAMES}{name}"), reason));
        }
        self.check_can_be_hub().await
    }

    async fn get_manifest(&self, name: &Name, which: &Selector) -> Result<Option<RawManifest>, HubError> {
        self.check().await?;
        let read = self.objects.read(&manifest_key(name, which), limits::MANIFEST_BYTES).await?;
        let Some(manifest) = read.and_then(|(bytes, _)| RawManifest::new(bytes)) else { return Ok(None) };
        match which {
            Selector::Digest(digest) if *digest != manifest.digest() => {
                let reason = format!("the manifest of that name has the digest {}", manifest.digest());
                Err(self.corrupt(digest, reason))
            }
            _ => Ok(Some(manifest)),
        }
    }

    /// Blob first, for OCI tools; then under its digest.
    async fn put_manifest(&self, name: &Name, manifest: &RawManifest) -> Result<(), HubError> {
        let media_type = self.media_type(manifest)?;
        self.prepare().await?;
        let content = Content { media_type: &media_type, is_immutable: true };
        let keys = [blob_key(&manifest.digest()), manifest_key(name, &Selector::Digest(manifest.digest()))];
        for key in keys {
            self.objects.write(&key, manifest.bytes().to_vec(), &content, Expect::Anything).await?;
        }
        Ok(())
    }

    /// The tag, then the index that lists it.
    async fn put_tag(&self, name: &Name, tag: &Tag, manifest: &RawManifest) -> Result<(), HubError> {
        let media_type = self.media_type(manifest)?;
        self.prepare().await?;
        let content = Content { media_type: &media_type, is_immutable: false };
        let key = manifest_key(name, &Selector::Tag(tag.clone()));
        self.objects.write(&key, manifest.bytes().to_vec(), &content, Expect::Anything).await?;
        self.list_tag(name, tag, manifest).await
    }

    async fn blob_size(&self, _: &Name, digest: &Digest) -> Result<Option<u64>, HubError> {
        self.check().await?;
        Ok(self.objects.head(&blob_key(digest)).await?.map(|found| found.size))
    }

    async fn get_blob(
        &self,
        _: &Name,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Option<BlobReader>, HubError> {
        self.check().await?;
        reading::read(&self.objects, blob_key(digest), range).await
    }

    async fn put_blob(&self, _: &Name, blob: &Upload<'_>) -> Result<Put, HubError> {
        self.prepare().await?;
        let key = blob_key(&blob.digest);
        if self.objects.head(&key).await?.is_some_and(|found| found.size == blob.size) {
            return Ok(Put::There);
        }
        upload::put(&self.objects, &key, blob).await?;
        Ok(Put::Sent)
    }

    async fn refresh_blob(&self, _: &Name, digest: &Digest) -> Result<(), HubError> {
        self.refresh_older(digest, MIN_YOUNG).await
    }

    async fn tags(&self, name: &Name) -> Result<Vec<Tag>, HubError> {
        self.check().await?;
        self.tags_of(name).await
    }

    async fn names(&self) -> Result<Vec<Name>, HubError> {
        self.check().await?;
        self.all_names().await
    }

    fn site(&self) -> Option<&dyn Site> {
        Some(self)
    }

    fn storage(&self) -> Option<&dyn Storage> {
        Some(self)
    }
}
