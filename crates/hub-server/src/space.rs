//! How large the hub may get. What is on its way counts as if it were there.
//!
//! What others put into the same folder meanwhile is not seen until the server starts again; the disk's free space is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hub::HubError;
use hub::dir::DirHub;

use crate::answer::Refusal;

/// Bytes of the disk that must be left by what an upload announces, for it to begin.
const FREE_BYTES: u64 = 64 << 20;

/// The space of a hub.
#[derive(Debug)]
pub(crate) struct Space {
    hub: DirHub,
    limit: u64,
    used: AtomicU64,
}

impl Space {
    pub(crate) async fn of(hub: DirHub, limit: Option<u64>) -> Result<Arc<Self>, HubError> {
        let used = hub.blob_bytes().await?;
        Ok(Arc::new(Self { hub, limit: limit.unwrap_or(u64::MAX), used: AtomicU64::new(used) }))
    }

    /// Space for an upload that is announced to have so many bytes, of which none is taken yet.
    pub(crate) async fn begin(self: &Arc<Self>, announced: u64) -> Result<Reservation, Refusal> {
        let used = self.used.load(Ordering::Relaxed);
        let free = self.hub.free_bytes().await?;
        let fits =
            used.saturating_add(announced) <= self.limit && announced.saturating_add(FREE_BYTES) <= free;
        if !fits {
            return Err(Refusal::full());
        }
        Ok(Reservation { space: Arc::clone(self), bytes: 0 })
    }
}

/// What one upload takes; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    space: Arc<Space>,
    bytes: u64,
}

impl Reservation {
    /// Takes more.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Refusal> {
        let more = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.space.limit);
        let taken = self.space.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map_err(|_| Refusal::full())?;
        self.bytes += bytes;
        Ok(())
    }

    /// The upload has become a part of the hub.
    pub(crate) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.space.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
