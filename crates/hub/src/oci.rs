//! A hub that is an OCI registry: any that speaks the distribution-spec v1.1.
//!
//! Source: <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>. The client is ours, on top of a general
//! HTTP client: of those there are, none bounds what a registry answers, gives the size of a blob, waits as long as Retry-After
//! says, or keeps tokens from other hosts that a registry names for uploads.
//!
//! - A credential goes to the registry's own host and to its token server, not to where a `Location` or a redirect leads.
//! - `repository` here is a name; the registry may be spoken to below a prefix of all names.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use format::manifest::media_type;
use format::{Digest, Name, Tag, limits};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, RANGE};
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::Deserialize;

use crate::credentials::Credential;
use crate::http::{Answer, Failure, Http, Open, Tries, resuming};
use crate::image_index::{ImageIndex, Kind};
use crate::{
    Access, BlobReader, HubError, Put, RawManifest, Referrer, Registry, Selector, Upload, referrers,
};

mod auth;
mod certificates;
mod lists;
mod location;
mod upload;

use auth::{Auth, Identity, Scope};
use certificates::HostCertificates;
pub use location::OciLocation;
use upload::Sending;

/// Most bytes of one page of a list, and of an error.
const ANSWER_BYTES: usize = 4 << 20;
/// Docker's own types of what OCI has made a standard. Registries keep images of both, some of which bases are made of, and some
/// registries convert what they are not asked for.
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// A registry that lists referrers by itself says so of what it is given.
const OCI_SUBJECT: &str = "oci-subject";

/// A registry.
#[derive(Debug, Clone)]
pub struct OciHub {
    http: Http,
    auth: Arc<Auth>,
    base: Url,
    prefix: Option<Name>,
    location: Arc<str>,
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Tries `credential` at a registry: those of `access` are left out.
///
/// # Errors
/// [`HubError::Denied`] if it is refused; if the registry does not answer.
pub async fn check_login(
    location: &OciLocation,
    credential: &Credential,
    access: &Access,
) -> Result<(), HubError> {
    let hub = OciHub::of(location, Identity::Known(credential.clone()), access)?;
    let (action, scope) = ("log in", Scope::default());
    let response = hub.ask(&scope, action, || Ok(hub.http.client().get(hub.base.clone()))).await?;
    match response.status() {
        StatusCode::OK => Ok(()),
        _ => Err(hub.http.unexpected(&response, action)),
    }
}

impl OciHub {
    pub(crate) fn new(location: &OciLocation, access: &Access) -> Result<Self, HubError> {
        Self::of(location, Identity::OfUser(access.credentials.clone()), access)
    }

    fn of(location: &OciLocation, identity: Identity, access: &Access) -> Result<Self, HubError> {
        let (text, host) = (location.to_string(), location.host().to_string());
        let mut own = HostCertificates::default();
        if location.is_secure() {
            own = HostCertificates::find(&access.certificate_folders, &host)?;
        }
        let http = Http::with_certificates(&text, access, &own.authorities, own.identity)?;
        let auth = Arc::new(Auth::new(http.clone(), host, identity, location.is_secure()));
        let base = location.base().map_err(|error| http.unavailable("name it", error.to_string()))?;
        let prefix = location.prefix.clone();
        Ok(Self { http, auth, base, prefix, location: text.into() })
    }

    /// The whole name of a repository there.
    fn repository(&self, name: &Name) -> String {
        match &self.prefix {
            Some(prefix) => format!("{prefix}/{name}"),
            None => name.to_string(),
        }
    }

    fn url(&self, name: &Name, rest: &str) -> Result<Url, Failure> {
        let url = self.base.join(&format!("{}/{rest}", self.repository(name)));
        url.map_err(|error| Failure::Final(self.http.unavailable("name", error.to_string())))
    }

    fn pull_scope(&self, name: &Name) -> Scope {
        Scope { kind: "repository", name: self.repository(name), actions: "pull", source: None }
    }

    fn push_scope(&self, name: &Name) -> Scope {
        Scope { kind: "repository", name: self.repository(name), actions: "pull,push", source: None }
    }

    fn mount_scope(&self, name: &Name, from: &Name) -> Scope {
        Scope { source: Some(self.repository(from)), ..self.push_scope(name) }
    }

