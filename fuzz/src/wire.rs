//! Streams of the agent protocol for the targets that read them, and what is read of one.
//!
//! A header says how long its frame is, so that most changes to a stream would lose all that follows. What is fuzzed is
//! therefore a script of records:
//!
//! ```text
//! kind  session  length (u16, little-endian)  content
//! ```
//!
//! Kinds below 16 are frames of that kind, whose header says their length; [`RAW`] is bytes as they are; others are the target's. The
//! upper four bits of a session say how many times the content is doubled, up to what a frame holds.

use agent_protocol::{
    Credit, Decoder, Greeting, HEADER_LEN, Incoming, MAX_PAYLOAD, Nonce, SessionId, Stream, encode_credit,
    encode_data, encode_end,
};

use crate::json::doubled;

/// The kind of a record whose content is sent without a header.
pub const RAW: u8 = 16;

/// Bytes that one script sends at most.
const MOST: usize = 2 << 20;

/// A piece of a script.
#[derive(Debug, Clone)]
pub struct Record {
    pub kind: u8,
    pub session: u8,
    pub content: Vec<u8>,
}

/// Appends a record to a script.
pub fn write(script: &mut Vec<u8>, kind: u8, session: u8, content: &[u8]) {
    let length = u16::try_from(content.len()).expect("a record is short");
    script.extend([kind, session]);
    script.extend(length.to_le_bytes());
    script.extend(content);
}

impl Record {
    /// What it sends; nothing, if that is the target's.
    pub fn bytes(&self) -> Vec<u8> {
        match self.kind {
            ..RAW => {
                let length = u32::try_from(self.content.len()).expect("a record is short").to_le_bytes();
                let session = u32::from(self.session).to_le_bytes();
                [&length[..], &session, &[self.kind, 0, 0, 0], &self.content].concat()
            }
            RAW => self.content.clone(),
            _ => Vec::new(),
        }
    }
}

/// The records of a script. The last one may be cut short.
pub fn records(mut script: &[u8]) -> impl Iterator<Item = Record> {
    let mut left = MOST;
    std::iter::from_fn(move || {
        let [kind, session, low, high, rest @ ..] = script else { return None };
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()).min(MAX_PAYLOAD);
        let (content, rest) = rest.split_at(length);
        script = rest;
        let content = doubled(content, session >> 4, MAX_PAYLOAD);
        left = left.checked_sub(content.len())?;
        Some(Record { kind: *kind, session: session & 15, content })
    })
}

/// All that a script sends.
pub fn stream(script: &[u8]) -> Vec<u8> {
    records(script).flat_map(|record| record.bytes()).collect()
}

/// What a decoder gave, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Hello(Greeting),
    HelloReply(Greeting),
    Resume,
    Control(SessionId, Vec<u8>),
    Data(SessionId, Stream, Vec<u8>),
    Credit(SessionId, Credit),
    Lost(String),
}

impl From<Incoming<'_>> for Seen {
    fn from(incoming: Incoming<'_>) -> Self {
        match incoming {
            Incoming::Hello(greeting) => Self::Hello(greeting),
            Incoming::HelloReply(greeting) => Self::HelloReply(greeting),
            Incoming::Resume => Self::Resume,
            Incoming::Control(id, payload) => Self::Control(id, payload.to_vec()),
            Incoming::Data(id, stream, bytes) => Self::Data(id, stream, bytes.to_vec()),
            Incoming::Credit(id, credit) => Self::Credit(id, credit),
            Incoming::Lost(error) => Self::Lost(error.to_string()),
        }
    }
}

/// What comes out of a decoder that is given `bytes` in pieces of this many.
pub fn decode(decoder: &mut Decoder, bytes: &[u8], piece: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    for mut input in bytes.chunks(piece) {
        while let Some(incoming) = decoder.next(&mut input) {
            seen.push(incoming.into());
        }
        assert!(input.is_empty(), "a decoder takes all that it is given");
    }
    seen
}

/// Checks that the cut of a stream does not matter, that nothing comes out of it which did not go in, and that frames encode to
/// what decodes to the same. `greeting` brings a decoder to reading frames.
pub fn check(decoder: impl Fn() -> Decoder, greeting: &[u8], bytes: &[u8], piece: usize) -> Vec<Seen> {
    let whole = decode(&mut decoder(), bytes, usize::MAX);
    assert_eq!(decode(&mut decoder(), bytes, piece.max(1)), whole, "in pieces of {piece}");
    let payload: usize = whole
        .iter()
        .map(|seen| match seen {
            Seen::Control(_, bytes) | Seen::Data(_, _, bytes) => HEADER_LEN + bytes.len(),
            _ => HEADER_LEN,
        })
        .sum();
    assert!(payload <= bytes.len() + HEADER_LEN * whole.len(), "{payload} bytes out of {}", bytes.len());
    for seen in &whole {
        let mut encoded = greeting.to_vec();
        match seen {
            Seen::Data(id, stream, bytes) if bytes.is_empty() => encode_end(&mut encoded, *id, *stream),
            Seen::Data(id, stream, bytes) => encode_data(&mut encoded, *id, *stream, bytes),
            Seen::Credit(id, credit) => encode_credit(&mut encoded, *id, *credit),
            _ => continue,
        }
        assert_eq!(decode(&mut decoder(), &encoded, usize::MAX).last(), Some(seen));
    }
    whole
}

/// The nonce of all connections here.
pub const NONCE: Nonce = Nonce(*b"one of sixteen b");
