//! The body of a request as it comes: bounded by who asks for it, and in time here.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout};

use crate::answer::{Code, Refusal};
use crate::options::Limits;

/// What is read of a body that nobody wants, so that its sender gets to the answer: a connection that is closed with bytes
/// unread is reset, and the answer lost.
const UNWANTED_BYTES: u64 = 64 << 20;
const UNWANTED_TIME: Duration = Duration::from_secs(10);

/// The body of a request.
pub(crate) struct Receiver {
    body: Incoming,
    stall: Duration,
    slow: Duration,
    rate: u64,
    start: Instant,
    received: u64,
}

impl Receiver {
    pub(crate) fn new(body: Incoming, limits: &Limits) -> Self {
        let Limits { stall, slow, rate, .. } = *limits;
        Self { body, stall, slow, rate, start: Instant::now(), received: 0 }
    }

    /// Bytes that are to come, if the head says so. So many come then, or an error.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next bytes; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let Ok(frame) = timeout(self.stall, self.body.frame()).await else { return Err(too_slow()) };
            let Some(frame) = frame else { return Ok(None) };
            let broken = |_| Refusal::bad(Code::BlobUploadInvalid, "the body broke off");
            // Trailers say nothing to us.
            let Ok(bytes) = frame.map_err(broken)?.into_data() else { continue };
            self.received += bytes.len() as u64;
            let late = self.start.elapsed().saturating_sub(self.slow);
            if self.received < late.as_secs().saturating_mul(self.rate) {
                return Err(too_slow());
            }
            return Ok(Some(bytes));
        }
    }

    /// All of a small body.
    pub(crate) async fn all(&mut self, limit: usize) -> Result<Vec<u8>, Refusal> {
        let too_large = || Refusal::too_large(format!("it has more than {limit} bytes"));
        if self.announced().is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            if bytes.len() > limit.saturating_sub(all.len()) {
                return Err(too_large());
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }

    /// Reads what is left, as far as that is worth it.
    pub(crate) async fn discard(&mut self) {
        let end = self.received.saturating_add(UNWANTED_BYTES);
        let discard = async { while self.received < end && matches!(self.next().await, Ok(Some(_))) {} };
        // Either is as good.
        timeout(UNWANTED_TIME, discard).await.ok();
    }
}

fn too_slow() -> Refusal {
    Refusal::new(StatusCode::REQUEST_TIMEOUT, Code::BlobUploadInvalid, "the body came too slowly")
}
