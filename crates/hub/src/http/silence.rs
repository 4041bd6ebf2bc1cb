//! Silence: what a request and its answer are given up on for, however long they take otherwise.
//!
//! The client's own timeout for reading begins with the request and takes no note of a body that is on its way, so it would
//! end every upload that takes longer. Here each piece of a body that is taken begins the wait anew. Taken means: by the
//! kernel, which may hold some of it for a while on a slow line; so behind the last piece the wait is longer, by what the
//! kernel may hold. While a body's own source gives nothing, nobody is silent who is asked here: sources have limits of
//! their own.

use std::io;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, TryStreamExt};
use http_body_util::BodyExt;
use reqwest::header::{CONTENT_LENGTH, HeaderValue};
use reqwest::{Body, Client, Request, Response};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Bytes of a body that are handed on at once: few, so that a slow line is seen to move.
const PIECE: usize = 64 << 10;
/// The most that the kernel holds of what is sent: Linux's largest `tcp_wmem`.
const HELD: u64 = 4 << 20;
/// What of it goes in the time of one silence on the slowest line: with one of 30 s, 35 kB/s.
const HELD_PER_SILENCE: u64 = 1 << 20;

/// Why a request had no answer.
#[derive(Debug)]
pub(super) enum Stop {
    /// For so long.
    Silent(Duration),
    Broke(reqwest::Error),
}

impl Stop {
    /// What went wrong, without a URL.
    pub(super) fn text(self) -> String {
        match self {
            Self::Silent(limit) => text(limit),
            Self::Broke(error) => super::text(error),
        }
    }
}

/// Sends a request. Neither side is silent for longer than `limit`, but for what the kernel may still hold.
pub(super) async fn execute(
    client: &Client,
    mut request: Request,
    limit: Duration,
) -> Result<Response, Stop> {
    let watch = Arc::new(Watch::default());
    if let Some(body) = request.body_mut().take() {
        // A body in pieces does not say how long it is.
        if let Some(bytes) = body.as_bytes() {
            let length = HeaderValue::from(bytes.len());
            request.headers_mut().entry(CONTENT_LENGTH).or_insert(length);
        }
        let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        watch.lock().length = length.and_then(|length| length.parse().ok());
        *request.body_mut() = Some(watched(body, Arc::clone(&watch)));
    }
    tokio::select! {
        biased;
        answer = client.execute(request) => answer.map_err(Stop::Broke),
        () = watch.silence(limit) => Err(Stop::Silent(limit)),
    }
}

/// An answer whose body may be silent for so long.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Response,
    limit: Duration,
}

impl Answer {
    pub(super) fn new(response: Response, limit: Duration) -> Self {
        Self { response, limit }
    }

    /// What comes next of its body; nothing where it ends.
    pub(crate) async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        match timeout(self.limit, self.response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| io::Error::other(super::text(error))),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, text(self.limit))),
        }
    }
}

impl Deref for Answer {
    type Target = Response;

    fn deref(&self) -> &Response {
        &self.response
    }
}

fn text(limit: Duration) -> String {
    format!("nothing moved for {limit:?}")
}

/// How a request's body goes.
#[derive(Debug)]
struct Watch(Mutex<Progress>);

#[derive(Debug)]
struct Progress {
    /// Since when the other side is waited for. Nothing while the body's source is.
    since: Option<Instant>,
    taken: u64,
    /// Of the whole body, where it is known.
    length: Option<u64>,
    has_ended: bool,
}

impl Default for Watch {
    fn default() -> Self {
        let since = Some(Instant::now());
        Self(Mutex::new(Progress { since, taken: 0, length: None, has_ended: false }))
    }
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_source(&self) {
        self.lock().since = None;
    }

    /// So many more bytes are on their way; none where the body ends.
    fn take(&self, bytes: usize) {
        let mut progress = self.lock();
        progress.since = Some(Instant::now());
        progress.taken += bytes as u64;
        progress.has_ended = bytes == 0 || progress.length.is_some_and(|length| progress.taken >= length);
    }

    /// Comes back when there has been silence for too long.
    async fn silence(&self, limit: Duration) {
        loop {
            let deadline = self.lock().deadline(limit);
            match deadline {
                Some(deadline) if deadline <= Instant::now() => return,
                Some(deadline) => sleep_until(deadline).await,
                None => sleep(limit).await,
            }
        }
    }
}

impl Progress {
    fn deadline(&self, limit: Duration) -> Option<Instant> {
        let held = if self.has_ended { self.taken.min(HELD) } else { 0 };
        // Both are small.
        let longer = u32::try_from(held / 1024).unwrap_or_default();
        let whole = u32::try_from(HELD_PER_SILENCE / 1024).unwrap_or(u32::MAX);
        self.since.map(|since| since + limit + limit * longer / whole)
    }
}

