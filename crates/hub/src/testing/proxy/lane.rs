//! One direction of a connection: what is put in comes out at the socket later, at the pace of the wire that all
//! connections share.
//!
//! The wire is a token bucket without burst, kept as the moment at which it is free again: a chunk occupies it for
//! its length over the rate, from then on, and arrives one delay later. Times are computed, never accumulated from
//! timers, so that a timer that is late makes a chunk late and leaves the rate as it is.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::Link;

/// How far ahead of time a lane reserves the wire: longer than timers and a busy machine are late, short enough that
/// connections take turns.
const AHEAD: Duration = Duration::from_millis(50);

/// Chunks under way in a lane at most: with those of 16 KiB, enough for 1 Gbit/s and 100 ms.
const UNDER_WAY: usize = 1024;

/// A direction of all connections.
#[derive(Debug, Default)]
pub(super) struct Wire {
    schedule: Mutex<Schedule>,
    delivered: AtomicU64,
}

#[derive(Debug, Default)]
struct Schedule {
    link: Link,
    free: Option<Instant>,
}

impl Wire {
    pub(super) fn set(&self, link: Link) {
        *self.lock() = Schedule { link, free: None };
    }

    pub(super) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    pub(super) fn delay(&self) -> Duration {
        self.lock().link.delay
    }

    fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that are sent at once: about 10 ms of the rate, so that a slow link is slow evenly.
    fn piece(&self) -> usize {
        self.lock()
            .link
            .rate
            .map_or(usize::MAX, |rate| usize::try_from(rate / 100).unwrap_or(usize::MAX).max(1))
    }

    /// When `len` bytes have left the sender, and when they arrive.
    fn reserve(&self, len: usize) -> (Instant, Instant) {
        let now = Instant::now();
        let mut schedule = self.lock();
        let start = schedule.free.map_or(now, |free| free.max(now));
        let occupied = schedule.link.rate.map_or(Duration::ZERO, |rate| {
            Duration::from_nanos((len as u64).saturating_mul(1_000_000_000) / rate.max(1))
        });
        let left = start + occupied;
        schedule.free = Some(left);
        (left, left + schedule.link.delay)
    }
}

/// The end that takes bytes.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    wire: &'a Wire,
    queue: mpsc::Sender<Item>,
    /// Bytes until the connection is to be dropped.
    left: Option<u64>,
}

/// The end at the socket.
#[derive(Debug)]
pub(super) struct Delivery<'a> {
    wire: &'a Wire,
    queue: mpsc::Receiver<Item>,
    stalled: watch::Receiver<bool>,
    socket: OwnedWriteHalf,
}

/// The connection is to be dropped, both directions.
#[derive(Debug)]
pub(super) struct Dropped;

#[derive(Debug)]
enum Item {
    Bytes(Instant, Bytes),
    Drop,
}

/// A lane that breaks the connection after `cut` bytes, if any. Dropping the lane closes this direction when all is
/// delivered.
pub(super) fn lane<'a>(
    wire: &'a Wire,
    socket: OwnedWriteHalf,
    stalled: watch::Receiver<bool>,
    cut: Option<u64>,
) -> (Lane<'a>, Delivery<'a>) {
    let (sender, queue) = mpsc::channel(UNDER_WAY);
    (Lane { wire, queue: sender, left: cut }, Delivery { wire, queue, stalled, socket })
}

impl Lane<'_> {
    /// Comes back when more can be sent.
    pub(super) async fn send(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(self.wire.piece().min(bytes.len()));
            self.send_piece(piece).await?;
        }
        Ok(())
    }

    async fn send_piece(&mut self, mut bytes: Bytes) -> io::Result<()> {
        let is_last = self.left.is_some_and(|left| left <= bytes.len() as u64);
        if let Some(left) = &mut self.left {
            bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= bytes.len() as u64;
        }
        let (left, arrives) = self.wire.reserve(bytes.len());
        self.put(Item::Bytes(arrives, bytes)).await?;
        if is_last {
            return self.drop_connection().await;
        }
        if let Some(wait) = left.checked_sub(AHEAD) {
            sleep_until(wait).await;
        }
        Ok(())
    }

    /// Has the connection dropped when all before is delivered, and never comes back.
    pub(super) async fn drop_connection(&self) -> io::Result<()> {
        self.put(Item::Drop).await?;
        std::future::pending().await
    }

    async fn put(&self, item: Item) -> io::Result<()> {
        self.queue.send(item).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Delivery<'_> {
    /// Delivers until the lane is dropped or the peer is gone, then closes this direction.
    pub(super) async fn run(mut self) -> Result<(), Dropped> {
        while let Some(item) = self.queue.recv().await {
            let Item::Bytes(arrives, bytes) = item else { return Err(Dropped) };
            sleep_until(arrives).await;
            // The sender is the proxy's, which outlives its connections.
            let _ = self.stalled.wait_for(|stalled| !stalled).await;
            if self.socket.write_all(&bytes).await.is_err() {
                return Ok(());
            }
            self.wire.delivered.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        // It fails only where the peer is gone.
        let _ = self.socket.shutdown().await;
        Ok(())
    }
}
