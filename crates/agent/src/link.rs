//! The connection with a host: greeting, quiet, and a bounded queue of bytes to send.
//!
//! ```text
//!           Hello                sync done queued                all sent
//!  closed ─────────► open ─────────────────────────► quieting ────────────► closed
//!     ▲                │ host closed, protocol broken     │                   │
//!     └────────────────┴──────────────────────────────────┘   Hello, Resume   └──► open
//! ```
//!
//! Only while open may anybody queue frames; while closed nothing is ever written.

use std::io;
use std::os::fd::BorrowedFd;

use agent_protocol::{
    Credit, Decoder, Failure, FailureKind, Greeting, HEADER_LEN, Incoming, MAX_PAYLOAD, Reply, SessionId,
    Stream, VERSION, data_header, encode_credit, encode_data, encode_end, encode_reply, hello_reply,
};

use crate::port::{Moved, Port};

/// The highest version of the protocol that is spoken.
pub(crate) const SPEAKS: u32 = if cfg!(feature = "protocol-1") { 1 } else { VERSION };
/// Sessions stop reading their output while this much is queued.
const QUEUE_FULL: usize = 256 * 1024;
/// A host that makes the agent queue more than this without reading is cut off.
const QUEUE_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open,
    Quieting,
}

pub(crate) struct Link {
    port: Port,
    decoder: Decoder,
    phase: Phase,
    input: Vec<u8>,
    queue: Queue,
    readable: bool,
    writable: bool,
}

/// What [`Link::receive`] tells of.
pub(crate) enum Received<'a> {
    /// Input that belongs to the connection, or begins one.
    Incoming(Incoming<'a>),
    /// The connection is over.
    Ended,
}

impl Link {
    pub(crate) fn new(port: Port) -> Self {
        Link {
            port,
            decoder: Decoder::agent(),
            phase: Phase::Closed,
            input: vec![0; MAX_PAYLOAD],
            queue: Queue::default(),
            readable: true,
            writable: true,
        }
    }

