//! Laying out flat files while blobs arrive: on a thread of its own, a blob at a time, as each comes to be there.

use std::sync::Arc;

use format::{Config, Maps};
use store::{LayoutError, LayoutFeed, Lease, Store, layout_feed};
use tokio::task::JoinHandle;

use crate::{Event, Progress};

/// What the thread needs.
pub(super) struct LayoutThread {
    pub(super) store: Store,
    pub(super) lease: Lease,
    pub(super) parts: Arc<(Config, Maps)>,
    pub(super) progress: Arc<dyn Progress>,
}

impl LayoutThread {
    /// Starts the thread. It ends when all is laid out, when it fails, or when the feed is dropped.
    pub(super) fn start(self) -> (LayoutFeed, JoinHandle<Result<(), LayoutError>>) {
        let (feed, arrivals) = layout_feed();
        let work = move || {
            let Self { store, lease, parts, progress } = self;
            let layout = store.layout(&lease, &parts.0, &parts.1)?;
            layout.follow(&arrivals, || progress.event(Event::LayingOut))
        };
        (feed, tokio::task::spawn_blocking(work))
    }
}
