//! HTTP, as hubs behind it use it: one client, answers that are bounded before they are read, another try where that can
//! help, and readers that go on where a connection broke.
//!
//! Invariants:
//! - No credential follows a redirect to another origin: see [`redirects`]. None leads from TLS to plain HTTP.
//! - No error, and no `Referer`, shows a URL: a query may be a signature.
//! - Every wait ends: connecting, silence of either direction, and the tries together are limited. What moves may take as long
//!   as it takes: see [`silence`].

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity, RequestBuilder, Response, StatusCode};

use crate::{Access, HubError};

mod redirects;
mod resuming;
mod silence;

pub(crate) use redirects::leads_elsewhere;
pub(crate) use resuming::{Open, resuming};
pub(crate) use silence::Answer;
use silence::Stop;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may say nothing, or take nothing, while it should.
pub(crate) const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// Tries after the first one: with the delays below, about 40 s of them.
const RETRIES: usize = 8;
/// Tries after the first one while nothing has ever been answered: a server that ends every connection, as one does that wants
/// another certificate, is not waited for.
const FIRST_TRIES: usize = 2;
/// The longest that a server's Retry-After is waited for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Redirects that are followed for one request.
const REDIRECTS: usize = 5;

/// A client of one hub.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
    silence: Duration,
    hub: Arc<str>,
    /// Whether the hub has answered once: until then, that nobody can be reached is more likely a mistyped name than a
    /// disturbance that passes.
    is_reached: Arc<AtomicBool>,
    /// Requests that broke before it has answered any.
    broken: Arc<AtomicUsize>,
}

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Asking again gives the same.
    Final(HubError),
    /// It may pass. The server may have said how long to wait.
    Passing(HubError, Option<Duration>),
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

impl From<Failure> for HubError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Final(error) | Failure::Passing(error, _) => error,
        }
    }
}

impl Http {
    /// A client for the hub at `location` that trusts the system's authorities and those of `access`.
    pub(crate) fn new(location: &str, access: &Access) -> Result<Self, HubError> {
        Self::with_certificates(location, access, &[], None)
    }

