//! Where a pull reads: a hub, then its mirrors, in order.
//!
//! One that fails, lies or lacks a part is named in a warning, and the next is asked for the same digest. Nothing is
//! substituted: digests decide. What a tag means the first one says, a mirror only while that cannot be reached.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, ready};

use format::{Digest, Name};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::io::poll_read_buf;

use super::PullError;
use crate::{
    BlobReader, Event, HubError, PlannedBlob, Progress, REQUESTS, RawManifest, Registry, Selector, remote,
};

/// How many of the requests that a hub may be asked at once one for a body counts as: it is not over in a round trip, and
/// holds buffers while it lasts.
const BODY: u32 = 2;

/// A hub, and what a snapshot is called there.
#[derive(Debug, Clone)]
pub struct Source {
    /// The hub.
    pub registry: Arc<dyn Registry>,
    /// The name.
    pub name: Name,
}

/// The sources of one pull.
pub(super) struct Sources {
    hub: Peer,
    mirrors: Vec<Peer>,
    /// Told of those that fail.
    pub(super) progress: Arc<dyn Progress>,
}

/// One source, as this pull has come to know it.
#[derive(Debug)]
pub(super) struct Peer {
    source: Source,
    requests: Semaphore,
    /// Whether it gives parts of blobs when asked for them.
    gives_parts: AtomicBool,
    /// Whether it has stopped answering: asked again only if there is nobody else.
    is_down: AtomicBool,
}

impl fmt::Debug for Sources {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.peers()).finish()
    }
}

impl Sources {
    pub(super) fn new(hub: Source, mirrors: Vec<Source>, progress: Arc<dyn Progress>) -> Self {
        let peer = |source| Peer {
            source,
            requests: Semaphore::new(REQUESTS),
            gives_parts: AtomicBool::new(true),
            is_down: AtomicBool::new(false),
        };
        Self { hub: peer(hub), mirrors: mirrors.into_iter().map(peer).collect(), progress }
    }

    /// The first of them.
    pub(super) fn hub(&self) -> &Peer {
        &self.hub
    }

    /// The locations of all of them, for errors that concern all.
    pub(super) fn all(&self) -> String {
        self.peers().map(Peer::location).collect::<Vec<_>>().join(" and ")
    }

    fn peers(&self) -> impl Iterator<Item = &Peer> {
        std::iter::once(&self.hub).chain(&self.mirrors)
    }

    /// Asks one after another, from the one with the number `start` on: `loop { match ask(turn.peer()).await { Ok(answer) =>
    /// return Ok(answer), Err(error) => turn.pass(error)? } }`. `passes_on` tells of which errors the next one is asked. Those
    /// that do not answer any more are left out, unless none does.
    pub(super) fn turn(&self, start: usize, passes_on: fn(&PullError) -> bool) -> Turn<'_> {
        let all = || self.peers().enumerate().skip(start);
        let mut rest: Vec<_> = all().filter(|(_, peer)| !peer.is_down.load(Ordering::Relaxed)).collect();
        if rest.is_empty() {
            rest = all().collect();
        }
        let mut rest = rest.into_iter();
        let (number, peer) = rest.next().unwrap_or((0, &self.hub));
        Turn { sources: self, number, peer, rest, passes_on }
    }

    pub(super) fn warn(&self, text: &str) {
        self.progress.event(Event::Warning { text });
    }
}

impl Peer {
    pub(super) fn location(&self) -> &str {
        self.source.registry.location()
    }

    pub(super) fn name(&self) -> &Name {
        &self.source.name
    }

    pub(super) fn registry(&self) -> &dyn Registry {
        &*self.source.registry
    }

    pub(super) fn gives_parts(&self) -> bool {
        self.gives_parts.load(Ordering::Relaxed)
    }

    pub(super) fn note_whole_only(&self) {
        self.gives_parts.store(false, Ordering::Relaxed);
    }

    pub(super) async fn get_manifest(&self, which: &Selector) -> Result<Option<RawManifest>, HubError> {
        let _permit = self.permit(1).await?;
        self.registry().get_manifest(self.name(), which).await
    }

    pub(super) async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, HubError> {
        let _permit = self.permit(1).await?;
        self.registry().blob_size(self.name(), digest).await
    }

    pub(super) async fn get_blob(
        &self,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Option<Body<'_>>, HubError> {
        let permit = self.permit(BODY).await?;
        let reader = self.registry().get_blob(self.name(), digest, range).await?;
        Ok(reader.map(|reader| Body { reader, failure: None, _permit: permit }))
    }

    /// All of a small blob, verified; `None` if it is not there.
    pub(super) async fn small(&self, blob: &PlannedBlob) -> Result<Option<Vec<u8>>, PullError> {
        let _permit = self.permit(BODY).await?;
        remote::small(self.registry(), self.name(), blob).await
    }

    async fn permit(&self, requests: u32) -> Result<SemaphorePermit<'_>, HubError> {
        // Nobody closes it.
        self.requests.acquire_many(requests).await.map_err(|error| HubError::Unavailable {
            hub: self.location().to_owned(),
            action: "ask it".to_owned(),
            source: io::Error::other(error),
        })
    }
}

/// Whom to ask: see [`Sources::turn`].
pub(super) struct Turn<'a> {
    sources: &'a Sources,
    number: usize,
    peer: &'a Peer,
    rest: std::vec::IntoIter<(usize, &'a Peer)>,
    passes_on: fn(&PullError) -> bool,
}

impl<'a> Turn<'a> {
    /// Whose turn it is.
    pub(super) fn peer(&self) -> &'a Peer {
        self.peer
    }

    /// The number of whose turn it is.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Passes on to the next; gives the error back if there is none, or it is none that another could spare us.
    pub(super) fn pass(&mut self, error: PullError) -> Result<(), PullError> {
        let next = if (self.passes_on)(&error) { self.rest.next() } else { None };
        let Some((number, peer)) = next else { return Err(error) };
        if error.is_disconnection() {
            self.peer.is_down.store(true, Ordering::Relaxed);
        }
        self.sources.warn(&format!("{error}; asking {} instead", peer.location()));
        (self.number, self.peer) = (number, peer);
        Ok(())
    }
}

/// Bytes of a blob on their way.
pub(super) struct Body<'a> {
    reader: BlobReader,
    /// What came behind the bytes that were given last.
    failure: Option<io::Error>,
    _permit: SemaphorePermit<'a>,
}

impl Body<'_> {
    /// Appends what has come, at least one byte and up to what fits into `chunk`; nothing where the body ends.
    pub(super) async fn read(&mut self, chunk: &mut Vec<u8>) -> io::Result<usize> {
        let (before, Self { reader, failure, .. }) = (chunk.len(), self);
        std::future::poll_fn(|context| {
            if let Some(error) = failure.take() {
                return Poll::Ready(Err(error));
            }
            loop {
                let is_empty = chunk.len() == before;
                let read = match poll_read_buf(reader.as_mut(), context, chunk) {
                    read if is_empty => ready!(read),
                    Poll::Pending => Ok(0),
                    Poll::Ready(read) => read,
                };
                match read {
                    Ok(0) => break,
                    Ok(_) if chunk.len() == chunk.capacity() => break,
                    Ok(_) => {}
                    Err(error) if chunk.len() == before => return Poll::Ready(Err(error)),
                    Err(error) => {
                        *failure = Some(error);
                        break;
                    }
                }
            }
            Poll::Ready(Ok(chunk.len() - before))
        })
        .await
    }
}
