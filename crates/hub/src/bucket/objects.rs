//! Objects of one bucket, below the hub's prefix, and what a store's refusals mean.
//!
//! Invariants:
//! - Keys are made here alone, of digests, names and tags, whose grammars have no character that a store or a URL changes.
//! - No error shows a URL, a key of an account, or a signature.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::client::{HttpClient, HttpConnector};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, ClientOptions, CopyOptions, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutOptions, PutPayload, RetryConfig, UpdateVersion,
};
use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::TMP;
use super::location::{self, BucketLocation};
use super::transport::{Problem, Refusal, Transport, innermost, problem};
use crate::http::{Http, Tries};
use crate::{Access, HubError};

/// Most pages of a list, of a thousand keys each: a store that always names a next one is not followed for ever.
const PAGES: usize = 100_000;

/// A bucket, or the part of one below a prefix.
#[derive(Debug)]
pub(super) struct Objects {
    pub(super) s3: AmazonS3,
    /// The same, for copies of an object onto itself.
    renewing: AmazonS3,
    pub(super) client: HttpClient,
    pub(super) bucket_url: String,
    pub(super) region: String,
    pub(super) bucket: String,
    prefix: Option<String>,
    location: Arc<str>,
    pub(super) is_anonymous: bool,
    /// Whether the store, or a proxy before it, has given all of an object to whoever asked for a part.
    pub(super) ignores_ranges: AtomicBool,
}

/// What an object is, for whoever gets it over plain HTTP.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content<'a> {
    pub(super) media_type: &'a str,
    /// What is named by its digest may be kept by caches for ever, all else is asked for anew.
    pub(super) is_immutable: bool,
}

impl Content<'static> {
    pub(super) const BLOB: Self = Self { media_type: "application/octet-stream", is_immutable: true };

    pub(super) const fn page(media_type: &'static str) -> Self {
        Self { media_type, is_immutable: false }
    }
}

impl Content<'_> {
    pub(super) fn cache_control(&self) -> &'static str {
        if self.is_immutable { "public, max-age=31536000, immutable" } else { "no-cache" }
    }

    pub(super) fn attributes(&self) -> Attributes {
        Attributes::from_iter([
            (Attribute::ContentType, self.media_type.to_owned()),
            (Attribute::CacheControl, self.cache_control().to_owned()),
        ])
    }
}

/// What an object that is written must find.
#[derive(Debug, Clone)]
pub(super) enum Expect {
    Anything,
    /// Nothing, where the store can tell.
    Absent,
    /// What has this entity tag, where the store can tell.
    Version(String),
}

