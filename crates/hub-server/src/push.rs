//! Writing: blobs in sessions or at once, manifests whose parts are there, and deleting.

use std::sync::Arc;

use format::{Digest, Name, limits};
use hub::dir::DirHub;
use hub::{HubError, RawManifest, Registry, Selector};
use hyper::StatusCode;
use hyper::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE,
};
use serde::Deserialize;

use crate::access::{Caller, Policy, Right};
use crate::answer::{Answer, Code, Refusal, answer, empty};
use crate::lists::parameter;
use crate::pull::CONTENT_DIGEST;
use crate::receive::Receiver;
use crate::space::Space;
use crate::target;
use crate::uploads::{Session, Sessions};

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// A request to write into a name, from somebody who may.
pub(crate) struct Writing<'a> {
    pub(crate) hub: &'a DirHub,
    pub(crate) policy: &'a Policy,
    pub(crate) space: &'a Arc<Space>,
    pub(crate) sessions: &'a Sessions,
    pub(crate) caller: &'a Caller,
    pub(crate) name: &'a Name,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
}

/// The parts that a manifest or an index needs, as far as they are alike in all of their kinds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Needs {
    media_type: String,
    config: Option<Part>,
    #[serde(default)]
    layers: Vec<Part>,
    #[serde(default)]
    manifests: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    digest: Digest,
    size: u64,
}

