//! A push by ticket: blobs first, then the manifest, then the tag.

use std::sync::Arc;

use format::snapshot::{Roles, closure};
use format::{Digest, ManifestError};
use futures_util::stream::{self, TryStreamExt};
use jiff::Timestamp;
use reqwest::{Body, StatusCode};
use store::{Lease, Store};
use tokio_util::io::ReaderStream;

use super::{SignedPut, Ticket, TicketError};
use crate::blocking::blocking;
use crate::bucket::transport::ErrorBody;
use crate::http::{Failure, Http, Tries};
use crate::push;
use crate::source::StoredBlob;
use crate::{
    Access, BlobSource, CHUNK, Event, HubError, PlannedBlob, Progress, PushError, RawManifest, TRANSFERS,
};

/// Bytes of a refusal that are read.
const ANSWER_BYTES: usize = 64 << 10;

/// A push by ticket, ready to begin.
pub struct TicketPush {
    ticket: Ticket,
    store: Store,
    http: Http,
    manifest: RawManifest,
    roles: Roles,
    /// Keeps the snapshot while it is sent.
    _lease: Lease,
}

impl TicketPush {
    /// Checks that the ticket is for the snapshot `digest`, which is here in whole. Nothing is sent.
    ///
    /// # Errors
    /// If it is not, or has ended.
    pub async fn new(
        store: &Store,
        digest: &Digest,
        ticket: Ticket,
        access: &Access,
    ) -> Result<Self, TicketError> {
        if ticket.expires <= Timestamp::now() {
            return Err(TicketError::Expired { at: ticket.expires });
        }
        let (local, snapshot) = (store.clone(), *digest);
        let (lease, snapshot, bytes) = blocking(move || push::read(&local, &snapshot)).await?;
        let too_large = || TicketError::Manifest(ManifestError::TooLarge(format::limits::MANIFEST_BYTES + 1));
        let manifest = RawManifest::new(bytes).ok_or_else(too_large)?;
        ticket.check_fits(&snapshot.manifest, &manifest)?;
        let http = Http::new(&ticket.hub, access)?;
        let roles = Roles::new(&snapshot.manifest, closure(&snapshot.config, &snapshot.maps));
        Ok(Self { ticket, store: store.clone(), http, manifest, roles, _lease: lease })
    }

    /// Sends what the ticket lists: blobs, manifest, tag.
    ///
    /// # Errors
    /// If the store refuses something, or a local blob is damaged: the tag is not moved.
    pub async fn execute(self, progress: Arc<dyn Progress>) -> Result<(), TicketError> {
        let (this, blobs) = (&self, &self.ticket.blobs);
        progress.event(Event::Started { blobs: blobs.len(), bytes: this.ticket.bytes() });
        let (rest, config) = blobs.split_at(blobs.len().saturating_sub(1));
        for part in [rest, config] {
            stream::iter(part.iter().map(Ok))
                .try_for_each_concurrent(TRANSFERS, |put| this.send_blob(put, Arc::clone(&progress)))
                .await?;
        }
        for put in self.ticket.manifests.iter().chain(&self.ticket.tagged) {
            let body = || std::future::ready(Ok(Body::from(self.manifest.bytes().to_vec())));
            self.send(put, "the manifest", body).await?;
        }
        Ok(())
    }

    async fn send_blob(&self, put: &SignedPut, progress: Arc<dyn Progress>) -> Result<(), TicketError> {
        let (digest, size) = (put.digest, put.size);
        let role = self.roles.role(&digest);
        let blob = PlannedBlob { role: role.clone(), digest, size };
        let source =
            StoredBlob { store: self.store.clone(), digest, size, role, progress: Arc::clone(&progress) };
        let body = || async {
            let reader = source.open().await.map_err(|source| HubError::Source { digest, source })?;
            Ok(Body::wrap_stream(ReaderStream::with_capacity(reader, CHUNK)))
        };
        let sent = self.send(put, &blob.to_string(), body).await;
        if let Err(TicketError::Refused { .. }) = &sent {
            let store = self.store.clone();
            let found = blocking(move || push::hash(&store, &digest)).await?;
            if found != digest {
                let reason = format!("its content has the digest {found}");
                return Err(PushError::Damaged { blob, reason }.into());
            }
        }
        sent?;
        progress.event(Event::BlobDone { digest });
        Ok(())
    }

    async fn send<F>(&self, put: &SignedPut, what: &str, body: impl Fn() -> F) -> Result<(), TicketError>
    where
        F: Future<Output = Result<Body, HubError>>,
    {
        let mut tries = Tries::new();
        loop {
            match self.try_send(put, what, body().await?).await {
                Ok(()) => return Ok(()),
                Err(Stopped::Refused(error)) => return Err(error),
                Err(Stopped::Failed(failure)) => tries.again(failure).await?,
            }
        }
    }

    async fn try_send(&self, put: &SignedPut, what: &str, body: Body) -> Result<(), Stopped> {
        let action = format!("send {what}");
        let request = self.http.client().put(put.url.as_str());
        let request = put.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let response = self.http.send_here(request.body(body), &action).await?;
        if response.status() == StatusCode::OK {
            return Ok(());
        }
        let status = response.status().as_u16();
        let body = self.http.body(response, ANSWER_BYTES, &action).await?;
        let (hub, what) = (self.ticket.hub.clone(), what.to_owned());
        let code = format::excerpt(&ErrorBody::parse(&body).code);
        Err(Stopped::Refused(TicketError::Refused { hub, what, status, code }))
    }
}

enum Stopped {
    Refused(TicketError),
    Failed(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