impl Objects {
    pub(super) fn open(location: &BucketLocation, access: &Access) -> Result<Self, HubError> {
        let text = location.to_string();
        let unknown = |source| HubError::Credential { hub: text.clone(), source: Box::new(source) };
        let settings = access.aws.settings().map_err(unknown)?;
        let region = location.region.clone().unwrap_or(settings.region);
        let malformed = |what: &str, reason: String| HubError::Malformed {
            hub: text.clone(),
            what: what.to_owned(),
            reason,
        };
        let endpoint = match (&location.endpoint, settings.endpoint) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Some(endpoint)) => location::service(&endpoint).map_err(|reason| {
                malformed("the endpoint that the AWS environment names", reason.to_owned())
            })?,
            (None, None) => format!("https://s3.{region}.amazonaws.com"),
        };
        let bucket_url = format!("{endpoint}/{}", location.bucket);
        let transport = Transport::new(Http::new(&text, access)?, bucket_url.clone());
        let is_anonymous = settings.identity.is_nobody();
        let builder = AmazonS3Builder::new()
            .with_bucket_name(&location.bucket)
            .with_region(&region)
            .with_endpoint(&endpoint)
            .with_checksum_algorithm(Checksum::SHA256)
            // The transport does it, as the store's Retry-After says.
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_http_connector(transport.clone());
        let builder = settings.identity.apply(builder);
        let unusable =
            |error: object_store::Error| malformed("what is known of the store", innermost(&error));
        let client = transport.connect(&ClientOptions::new()).map_err(unusable)?;
        let renewing = builder.clone().with_client_options(renewing_options());
        Ok(Self {
            s3: builder.build().map_err(unusable)?,
            renewing: renewing.build().map_err(unusable)?,
            client,
            bucket_url,
            region,
            bucket: location.bucket.clone(),
            prefix: location.prefix.clone(),
            location: text.into(),
            is_anonymous,
            ignores_ranges: AtomicBool::new(false),
        })
    }

    pub(super) fn location(&self) -> &str {
        &self.location
    }

    /// The store's URL.
    pub(super) fn endpoint(&self) -> &str {
        self.bucket_url.strip_suffix(&format!("/{}", self.bucket)).unwrap_or(&self.bucket_url)
    }

    /// An object's name in the bucket.
    pub(super) fn path(&self, key: &str) -> Path {
        Path::from(self.full(key))
    }

    pub(super) fn full(&self, key: &str) -> String {
        match &self.prefix {
            Some(prefix) => format!("{prefix}/{key}"),
            None => key.to_owned(),
        }
    }

    /// The part of an object's name that is below the hub's prefix.
    pub(super) fn key<'a>(&self, full: &'a str) -> &'a str {
        let below = self.prefix.as_ref().and_then(|prefix| full.strip_prefix(prefix.as_str()));
        below.and_then(|below| below.strip_prefix('/')).unwrap_or(full)
    }

    /// A key for an object that is here for a moment.
    pub(super) fn temporary(&self, purpose: &str) -> Result<String, HubError> {
        let word = crate::random::word();
        let word = word.map_err(|error| self.malformed("the kernel's random numbers", error.to_string()))?;
        Ok(format!("{TMP}{purpose}-{word}"))
    }

    /// What is known of an object; `None` if it is not there.
    pub(super) async fn head(&self, key: &str) -> Result<Option<ObjectMeta>, HubError> {
        self.found(self.s3.head(&self.path(key)).await)
    }

    /// A small object and its entity tag, asked for until all of it has come.
    pub(super) async fn read(
        &self,
        key: &str,
        limit: usize,
    ) -> Result<Option<(Vec<u8>, Option<String>)>, HubError> {
        let mut tries = Tries::new();
        loop {
            let got = self.found(self.s3.get_opts(&self.path(key), GetOptions::default()).await)?;
            let Some(got) = got else { return Ok(None) };
            let tag = got.meta.e_tag.clone();
            match collect(got.into_stream(), limit).await {
                Ok(Some(bytes)) => return Ok(Some((bytes, tag))),
                Ok(None) => return Err(self.malformed(key, format!("it has more than {limit} bytes"))),
                Err(error) => tries.again(self.broke(key, &error)).await?,
            }
        }
    }

    /// Writes an object, whole or not at all. `false` if something else is there than was expected.
    pub(super) async fn write(
        &self,
        key: &str,
        bytes: impl Into<Bytes>,
        content: &Content<'_>,
        expected: Expect,
    ) -> Result<bool, HubError> {
        let mode = match expected {
            Expect::Anything => PutMode::Overwrite,
            Expect::Absent => PutMode::Create,
            Expect::Version(tag) => PutMode::Update(UpdateVersion { e_tag: Some(tag), version: None }),
        };
        let options = PutOptions { mode, attributes: content.attributes(), ..PutOptions::default() };
        let payload = PutPayload::from_bytes(bytes.into());
        let Err(error) = self.s3.put_opts(&self.path(key), payload, options).await else { return Ok(true) };
        match problem(&error) {
            // AWS answers 409 where two ask for the same at once.
            Some(Problem::Refused(Refusal { status: 409 | 412, .. })) => Ok(false),
            Some(problem) => Err(self.meaning(problem)),
            None => Err(self.meaning_of(&error)),
        }
    }

    /// Makes a blob young again: it is copied onto itself, by the store. `false` if it is not there.
    pub(super) async fn renew(&self, key: &str) -> Result<bool, HubError> {
        let path = self.path(key);
        let copied = self.renewing.copy_opts(&path, &path, CopyOptions::default()).await;
        Ok(self.found(copied)?.is_some())
    }

    /// Deletes an object; one that is gone already is no error.
    pub(super) async fn delete(&self, key: &str) -> Result<(), HubError> {
        self.found(self.s3.delete(&self.path(key)).await).map(drop)
    }

    /// All objects whose keys begin with `prefix`.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, HubError> {
        Ok(self.pages(prefix, None, usize::MAX).await?.0)
    }

    /// The objects right below `prefix`, and the prefixes; the first ones where `count` are enough.
    pub(super) async fn list_level(
        &self,
        prefix: &str,
        count: usize,
    ) -> Result<(Vec<ObjectMeta>, Vec<Path>), HubError> {
        self.pages(prefix, Some("/"), count).await
    }

    async fn pages(
        &self,
        prefix: &str,
        delimiter: Option<&'static str>,
        count: usize,
    ) -> Result<(Vec<ObjectMeta>, Vec<Path>), HubError> {
        let prefix = self.full(prefix);
        let prefix = Some(prefix.as_str()).filter(|prefix| !prefix.is_empty());
        let (mut objects, mut prefixes, mut token) = (Vec::new(), Vec::new(), None);
        for _ in 0..PAGES {
            let options = PaginatedListOptions {
                delimiter: delimiter.map(Into::into),
                max_keys: (count < 1000).then_some(count),
                page_token: token,
                ..PaginatedListOptions::default()
            };
            let page =
                self.s3.list_paginated(prefix, options).await.map_err(|error| self.meaning_of(&error))?;
            objects.extend(page.result.objects);
            prefixes.extend(page.result.common_prefixes);
            token = page.page_token;
            if token.is_none() || objects.len() + prefixes.len() >= count {
                return Ok((objects, prefixes));
            }
        }
        Err(self.malformed("the list of the bucket", format!("it has more than {PAGES} pages")))
    }
}

/// A copy of an object onto itself must replace something: what is said of it, by the same.
fn renewing_options() -> ClientOptions {
    let headers = [
        (HeaderName::from_static("x-amz-metadata-directive"), "REPLACE"),
        (CONTENT_TYPE, Content::BLOB.media_type),
        (CACHE_CONTROL, Content::BLOB.cache_control()),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    ClientOptions::new().with_default_headers(HeaderMap::from_iter(headers))
}

/// All bytes of a stream; `None` if they are more than `limit`.
async fn collect(
    mut stream: impl futures_util::Stream<Item = object_store::Result<Bytes>> + Unpin,
    limit: usize,
) -> object_store::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        if chunk.len() > limit.saturating_sub(bytes.len()) {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}
