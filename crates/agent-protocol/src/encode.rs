//! Messages to bytes. Every function appends whole frames to a buffer that the caller writes out in order.

use serde::Serialize;
use thiserror::Error;

use crate::frame::{GREETING_LEN, Header};
use crate::{
    Credit, Greeting, HEADER_LEN, Kind, MAX_PAYLOAD, Nonce, PADDING_LEN, Reply, Request, SessionId, Stream,
    VERSION,
};

/// Why a message cannot be sent.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// The message is larger than a frame.
    #[error(
        "the message takes {0} bytes, at most {MAX_PAYLOAD} are allowed: pass long input on stdin, or in a file"
    )]
    TooLong(usize),
    /// The message is no JSON.
    #[error("the message cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// A Hello: begins a connection with an agent that is known to be scanning (booted, or frozen by a sync
/// with nothing in flight).
pub fn hello(nonce: Nonce) -> [u8; HEADER_LEN + GREETING_LEN] {
    greeting(Kind::Hello, Greeting { version: VERSION, nonce })
}

/// A Hello behind [`PADDING_LEN`] zero bytes: begins a connection with an agent in any state.
pub fn padded_hello(nonce: Nonce) -> Vec<u8> {
    let mut bytes = vec![0; PADDING_LEN];
    bytes.extend(hello(nonce));
    bytes
}

/// The answer to a Hello, with its nonce. The version is the agent's own highest; a supervisor, which stands for an agent,
/// announces what that speaks.
pub fn hello_reply(reply: Greeting) -> [u8; HEADER_LEN + GREETING_LEN] {
    greeting(Kind::HelloReply, reply)
}

/// Continues the connection with this nonce after a sync.
pub fn resume(nonce: Nonce) -> [u8; HEADER_LEN + GREETING_LEN] {
    greeting(Kind::Resume, Greeting { version: VERSION, nonce })
}

/// Appends `bytes` as data of a stream, in as many frames as they need. Nothing at all for no bytes.
pub fn encode_data(out: &mut Vec<u8>, session: SessionId, stream: Stream, bytes: &[u8]) {
    for chunk in bytes.chunks(MAX_PAYLOAD) {
        frame(out, session, stream.kind(), chunk);
    }
}

/// The header of a frame with that many bytes of a stream, at most [`MAX_PAYLOAD`].
pub fn data_header(session: SessionId, stream: Stream, length: usize) -> [u8; HEADER_LEN] {
    Header { length, session, kind: stream.kind() }.to_bytes()
}

/// Appends the end of a stream.
pub fn encode_end(out: &mut Vec<u8>, session: SessionId, stream: Stream) {
    frame(out, session, stream.kind(), &[]);
}

/// Appends a grant of credit.
pub fn encode_credit(out: &mut Vec<u8>, session: SessionId, credit: Credit) {
    frame(out, session, Kind::Credit, &credit.to_bytes());
}

/// Appends a request.
///
/// # Errors
/// [`EncodeError::TooLong`] for a request that does not fit one frame; `out` is unchanged then.
pub fn encode_request(out: &mut Vec<u8>, session: SessionId, request: &Request) -> Result<(), EncodeError> {
    control(out, session, request)
}

/// Appends a reply.
///
/// # Errors
/// [`EncodeError::TooLong`] for a reply that does not fit one frame; `out` is unchanged then.
pub fn encode_reply(out: &mut Vec<u8>, session: SessionId, reply: &Reply) -> Result<(), EncodeError> {
    control(out, session, reply)
}

fn control(out: &mut Vec<u8>, session: SessionId, message: &impl Serialize) -> Result<(), EncodeError> {
    let json = serde_json::to_vec(message)?;
    if json.len() > MAX_PAYLOAD {
        return Err(EncodeError::TooLong(json.len()));
    }
    frame(out, session, Kind::Control, &json);
    Ok(())
}

fn greeting(kind: Kind, greeting: Greeting) -> [u8; HEADER_LEN + GREETING_LEN] {
    let header = Header { length: GREETING_LEN, session: SessionId::CONTROL, kind }.to_bytes();
    let payload = greeting.to_bytes();
    let mut bytes = [0; HEADER_LEN + GREETING_LEN];
    bytes.iter_mut().zip(header.into_iter().chain(payload)).for_each(|(to, from)| *to = from);
    bytes
}

/// The callers keep `payload` within [`MAX_PAYLOAD`].
fn frame(out: &mut Vec<u8>, session: SessionId, kind: Kind, payload: &[u8]) {
    out.extend(Header { length: payload.len(), session, kind }.to_bytes());
    out.extend_from_slice(payload);
}
