//! A session of this process: of a connection to a forwarded port.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::rc::Rc;

use agent_protocol::{Credit, HEADER_LEN, Reply, Request, SessionId, Stream, encode_credit, encode_request};
use tokio::sync::Notify;

use super::outbox::{Receiver, outbox};
use super::{Mux, Owner, READ_BYTES, forward};

/// A session that is open. Dropped before its end, it is abandoned.
pub(crate) struct Local {
    mux: Rc<Mux>,
    id: SessionId,
    window: Rc<Window>,
}

impl Local {
    /// Asks the agent for a session; what comes from it is the receiver's, but credit, which goes to its [`Window`].
    ///
    /// # Errors
    /// If there are too many.
    pub(crate) async fn open(mux: &Rc<Mux>, request: &Request) -> io::Result<(Self, Receiver<Reply>)> {
        let room = mux.to_agent.room(READ_BYTES).await;
        let (heard, received) = outbox();
        let window = Rc::<Window>::default();
        let owner = Owner::Local { heard, window: Rc::clone(&window) };
        let id = mux.open(owner).ok_or(ErrorKind::ResourceBusy)?;
        let session = Self { mux: Rc::clone(mux), id, window };
        let mut frames = Vec::new();
        encode_request(&mut frames, id, request).map_err(io::Error::other)?;
        let room = room.shrink(frames.len());
        mux.to_agent.send(frames, Some(room));
        Ok((session, received))
    }

    /// What the guest is ready to take.
    pub(crate) fn window(&self) -> &Window {
        &self.window
    }

    /// Passes input on: what `read` puts into the buffer, which is as long as the guest's window allows at most. How much
    /// that was; nothing is the end of the input.
    ///
    /// # Errors
    /// That of `read`.
    pub(crate) async fn send(&self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        let room = self.mux.to_agent.room(READ_BYTES + HEADER_LEN).await;
        let mut buffer = self.mux.buffer.borrow_mut();
        let limit = self.window.bytes.get().min(buffer.len());
        let count = read(buffer.get_mut(..limit).unwrap_or_default())?;
        self.window.bytes.update(|bytes| bytes.saturating_sub(count));
        self.mux.sent(self.id, count);
        let mut frames = Vec::new();
        forward(&mut frames, self.id, Stream::Stdin, buffer.get(..count).unwrap_or_default());
        let room = room.shrink(frames.len());
        self.mux.to_agent.send(frames, Some(room));
        Ok(count)
    }

    /// Allows the guest to send so many bytes more.
    pub(crate) async fn grant(&self, bytes: u32) {
        let credit = Credit { stream: Stream::Stdout, bytes };
        let mut frames = Vec::new();
        encode_credit(&mut frames, self.id, credit);
        let room = self.mux.to_agent.room(frames.len()).await;
        self.mux.grant(self.id, credit);
        self.mux.to_agent.send(frames, Some(room));
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.mux.abandon(self.id);
    }
}

/// How many bytes the guest is ready to take.
#[derive(Default)]
pub(crate) struct Window {
    bytes: Cell<usize>,
    opened: Notify,
}

impl Window {
    /// Adds to it.
    pub(crate) fn open(&self, bytes: u32) {
        self.bytes.update(|open| open.saturating_add(bytes as usize));
        self.opened.notify_one();
    }

    /// Waits until it is open. For one waiter.
    pub(crate) async fn is_open(&self) {
        while self.bytes.get() == 0 {
            self.opened.notified().await;
        }
    }
}
