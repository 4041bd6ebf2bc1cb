//! A hub that a web server gives out: the files of a folder, or the objects of a bucket, by plain GET and HEAD. It can
//! only be read.
//!
//! What lies where is what docs/hub.md says of folders. Names and tags are those of `index.json`; where there is none, they
//! cannot be listed, and what is asked for by name is found all the same.
//!
//! Invariants:
//! - No credential is needed. One that the user has for the host is sent to a server that asks for it, and to no other.
//! - A server that answers everything, as those of many web sites do, is no hub: before anything else is read,
//!   `oci-layout` is.
//! - What S3 refuses to whoever may not list a bucket (403), it refuses because it is absent. Of a hub whose
//!   `oci-layout` could be read, it is therefore absent.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use format::{Digest, Name, Tag, limits};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, RANGE};
use reqwest::{Method, RequestBuilder, StatusCode, Url};

use crate::dir::{LAYOUT, LAYOUT_FILE};
use crate::http::{Answer, Failure, Http, Open, Tries, resuming};
use crate::image_index::{ImageIndex, REF_NAME};
use crate::{Access, BlobReader, HubError, Put, RawManifest, Registry, Selector, Upload};

mod location;
mod login;

pub use location::WebLocation;
use login::Login;

/// Most bytes of an `oci-layout`.
const LAYOUT_BYTES: usize = 4096;
/// Most bytes of an `index.json`: of some 100,000 tags.
const INDEX_BYTES: usize = 32 << 20;

/// A hub on a web server.
#[derive(Debug, Clone)]
pub struct WebHub {
    http: Http,
    base: Url,
    login: Arc<Login>,
    location: Arc<str>,
    is_hub: Arc<OnceLock<()>>,
}

impl WebHub {
    pub(crate) fn new(location: &WebLocation, access: &Access) -> Result<Self, HubError> {
        let text = location.to_string();
        Ok(Self {
            http: Http::new(&text, access)?,
            base: location.base().clone(),
            login: Arc::new(Login::new(location.host(), access.credentials.clone())),
            location: text.into(),
            is_hub: Arc::default(),
        })
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let url = self.base.join(path);
        let url = url.map_err(|error| Failure::Final(self.http.unavailable("name", error.to_string())))?;
        Ok(self.http.client().request(method, url))
    }

    /// Sends a request once, as who we are if the server has asked for that.
    async fn send(&self, request: RequestBuilder, action: &str) -> Result<Answer, Failure> {
        let sent = self.login.header();
        let request = match &sent {
            Some(header) => request.header(AUTHORIZATION, header.clone()),
            None => request,
        };
        let response = self.http.send(request, action).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let is_ours = response.url().origin() == self.base.origin();
        let denied = self.http.denied(action);
        if is_ours && sent.is_none() && self.login.take_up(response.headers()).await? {
            return Err(Failure::Passing(denied, Some(std::time::Duration::ZERO)));
        }
        Err(denied.into())
    }

    /// Sends a request until it is answered.
    async fn ask(&self, method: &Method, path: &str, action: &str) -> Result<Answer, HubError> {
        let mut tries = Tries::new();
        loop {
            match self.send(self.request(method.clone(), path)?, action).await {
                Ok(response) => return Ok(response),
                Err(failure) => tries.again(failure).await?,
            }
        }
    }

    /// A small file of a hub.
    async fn small(&self, path: &str, limit: usize, action: &str) -> Result<Option<Vec<u8>>, HubError> {
        self.check().await?;
        self.fetch(path, limit, action).await
    }

    /// A small file, asked for until all of it has come.
    async fn fetch(&self, path: &str, limit: usize, action: &str) -> Result<Option<Vec<u8>>, HubError> {
        let mut tries = Tries::new();
        loop {
            let response = self.ask(&Method::GET, path, action).await?;
            let Some(response) = self.present(response, action)? else { return Ok(None) };
            match self.http.body(response, limit, action).await {
                Ok(body) => return Ok(Some(body)),
                Err(failure) => tries.again(failure).await?,
            }
        }
    }

