//! Bringing a blob into a registry: taken over from another repository, or in one request, and where the registry does not take
//! that, in chunks.
//!
//! Source: OCI distribution-spec v1.1, "Pushing blobs" and "Mounting a blob from another repository". Whatever fails, the upload is
//! begun anew with a source opened anew: a session that broke is the registry's to forget. A blob goes through memory in
//! pieces, whatever the length of the requests.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use format::{Digest, Hasher, Name};
use futures_util::stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Method, StatusCode, Url};
use tokio::io::AsyncReadExt;

use super::OciHub;
use crate::http::{Answer, Failure, Tries};
use crate::{BlobReader, CHUNK, HubError, Put, Upload};

/// Bytes of a chunk, unless the registry wants more: proxies in front of registries limit what they take.
const UPLOAD_CHUNK: u64 = 4 << 20;
const OCTETS: &str = "application/octet-stream";
/// Of the answer that begins a session: bytes that every chunk but the last must have.
const CHUNK_MIN_LENGTH: &str = "oci-chunk-min-length";

/// A blob on its way to a registry.
pub(super) struct Sending<'a> {
    pub(super) hub: &'a OciHub,
    pub(super) name: &'a Name,
    pub(super) blob: &'a Upload<'a>,
}

/// How a registry wants a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Whole,
    Chunks,
}

impl Sending<'_> {
    pub(super) async fn send(&self) -> Result<Put, HubError> {
        let mut way = Way::Whole;
        let mut tries = Tries::new();
        let mut source = self.blob.mount_from.first();
        loop {
            let session = match self.begin(source).await {
                Ok(Begun::Mounted) => return Ok(Put::Mounted),
                Ok(Begun::Session(session)) => session,
                // Who may write here may not read there, or the registry knows no mounts.
                Err(Failure::Final(_)) if source.take().is_some() => continue,
                Err(failure) => {
                    tries.again(failure).await?;
                    continue;
                }
            };
            // It was asked for and not given.
            source = None;
            let chunk = session.chunk;
            match self.try_send(way, session).await {
                Ok(()) => return Ok(Put::Sent),
                Err(Refused::Size) if way == Way::Whole => way = Way::Chunks,
                Err(Refused::Size) => {
                    let size = self.blob.size.min(chunk);
                    let reason = format!("it does not take {size} bytes at once");
                    return Err(self.hub.http.malformed(&self.action(), reason));
                }
                Err(Refused::Other(failure)) => tries.again(failure).await?,
            }
        }
    }

    fn action(&self) -> String {
        format!("send {}", self.blob.digest)
    }

    async fn try_send(&self, way: Way, session: Session) -> Result<(), Refused> {
        let reader = self.blob.source.open().await.map_err(|source| self.broken_source(source))?;
        let wrong = Arc::default();
        let source = Checked {
            reader,
            ahead: None,
            hasher: Hasher::new(),
            read: 0,
            digest: self.blob.digest,
            size: self.blob.size,
            wrong: Arc::clone(&wrong),
        };
        let sent = match way {
            Way::Whole => self.whole(session.url, source).await,
            Way::Chunks => self.chunks(session, source).await,
        };
        // Why it failed is known better here than there.
        match wrong.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(Wrong::Broken(source)) => Err(self.broken_source(source).into()),
            Some(Wrong::Corrupt(reason)) => {
                Err(Failure::Final(self.hub.corrupt(&self.blob.digest, reason)).into())
            }
            None => sent,
        }
    }

    /// Asks the registry to take it over from another repository, or begins a session.
    async fn begin(&self, source: Option<&Name>) -> Result<Begun, Failure> {
        let mut url = self.hub.url(self.name, "blobs/uploads/")?;
        let mut scope = self.hub.push_scope(self.name);
        if let Some(source) = source {
            let (digest, from) = (self.blob.digest.to_string(), self.hub.repository(source));
            url.query_pairs_mut().extend_pairs([("mount", &digest), ("from", &from)]);
            scope = self.hub.mount_scope(self.name, source);
        }
        let request = self.hub.http.client().post(url.clone()).header(CONTENT_LENGTH, 0);
        let response = self.hub.send(request, &scope, &self.action()).await?;
        match response.status() {
            StatusCode::CREATED if source.is_some() => Ok(Begun::Mounted),
            StatusCode::ACCEPTED => {
                let least = response.headers().get(CHUNK_MIN_LENGTH);
                let least = least.and_then(|least| least.to_str().ok()?.trim().parse().ok());
                let chunk = least.map_or(UPLOAD_CHUNK, |least: u64| least.max(UPLOAD_CHUNK));
                Ok(Begun::Session(Session { url: self.location(&url, &response)?, chunk }))
            }
            _ => Err(self.hub.refusal(response, &self.action()).await),
        }
    }

    fn location(&self, base: &Url, response: &Answer) -> Result<Url, Failure> {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let url = location.and_then(|location| base.join(location).ok());
        let missing =
            || self.hub.http.malformed(&self.action(), "it does not say where to send it".to_owned());
        Ok(url.ok_or_else(missing)?)
    }

    async fn whole(&self, mut session: Url, source: Checked) -> Result<(), Refused> {
        session.query_pairs_mut().append_pair("digest", &self.blob.digest.to_string());
        let request = self.hub.http.client().put(session).header(CONTENT_TYPE, OCTETS);
        let body = Shared::new(source).body(self.blob.size);
        let request = request.header(CONTENT_LENGTH, self.blob.size).body(body);
        self.end(self.hub.send(request, &self.hub.push_scope(self.name), &self.action()).await?).await
    }

    async fn chunks(&self, session: Session, source: Checked) -> Result<(), Refused> {
        let (action, scope) = (self.action(), self.hub.push_scope(self.name));
        let (Session { url: mut session, chunk }, source) = (session, Shared::new(source));
        let mut sent = 0_u64;
        while sent < self.blob.size {
            let length = chunk.min(self.blob.size - sent);
            let next = sent + length;
            let range = format!("{sent}-{}", next - 1);
            let request = self.hub.http.client().request(Method::PATCH, session.clone());
            let request = request.header(CONTENT_TYPE, OCTETS).header(CONTENT_RANGE, range);
            let request = request.header(CONTENT_LENGTH, length).body(source.body(length));
            let response = self.hub.send(request, &scope, &action).await?;
            match response.status() {
                StatusCode::ACCEPTED => {}
                StatusCode::PAYLOAD_TOO_LARGE => return Err(Refused::Size),
                _ => return Err(self.hub.refusal(response, &action).await.into()),
            }
            session = self.location(&session, &response)?;
            sent = next;
        }
        session.query_pairs_mut().append_pair("digest", &self.blob.digest.to_string());
        let request = self.hub.http.client().put(session).header(CONTENT_LENGTH, 0);
        self.end(self.hub.send(request, &scope, &action).await?).await
    }

    async fn end(&self, response: Answer) -> Result<(), Refused> {
        match response.status() {
            StatusCode::CREATED => Ok(()),
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::LENGTH_REQUIRED => Err(Refused::Size),
            _ => Err(self.hub.refusal(response, &self.action()).await.into()),
        }
    }

    fn broken_source(&self, source: io::Error) -> Failure {
        Failure::Final(HubError::Source { digest: self.blob.digest, source })
    }
}