    /// The same, with the hub's own authorities, and a certificate of ours if it asks for one.
    pub(crate) fn with_certificates(
        location: &str,
        access: &Access,
        authorities: &[Certificate],
        identity: Option<Identity>,
    ) -> Result<Self, HubError> {
        // Another part of the process may have chosen one: either does.
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = Client::builder()
            .user_agent(concat!("spore/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none())
            .referer(false)
            .tls_certs_merge(access.authorities.iter().chain(authorities).cloned());
        let client = match identity {
            Some(identity) => client.identity(identity),
            None => client,
        };
        let client = client.build().map_err(|error| HubError::Unavailable {
            hub: location.to_owned(),
            action: "set up TLS".to_owned(),
            source: io::Error::other(text(error)),
        })?;
        let (silence, hub) = (access.silence, location.into());
        Ok(Self { client, silence, hub, is_reached: Arc::default(), broken: Arc::default() })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request, and where it leads if it only asks. Any status is an answer, but for those that ask to come again.
    pub(crate) async fn send(&self, request: RequestBuilder, action: &str) -> Result<Answer, Failure> {
        self.exchange(request, true, action).await
    }

    /// The same, for a request whose credentials are for this server alone, in headers or not: that it leads elsewhere is an
    /// answer.
    pub(crate) async fn send_here(&self, request: RequestBuilder, action: &str) -> Result<Answer, Failure> {
        self.exchange(request, false, action).await
    }

    async fn exchange(
        &self,
        request: RequestBuilder,
        follows: bool,
        action: &str,
    ) -> Result<Answer, Failure> {
        let (client, request) = request.build_split();
        let mut request = request.map_err(|error| self.broke(Stop::Broke(error), action))?;
        for _ in 0..=REDIRECTS {
            let again = redirects::repeatable(&request).filter(|_| follows);
            let sent = silence::execute(&client, request, self.silence).await;
            let response = sent.map_err(|stop| self.broke(stop, action))?;
            let next = again.map_or(Ok(None), |again| redirects::next(again, &response));
            match next.map_err(|reason| self.unavailable(action, reason.to_owned()))? {
                Some(next) => request = next,
                None => return self.judge(response, action),
            }
        }
        Err(self.unavailable(action, "it redirects too often".to_owned()).into())
    }

    fn judge(&self, response: Response, action: &str) -> Result<Answer, Failure> {
        self.is_reached.store(true, Ordering::Relaxed);
        let status = response.status();
        if status == StatusCode::INSUFFICIENT_STORAGE {
            return Err(self.unavailable(action, "it has no space left".to_owned()).into());
        }
        let comes_again = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
            || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
        if comes_again {
            let after = retry_after(response.headers());
            let error = self.unavailable(action, format!("it answered {status}"));
            return Err(Failure::Passing(error, after));
        }
        Ok(Answer::new(response, self.silence))
    }

    /// All of a small body.
    pub(crate) async fn body(
        &self,
        mut answer: Answer,
        limit: usize,
        action: &str,
    ) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        let broke = |error: io::Error| Failure::Passing(self.unavailable(action, error.to_string()), None);
        while let Some(chunk) = answer.chunk().await.map_err(broke)? {
            if chunk.len() > limit.saturating_sub(body.len()) {
                let reason = format!("it has more than {limit} bytes");
                return Err(self.malformed(action, reason).into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn broke(&self, stop: Stop, action: &str) -> Failure {
        let is_unreached = !self.is_reached.load(Ordering::Relaxed);
        let (is_lasting, is_connect) = match &stop {
            Stop::Broke(error) => (error.is_builder() || is_tls(error), error.is_connect()),
            Stop::Silent(_) => (false, false),
        };
        let is_lasting = is_lasting
            || is_unreached && (is_connect || self.broken.fetch_add(1, Ordering::Relaxed) >= FIRST_TRIES);
        let error = self.unavailable(action, stop.text());
        if is_lasting { Failure::Final(error) } else { Failure::Passing(error, None) }
    }

    pub(crate) fn unavailable(&self, action: &str, reason: String) -> HubError {
        let (hub, action) = (self.hub.to_string(), action.to_owned());
        HubError::Unavailable { hub, action, source: io::Error::other(reason) }
    }

    pub(crate) fn denied(&self, action: &str) -> HubError {
        HubError::Denied { hub: self.hub.to_string(), action: action.to_owned() }
    }

    /// For what is answered to a request to `action`.
    pub(crate) fn malformed(&self, action: &str, reason: String) -> HubError {
        let what = format!("the answer to a request to {action}");
        HubError::Malformed { hub: self.hub.to_string(), what, reason }
    }

    /// A status that nothing is known to mean.
    pub(crate) fn unexpected(&self, response: &Response, action: &str) -> HubError {
        self.malformed(action, format!("its status is {}", response.status()))
    }
}

/// The tries of one act: `loop { match act().await { Ok(value) => return Ok(value), Err(failure) => tries.again(failure).await? } }`.
pub(crate) struct Tries(ExponentialBackoff);

impl Tries {
    pub(crate) fn new() -> Self {
        let delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(10))
            .with_max_times(RETRIES)
            .with_jitter();
        Self(delays.build())
    }

    /// Waits until another try can help; or says that none can.
    pub(crate) async fn again(&mut self, failure: Failure) -> Result<(), HubError> {
        let Failure::Passing(error, after) = failure else { return Err(failure.into()) };
        let delay = self.0.next().ok_or(error)?;
        tokio::time::sleep(after.unwrap_or(delay)).await;
        Ok(())
    }
}

/// For a hub that gives all of a blob to whoever asks for a part of it.
pub(crate) fn no_parts(hub: &str) -> HubError {
    HubError::Unsupported { hub: hub.to_owned(), action: "give a part of a blob".to_owned() }
}

/// RFC 9110, 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let after = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(date - jiff::Timestamp::now()).unwrap_or_default()
        }
    };
    Some(after.min(MAX_RETRY_AFTER))
}

/// What went wrong, down to its first cause, without the URL.
fn text(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn is_tls(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if cause.is::<rustls::Error>() || inner.is_some() {
            return true;
        }
        source = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let after = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(after("3"), Some(Duration::from_secs(3)));
        assert_eq!(after("86400"), Some(MAX_RETRY_AFTER));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("Wed, 21 Oct 2099 07:28:00 GMT"), Some(MAX_RETRY_AFTER));
        assert_eq!(after("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_again_and_what_does_not_is_not() {
        let error = || HubError::Denied { hub: "hub".into(), action: "test".into() };
        let (mut tries, mut count, start) = (Tries::new(), 0, tokio::time::Instant::now());
        while tries.again(Failure::Passing(error(), Some(Duration::from_secs(5)))).await.is_ok() {
            count += 1;
        }
        assert_eq!((count, start.elapsed().as_secs()), (RETRIES, 5 * RETRIES as u64));
        Tries::new().again(Failure::Final(error())).await.unwrap_err();
        let (mut tries, start) = (Tries::new(), tokio::time::Instant::now());
        while tries.again(Failure::Passing(error(), None)).await.is_ok() {}
        assert!((10..60).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    }
}
