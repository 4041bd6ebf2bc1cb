//! Carries the sessions of many clients over the one agent channel.
//!
//! ```text
//!   client A: sessions 1, 2 ──┐                    ┌── 7, 9
//!   client B: session 1 ──────┼──▶ mux ──▶ agent: 7, 8, 9, 10
//!   a port's connection ──────┘                    └── 8, 10
//! ```
//!
//! Each client speaks the agent protocol as if it were alone; session numbers are translated. Ports of this process have
//! sessions without that ([`Local`]).
//!
//! Invariants:
//! - Credit passes from end to end, so what waits here for an owner that does not read ([`outbox`]) is bounded by what it
//!   granted; an agent that sends more has broken the protocol.
//! - What waits here for an agent that does not read is bounded too ([`ToAgent`]): whoever has something for it waits.
//! - Nothing that an agent does or leaves undone keeps a session open whose owner has gone.

mod client;
mod local;
mod outbox;
#[cfg(feature = "testing")]
pub(crate) mod testing;
mod to_agent;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};

use agent_protocol::{
    Credit, Decoder, INITIAL_CREDIT, Incoming, Reply, Request, SessionId, Stream, encode_credit, encode_data,
    encode_end, encode_reply, encode_request, parse_reply, signal,
};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

pub(super) use client::serve_client;
pub(super) use local::{Local, Window};
use outbox::Sender;
pub(super) use outbox::{Item, Receiver};
use to_agent::ToAgent;

pub(super) use crate::channel::READ_BYTES;

/// Sessions that one supervisor carries at once: as many as an agent does.
pub(super) const MAX_SESSIONS: usize = agent_protocol::MAX_SESSIONS;

/// The sessions that are open, and the way to the agent.
pub(super) struct Mux {
    to_agent: ToAgent,
    sessions: RefCell<HashMap<SessionId, Session>>,
    next: Cell<u32>,
    /// Since when there is no session: `None` before that counts, of no meaning while one is open.
    idle_since: Cell<Option<Instant>>,
    ended: Notify,
    /// The last of those that were open has ended.
    all_ended: Notify,
    /// What is read lies here until it is translated, which nothing waits for: one buffer, of [`READ_BYTES`], is enough for all
    /// who read. It is the one of the greeting: each more would be memory of every sandbox.
    buffer: RefCell<Vec<u8>>,
    /// What the agent speaks: clients are told, so that none asks for what that does not know.
    version: u32,
}

struct Session {
    owner: Owner,
    /// Bytes that the agent may still send; nothing after a stream's end.
    stdout: u32,
    stderr: u32,
    ended: [bool; 2],
    /// Bytes of input that it may still grant again.
    stdin: u32,
    /// Whether it has said that the program runs.
    started: bool,
}

/// Who hears what the agent says of a session.
enum Owner {
    /// A client, which calls it `id`.
    Client { id: SessionId, heard: Sender<Vec<u8>> },
    /// This process.
    Local { heard: Sender<Reply>, window: Rc<Window> },
}

impl Session {
    fn new(owner: Owner) -> Self {
        let (stdout, stderr) = (INITIAL_CREDIT, INITIAL_CREDIT);
        Self { owner, stdout, stderr, ended: [false; 2], stdin: 0, started: false }
    }