/// What a registry does when it is told of a blob.
enum Begun {
    /// It has taken it over.
    Mounted,
    /// It says where to send it.
    Session(Session),
}

/// An upload that a registry has begun.
struct Session {
    url: Url,
    /// Bytes of each chunk but the last, if it comes to chunks.
    chunk: u64,
}

/// Why an upload did not end well.
enum Refused {
    /// The request was too large.
    Size,
    Other(Failure),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

/// What is wrong with a source.
#[derive(Debug)]
enum Wrong {
    Broken(io::Error),
    Corrupt(String),
}

/// A source that the bodies of several requests take from, one after another.
#[derive(Clone)]
struct Shared(Arc<tokio::sync::Mutex<Checked>>);

impl Shared {
    fn new(source: Checked) -> Self {
        Self(Arc::new(tokio::sync::Mutex::new(source)))
    }

    /// Its next `length` bytes.
    fn body(&self, length: u64) -> Body {
        let state = (self.clone(), length);
        Body::wrap_stream(stream::try_unfold(state, |(source, left)| async move {
            let piece = source.0.lock().await.next(left).await?;
            Ok::<_, io::Error>(piece.map(|piece| {
                let left = left - piece.len() as u64;
                (piece, (source, left))
            }))
        }))
    }
}

/// A source on its way out, hashed as it goes. It reads a piece ahead: the last one is given only if all of them together are
/// the blob, so a registry never has a wrong blob in whole.
struct Checked {
    reader: BlobReader,
    ahead: Option<Bytes>,
    hasher: Hasher,
    read: u64,
    digest: Digest,
    size: u64,
    /// Whoever sends it sees only that it ended in an error.
    wrong: Arc<Mutex<Option<Wrong>>>,
}

impl Checked {
    /// What comes next, at most `limit` bytes; nothing at the end, or where none are wanted.
    async fn next(&mut self, limit: u64) -> io::Result<Option<Bytes>> {
        if self.read == 0 {
            self.ahead = Some(self.read().await?);
        }
        let is_wanted = |piece: &Bytes| !piece.is_empty() && limit > 0;
        let Some(mut piece) = self.ahead.take_if(|piece| is_wanted(piece)) else { return Ok(None) };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let rest = piece.split_off(limit.min(piece.len()));
        self.ahead = Some(if rest.is_empty() { self.read().await? } else { rest });
        Ok(Some(piece))
    }

    /// The next piece, empty at the end.
    async fn read(&mut self) -> io::Result<Bytes> {
        let mut piece = Vec::with_capacity(CHUNK);
        let read = (&mut self.reader).take(CHUNK as u64).read_to_end(&mut piece).await;
        if let Err(error) = read {
            return Err(self.fail(Wrong::Broken(error)));
        }
        self.hasher.update(&piece);
        self.read += piece.len() as u64;
        let reason = if self.read > self.size {
            format!("its source gave more than the {} bytes announced; not stored", self.size)
        } else if !piece.is_empty() {
            return Ok(piece.into());
        } else if self.read < self.size {
            format!("its source gave fewer than the {} bytes announced; not stored", self.size)
        } else {
            match std::mem::take(&mut self.hasher).finish() {
                found if found == self.digest => return Ok(Bytes::new()),
                found => format!("its source gave bytes with the digest {found}; not stored"),
            }
        };
        Err(self.fail(Wrong::Corrupt(reason)))
    }

    fn fail(&self, wrong: Wrong) -> io::Error {
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = Some(wrong);
        io::Error::other("the source is not what was announced")
    }
}