    /// Sends a request once, as who we are if it goes to the registry itself.
    async fn send(&self, request: RequestBuilder, scope: &Scope, action: &str) -> Result<Answer, Failure> {
        let (client, request) = request.build_split();
        let mut request =
            request.map_err(|error| Failure::Final(self.http.unavailable(action, error.to_string())))?;
        let mut sent = None;
        if request.url().origin() == self.base.origin() {
            sent = self.auth.header(scope).await?;
            if let Some(header) = &sent {
                request.headers_mut().insert(AUTHORIZATION, header.clone());
            }
        }
        let response = self.http.send(RequestBuilder::from_parts(client, request), action).await?;
        if response.url().origin() == self.base.origin() {
            return self.auth.check(response, scope, sent.as_ref(), action).await;
        }
        // Whom the registry leads to has no say in where our credential goes: its challenges are not answered.
        match response.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.http.denied(action).into()),
            _ => Ok(response),
        }
    }

    /// Sends a request that can be made again, until it is answered.
    async fn ask(
        &self,
        scope: &Scope,
        action: &str,
        request: impl Fn() -> Result<RequestBuilder, Failure>,
    ) -> Result<Answer, HubError> {
        let mut tries = Tries::new();
        loop {
            match self.send(request()?, scope, action).await {
                Ok(response) => return Ok(response),
                Err(failure) => tries.again(failure).await?,
            }
        }
    }

    /// Headers and body of a small answer, asked for until all of it has come; `None` if it is that there is none.
    async fn small(
        &self,
        scope: &Scope,
        action: &str,
        limit: usize,
        request: impl Fn() -> Result<RequestBuilder, Failure>,
    ) -> Result<Option<(HeaderMap, Vec<u8>)>, HubError> {
        let mut tries = Tries::new();
        loop {
            let response = self.ask(scope, action, &request).await?;
            match response.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => return Ok(None),
                _ => return Err(self.refusal(response, action).await.into()),
            }
            let headers = response.headers().clone();
            match self.http.body(response, limit, action).await {
                Ok(body) => return Ok(Some((headers, body))),
                Err(failure) => tries.again(failure).await?,
            }
        }
    }

    /// What a refusal means. Registries say why in JSON.
    async fn refusal(&self, response: Answer, action: &str) -> Failure {
        let status = response.status();
        let body = self.http.body(response, ANSWER_BYTES, action).await.unwrap_or_default();
        let errors = serde_json::from_slice::<Errors>(&body).map(|answer| answer.errors).unwrap_or_default();
        let said: Vec<_> = errors.iter().map(|error| format!("{} {}", error.code, error.message)).collect();
        let reason = format!("its status is {status}: {}", said.join("; "));
        let refusal = self.http.malformed(action, format::excerpt(&reason));
        // What is sent has the digest that it is said to have. A registry that finds another one has read it while it arrived
        // damaged, or while somebody else wrote the same: docker-registry 2.8 writes its files in place.
        match errors.iter().any(|error| error.code == "DIGEST_INVALID") {
            true => Failure::Passing(refusal, None),
            false => refusal.into(),
        }
    }

    fn corrupt(&self, digest: &Digest, reason: String) -> HubError {
        HubError::Corrupt { hub: self.location.to_string(), digest: *digest, reason }
    }

    async fn put(&self, name: &Name, reference: &str, manifest: &RawManifest) -> Result<HeaderMap, HubError> {
        let kind = Kind::parse(manifest.bytes()).ok().filter(Kind::is_known);
        let media_type = kind.map(|kind| kind.media_type).ok_or_else(|| {
            self.corrupt(&manifest.digest(), "it is neither an OCI manifest nor an image index".to_owned())
        })?;
        let action = format!("put the manifest {}", manifest.digest());
        let url = self.url(name, &format!("manifests/{reference}"))?;
        let request = || {
            let request = self.http.client().put(url.clone()).header(CONTENT_TYPE, media_type.as_str());
            Ok(request.body(manifest.bytes().to_vec()))
        };
        let mut tries = Tries::new();
        loop {
            let response = self.ask(&self.push_scope(name), &action, request).await?;
            match response.status() {
                StatusCode::CREATED | StatusCode::OK => return Ok(response.headers().clone()),
                _ => tries.again(self.refusal(response, &action).await).await?,
            }
        }
    }
}

/// Asks for parts of one blob.
struct Blob {
    hub: OciHub,
    url: Url,
    scope: Scope,
    action: String,
}

#[async_trait]
impl Open for Blob {
    async fn open(&self, range: Range<u64>) -> Result<Option<Answer>, Failure> {
        let bytes = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let request = self.hub.http.client().get(self.url.clone()).header(RANGE, bytes);
        let response = self.hub.send(request, &self.scope, &self.action).await?;
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(Some(response)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.hub.refusal(response, &self.action).await),
        }
    }
}

