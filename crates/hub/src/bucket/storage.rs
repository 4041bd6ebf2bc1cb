//! What a bucket holds and how old it is, for `prune`.
//!
//! Ages are told by the store's own clock: an object written for that says what time it has.

use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use format::Digest;
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpRequest, HttpRequestBody};
use serde::Deserialize;
use url::Url;

use super::objects::{Content, Expect};
use super::{BLOBS, BucketHub, MANIFESTS, NAMES, TMP, blob_key, manifest_key, upload};
use crate::prune::{Storage, Stored, StoredObject};
use crate::{HubError, Selector};

/// Most pages of uploads, of a thousand each.
const UPLOAD_PAGES: usize = 1000;
const TIME_CONTENT: Content<'_> = Content::page("text/plain");

/// S3's ListMultipartUploads.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Uploads {
    #[serde(default, rename = "Upload")]
    uploads: Vec<Begun>,
    #[serde(default)]
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Begun {
    key: String,
    upload_id: String,
    initiated: String,
}

#[async_trait]
impl Storage for BucketHub {
    async fn now(&self) -> Result<SystemTime, HubError> {
        self.check().await?;
        let key = self.objects.temporary("time")?;
        self.objects.write(&key, Bytes::from_static(b"time"), &TIME_CONTENT, Expect::Anything).await?;
        // Lists tell more than seconds, answers to HEAD do not.
        let found = self.objects.list(&key).await;
        self.objects.delete(&key).await?;
        let gone = || self.objects.malformed(&key, "it is not listed: does somebody else prune?".to_owned());
        Ok(found?.first().ok_or_else(gone)?.last_modified.into())
    }

    async fn stored(&self) -> Result<Vec<Stored>, HubError> {
        let mut stored = Vec::new();
        for prefix in [BLOBS, NAMES, TMP] {
            for object in self.objects.list(prefix).await? {
                let key = self.objects.key(object.location.as_ref());
                let modified = SystemTime::from(object.last_modified);
                stored.extend(parse(key).map(|what| Stored { object: what, size: object.size, modified }));
            }
        }
        stored.extend(self.uploads().await?);
        Ok(stored)
    }

    async fn modified(&self, object: &StoredObject) -> Result<Option<SystemTime>, HubError> {
        match object {
            // It never becomes younger than it was when it was listed.
            StoredObject::Unfinished { upload: Some(_), .. } => Ok(Some(SystemTime::UNIX_EPOCH)),
            _ => Ok(self.objects.head(&key_of(object)).await?.map(|found| found.last_modified.into())),
        }
    }

    async fn delete(&self, object: &StoredObject) -> Result<(), HubError> {
        match object {
            StoredObject::Unfinished { path, upload: Some(id) } => {
                upload::abort(&self.objects, path, id).await
            }
            _ => self.objects.delete(&key_of(object)).await,
        }
    }
}

fn key_of(object: &StoredObject) -> String {
    match object {
        StoredObject::Blob(digest) => blob_key(digest),
        StoredObject::Manifest(name, digest) => manifest_key(name, &Selector::Digest(*digest)),
        StoredObject::Unfinished { path, .. } => path.clone(),
    }
}

/// What lies under a key; `None` for tags, and for what no hub writes.
fn parse(key: &str) -> Option<StoredObject> {
    if let Some(hex) = key.strip_prefix(BLOBS) {
        return Digest::from_hex(hex).ok().map(StoredObject::Blob);
    }
    if key.starts_with(TMP) {
        return Some(StoredObject::Unfinished { path: key.to_owned(), upload: None });
    }
    let (folder, file) = key.strip_prefix(NAMES)?.rsplit_once('/')?;
    let name = folder.strip_suffix(MANIFESTS)?.strip_suffix('/')?.parse().ok()?;
    Some(StoredObject::Manifest(name, file.parse().ok()?))
}

impl BucketHub {
    /// Uploads in parts that have neither been completed nor aborted.
    async fn uploads(&self) -> Result<Vec<Stored>, HubError> {
        let mut begun = Vec::new();
        let mut markers: Option<(String, String)> = None;
        for _ in 0..UPLOAD_PAGES {
            let page = self.page_of_uploads(markers.as_ref()).await?;
            for upload in page.uploads {
                let path = self.objects.key(&upload.key).to_owned();
                let since = upload.initiated.parse::<jiff::Timestamp>();
                let since =
                    since.map_err(|error| self.objects.malformed("a list of uploads", error.to_string()))?;
                // Elsewhere in the bucket they are others'.
                if path.starts_with(BLOBS) && self.objects.full(&path) == upload.key {
                    let object = StoredObject::Unfinished { path, upload: Some(upload.upload_id) };
                    begun.push(Stored { object, size: 0, modified: since.into() });
                }
            }
            markers = page.next_key_marker.zip(page.next_upload_id_marker).filter(|_| page.is_truncated);
            if markers.is_none() {
                return Ok(begun);
            }
        }
        let reason = format!("it has more than {UPLOAD_PAGES} pages");
        Err(self.objects.malformed("a list of uploads", reason))
    }

    /// The S3 client does not list uploads: the request is made here, and signed by it.
    async fn page_of_uploads(&self, markers: Option<&(String, String)>) -> Result<Uploads, HubError> {
        const WHAT: &str = "a list of uploads";
        let malformed = |reason: String| self.objects.malformed(WHAT, reason);
        let url = Url::parse(&self.objects.bucket_url);
        let mut url = url.map_err(|error| malformed(error.to_string()))?;
        url.query_pairs_mut().append_pair("uploads", "").append_pair("prefix", &self.objects.full(BLOBS));
        if let Some((key, id)) = markers {
            url.query_pairs_mut().append_pair("key-marker", key).append_pair("upload-id-marker", id);
        }
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = url.as_str().parse().map_err(|_| malformed("its URL is none".to_owned()))?;
        let failed = |error: object_store::Error| self.objects.meaning_of(&error);
        if !self.objects.is_anonymous {
            let credential = self.objects.s3.credentials().get_credential().await.map_err(failed)?;
            let authorizer = AwsAuthorizer::new(&credential, "s3", &self.objects.region);
            authorizer.try_authorize(&mut request, None).map_err(failed)?;
        }
        let answer =
            self.objects.client.execute(request).await.map_err(|error| self.objects.meaning_of(&error))?;
        let body = answer.into_body().bytes().await.map_err(|error| self.objects.meaning_of(&error))?;
        quick_xml::de::from_reader(body.as_ref()).map_err(|error| malformed(error.to_string()))
    }
}
