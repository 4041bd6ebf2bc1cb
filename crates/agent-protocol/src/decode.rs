//! Bytes to frames, for both ends, in pieces of any size.
//!
//! ```text
//!              greeting accepted
//!   ┌──────────┐ ─────────────► ┌────────┐
//!   │ scanning │                │ framed │
//!   └──────────┘ ◄───────────── └────────┘
//!      Pad (agent only), invalid header, Decoder::discard
//! ```
//!
//! Scanning holds at most one greeting, framed at most one frame.

use crate::frame::{GREETING_LEN, Header, MAGIC};
use crate::{Credit, Greeting, HEADER_LEN, Kind, Nonce, ProtocolError, SessionId, Stream};

/// One thing that came over the wire. Payloads live in the decoder until its next call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// Agent: a host begins a connection; all earlier sessions are void.
    Hello(Greeting),
    /// Host: the agent answered the Hello that carried our nonce.
    HelloReply(Greeting),
    /// Agent: the host continues the connection it has.
    Resume,
    /// A control message; see [`parse_request`](crate::parse_request), [`parse_reply`](crate::parse_reply).
    Control(SessionId, &'a [u8]),
    /// Bytes of a stream; none: its end.
    Data(SessionId, Stream, &'a [u8]),
    /// The peer may send more.
    Credit(SessionId, Credit),
    /// The peer broke the protocol. Everything up to the next greeting will be discarded.
    Lost(ProtocolError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Nonce of the last Hello, which a Resume has to carry.
    Agent(Option<Nonce>),
    /// Nonce that a HelloReply has to carry.
    Host(Nonce),
}

/// Incremental decoder of one end of the channel.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    framed: bool,
    /// The greeting or frame being gathered: never longer than what it is known to need.
    held: Vec<u8>,
    /// `held` is a frame that was handed out by the last call.
    handed_out: bool,
}

impl Decoder {
    /// The agent's end, which waits for a Hello.
    pub fn agent() -> Self {
        Self::new(Role::Agent(None))
    }

    /// The host's end, which waits for the reply to the Hello with this nonce.
    pub fn host(nonce: Nonce) -> Self {
        Self::new(Role::Host(nonce))
    }

    fn new(role: Role) -> Self {
        Decoder { role, framed: false, held: Vec::new(), handed_out: false }
    }

    /// Whether a connection is established: a greeting was accepted and the stream is not lost.
    pub fn is_framed(&self) -> bool {
        self.framed
    }

    /// Goes back to scanning, and forgets what is held.
    pub fn discard(&mut self) {
        self.framed = false;
        self.handed_out = false;
        self.held.clear();
    }

    /// Consumes `input` up to the end of the next incoming thing. `None` when all of it is consumed and more
    /// is needed.
    pub fn next<'s>(&'s mut self, input: &mut &[u8]) -> Option<Incoming<'s>> {
        if std::mem::take(&mut self.handed_out) {
            self.held.clear();
        }
        loop {
            if !self.framed {
                return self.scan(input);
            }
            if !self.fill(input, HEADER_LEN) {
                return None;
            }
            let header = match self.header() {
                Ok(header) => header,
                // Its bytes stay held: they may be the beginning of a greeting.
                Err(error) => {
                    self.framed = false;
                    return Some(Incoming::Lost(error));
                }
            };
            if header.kind == Kind::Pad {
                self.held.clear();
                self.framed = matches!(self.role, Role::Host(_));
                continue;
            }
            if !self.fill(input, HEADER_LEN + header.length) {
                return None;
            }
            self.handed_out = true;
            return Some(self.incoming(header));
        }
    }

    /// Moves bytes from `input` until `held` has `want`; whether it has.
    fn fill(&mut self, input: &mut &[u8], want: usize) -> bool {
        let missing = want.saturating_sub(self.held.len()).min(input.len());
        if let Some((taken, rest)) = input.split_at_checked(missing) {
            self.held.reserve_exact(missing);
            self.held.extend_from_slice(taken);
            *input = rest;
        }
        self.held.len() >= want
    }

    /// The header in `held`, if it may be sent to this end.
    fn header(&self) -> Result<Header, ProtocolError> {
        let Some(bytes) = self.held.first_chunk() else { return Err(ProtocolError::NotZero) };
        let header = Header::parse(bytes)?;
        use Kind::*;
        let accepted = match self.role {
            Role::Agent(_) => matches!(header.kind, Pad | Hello | Resume | Control | Stdin | Credit),
            Role::Host(_) => matches!(header.kind, Pad | HelloReply | Control | Stdout | Stderr | Credit),
        };
        if accepted { Ok(header) } else { Err(ProtocolError::Kind(header.kind as u8)) }
    }

    fn incoming(&mut self, header: Header) -> Incoming<'_> {
        let Header { session, kind, .. } = header;
        let greeting = self.accepted_greeting(header);
        let payload = self.held.get(HEADER_LEN..).unwrap_or_default();
        match (kind, greeting, Credit::parse(payload)) {
            (Kind::Hello, Some(greeting), _) => {
                self.role = Role::Agent(Some(greeting.nonce));
                Incoming::Hello(greeting)
            }
            (Kind::HelloReply, Some(greeting), _) => Incoming::HelloReply(greeting),
            (Kind::Resume, Some(_), _) => Incoming::Resume,
            (Kind::Control, ..) => Incoming::Control(session, payload),
            (Kind::Stdin, ..) => Incoming::Data(session, Stream::Stdin, payload),
            (Kind::Stdout, ..) => Incoming::Data(session, Stream::Stdout, payload),
            (Kind::Stderr, ..) => Incoming::Data(session, Stream::Stderr, payload),
            (Kind::Credit, _, Some(credit)) => Incoming::Credit(session, credit),
            (Kind::Pad | Kind::Hello | Kind::HelloReply | Kind::Resume | Kind::Credit, ..) => {
                self.framed = false;
                Incoming::Lost(ProtocolError::Payload(kind))
            }
        }
    }

    /// The greeting in `held`, if this end waits for it.
    fn accepted_greeting(&self, header: Header) -> Option<Greeting> {
        let greeting = Greeting::parse(self.held.get(HEADER_LEN..)?)?;
        let awaited = match (self.role, header.kind) {
            (Role::Agent(_), Kind::Hello) => true,
            (Role::Agent(current), Kind::Resume) => current == Some(greeting.nonce),
            (Role::Host(nonce), Kind::HelloReply) => nonce == greeting.nonce,
            _ => false,
        };
        (awaited && header.session == SessionId::CONTROL).then_some(greeting)
    }

    fn scan(&mut self, input: &mut &[u8]) -> Option<Incoming<'_>> {
        loop {
            if self.held.is_empty() {
                let start = input.iter().position(|byte| *byte == FIRST_BYTE).unwrap_or(input.len());
                *input = input.get(start..).unwrap_or_default();
            }
            let full = self.fill(input, HEADER_LEN + GREETING_LEN);
            if !self.holds_greeting_prefix() {
                self.drop_candidate();
                continue;
            }
            if !full {
                return None;
            }
            match self.header() {
                Ok(header) if self.accepted_greeting(header).is_some() => {
                    self.framed = true;
                    self.handed_out = true;
                    return Some(self.incoming(header));
                }
                _ => self.drop_candidate(),
            }
        }
    }

    /// Whether `held` can be the beginning of a greeting, of whichever kind.
    fn holds_greeting_prefix(&self) -> bool {
        let header = Header { length: GREETING_LEN, session: SessionId::CONTROL, kind: Kind::Pad }.to_bytes();
        let expected = header.into_iter().chain(MAGIC).enumerate();
        self.held.iter().zip(expected).all(|(byte, (at, expected))| *byte == expected || at == KIND_OFFSET)
    }

    /// Discards `held` up to the next byte that can begin a greeting.
    fn drop_candidate(&mut self) {
        let next = self.held.iter().skip(1).position(|byte| *byte == FIRST_BYTE);
        let drop = next.map_or(self.held.len(), |after_first| after_first + 1);
        self.held.drain(..drop);
    }
}

/// Of a greeting's header: the low byte of its length.
const FIRST_BYTE: u8 = {
    let [first, ..] = GREETING_LEN.to_le_bytes();
    first
};
const KIND_OFFSET: usize = 8;