#[async_trait]
impl Registry for OciHub {
    fn location(&self) -> &str {
        &self.location
    }

    /// A registry decides with the first request that writes.
    async fn check_writable(&self, _: &Name) -> Result<(), HubError> {
        Ok(())
    }

    async fn get_manifest(&self, name: &Name, which: &Selector) -> Result<Option<RawManifest>, HubError> {
        let reference = match which {
            Selector::Tag(tag) => tag.to_string(),
            Selector::Digest(digest) => digest.to_string(),
        };
        let action = format!("get the manifest {name}{which}");
        let own = format!("{}, {}", media_type::MANIFEST, media_type::INDEX);
        let accepted = format!("{own}, {DOCKER_MANIFEST}, {DOCKER_INDEX}");
        let url = self.url(name, &format!("manifests/{reference}"))?;
        let request = || Ok(self.http.client().get(url.clone()).header(ACCEPT, accepted.as_str()));
        let bytes = self.small(&self.pull_scope(name), &action, limits::MANIFEST_BYTES, request).await?;
        let Some(manifest) = bytes.and_then(|(_, bytes)| RawManifest::new(bytes)) else { return Ok(None) };
        match which {
            Selector::Digest(digest) if *digest != manifest.digest() => {
                let reason =
                    format!("the manifest that it gives for it has the digest {}", manifest.digest());
                Err(self.corrupt(digest, reason))
            }
            _ => Ok(Some(manifest)),
        }
    }

    async fn put_manifest(&self, name: &Name, manifest: &RawManifest) -> Result<(), HubError> {
        self.put(name, &manifest.digest().to_string(), manifest).await.map(drop)
    }

    async fn put_tag(&self, name: &Name, tag: &Tag, manifest: &RawManifest) -> Result<(), HubError> {
        self.put(name, tag.as_str(), manifest).await.map(drop)
    }

    async fn referrers(
        &self,
        name: &Name,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Referrer>, HubError> {
        let mut url = self.url(name, &format!("referrers/{subject}"))?;
        if let Some(artifact_type) = artifact_type {
            url.query_pairs_mut().append_pair("artifactType", artifact_type);
        }
        let action = format!("list the referrers of {subject}");
        match self.pages::<ImageIndex>(url, &self.pull_scope(name), &action).await? {
            // A registry may leave the choice of a type to who asks.
            Some(pages) => {
                Ok(pages.into_iter().flat_map(|page| referrers::of_type(page, artifact_type)).collect())
            }
            None => referrers::by_tag(self, name, subject, artifact_type).await,
        }
    }

    async fn put_referrer(&self, name: &Name, manifest: &RawManifest) -> Result<(), HubError> {
        let answer = self.put(name, &manifest.digest().to_string(), manifest).await?;
        if answer.contains_key(OCI_SUBJECT) {
            return Ok(());
        }
        referrers::list_under_tag(self, name, manifest).await
    }

    async fn blob_size(&self, name: &Name, digest: &Digest) -> Result<Option<u64>, HubError> {
        let action = format!("look for {digest}");
        let scope = self.pull_scope(name);
        let request = || Ok(self.http.client().head(self.url(name, &format!("blobs/{digest}"))?));
        let response = self.ask(&scope, &action, request).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.http.unexpected(&response, &action)),
        }
        // Not what the client says of the body, which a HEAD has none of.
        let size = response.headers().get(CONTENT_LENGTH).and_then(|size| size.to_str().ok()?.parse().ok());
        size.map(Some)
            .ok_or_else(|| self.http.malformed(&action, "it does not say how large it is".to_owned()))
    }

    async fn get_blob(
        &self,
        name: &Name,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Option<BlobReader>, HubError> {
        let url = self.url(name, &format!("blobs/{digest}"))?;
        let (scope, action) = (self.pull_scope(name), format!("get {digest}"));
        resuming(Blob { hub: self.clone(), url, scope, action }, range).await
    }

    async fn put_blob(&self, name: &Name, blob: &Upload<'_>) -> Result<Put, HubError> {
        Sending { hub: self, name, blob }.send().await
    }

    async fn tags(&self, name: &Name) -> Result<Vec<Tag>, HubError> {
        self.list_tags(name).await
    }

    async fn names(&self) -> Result<Vec<Name>, HubError> {
        self.list_names().await
    }
}
