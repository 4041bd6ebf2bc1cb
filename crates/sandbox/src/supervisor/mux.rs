//! Carries the sessions of many clients over the one agent channel.
//!
//! ```text
//!   client A: sessions 1, 2 ──┐                       ┌── 7, 9
//!                             ├──▶ mux ──▶ agent: 7, 8, 9
//!   client B: session 1 ──────┘                       └── 8
//! ```
//!
//! Each client speaks the agent protocol as if it were alone; session numbers are translated. Credit passes from end to
//! end, so what waits here for a client that does not read is bounded by what that client granted; an agent that
//! sends more has broken the protocol. When a client goes, its sessions' processes are killed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};

use agent_protocol::{
    Credit, Decoder, Failure, FailureKind, Greeting, INITIAL_CREDIT, Incoming, Reply, Request, SessionId,
    Stream, encode_credit, encode_data, encode_end, encode_reply, encode_request, hello_reply, parse_reply,
    parse_request,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;
/// Sessions that one supervisor carries at once.
const MAX_SESSIONS: usize = 256;
/// Kills a process group, whatever it does.
const SIGKILL: i32 = 9;

/// The sessions that are open, and the way to the agent.
pub(super) struct Mux {
    to_agent: tokio::sync::Mutex<OwnedWriteHalf>,
    sessions: RefCell<HashMap<SessionId, Session>>,
    next: Cell<u32>,
    /// When the last session has ended; of no meaning while one is open.
    last_end: Cell<Instant>,
    /// What the agent speaks: clients are told, so that none asks for what that does not know.
    version: u32,
}

struct Session {
    /// What the client calls it.
    client_id: SessionId,
    to_client: UnboundedSender<Vec<u8>>,
    /// Bytes that the agent may still send; nothing after a stream's end.
    stdout: u32,
    stderr: u32,
    ended: [bool; 2],
    /// Bytes of input that it may still grant again.
    stdin: u32,
    /// Whether it has said that the program runs.
    started: bool,
}

impl Session {
    fn new(client_id: SessionId, to_client: UnboundedSender<Vec<u8>>) -> Self {
        let (stdout, stderr) = (INITIAL_CREDIT, INITIAL_CREDIT);
        Self { client_id, to_client, stdout, stderr, ended: [false; 2], stdin: 0, started: false }
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
    pub(super) fn new(to_agent: OwnedWriteHalf, version: u32) -> Self {
        let to_agent = tokio::sync::Mutex::new(to_agent);
        let last_end = Cell::new(Instant::now());
        Self { to_agent, sessions: RefCell::default(), next: Cell::new(1), last_end, version }
    }

    /// How long there has been no session.
    pub(super) fn idle_for(&self) -> Duration {
        if self.sessions.borrow().is_empty() { self.last_end.get().elapsed() } else { Duration::ZERO }
    }

    fn close(&self, id: SessionId) {
        self.sessions.borrow_mut().remove(&id);
        self.last_end.set(Instant::now());
    }

    /// Sends whole frames to the agent. When that fails, the reader sees the connection end.
    async fn send(&self, frames: &[u8]) {
        self.to_agent.lock().await.write_all(frames).await.ok();
    }

    fn open(&self, client_id: SessionId, to_client: &UnboundedSender<Vec<u8>>) -> Option<SessionId> {
        let mut sessions = self.sessions.borrow_mut();
        if sessions.len() >= MAX_SESSIONS {
            return None;
        }
        let id = SessionId(self.next.get());
        self.next.set(self.next.get().checked_add(1)?);
        sessions.insert(id, Session::new(client_id, to_client.clone()));
        Some(id)
    }

    /// Hands what came from the agent to the client that it is for; an error is a broken protocol.
    fn deliver(&self, incoming: Incoming<'_>) -> Result<(), String> {
        let mut sessions = self.sessions.borrow_mut();
        let mut out = Vec::new();
        let id = match incoming {
            Incoming::Control(id, _) | Incoming::Data(id, ..) | Incoming::Credit(id, _) => id,
            Incoming::Lost(error) => return Err(format!("its agent broke the protocol: {error}")),
            Incoming::Hello(_) | Incoming::HelloReply(_) | Incoming::Resume => return Ok(()),
        };
        // A session whose client has gone, or the agent's own: nobody asks it anything here.
        let Some(session) = sessions.get_mut(&id) else { return Ok(()) };
        let client_id = session.client_id;
        let mut last = false;
        session.account(&incoming)?;
        match incoming {
            Incoming::Control(_, payload) => {
                let reply =
                    parse_reply(payload).map_err(|error| format!("its agent broke the protocol: {error}"))?;
                last = matches!(reply, Reply::Exit(_) | Reply::Failed(_));
                if !last && std::mem::replace(&mut session.started, true) {
                    return Err("its agent answered one request twice".to_owned());
                }
                encode_reply(&mut out, client_id, &reply).map_err(|error| error.to_string())?;
            }
            Incoming::Data(_, stream, bytes) => forward(&mut out, client_id, stream, bytes),
            Incoming::Credit(_, credit) => encode_credit(&mut out, client_id, credit),
            Incoming::Hello(_) | Incoming::HelloReply(_) | Incoming::Resume | Incoming::Lost(_) => {}
        }
        // A client that has gone takes its sessions with it.
        session.to_client.send(out).ok();
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

    fn is_open(&self, id: SessionId) -> bool {
        self.sessions.borrow().contains_key(&id)
    }
}

fn forward(out: &mut Vec<u8>, id: SessionId, stream: Stream, bytes: &[u8]) {
    if bytes.is_empty() {
        encode_end(out, id, stream);
    } else {
        encode_data(out, id, stream, bytes);
    }
}

/// Delivers what the agent sends until its connection ends; gives the reason.
pub(super) async fn read_agent(mut from_agent: OwnedReadHalf, mut decoder: Decoder, mux: &Mux) -> String {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let length = match from_agent.read(&mut buffer).await {
            Ok(0) => return "its engine has ended".to_owned(),
            Ok(length) => length,
            // It ended with something of ours unread.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                return "its engine has ended".to_owned();
            }
            Err(error) => return format!("the connection to its agent failed: {error}"),
        };
        let mut input = buffer.get(..length).unwrap_or_default();
        while let Some(incoming) = decoder.next(&mut input) {
            if let Err(reason) = mux.deliver(incoming) {
                return reason;
            }
        }
    }
}

/// Serves one client until it goes.
pub(super) async fn serve_client(stream: UnixStream, mux: &Rc<Mux>) {
    let (from_client, to_client) = stream.into_split();
    let (queue, queued) = unbounded_channel();
    let writer = tokio::task::spawn_local(write_client(to_client, queued));
    let mut client = Client { mux: Rc::clone(mux), sessions: HashMap::new(), queue };
    client.read(from_client).await;
    for id in client.sessions.values().filter(|id| mux.is_open(**id)) {
        let mut kill = Vec::new();
        if encode_request(&mut kill, *id, &Request::Signal { number: SIGKILL }).is_ok() {
            mux.send(&kill).await;
        }
        mux.close(*id);
    }
    drop(client);
    writer.abort();
}

async fn write_client(mut to_client: OwnedWriteHalf, mut queued: UnboundedReceiver<Vec<u8>>) {
    while let Some(frames) = queued.recv().await {
        if to_client.write_all(&frames).await.is_err() {
            return;
        }
    }
}

struct Client {
    mux: Rc<Mux>,
    /// The client's number of a session to the agent's.
    sessions: HashMap<SessionId, SessionId>,
    queue: UnboundedSender<Vec<u8>>,
}

impl Client {
    async fn read(&mut self, mut from_client: OwnedReadHalf) {
        let mut decoder = Decoder::agent();
        let mut buffer = vec![0; READ_BYTES];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            let mut input = buffer.get(..length).unwrap_or_default();
            let mut out = Vec::new();
            while let Some(incoming) = decoder.next(&mut input) {
                if self.take(&incoming, &mut out).is_none() {
                    return;
                }
            }
            if !out.is_empty() {
                self.mux.send(&out).await;
            }
        }
    }

    /// Translates what the client sent into frames for the agent; `None` if it broke the protocol.
    fn take(&mut self, incoming: &Incoming<'_>, out: &mut Vec<u8>) -> Option<()> {
        match incoming {
            Incoming::Hello(greeting) => {
                let reply = Greeting { version: self.mux.version, nonce: greeting.nonce };
                self.queue.send(hello_reply(reply).to_vec()).ok()
            }
            Incoming::Control(SessionId::CONTROL, payload) => self.own(payload),
            Incoming::Control(id, payload) => self.control(*id, payload, out),
            Incoming::Data(id, stream, bytes) => {
                // A session that has ended meanwhile.
                let Some(agent_id) = self.sessions.get(id) else { return Some(()) };
                self.mux.sent(*agent_id, bytes.len());
                forward(out, *agent_id, *stream, bytes);
                Some(())
            }
            Incoming::Credit(id, credit) => {
                let Some(agent_id) = self.sessions.get(id) else { return Some(()) };
                self.mux.grant(*agent_id, *credit);
                encode_credit(out, *agent_id, *credit);
                Some(())
            }
            Incoming::HelloReply(_) | Incoming::Resume | Incoming::Lost(_) => None,
        }
    }

    /// What is asked of the agent itself: only whether it is there. Its identity and its end are the supervisor's.
    fn own(&self, payload: &[u8]) -> Option<()> {
        let reply = match parse_request(payload).ok()? {
            Request::Ping {} => Reply::Pong {},
            _ => refused(FailureKind::BadRequest, "the supervisor does not pass this on"),
        };
        self.reply(SessionId::CONTROL, &reply)
    }

    fn control(&mut self, id: SessionId, payload: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let request = parse_request(payload).ok()?;
        use Request::{Archive, Connect, Eval, Exec, Extract, Release, Resize, Signal};
        if request.since() > self.mux.version {
            return self
                .reply(id, &refused(FailureKind::BadRequest, "the guest's agent is too old for this"));
        }
        let agent_id = match (&request, self.sessions.get(&id)) {
            (Exec(_) | Eval { .. } | Archive(_) | Extract(_) | Connect { .. } | Release {}, None) => {
                let Some(agent_id) = self.mux.open(id, &self.queue) else {
                    return self.reply(id, &refused(FailureKind::Busy, "too many sessions are open"));
                };
                self.sessions.insert(id, agent_id);
                agent_id
            }
            (Signal { .. } | Resize(_), Some(agent_id)) => *agent_id,
            (Signal { .. } | Resize(_), None) => return Some(()),
            _ => return None,
        };
        encode_request(out, agent_id, &request).ok()
    }

    fn reply(&self, id: SessionId, reply: &Reply) -> Option<()> {
        let mut bytes = Vec::new();
        encode_reply(&mut bytes, id, reply).ok()?;
        self.queue.send(bytes).ok()
    }
}

fn refused(kind: FailureKind, message: &str) -> Reply {
    Reply::Failed(Failure { kind, message: message.to_owned() })
}

#[cfg(test)]
mod tests;
