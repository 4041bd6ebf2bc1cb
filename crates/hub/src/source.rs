//! Blobs of the local store as a source for a hub, and readers whose bytes are counted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use format::Digest;
use store::Store;
use tokio::io::{AsyncRead, ReadBuf};

use crate::blocking::blocking;
use crate::{BlobReader, BlobSource, CHUNK, Event, Progress};

/// A blob of the store, whose bytes are counted as they are read.
pub(crate) struct StoredBlob {
    pub(crate) store: Store,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) role: String,
    pub(crate) progress: Arc<dyn Progress>,
}

#[async_trait]
impl BlobSource for StoredBlob {
    async fn open(&self) -> io::Result<BlobReader> {
        let (store, digest) = (self.store.clone(), self.digest);
        let file = blocking(move || store.open_blob(&digest)).await.map_err(io::Error::other)?;
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(CHUNK);
        self.progress.event(Event::BlobStarted { digest, role: &self.role, size: self.size, offset: 0 });
        Ok(Box::pin(Counted { inner: Box::pin(file), digest, progress: Arc::clone(&self.progress) }))
    }
}

/// A reader that tells what it reads.
pub(crate) struct Counted {
    pub(crate) inner: BlobReader,
    pub(crate) digest: Digest,
    pub(crate) progress: Arc<dyn Progress>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(self.inner.as_mut().poll_read(context, buffer))?;
        let bytes = (buffer.filled().len() - before) as u64;
        if bytes > 0 {
            self.progress.event(Event::Moved { digest: self.digest, bytes });
        }
        Poll::Ready(Ok(()))
    }
}