/// The body, in small pieces that are noted as they are taken.
fn watched(body: Body, watch: Arc<Watch>) -> Body {
    let state = (body.into_data_stream(), Bytes::new(), watch);
    Body::wrap_stream(stream::try_unfold(state, |(mut source, mut left, watch)| async move {
        while left.is_empty() {
            watch.wait_for_source();
            match source.try_next().await? {
                Some(bytes) => left = bytes,
                None => {
                    watch.take(0);
                    return Ok::<_, reqwest::Error>(None);
                }
            }
        }
        let piece = left.split_to(left.len().min(PIECE));
        watch.take(piece.len());
        Ok(Some((piece, (source, left, watch))))
    }))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);
    /// More than the kernel holds at both ends of a connection.
    const LARGE: u64 = 32 << 20;

    fn zeros(length: u64) -> Body {
        let chunks = std::iter::repeat_n(Bytes::from_static(&[0; 1 << 20]), (length >> 20) as usize);
        Body::wrap_stream(stream::iter(chunks.map(Ok::<_, io::Error>)))
    }

    /// What comes of a request with this body to a server that does so with its connection.
    async fn put<F>(body: Body, length: u64, serve: impl FnOnce(TcpStream) -> F) -> Result<u16, Stop>
    where
        F: Future<Output = ()>,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // As every client of a hub is set up.
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = Client::builder().no_proxy().build().unwrap();
        let request = client.put(url).header(CONTENT_LENGTH, length).body(body).build().unwrap();
        let served = async {
            serve(listener.accept().await.unwrap().0).await;
            std::future::pending::<Result<u16, Stop>>().await
        };
        tokio::select! {
            sent = execute(&client, request, LIMIT) => sent.map(|answer| answer.status().as_u16()),
            never = served => never,
        }
    }

    async fn answer(stream: &mut TcpStream) {
        stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    }

    /// Reads a MiB at once, and eight in the time of the limit.
    async fn read_slowly(mut stream: TcpStream, length: u64) {
        let (mut left, mut part) = (length, vec![0; 1 << 20]);
        while left > 0 {
            let read = stream.read(&mut part).await.unwrap();
            left = left.saturating_sub(read as u64);
            sleep(LIMIT * u32::try_from(read).unwrap() / (8 << 20)).await;
        }
        answer(&mut stream).await;
        std::future::pending::<()>().await;
    }

    #[tokio::test]
    async fn what_moves_takes_as_long_as_it_takes() {
        let begun = Instant::now();
        let length = LARGE;
        assert_eq!(put(zeros(length), length, |stream| read_slowly(stream, length)).await.unwrap(), 201);
        assert!(begun.elapsed() > LIMIT * 3, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn whoever_takes_nothing_is_given_up_on() {
        let begun = Instant::now();
        let stuck = |stream: TcpStream| async move {
            std::future::pending::<()>().await;
            drop(stream);
        };
        assert!(matches!(put(zeros(LARGE), LARGE, stuck).await, Err(Stop::Silent(LIMIT))));
        // So is who takes all, and does not answer; later, since the kernel may hold some of it.
        assert!(begun.elapsed() < LIMIT * 20, "{:?}", begun.elapsed());
        let begun = Instant::now();
        assert!(matches!(put(zeros(1 << 20), 1 << 20, stuck).await, Err(Stop::Silent(LIMIT))));
        assert!((LIMIT * 3 / 2..LIMIT * 20).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_source_that_pauses_is_not_the_other_side() {
        let body = stream::once(async {
            sleep(LIMIT * 3).await;
            Ok::<_, io::Error>(Bytes::from_static(&[0; 1024]))
        });
        let sent = put(Body::wrap_stream(body), 1024, |stream| read_slowly(stream, 1024)).await;
        assert_eq!(sent.unwrap(), 201);
    }

    #[tokio::test]
    async fn an_answer_that_falls_silent_is_given_up_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = Client::builder().no_proxy().build().unwrap();
        let served = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_u8().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ").await.unwrap();
            std::future::pending::<()>().await;
        };
        let asked = async {
            let response = execute(&client, client.get(url).build().unwrap(), LIMIT).await.unwrap();
            let mut answer = Answer::new(response, LIMIT);
            assert_eq!(answer.chunk().await.unwrap().unwrap(), "half ");
            answer.chunk().await.unwrap_err()
        };
        tokio::select! {
            error = asked => assert!(error.to_string().contains("nothing moved for 2s"), "{error}"),
            () = served => {}
        }
    }
}
