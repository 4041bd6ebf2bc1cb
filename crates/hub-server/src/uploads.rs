//! Sessions of uploads: what a blob has come to between two requests.
//!
//! A session that a request works on is out of the table: a second request does not find it, and if the first one breaks,
//! the session is dropped, and its file with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use format::{Digest, Name};
use hub::dir::{BlobUpload, Uploads};
use hub::{HubError, Put};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::answer::{Code, Refusal};
use crate::receive::Receiver;
use crate::space::{Reservation, Space};

/// All sessions of a server.
#[derive(Debug)]
pub(crate) struct Sessions {
    uploads: Uploads,
    space: Arc<Space>,
    places: Arc<Semaphore>,
    idle: Duration,
    blob_limit: u64,
    open: Mutex<HashMap<String, Session>>,
}

/// A blob on its way.
#[derive(Debug)]
pub(crate) struct Session {
    name: Name,
    /// The name of the token that began it.
    holder: Option<String>,
    upload: BlobUpload,
    reservation: Reservation,
    touched: Instant,
    /// Its place among those that there may be.
    _place: OwnedSemaphorePermit,
}

impl Sessions {
    pub(crate) fn new(
        uploads: Uploads,
        space: Arc<Space>,
        count: usize,
        idle: Duration,
        blob_limit: u64,
    ) -> Self {
        let places = Arc::new(Semaphore::new(count));
        Self { uploads, space, places, idle, blob_limit, open: Mutex::default() }
    }

    /// A session for a blob of which `announced` bytes are certain to come.
    pub(crate) async fn begin(
        &self,
        name: &Name,
        holder: Option<&str>,
        announced: u64,
    ) -> Result<Session, Refusal> {
        self.check_size(announced)?;
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Refusal::busy("there are too many uploads at the moment"))?;
        let reservation = self.space.begin(announced).await?;
        let upload = self.uploads.begin().await?;
        let holder = holder.map(str::to_owned);
        let touched = Instant::now();
        Ok(Session { name: name.clone(), holder, upload, reservation, touched, _place: place })
    }

    /// Keeps a session for its next request, under an id that nobody can guess.
    pub(crate) fn keep(&self, session: Session) -> Result<String, Refusal> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| Refusal::internal(&error.to_string()))?;
        let id = format!("{:032x}", u128::from_le_bytes(random));
        self.put_back(&id, session);
        Ok(id)
    }

    /// The session, for one request of whoever began it, for the name that it was begun for.
    pub(crate) fn take(&self, id: &str, name: &Name, holder: Option<&str>) -> Result<Session, Refusal> {
        let mut open = self.lock();
        let is_theirs = |session: &Session| session.name == *name && session.holder.as_deref() == holder;
        if open.get(id).is_some_and(is_theirs)
            && let Some(session) = open.remove(id)
        {
            return Ok(session);
        }
        Err(Refusal::absent(
            Code::BlobUploadUnknown,
            "there is no such upload: it has ended, or is begun elsewhere",
        ))
    }

    pub(crate) fn put_back(&self, id: &str, session: Session) {
        self.lock().insert(id.to_owned(), Session { touched: Instant::now(), ..session });
    }

    /// Ends those in which nothing has happened for too long.
    pub(crate) fn sweep(&self) {
        let over: Vec<_> =
            self.lock().extract_if(|_, session| session.touched.elapsed() >= self.idle).collect();
        // Files are removed here, when the table is free again.
        drop(over);
    }

    /// Adds all of a body.
    pub(crate) async fn receive(
        &self,
        mut session: Session,
        body: &mut Receiver,
    ) -> Result<Session, Refusal> {
        self.check_size(session.size().saturating_add(body.announced().unwrap_or(0)))?;
        while let Some(bytes) = body.next().await? {
            let length = bytes.len() as u64;
            self.check_size(session.size().saturating_add(length))?;
            session.reservation.grow(length)?;
            session.upload = session.upload.append(bytes).await?;
        }
        Ok(session)
    }

    fn check_size(&self, size: u64) -> Result<(), Refusal> {
        if size <= self.blob_limit {
            return Ok(());
        }
        Err(Refusal::too_large(format!("a blob may have {} bytes here at most", self.blob_limit)))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Bytes that have come.
    pub(crate) fn size(&self) -> u64 {
        self.upload.size()
    }

    /// Makes it a blob, if it has this digest.
    pub(crate) async fn finish(self, digest: &Digest) -> Result<(), HubError> {
        let Self { upload, reservation, .. } = self;
        if upload.finish(digest).await? == Put::Sent {
            reservation.keep();
        }
        Ok(())
    }
}
