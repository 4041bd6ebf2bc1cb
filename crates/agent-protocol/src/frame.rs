//! Frames: the header, the kinds, the greeting. Everything of fixed size on the wire is laid out here.

use std::fmt;

use thiserror::Error;

/// The highest protocol version this crate speaks.
pub const VERSION: u32 = 2;
/// Bytes in a frame's header.
pub const HEADER_LEN: usize = 12;
/// Most bytes in a frame's payload.
pub const MAX_PAYLOAD: usize = 64 * 1024;
/// Credit in bytes that each stream of a session begins with.
pub const INITIAL_CREDIT: u32 = 256 * 1024;
/// Sessions that an agent runs at once; one more is answered as busy.
pub const MAX_SESSIONS: usize = 256;
/// Zero bytes that bring an agent in any state to scanning: they complete the rest of a half-read header
/// (at most 11 bytes) and its payload, and still hold one whole pad.
pub const PADDING_LEN: usize = MAX_PAYLOAD + 2 * HEADER_LEN;

pub(crate) const GREETING_LEN: usize = 64;
pub(crate) const MAGIC: [u8; 16] = *b"\x89SPORE-AGENT\r\n\x1a\n";

/// What is wrong with bytes that came over the wire.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// The header announces more than a frame may hold.
    #[error("a frame announces {0} bytes of payload, at most {MAX_PAYLOAD} are allowed")]
    TooLong(u32),
    /// The header's last three bytes are not zero, or a pad is not all zero.
    #[error("a frame header has bits set that must be zero")]
    NotZero,
    /// The kind is unknown, or this end may not receive it.
    #[error("a frame has kind {0}, which this end does not accept")]
    Kind(u8),
    /// A frame of fixed layout has another size or content.
    #[error("a {0:?} frame has an invalid payload")]
    Payload(Kind),
    /// A control message is not the JSON it should be.
    #[error("invalid control message: {0}")]
    Message(String),
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Nothing: twelve zero bytes.
    Pad = 0,
    /// A host's greeting, which begins a connection.
    Hello = 1,
    /// The agent's answer to it.
    HelloReply = 2,
    /// A host's greeting that continues a connection after a sync.
    Resume = 3,
    /// A message in JSON.
    Control = 4,
    /// Input of a session.
    Stdin = 5,
    /// Output of a session.
    Stdout = 6,
    /// Error output of a session.
    Stderr = 7,
    /// Permission to send more.
    Credit = 8,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        use Kind::*;
        [Pad, Hello, HelloReply, Resume, Control, Stdin, Stdout, Stderr, Credit]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// One of a session's three byte streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stream {
    /// Host to process.
    Stdin = 0,
    /// Process to host.
    Stdout = 1,
    /// Process to host.
    Stderr = 2,
}

impl Stream {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Stream::Stdin => Kind::Stdin,
            Stream::Stdout => Kind::Stdout,
            Stream::Stderr => Kind::Stderr,
        }
    }
}

/// Number of a session. The host chooses it, and does not use it twice in one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u32);

impl SessionId {
    /// The session for what concerns the agent itself.
    pub const CONTROL: SessionId = SessionId(0);
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one connection; random, chosen by the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce(pub [u8; 16]);

/// The content of Hello, HelloReply and Resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    /// Highest version that the sender speaks; never 0.
    pub version: u32,
    /// The connection.
    pub nonce: Nonce,
}

impl Greeting {
    /// The version that both ends use when the peer greeted like this.
    pub fn agreed_version(&self) -> u32 {
        self.version.min(VERSION)
    }

    pub(crate) fn to_bytes(self) -> [u8; GREETING_LEN] {
        let mut bytes = [0; GREETING_LEN];
        let fields = MAGIC.into_iter().chain(self.version.to_le_bytes()).chain(self.nonce.0);
        bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        bytes
    }

    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let (magic, rest) = payload.split_first_chunk::<16>()?;
        let (version, rest) = rest.split_first_chunk::<4>()?;
        let (nonce, _reserved) = rest.split_first_chunk::<16>()?;
        let version = u32::from_le_bytes(*version);
        let valid = payload.len() == GREETING_LEN && *magic == MAGIC && version != 0;
        valid.then_some(Greeting { version, nonce: Nonce(*nonce) })
    }
}

/// Permission for the peer to send more bytes of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    /// The stream.
    pub stream: Stream,
    /// How many bytes more.
    pub bytes: u32,
}

impl Credit {
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        let [a, b, c, d] = self.bytes.to_le_bytes();
        [a, b, c, d, self.stream as u8, 0, 0, 0]
    }

    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let [a, b, c, d, stream, 0, 0, 0] = *payload else { return None };
        let stream = match stream {
            0 => Stream::Stdin,
            1 => Stream::Stdout,
            2 => Stream::Stderr,
            _ => return None,
        };
        Some(Credit { stream, bytes: u32::from_le_bytes([a, b, c, d]) })
    }
}

/// A checked frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// At most [`MAX_PAYLOAD`].
    pub(crate) length: usize,
    pub(crate) session: SessionId,
    pub(crate) kind: Kind,
}

impl Header {
    pub(crate) fn to_bytes(self) -> [u8; HEADER_LEN] {
        // A length is at most MAX_PAYLOAD, so that saturating never happens.
        let [a, b, c, d] = u32::try_from(self.length).unwrap_or(u32::MAX).to_le_bytes();
        let [e, f, g, h] = self.session.0.to_le_bytes();
        [a, b, c, d, e, f, g, h, self.kind as u8, 0, 0, 0]
    }

    pub(crate) fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, ProtocolError> {
        let [a, b, c, d, e, f, g, h, kind, zeros @ ..] = *bytes;
        let length = u32::from_le_bytes([a, b, c, d]);
        let session = SessionId(u32::from_le_bytes([e, f, g, h]));
        let kind = Kind::from_byte(kind).ok_or(ProtocolError::Kind(kind))?;
        let bounded = usize::try_from(length).ok().filter(|length| *length <= MAX_PAYLOAD);
        let length = bounded.ok_or(ProtocolError::TooLong(length))?;
        let padded = kind != Kind::Pad || (length == 0 && session == SessionId::CONTROL);
        if zeros != [0; 3] || !padded {
            return Err(ProtocolError::NotZero);
        }
        Ok(Header { length, session, kind })
    }
}
