//! A client: a connection that speaks the agent protocol, whose sessions become sessions of the agent.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::rc::Rc;

use agent_protocol::{
    Decoder, Failure, FailureKind, Greeting, Incoming, Reply, Request, SessionId, encode_credit,
    encode_reply, encode_request, hello_reply, parse_request,
};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::outbox::{Item, Receiver, Sender, outbox};
use super::{Mux, Owner, READ_BYTES, forward};

/// Serves one client until it goes. Its sessions' processes are killed then.
pub(crate) async fn serve_client(stream: UnixStream, mux: &Rc<Mux>) {
    let (from_client, to_client) = stream.into_split();
    let (queue, queued) = outbox();
    let writer = tokio::task::spawn_local(write(to_client, queued));
    let mut client = Client::new(mux, queue);
    client.read(&from_client).await;
    drop(client);
    writer.abort();
}

async fn write(mut to_client: OwnedWriteHalf, mut queued: Receiver<Vec<u8>>) {
    while let Some(item) = queued.next().await {
        if to_client.write_all(&frames(item)).await.is_err() {
            return;
        }
    }
}

/// As it goes over the wire.
pub(super) fn frames(item: Item<Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    match item {
        Item::Reply(frame) => return frame,
        Item::Data(id, stream, bytes) => forward(&mut out, id, stream, &bytes),
        Item::End(id, stream) => forward(&mut out, id, stream, &[]),
        Item::Credit(id, credit) => encode_credit(&mut out, id, credit),
    }
    out
}

/// What a client has opened. Dropped, it takes its sessions along.
pub(super) struct Client {
    mux: Rc<Mux>,
    /// The client's number of a session to the agent's.
    sessions: HashMap<SessionId, SessionId>,
    queue: Sender<Vec<u8>>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.sessions.values().for_each(|id| self.mux.abandon(*id));
    }
}

impl Client {
    /// That has opened nothing. What it is to hear goes to `queue`.
    pub(super) fn new(mux: &Rc<Mux>, queue: Sender<Vec<u8>>) -> Self {
        Self { mux: Rc::clone(mux), sessions: HashMap::new(), queue }
    }

    async fn read(&mut self, from_client: &OwnedReadHalf) {
        let mux = Rc::clone(&self.mux);
        let mut decoder = Decoder::agent();
        while from_client.readable().await.is_ok() {
            // There is room for what is read before it is: nothing is begun for a client that goes while it waits.
            let room = tokio::select! {
                biased;
                room = mux.to_agent.room(READ_BYTES) => room,
                // Of all that this could wait for, only the end of what the client sends is ever there.
                _ = from_client.ready(Interest::PRIORITY) => return,
            };
            let mut buffer = mux.buffer.borrow_mut();
            let length = match from_client.try_read(&mut buffer) {
                Ok(length @ 1..) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Ok(0) | Err(_) => return,
            };
            let Some(out) = self.translate(&mut decoder, buffer.get(..length).unwrap_or_default()) else {
                return;
            };
            let room = room.shrink(out.len());
            mux.to_agent.send(out, Some(room));
        }
    }

    /// What carries its sessions.
    #[cfg(feature = "testing")]
    pub(super) fn mux(&self) -> &Mux {
        &self.mux
    }

    /// Decodes what the client sent, and makes frames for the agent of it; `None` if it broke the protocol.
    pub(super) fn translate(&mut self, decoder: &mut Decoder, mut input: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        while let Some(incoming) = decoder.next(&mut input) {
            self.take(&incoming, &mut out)?;
        }
        Some(out)
    }

    /// Appends frames for the agent; `None` if the client broke the protocol, or has gone.
    fn take(&mut self, incoming: &Incoming<'_>, out: &mut Vec<u8>) -> Option<()> {
        match incoming {
            Incoming::Hello(greeting) => {
                let reply = Greeting { version: self.mux.version, nonce: greeting.nonce };
                self.queue.send(Item::Reply(hello_reply(reply).to_vec())).then_some(())
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
                let owner = Owner::Client { id, heard: self.queue.clone() };
                let Some(agent_id) = self.mux.open(owner) else {
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
        self.queue.send(Item::Reply(bytes)).then_some(())
    }
}

fn refused(kind: FailureKind, message: &str) -> Reply {
    Reply::Failed(Failure { kind, message: message.to_owned() })
}
