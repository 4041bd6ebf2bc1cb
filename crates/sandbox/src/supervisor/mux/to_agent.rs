//! The way to the agent: a queue, and the task that writes it out.
//!
//! What is sent has room in the queue first, for which senders wait, one after the other. Only what ends a session needs none,
//! since it may not wait: it is as little as what opened that session, which had to have room.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that wait for an agent that does not read.
const QUEUE_BYTES: usize = 256 << 10;

/// The queue's end to put in.
pub(super) struct ToAgent {
    queue: UnboundedSender<Queued>,
    room: Arc<Semaphore>,
}

/// Frames, and the room that is free again when they were written.
pub(super) struct Queued {
    pub(super) frames: Vec<u8>,
    _room: Option<Room>,
}

/// Room in the queue.
pub(super) struct Room(OwnedSemaphorePermit);

impl Room {
    /// Gives back all but `bytes` of it.
    pub(super) fn shrink(mut self, bytes: usize) -> Self {
        let left = self.0.num_permits();
        drop(self.0.split(left.saturating_sub(bytes)));
        self
    }
}

impl ToAgent {
    /// Spawns the task that writes.
    pub(super) fn new(agent: OwnedWriteHalf) -> Self {
        let (to_agent, queued) = Self::unsent();
        tokio::task::spawn_local(write(agent, queued));
        to_agent
    }

    /// With what is to be written.
    pub(super) fn unsent() -> (Self, UnboundedReceiver<Queued>) {
        let (queue, queued) = unbounded_channel();
        (Self { queue, room: Arc::new(Semaphore::new(QUEUE_BYTES)) }, queued)
    }

    /// Waits for room for `bytes`, which are few in comparison with the whole queue. Never, if the agent has gone.
    pub(super) async fn room(&self, bytes: usize) -> Room {
        let bytes = u32::try_from(bytes.min(QUEUE_BYTES)).unwrap_or(u32::MAX);
        match Arc::clone(&self.room).acquire_many_owned(bytes).await {
            Ok(permit) => Room(permit),
            Err(_) => std::future::pending().await,
        }
    }

    /// Bytes that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        QUEUE_BYTES - self.room.available_permits()
    }

    /// Puts whole frames into the queue. Whether the agent's connection still stands is seen by who reads from it.
    pub(super) fn send(&self, frames: Vec<u8>, room: Option<Room>) {
        if !frames.is_empty() {
            self.queue.send(Queued { frames, _room: room }).ok();
        }
    }
}

async fn write(mut agent: OwnedWriteHalf, mut queued: UnboundedReceiver<Queued>) {
    while let Some(Queued { frames, _room }) = queued.recv().await {
        if agent.write_all(&frames).await.is_err() {
            return;
        }
    }
}
