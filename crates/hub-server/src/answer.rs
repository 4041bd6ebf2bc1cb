//! Answers: bodies, and refusals as the distribution-spec v1.1 has them ("Error Codes").

use std::io;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hub::{BlobReader, HubError};
use hyper::body::Frame;
use hyper::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;
use tokio_util::io::ReaderStream;

/// Bytes of a blob that are read at once.
const PIECE: usize = 128 << 10;

/// The body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
pub(crate) type Answer = Response<Body>;

/// A body that is there.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn empty() -> Body {
    full(Bytes::new())
}

/// A body that is read as it is sent.
pub(crate) fn streamed(reader: BlobReader) -> Body {
    StreamBody::new(ReaderStream::with_capacity(reader, PIECE).map_ok(Frame::data)).boxed_unsync()
}

/// An answer with this status and these headers.
pub(crate) fn answer<const N: usize>(
    status: StatusCode,
    headers: [(HeaderName, String); N],
    body: Body,
) -> Result<Answer, Refusal> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    for (name, value) in headers {
        let value = HeaderValue::from_str(&value)
            .map_err(|_| Refusal::internal(&format!("{name} cannot be {value:?}")))?;
        answer.headers_mut().insert(name, value);
    }
    Ok(answer)
}

/// What the specification calls a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    TooManyRequests,
    /// Of distribution's own: nothing that the client did.
    Unknown,
}

impl Code {
    fn text(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Why a request is not done.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: Code,
    message: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), header: None }
    }

    pub(crate) fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    pub(crate) fn bad(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn absent(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid, message)
    }

    pub(crate) fn full() -> Self {
        Self::new(
            StatusCode::INSUFFICIENT_STORAGE,
            Code::Denied,
            "the hub is full: ask whoever runs it for space",
        )
    }

    pub(crate) fn busy(message: &str) -> Self {
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests, message);
        refusal.with(RETRY_AFTER, HeaderValue::from_static("5"))
    }

    pub(crate) fn method(allowed: &'static str) -> Self {
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, "not here");
        refusal.with(ALLOW, HeaderValue::from_static(allowed))
    }

    /// What a client is not told the reason of, and the log is.
    pub(crate) fn internal(reason: &str) -> Self {
        tracing::error!("{reason}");
        let message = "the server cannot do that at the moment; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, message)
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn into_answer(self) -> Answer {
        let body = json!({ "errors": [{ "code": self.code.text(), "message": self.message }] }).to_string();
        let mut answer = Response::new(full(body.clone()));
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers.extend(self.header.map(|(name, value)| (Some(name), value)));
        answer
    }
}

/// What the hub says, as far as it is a client's affair.
impl From<HubError> for Refusal {
    fn from(error: HubError) -> Self {
        match error {
            HubError::Corrupt { reason, .. } => Self::bad(Code::DigestInvalid, reason),
            HubError::NoSpace { .. } => {
                tracing::error!("{error}");
                Self::full()
            }
            error => Self::internal(&error.to_string()),
        }
    }
}