impl Writing<'_> {
    /// `POST /v2/NAME/blobs/uploads/`: begins a session, or has all of a blob, or asks for one that is there.
    pub(crate) async fn begin(&self, body: &mut Receiver) -> Result<Answer, Refusal> {
        if let Some(text) = parameter(self.query, "mount")
            && let Some(answer) = self.mount(&target::digest(&text)?).await?
        {
            return Ok(answer);
        }
        let whole = parameter(self.query, "digest").map(|text| target::digest(&text)).transpose()?;
        let announced = body.announced().unwrap_or(0);
        let session = self.sessions.begin(self.name, self.caller.name(), announced).await?;
        match whole {
            Some(digest) => self.finish(self.sessions.receive(session, body).await?, &digest).await,
            None => self.accepted(&self.sessions.keep(session)?, 0),
        }
    }

    /// A blob lies in the hub once: it is there for this name, too, if the caller could read it by the other one.
    async fn mount(&self, digest: &Digest) -> Result<Option<Answer>, Refusal> {
        let from = parameter(self.query, "from").map(|from| target::name(&from)).transpose()?;
        let may_read = self.policy.check(self.caller, Right::Read(from.as_ref())).is_ok();
        if may_read && self.hub.size_of(digest).await?.is_some() {
            return Ok(Some(self.created("blobs", digest)?));
        }
        Ok(None)
    }

    /// `PATCH /v2/NAME/blobs/uploads/SESSION`: the next piece.
    pub(crate) async fn append(&self, id: &str, body: &mut Receiver) -> Result<Answer, Refusal> {
        let session = self.receive(id, body).await?;
        let size = session.size();
        self.sessions.put_back(id, session);
        self.accepted(id, size)
    }

    /// `PUT /v2/NAME/blobs/uploads/SESSION?digest=…`: the last piece, or nothing more.
    pub(crate) async fn end(&self, id: &str, body: &mut Receiver) -> Result<Answer, Refusal> {
        let missing = || Refusal::bad(Code::DigestInvalid, "expected ?digest=sha256:…");
        let digest = target::digest(&parameter(self.query, "digest").ok_or_else(missing)?)?;
        self.finish(self.receive(id, body).await?, &digest).await
    }

    /// `GET /v2/NAME/blobs/uploads/SESSION`: how far it is.
    pub(crate) fn progress(&self, id: &str) -> Result<Answer, Refusal> {
        let session = self.sessions.take(id, self.name, self.caller.name())?;
        let size = session.size();
        self.sessions.put_back(id, session);
        let mut answer = self.accepted(id, size)?;
        *answer.status_mut() = StatusCode::NO_CONTENT;
        answer.headers_mut().remove(CONTENT_LENGTH);
        Ok(answer)
    }

    /// `DELETE /v2/NAME/blobs/uploads/SESSION`
    pub(crate) fn cancel(&self, id: &str) -> Result<Answer, Refusal> {
        drop(self.sessions.take(id, self.name, self.caller.name())?);
        answer(StatusCode::NO_CONTENT, [], empty())
    }

    /// Adds a body to a session, which is gone if that fails.
    async fn receive(&self, id: &str, body: &mut Receiver) -> Result<Session, Refusal> {
        let session = self.sessions.take(id, self.name, self.caller.name())?;
        let end = match self.piece()? {
            Some((start, _)) if start != session.size() => {
                let size = session.size();
                self.sessions.put_back(id, session);
                let refusal = Refusal::new(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    Code::BlobUploadInvalid,
                    format!("expected the piece that begins at byte {size}"),
                );
                return Err(refusal.with(RANGE, range_so_far(size)));
            }
            piece => piece.map(|(_, last)| last),
        };
        let session = self.sessions.receive(session, body).await?;
        match end {
            Some(last) if last.checked_add(1) != Some(session.size()) => {
                Err(Refusal::bad(Code::SizeInvalid, "the piece is not as long as its Content-Range says"))
            }
            _ => Ok(session),
        }
    }

    /// First and last byte of a piece, where its head says so: `FIRST-LAST`, or as RFC 9110 has it.
    fn piece(&self) -> Result<Option<(u64, u64)>, Refusal> {
        let Some(header) = self.headers.get(CONTENT_RANGE) else { return Ok(None) };
        let parsed = || {
            let text = header.to_str().ok()?.trim();
            let text = text.strip_prefix("bytes ").unwrap_or(text);
            let (first, last) = text.split('/').next()?.split_once('-')?;
            Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
        };
        let wrong = || Refusal::bad(Code::BlobUploadInvalid, "expected Content-Range: FIRST-LAST");
        parsed().map(Some).ok_or_else(wrong)
    }

    async fn finish(&self, session: Session, digest: &Digest) -> Result<Answer, Refusal> {
        session.finish(digest).await?;
        self.created("blobs", digest)
    }

    fn accepted(&self, id: &str, size: u64) -> Result<Answer, Refusal> {
        let location = format!("/v2/{}/blobs/uploads/{id}", self.name);
        let headers = [(LOCATION, location), (UPLOAD_ID, id.to_owned()), (CONTENT_LENGTH, "0".to_owned())];
        let mut answer = answer(StatusCode::ACCEPTED, headers, empty())?;
        answer.headers_mut().insert(RANGE, range_so_far(size));
        Ok(answer)
    }

    fn created(&self, kind: &str, digest: &Digest) -> Result<Answer, Refusal> {
        let location = format!("/v2/{}/{kind}/{digest}", self.name);
        let headers =
            [(LOCATION, location), (CONTENT_DIGEST, digest.to_string()), (CONTENT_LENGTH, "0".to_owned())];
        answer(StatusCode::CREATED, headers, empty())
    }

    /// `PUT /v2/NAME/manifests/REFERENCE`
    pub(crate) async fn manifest(&self, which: &Selector, body: &mut Receiver) -> Result<Answer, Refusal> {
        let bytes = body.all(limits::MANIFEST_BYTES).await?;
        let needs: Needs = serde_json::from_slice(&bytes).map_err(|error| {
            let expected = "expected an OCI image manifest or an image index, with its mediaType";
            Refusal::bad(Code::ManifestInvalid, format!("{expected}: {error}"))
        })?;
        let said = self.headers.get(CONTENT_TYPE).and_then(|said| said.to_str().ok());
        if said.is_some_and(|said| said != needs.media_type) {
            return Err(Refusal::bad(Code::ManifestInvalid, "its mediaType is not its Content-Type"));
        }
        let large = || Refusal::too_large("the manifest is too large");
        let manifest = RawManifest::new(bytes).ok_or_else(large)?;
        let digest = manifest.digest();
        if let Selector::Digest(named) = which
            && *named != digest
        {
            return Err(Refusal::bad(Code::DigestInvalid, format!("it has the digest {digest}")));
        }
        self.check_parts(&needs).await?;
        self.put(&manifest, which).await?;
        self.created("manifests", &digest)
    }

    async fn put(&self, manifest: &RawManifest, which: &Selector) -> Result<(), Refusal> {
        let (hub, size) = (self.hub, manifest.bytes().len() as u64);
        let mut reservation = self.space.begin(size).await?;
        let is_new = hub.size_of(&manifest.digest()).await?.is_none();
        if is_new {
            reservation.grow(size)?;
        }
        // Not what is in the hub, but what came is wrong: the media type is none of a manifest.
        let invalid = |error| match error {
            HubError::Corrupt { reason, .. } | HubError::Malformed { reason, .. } => {
                Refusal::bad(Code::ManifestInvalid, reason)
            }
            error => error.into(),
        };
        hub.put_manifest(self.name, manifest).await.map_err(invalid)?;
        if is_new {
            reservation.keep();
        }
        if let Selector::Tag(tag) = which {
            hub.put_tag(self.name, tag, manifest).await.map_err(invalid)?;
        }
        Ok(())
    }

    /// Refuses a manifest of which a part is not there: a hub has all of a snapshot, or no manifest of it.
    async fn check_parts(&self, needs: &Needs) -> Result<(), Refusal> {
        let hub = self.hub;
        for part in needs.config.iter().chain(&needs.layers) {
            if hub.size_of(&part.digest).await? != Some(part.size) {
                return Err(missing(&part.digest));
            }
        }
        for part in &needs.manifests {
            let found = hub.get_manifest(self.name, &Selector::Digest(part.digest)).await?;
            if found.is_none() {
                return Err(missing(&part.digest));
            }
        }
        Ok(())
    }

    /// `DELETE /v2/NAME/manifests/REFERENCE`
    pub(crate) async fn delete(&self, which: &Selector) -> Result<Answer, Refusal> {
        let was_there = match which {
            Selector::Tag(tag) => self.hub.remove_tag(self.name, tag).await?,
            Selector::Digest(digest) => self.hub.remove_manifest(self.name, digest).await?,
        };
        if was_there {
            return answer(StatusCode::ACCEPTED, [(CONTENT_LENGTH, "0".to_owned())], empty());
        }
        Err(Refusal::absent(Code::ManifestUnknown, format!("there is no {}{which}", self.name)))
    }
}

fn missing(digest: &Digest) -> Refusal {
    Refusal::absent(
        Code::ManifestBlobUnknown,
        format!("{digest}, in the size that the manifest says, is not there"),
    )
}

/// What has come of an upload: `0-LAST`. Of nothing it is `0-0`, as in all registries.
fn range_so_far(size: u64) -> HeaderValue {
    let text = format!("0-{}", size.saturating_sub(1));
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("0-0"))
}