    /// The answer, if what was asked for is there.
    fn present(&self, response: Answer, action: &str) -> Result<Option<Answer>, HubError> {
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(Some(response)),
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::FORBIDDEN => Ok(None),
            _ => Err(self.http.unexpected(&response, action)),
        }
    }

    /// Refuses to read what is no hub.
    async fn check(&self) -> Result<(), HubError> {
        if self.is_hub.get().is_some() {
            return Ok(());
        }
        let body = match self.fetch(LAYOUT_FILE, LAYOUT_BYTES, "get its oci-layout").await {
            Ok(Some(body)) => body,
            Ok(None) => return Err(self.not_a_hub(&format!("it has no {LAYOUT_FILE}"))),
            // A page that says, in more words than a hub, that there is nothing.
            Err(HubError::Malformed { reason, .. }) => {
                return Err(self.not_a_hub(&format!("{LAYOUT_FILE}: {reason}")));
            }
            Err(error) => return Err(error),
        };
        let found = serde_json::from_slice::<serde_json::Value>(&body).ok();
        if found.is_none() || found != serde_json::from_slice(LAYOUT).ok() {
            return Err(self.not_a_hub(&format!("its {LAYOUT_FILE} is not that of a hub")));
        }
        self.is_hub.get_or_init(|| ());
        Ok(())
    }

    fn not_a_hub(&self, found: &str) -> HubError {
        let expected =
            "give the URL of a folder or a bucket that `spore push` wrote, or oci:// and a registry";
        let reason = format!("there is no hub: {found}; {expected}");
        HubError::NotAHub { hub: self.location.to_string(), reason, push_makes_one: false }
    }

    fn read_only(&self) -> HubError {
        HubError::ReadOnly { hub: self.location.to_string() }
    }

    /// All tags that `index.json` lists.
    async fn listed(&self, action: &str) -> Result<Vec<(Name, Tag)>, HubError> {
        let Some(body) = self.small("index.json", INDEX_BYTES, action).await? else {
            let action =
                format!("{action}: it has no index.json, which `spore hub index` makes where its files lie");
            return Err(HubError::Unsupported { hub: self.location.to_string(), action });
        };
        let index =
            ImageIndex::parse(&body).map_err(|error| self.http.malformed(action, error.to_string()))?;
        // Others may have written it: what is no name of ours is passed over.
        let entry = |text: &String| {
            let (name, tag) = text.rsplit_once(':')?;
            Some((name.parse().ok()?, tag.parse().ok()?))
        };
        let mut listed: Vec<_> = index
            .manifests
            .iter()
            .filter_map(|manifest| manifest.annotations.get(REF_NAME).and_then(entry))
            .collect();
        listed.sort_unstable();
        listed.dedup();
        Ok(listed)
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Asks for parts of one blob.
struct Blob {
    hub: WebHub,
    path: String,
    action: String,
}

#[async_trait]
impl Open for Blob {
    async fn open(&self, range: Range<u64>) -> Result<Option<Answer>, Failure> {
        let bytes = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let request = self.hub.request(Method::GET, &self.path)?.header(RANGE, bytes);
        let response = self.hub.send(request, &self.action).await?;
        Ok(self.hub.present(response, &self.action)?)
    }
}

#[async_trait]
impl Registry for WebHub {
    fn location(&self) -> &str {
        &self.location
    }

    async fn check_writable(&self, _: &Name) -> Result<(), HubError> {
        Err(self.read_only())
    }

    async fn get_manifest(&self, name: &Name, which: &Selector) -> Result<Option<RawManifest>, HubError> {
        let reference = match which {
            Selector::Tag(tag) => tag.to_string(),
            Selector::Digest(digest) => digest.to_string(),
        };
        let (path, action) =
            (format!("v2/{name}/manifests/{reference}"), format!("get the manifest {name}{which}"));
        let bytes = self.small(&path, limits::MANIFEST_BYTES, &action).await?;
        let Some(manifest) = bytes.and_then(RawManifest::new) else { return Ok(None) };
        match which {
            Selector::Digest(digest) if *digest != manifest.digest() => Err(HubError::Corrupt {
                hub: self.location.to_string(),
                digest: *digest,
                reason: format!("the manifest that it gives for it has the digest {}", manifest.digest()),
            }),
            _ => Ok(Some(manifest)),
        }
    }

    async fn put_manifest(&self, _: &Name, _: &RawManifest) -> Result<(), HubError> {
        Err(self.read_only())
    }

    async fn put_tag(&self, _: &Name, _: &Tag, _: &RawManifest) -> Result<(), HubError> {
        Err(self.read_only())
    }

    async fn blob_size(&self, _: &Name, digest: &Digest) -> Result<Option<u64>, HubError> {
        self.check().await?;
        let action = format!("look for {digest}");
        let response = self.ask(&Method::HEAD, &blob_path(digest), &action).await?;
        let Some(response) = self.present(response, &action)? else { return Ok(None) };
        // Not what the client says of the body, which a HEAD has none of.
        let size = response.headers().get(CONTENT_LENGTH).and_then(|size| size.to_str().ok()?.parse().ok());
        size.map(Some)
            .ok_or_else(|| self.http.malformed(&action, "it does not say how large it is".to_owned()))
    }

    async fn get_blob(
        &self,
        _: &Name,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Option<BlobReader>, HubError> {
        self.check().await?;
        let blob = Blob { hub: self.clone(), path: blob_path(digest), action: format!("get {digest}") };
        resuming(blob, range).await
    }

    async fn put_blob(&self, _: &Name, _: &Upload<'_>) -> Result<Put, HubError> {
        Err(self.read_only())
    }

    async fn tags(&self, name: &Name) -> Result<Vec<Tag>, HubError> {
        let listed = self.listed("list tags").await?;
        Ok(listed.into_iter().filter(|(listed, _)| listed == name).map(|(_, tag)| tag).collect())
    }

    async fn names(&self) -> Result<Vec<Name>, HubError> {
        let mut names: Vec<_> = self.listed("list names").await?.into_iter().map(|(name, _)| name).collect();
        names.dedup();
        Ok(names)
    }
}
