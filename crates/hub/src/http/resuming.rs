//! A blob's bytes as they arrive, from as many connections as it takes.

use std::io;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE};
use tokio_util::io::StreamReader;

use super::{Answer, Failure, Tries, no_parts};
use crate::{BlobReader, HubError};

/// Asks for bytes of one blob.
#[async_trait]
pub(crate) trait Open: Send + Sync + 'static {
    /// The answer to a request for the bytes of `range`: 200 or 206, or `None` if the blob is not there.
    async fn open(&self, range: Range<u64>) -> Result<Option<Answer>, Failure>;
}

/// The bytes `range` of a blob, less where the blob ends before; `None` if it is not there. The first request has been
/// answered when this returns. When a connection breaks, the rest is asked for anew.
///
/// # Errors
/// [`HubError::Unsupported`] if the blob comes from its first byte on and another was asked for: whoever wants parts is not to
/// be given the whole for each. Behind a break what has come already is skipped.
pub(crate) async fn resuming(open: impl Open, range: Range<u64>) -> Result<Option<BlobReader>, HubError> {
    let Range { start, end } = range;
    let Some(first) = persistently(&open, start..end).await? else { return Ok(None) };
    if start > 0 && first.status() != StatusCode::PARTIAL_CONTENT {
        return Err(no_parts(first.url().host_str().unwrap_or_default()));
    }
    let part = Part::new(first, start)?;
    let state = State { open, at: start, end, part: Some(part), tries: Tries::new() };
    let chunks = stream::try_unfold(state, |mut state| async {
        Ok::<_, io::Error>(state.next().await?.map(|chunk| (chunk, state)))
    });
    Ok(Some(Box::pin(StreamReader::new(Box::pin(chunks)))))
}

async fn persistently(open: &impl Open, range: Range<u64>) -> Result<Option<Answer>, HubError> {
    let mut tries = Tries::new();
    loop {
        match open.open(range.clone()).await {
            Ok(response) => return Ok(response),
            Err(failure) => tries.again(failure).await?,
        }
    }
}

struct State<O> {
    open: O,
    /// The next byte of the blob that is wanted.
    at: u64,
    end: u64,
    part: Option<Part>,
    /// Of breaks one after another: whoever makes progress has all of them again.
    tries: Tries,
}

impl<O: Open> State<O> {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while self.at < self.end {
            let mut part = match self.part.take() {
                Some(part) => part,
                None => self.reopen().await?,
            };
            match part.chunk().await {
                Ok(Some(mut chunk)) => {
                    let wanted = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
                    chunk.truncate(wanted);
                    self.at += chunk.len() as u64;
                    self.part = Some(part);
                    self.tries = Tries::new();
                    return Ok(Some(chunk));
                }
                Ok(None) => return Ok(None),
                Err(failure) => self.tries.again(failure).await.map_err(io::Error::other)?,
            }
        }
        Ok(None)
    }

    async fn reopen(&self) -> io::Result<Part> {
        let response = persistently(&self.open, self.at..self.end).await.map_err(io::Error::other)?;
        let gone = || io::Error::new(io::ErrorKind::NotFound, "it is not there any more");
        Part::new(response.ok_or_else(gone)?, self.at).map_err(io::Error::other)
    }
}

/// What one connection gives of a blob.
struct Part {
    response: Answer,
    /// Bytes that come before those that are wanted: a server may send all of it.
    to_skip: u64,
    /// Bytes of the body that are still to come, if the server said how many.
    left: Option<u64>,
}

impl Part {
    /// The answer to a request for the bytes from `start` on.
    fn new(response: Answer, start: u64) -> Result<Self, HubError> {
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let left = header(CONTENT_LENGTH).and_then(|text| text.parse().ok());
        let first = match response.status() {
            StatusCode::PARTIAL_CONTENT => header(CONTENT_RANGE).and_then(first_of_range),
            _ => Some(0),
        };
        match first {
            Some(first) if first <= start => Ok(Self { to_skip: start - first, left, response }),
            _ => Err(HubError::Malformed {
                hub: response.url().host_str().unwrap_or_default().to_owned(),
                what: "the answer to a request for a part of a blob".to_owned(),
                reason: format!("it is another part than that from byte {start} on"),
            }),
        }
    }

    /// What comes next; nothing where the body ends. That it ends too early is an error.
    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let chunk = self.response.chunk().await.map_err(|error| self.broken(error))?;
            let Some(mut chunk) = chunk else {
                return match self.left {
                    None | Some(0) => Ok(None),
                    Some(left) => Err(self.broken(io::Error::other(format!("it ended {left} bytes early")))),
                };
            };
            self.left = self.left.map(|left| left.saturating_sub(chunk.len() as u64));
            let skipped = chunk.len().min(usize::try_from(self.to_skip).unwrap_or(usize::MAX));
            self.to_skip -= skipped as u64;
            let chunk = chunk.split_off(skipped);
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
    }
}

impl Part {
    fn broken(&self, source: io::Error) -> Failure {
        let hub = self.response.url().host_str().unwrap_or_default().to_owned();
        Failure::Passing(HubError::Unavailable { hub, action: "read a blob".to_owned(), source }, None)
    }
}

/// RFC 9110, 14.4: `bytes FIRST-LAST/ALL`.
fn first_of_range(text: &str) -> Option<u64> {
    text.trim().strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}