    pub(crate) fn edge(&self) -> BorrowedFd<'_> {
        self.port.edge()
    }

    /// Takes note that the port has changed.
    pub(crate) fn edge_came(&mut self) -> io::Result<()> {
        self.port.take_edge()?;
        (self.readable, self.writable) = (true, true);
        Ok(())
    }

    /// Whether there is something to do at once, without waiting for an edge.
    pub(crate) fn has_work(&self) -> bool {
        self.readable || (self.writable && self.phase != Phase::Closed && !self.queue.is_empty())
    }

    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether there is, or is still to be told, something to a host.
    pub(crate) fn is_active(&self) -> bool {
        self.phase != Phase::Closed
    }

    /// Whether sessions may add output.
    pub(crate) fn has_room(&self) -> bool {
        self.is_open() && self.queue.len() < QUEUE_FULL
    }

    /// Where frames go. For use while open only.
    pub(crate) fn queue(&mut self) -> &mut Queue {
        debug_assert!(self.is_open(), "frames may be queued only while a connection is open");
        &mut self.queue
    }

    /// Sends bytes of a stream that are in `buffer` behind [`HEADER_LEN`] bytes of room: what the port takes at once straight from there.
    /// For use while open only.
    pub(crate) fn send_data(&mut self, session: SessionId, stream: Stream, mut buffer: &mut [u8]) {
        debug_assert!(self.is_open(), "data may be sent only while a connection is open");
        while self.writable
            && self.queue.is_empty()
            && let Some((frame, _)) = buffer.split_at_mut_checked(buffer.len().min(MAX_PAYLOAD))
            && let Some((header, bytes @ [_, ..])) = frame.split_at_mut_checked(HEADER_LEN)
        {
            header.copy_from_slice(&data_header(session, stream, bytes.len()));
            // A port that has failed says so again when the queue is sent.
            let (sent, _) = write(&self.port, &mut self.writable, frame);
            self.queue.bytes.extend_from_slice(frame.get(sent..).unwrap_or_default());
            // The next header goes over the end of this frame.
            let next = frame.len() - HEADER_LEN;
            buffer = buffer.get_mut(next..).unwrap_or_default();
        }
        self.queue.data(session, stream, buffer.get(HEADER_LEN..).unwrap_or_default());
    }

    /// Begins the connection that `greeting` asks for.
    pub(crate) fn accept(&mut self, greeting: &Greeting) {
        self.queue.clear();
        self.queue.bytes.extend(hello_reply(Greeting { version: SPEAKS, nonce: greeting.nonce }));
        self.phase = Phase::Open;
    }

    /// Continues the connection after a sync.
    pub(crate) fn resume(&mut self) {
        self.phase = Phase::Open;
    }

    /// Sends what is queued, then is closed until a greeting.
    pub(crate) fn quiet(&mut self) {
        self.phase = Phase::Quieting;
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        self.queue.clear();
        self.decoder.discard();
    }

    /// Reads up to a whole frame, and hands what came to `handle`, piece by piece.
    pub(crate) fn receive(&mut self, mut handle: impl FnMut(&mut Self, &Received<'_>)) -> io::Result<()> {
        if !self.readable {
            return Ok(());
        }
        let mut input = std::mem::take(&mut self.input);
        let mut filled = 0;
        // A port gives a page at a time, however much there is: all that the loop does between two reads costs more than they do.
        let stopped = loop {
            let rest = input.get_mut(filled..).unwrap_or_default();
            if rest.is_empty() {
                break None;
            }
            match self.port.read(rest)? {
                Moved::Bytes(count) => filled += count,
                stopped => break Some(stopped),
            }
        };
        self.decode(input.get(..filled).unwrap_or_default(), &mut handle);
        if let Some(stopped) = stopped {
            self.readable = false;
            if stopped == Moved::Closed {
                self.close();
                handle(self, &Received::Ended);
            }
        }
        self.input = input;
        Ok(())
    }

    fn decode(&mut self, mut input: &[u8], handle: &mut impl FnMut(&mut Self, &Received<'_>)) {
        // The decoder is taken out so that a payload it lends can be handled together with the link.
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::agent());
        while let Some(incoming) = decoder.next(&mut input) {
            if matches!(incoming, Incoming::Lost(_)) {
                self.close();
                handle(self, &Received::Ended);
            } else {
                handle(self, &Received::Incoming(incoming));
            }
            if self.queue.len() > QUEUE_MAX {
                decoder.discard();
                self.close();
                handle(self, &Received::Ended);
            }
        }
        self.decoder = decoder;
    }

    /// Writes what the port takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.phase != Phase::Closed {
            let (sent, written) = write(&self.port, &mut self.writable, self.queue.unsent());
            self.queue.advance(sent);
            written?;
        }
        if self.phase == Phase::Quieting && self.queue.is_empty() {
            self.close();
        }
        Ok(())
    }
}

/// Writes what the port takes of `bytes`, while it is writable: how many it took, also when an error followed.
fn write(port: &Port, writable: &mut bool, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut sent = 0;
    while *writable && let Some(rest @ [_, ..]) = bytes.get(sent..) {
        match port.write(rest) {
            Ok(Moved::Bytes(count)) => sent += count,
            Ok(Moved::Blocked | Moved::Closed) => *writable = false,
            Err(error) => return (sent, Err(error)),
        }
    }
    (sent, Ok(()))
}

/// Encoded frames on their way out.
#[derive(Default)]
pub(crate) struct Queue {
    bytes: Vec<u8>,
    sent: usize,
}

impl Queue {
    pub(crate) fn data(&mut self, session: SessionId, stream: Stream, bytes: &[u8]) {
        encode_data(&mut self.bytes, session, stream, bytes);
    }

    pub(crate) fn end(&mut self, session: SessionId, stream: Stream) {
        encode_end(&mut self.bytes, session, stream);
    }

    pub(crate) fn credit(&mut self, session: SessionId, stream: Stream, bytes: u32) {
        encode_credit(&mut self.bytes, session, Credit { stream, bytes });
    }

    pub(crate) fn reply(&mut self, session: SessionId, reply: &Reply) {
        if encode_reply(&mut self.bytes, session, reply).is_err() {
            // Only a failure's message varies in length.
            let message = "the message is too long to be sent".to_owned();
            let failed = Reply::Failed(Failure { kind: FailureKind::Io, message });
            let _ = encode_reply(&mut self.bytes, session, &failed);
        }
    }

    fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn unsent(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.sent >= QUEUE_FULL || self.is_empty() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }
}
