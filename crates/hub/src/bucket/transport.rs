//! The requests of the S3 client, sent as all other requests of hubs are: one HTTP stack, one set of authorities, one way of
//! trying again, errors without URLs.
//!
//! What the store refuses reaches the caller as [`Refusal`], through the S3 client's own errors: [`problem`] takes it out
//! again.

use std::error::Error;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use reqwest::header::{CONTENT_LENGTH, HeaderValue, RANGE};
use reqwest::{Body, Method, Request, RequestBuilder, StatusCode, Url};
use serde::Deserialize;

use crate::HubError;
use crate::http::{Failure, Http, Tries};
use crate::percent::percent_decode;

/// Most bytes of an answer that is no object: a page of a list has a thousand keys of at most 1,024 bytes each, three
/// times as long where they are encoded.
const ANSWER_BYTES: usize = 8 << 20;

/// Sends requests to one bucket.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    http: Http,
    bucket_url: String,
}

/// What a store answered instead of doing as it was asked.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// Of S3's codes; empty where the answer had no body.
    pub(super) code: String,
    pub(super) message: String,
    /// What was asked for, as a verb and its object.
    pub(super) action: String,
}

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Problem {
    Refused(Refusal),
    /// All of an object comes where a part was asked for.
    Whole,
    Hub(HubError),
}

/// A problem on its way through the S3 client.
#[derive(Debug)]
struct Carried(Mutex<Option<Problem>>);

impl fmt::Display for Carried {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the store could not be used")
    }
}

impl Error for Carried {}

fn carry(problem: Problem) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, Carried(Mutex::new(Some(problem))))
}

/// What went wrong in an error of the S3 client. `None` if it is the client that does not understand what it was told: then
/// [`innermost`] says why.
pub(super) fn problem(error: &(dyn Error + 'static)) -> Option<Problem> {
    let carried = causes(error).find_map(|cause| cause.downcast_ref::<Carried>())?;
    carried.0.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The first cause alone: those around it show URLs.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// S3's "Error responses".
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ErrorBody {
    pub(super) code: String,
    message: String,
}

impl ErrorBody {
    /// What a refusal says; nothing where it says nothing.
    pub(super) fn parse(body: &[u8]) -> Self {
        quick_xml::de::from_reader(body).unwrap_or_default()
    }
}

impl Transport {
    pub(super) fn new(http: Http, bucket_url: String) -> Self {
        Self { http, bucket_url }
    }

    /// What a request does, in words.
    fn action(&self, request: &HttpRequest) -> String {
        let url = request.uri().to_string();
        let Some(rest) = url.strip_prefix(&self.bucket_url) else { return "get credentials".to_owned() };
        let (path, _) = rest.split_once('?').unwrap_or((rest, ""));
        let key = percent_decode(path.trim_start_matches('/')).unwrap_or_default();
        let verb = match request.method().as_str() {
            "GET" | "HEAD" if key.is_empty() => return "list the bucket".to_owned(),
            "GET" | "HEAD" => "read",
            "DELETE" => "delete",
            _ => "write",
        };
        format!("{verb} {}", String::from_utf8_lossy(&key))
    }

    /// Whether it asks for an object's bytes, which are handed on as they come.
    fn streams(&self, request: &HttpRequest) -> bool {
        let url = request.uri().to_string();
        let rest = url.strip_prefix(&self.bucket_url).unwrap_or_default();
        *request.method() == Method::GET && rest.len() > 1 && !rest.contains('?')
    }

    /// Sends it once.
    async fn send(&self, request: HttpRequest, action: &str) -> Result<HttpResponse, Stopped> {
        let streams = self.streams(&request);
        let wants_part = request.headers().contains_key(RANGE);
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string());
        let url = url.map_err(|error| self.http.unavailable(action, error.to_string()))?;
        let mut request = Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        if body.content_length() > 0 {
            let length = HeaderValue::from(body.content_length());
            request.headers_mut().entry(CONTENT_LENGTH).or_insert(length);
            *request.body_mut() = Some(Body::wrap(body));
        }
        let request = RequestBuilder::from_parts(self.http.client().clone(), request);
        let response = self.http.send_here(request, action).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        if streams && wants_part && status == StatusCode::OK {
            return Err(Stopped::Whole);
        }
        let body = if streams && status.is_success() {
            let chunks = stream::try_unfold(response, |mut response| async {
                Ok::<_, std::io::Error>(response.chunk().await?.map(|chunk| (chunk, response)))
            });
            let broke = |error| HttpError::new(HttpErrorKind::Interrupted, error);
            HttpResponseBody::new(Body::wrap_stream(chunks).map_err(broke))
        } else {
            let body = self.http.body(response, ANSWER_BYTES, action).await?;
            self.check(status.as_u16(), &body, action)?;
            Bytes::from(body).into()
        };
        let mut answer = HttpResponse::new(body);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    /// Whether an answer that is no object says that it was done. Some begin with 200 before they know.
    fn check(&self, status: u16, body: &[u8], action: &str) -> Result<(), Stopped> {
        let is_error = !(200..300).contains(&status) || body.windows(7).take(200).any(|at| at == b"<Error>");
        if !is_error {
            return Ok(());
        }
        let ErrorBody { code, message } = ErrorBody::parse(body);
        if matches!(code.as_str(), "InternalError" | "SlowDown" | "ServiceUnavailable" | "RequestTimeout") {
            let error = self.http.unavailable(action, format!("it answered {code}"));
            return Err(Stopped::Failed(Failure::Passing(error, None)));
        }
        let (message, action) = (format::excerpt(&message), action.to_owned());
        Err(Stopped::Refused(Refusal { status, code, message, action }))
    }
}

/// Why one try ended.
enum Stopped {
    Refused(Refusal),
    Whole,
    Failed(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<HubError> for Stopped {
    fn from(error: HubError) -> Self {
        Self::Failed(error.into())
    }
}

#[async_trait]
impl HttpService for Transport {
    /// All that is asked of a store here can be asked for twice. A signature is good for 15 minutes, the tries together are
    /// shorter.
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let action = self.action(&request);
        let mut tries = Tries::new();
        loop {
            match self.send(request.clone(), &action).await {
                Ok(response) => return Ok(response),
                Err(Stopped::Refused(refusal)) => return Err(carry(Problem::Refused(refusal))),
                Err(Stopped::Whole) => return Err(carry(Problem::Whole)),
                Err(Stopped::Failed(failure)) => {
                    tries.again(failure).await.map_err(|error| carry(Problem::Hub(error)))?;
                }
            }
        }
    }
}

impl HttpConnector for Transport {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}