    /// Takes what the agent sends into account: whatever costs it nothing may come once.
    fn account(&mut self, incoming: &Incoming<'_>) -> Result<(), &'static str> {
        const TOO_MUCH: &str = "its agent sent more than it was allowed to";
        match incoming {
            Incoming::Data(_, stream, bytes) => {
                let is_error = *stream == Stream::Stderr;
                let left = if is_error { &mut self.stderr } else { &mut self.stdout };
                let length = u32::try_from(bytes.len()).map_err(|_| TOO_MUCH)?;
                *left = left.checked_sub(length).ok_or(TOO_MUCH)?;
                let [out, error] = &mut self.ended;
                let ended = if is_error { error } else { out };
                if std::mem::replace(ended, *ended || bytes.is_empty()) { Err(TOO_MUCH) } else { Ok(()) }
            }
            Incoming::Credit(_, credit) => {
                let fits = credit.stream == Stream::Stdin && credit.bytes > 0;
                self.stdin = self.stdin.checked_sub(credit.bytes).filter(|_| fits).ok_or(TOO_MUCH)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Mux {
    /// Starts to write to the agent. To be called where tasks can be spawned.
    pub(super) fn new(to_agent: OwnedWriteHalf, buffer: Vec<u8>, version: u32) -> Self {
        Self::with(ToAgent::new(to_agent), buffer, version)
    }

    fn with(to_agent: ToAgent, buffer: Vec<u8>, version: u32) -> Self {
        Self {
            to_agent,
            sessions: RefCell::default(),
            next: Cell::new(1),
            idle_since: Cell::new(None),
            ended: Notify::new(),
            all_ended: Notify::new(),
            buffer: RefCell::new(buffer),
            version,
        }
    }

    /// From when on it counts that there is no session: `ago`, as far as the host's clock reaches back.
    pub(super) fn count_idleness(&self, ago: Duration) {
        let now = Instant::now();
        self.idle_since.set(Some(now.checked_sub(ago).unwrap_or(now)));
    }

    /// How long there has been no session, once that counts.
    pub(super) fn idle_for(&self) -> Duration {
        let since = self.idle_since.get().filter(|_| !self.has_sessions());
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Returns when a session has ended, since the last call or from now on.
    pub(super) async fn session_ended(&self) {
        self.ended.notified().await;
    }

    /// Returns when all sessions have ended, since the last call or from now on.
    pub(super) async fn all_sessions_ended(&self) {
        self.all_ended.notified().await;
    }

    /// Whether any session is open.
    pub(super) fn has_sessions(&self) -> bool {
        !self.sessions.borrow().is_empty()
    }

    fn close(&self, id: SessionId) -> bool {
        let was_open = self.sessions.borrow_mut().remove(&id).is_some();
        if was_open {
            if self.idle_since.get().is_some() {
                self.idle_since.set(Some(Instant::now()));
            }
            self.ended.notify_one();
            if !self.has_sessions() {
                self.all_ended.notify_one();
            }
        }
        was_open
    }

    /// Ends a session whose owner has gone. It is closed before the agent hears of it, which it may never do.
    fn abandon(&self, id: SessionId) {
        if !self.close(id) {
            return;
        }
        let mut frames = Vec::new();
        if encode_request(&mut frames, id, &Request::Signal { number: signal::KILL }).is_ok() {
            // A killed program's session ends when what it wrote was sent: that nobody reads it must not keep it.
            for stream in [Stream::Stdout, Stream::Stderr] {
                encode_credit(&mut frames, id, Credit { stream, bytes: u32::MAX });
            }
            self.to_agent.send(frames, None);
        }
    }

    /// A new session, if there can be one more. Nothing of it was sent yet.
    fn open(&self, owner: Owner) -> Option<SessionId> {
        let mut sessions = self.sessions.borrow_mut();
        if sessions.len() >= MAX_SESSIONS {
            return None;
        }
        let id = SessionId(self.next.get());
        self.next.set(self.next.get().checked_add(1)?);
        sessions.insert(id, Session::new(owner));
        Some(id)
    }

    /// Decodes what the agent sent, and hands it out; an error is a broken protocol.
    fn hear(&self, decoder: &mut Decoder, mut input: &[u8]) -> Result<(), String> {
        while let Some(incoming) = decoder.next(&mut input) {
            self.deliver(&incoming)?;
        }
        Ok(())
    }

    /// Hands what came from the agent to the owner that it is for; an error is a broken protocol.
    fn deliver(&self, incoming: &Incoming<'_>) -> Result<(), String> {
        let broken = |error: &dyn std::fmt::Display| format!("its agent broke the protocol: {error}");
        let id = match incoming {
            Incoming::Control(id, _) | Incoming::Data(id, ..) | Incoming::Credit(id, _) => *id,
            Incoming::Lost(error) => return Err(broken(error)),
            Incoming::Hello(_) | Incoming::HelloReply(_) | Incoming::Resume => return Ok(()),
        };
        let mut sessions = self.sessions.borrow_mut();
        // A session whose owner has gone, or the agent's own: nobody asks it anything here.
        let Some(session) = sessions.get_mut(&id) else { return Ok(()) };
        session.account(incoming)?;
        let reply = match incoming {
            Incoming::Control(_, payload) => Some(parse_reply(payload).map_err(|error| broken(&error))?),
            _ => None,
        };
        let last = matches!(reply, Some(Reply::Exit(_) | Reply::Failed(_)));
        if reply.is_some() && !last && std::mem::replace(&mut session.started, true) {
            return Err("its agent answered one request twice".to_owned());
        }
        session.owner.hear(incoming, reply)?;
        if last {
            drop(sessions);
            self.close(id);
        }
        Ok(())
    }

    fn grant(&self, id: SessionId, credit: Credit) {
        if let Some(session) = self.sessions.borrow_mut().get_mut(&id) {
            match credit.stream {
                Stream::Stdout => session.stdout = session.stdout.saturating_add(credit.bytes),
                Stream::Stderr => session.stderr = session.stderr.saturating_add(credit.bytes),
                Stream::Stdin => {}
            }
        }
    }

    /// Notes input that is on its way to the agent, which may grant as much again.
    fn sent(&self, id: SessionId, bytes: usize) {
        if let Some(session) = self.sessions.borrow_mut().get_mut(&id) {
            session.stdin = session.stdin.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        }
    }
}

impl Owner {
    /// An owner that has gone takes its sessions with it.
    fn hear(&self, incoming: &Incoming<'_>, reply: Option<Reply>) -> Result<(), String> {
        match (self, reply) {
            (Self::Client { id, heard }, Some(reply)) => {
                let mut frame = Vec::new();
                encode_reply(&mut frame, *id, &reply).map_err(|error| error.to_string())?;
                heard.send(Item::Reply(frame));
            }
            (Self::Client { id, heard }, None) => tell(heard, incoming, *id),
            (Self::Local { heard, .. }, Some(reply)) => drop(heard.send(Item::Reply(reply))),
            (Self::Local { heard, window }, None) => match incoming {
                // At once: who takes the rest may wait for somebody that waits for this.
                Incoming::Credit(_, credit) => window.open(credit.bytes),
                _ => tell(heard, incoming, SessionId::CONTROL),
            },
        }
        Ok(())
    }
}

/// Lets its owner, who calls it `id`, hear what is no reply of a session.
fn tell<R>(heard: &Sender<R>, incoming: &Incoming<'_>, id: SessionId) {
    let item = match incoming {
        Incoming::Data(_, stream, []) => Item::End(id, *stream),
        Incoming::Data(_, stream, bytes) => Item::Data(id, *stream, bytes.to_vec()),
        Incoming::Credit(_, credit) => Item::Credit(id, *credit),
        _ => return,
    };
    heard.send(item);
}

fn forward(out: &mut Vec<u8>, id: SessionId, stream: Stream, bytes: &[u8]) {
    if bytes.is_empty() {
        encode_end(out, id, stream);
    } else {
        encode_data(out, id, stream, bytes);
    }
}

/// Delivers what the agent sends until its connection ends; gives the reason.
pub(super) async fn read_agent(from_agent: OwnedReadHalf, mut decoder: Decoder, mux: &Mux) -> String {
    loop {
        let ready = from_agent.readable().await;
        let mut buffer = mux.buffer.borrow_mut();
        let length = match ready.and_then(|()| from_agent.try_read(&mut buffer)) {
            Ok(0) => return "its engine has ended".to_owned(),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            // It ended with something of ours unread.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                return "its engine has ended".to_owned();
            }
            Err(error) => return format!("the connection to its agent failed: {error}"),
        };
        if let Err(reason) = mux.hear(&mut decoder, buffer.get(..length).unwrap_or_default()) {
            return reason;
        }
    }
}

#[cfg(test)]
mod tests;
