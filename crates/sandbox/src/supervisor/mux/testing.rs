//! For fuzzing: a supervisor between a guest and its clients, without sockets and tasks.

use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use agent_protocol::{Decoder, Nonce, Reply, Request};
use tokio::sync::mpsc::UnboundedReceiver;

use super::client::{Client, frames};
use super::outbox::{Item, Receiver, outbox};
use super::to_agent::{Queued, ToAgent};
use super::{Local, Mux, READ_BYTES};

/// A supervisor.
pub struct Bench {
    mux: Rc<Mux>,
    decoder: Decoder,
    to_agent: UnboundedReceiver<Queued>,
}

/// A client's connection.
pub struct ClientEnd {
    client: Option<Client>,
    decoder: Decoder,
    heard: Receiver<Vec<u8>>,
}

/// A forwarded port's connection.
pub struct PortEnd {
    session: Local,
    heard: Receiver<Reply>,
}

impl Bench {
    /// One that has greeted its agent with this nonce, and whose agent speaks this version.
    #[must_use]
    pub fn new(nonce: Nonce, version: u32) -> Self {
        let (to_agent, queued) = ToAgent::unsent();
        let mux = Rc::new(Mux::with(to_agent, vec![0; READ_BYTES], version));
        Self { mux, decoder: Decoder::host(nonce), to_agent: queued }
    }

    /// Takes what the guest sends.
    ///
    /// # Errors
    /// Why the sandbox is given up.
    pub fn hear(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.mux.hear(&mut self.decoder, bytes)
    }

    /// What was sent to the guest since the last call.
    pub fn sent(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Ok(Queued { frames, .. }) = self.to_agent.try_recv() {
            bytes.extend(frames);
        }
        bytes
    }

    /// Sessions that are open.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.mux.sessions.borrow().len()
    }

    /// A client connects.
    #[must_use]
    pub fn client(&self) -> ClientEnd {
        let (queue, heard) = outbox();
        ClientEnd { client: Some(Client::new(&self.mux, queue)), decoder: Decoder::agent(), heard }
    }

    /// Somebody connects to a forwarded port; `None` if there are too many sessions.
    #[must_use]
    pub fn port(&self, guest: u16) -> Option<PortEnd> {
        let opened = at_once(Local::open(&self.mux, &Request::Connect { port: guest }))?;
        opened.ok().map(|(session, heard)| PortEnd { session, heard })
    }
}

impl ClientEnd {
    /// Takes what the client sends. It is let go of when it breaks the protocol.
    pub fn hear(&mut self, bytes: &[u8]) {
        let Some(client) = &mut self.client else { return };
        match client.translate(&mut self.decoder, bytes) {
            Some(out) => client.mux().to_agent.send(out, None),
            None => self.client = None,
        }
    }

    /// What was sent to the client since the last call.
    pub fn sent(&mut self) -> Vec<u8> {
        std::iter::from_fn(|| self.heard.try_next()).flat_map(frames).collect()
    }
}

impl PortEnd {
    /// Passes input on, as much of it as the guest takes now; how much that is.
    pub fn send(&self, bytes: &[u8]) -> usize {
        let sent = at_once(self.session.send(|buffer| {
            let length = bytes.len().min(buffer.len());
            let (Some(to), Some(from)) = (buffer.get_mut(..length), bytes.get(..length)) else {
                return Ok(0);
            };
            to.copy_from_slice(from);
            Ok(length)
        }));
        sent.and_then(Result::ok).unwrap_or(0)
    }

    /// Bytes that the guest has sent since the last call, which are granted again; whether the connection goes on.
    pub fn receive(&mut self) -> (usize, bool) {
        let mut length = 0;
        while let Some(item) = self.heard.try_next() {
            match item {
                Item::Data(_, _, bytes) => length += bytes.len(),
                Item::Reply(Reply::Connected {}) => {
                    self.session.window().open(agent_protocol::INITIAL_CREDIT);
                }
                Item::Reply(_) => return (length, false),
                Item::End(..) | Item::Credit(..) => {}
            }
        }
        at_once(self.session.grant(u32::try_from(length).unwrap_or(u32::MAX)));
        (length, true)
    }
}

/// What comes of it without anybody else doing anything; `None` if it waits.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
