//! One connection to an agent, or to a supervisor that stands for it; blocking, with deadlines.
//!
//! Both speak the same protocol (docs/agent-protocol.md), so a bake, which talks to the agent itself, and `exec`, which
//! talks to a supervisor, are the same client.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use agent_protocol::{
    Decoder, EncodeError, Failure, Incoming, Nonce, ProtocolError, Reply, Request, SessionId, encode_request,
    hello, padded_hello, parse_reply,
};
use host::Deadline;

/// Bytes read at a time.
const READ_BYTES: usize = 64 << 10;

/// Why an agent did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// It said so.
    #[error("the guest's agent refused: {}", .0.message)]
    Refused(Failure),
    /// It did not answer in time.
    #[error("the guest's agent did not answer in time")]
    Timeout,
    /// The connection has ended.
    #[error("the connection to the guest's agent has ended")]
    Closed,
    /// It answered something else.
    #[error("the guest's agent answered {0} instead")]
    Unexpected(String),
    /// It broke the protocol.
    #[error("the guest's agent broke the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// The request cannot be sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The socket failed.
    #[error("the connection to the guest's agent failed: {0}")]
    Io(#[from] io::Error),
}

/// A greeted connection.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    decoder: Decoder,
    nonce: Nonce,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were not decoded yet.
    pending: std::ops::Range<usize>,
}

/// In which state the other end may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// It waits for a greeting: just booted, frozen by a sync, or a supervisor.
    Waiting,
    /// Any: whatever was sent before may be half read.
    Unknown,
}

impl Channel {
    /// A channel over a connected socket, not greeted yet.
    ///
    /// # Errors
    /// If the kernel gives no random bytes.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let nonce = Nonce(nonce);
        let decoder = Decoder::host(nonce);
        Ok(Self { stream, decoder, nonce, buffer: vec![0; READ_BYTES], pending: 0..0 })
    }

    /// Sends the greeting, and with it a first request: one message less to wait for.
    ///
    /// # Errors
    /// If it cannot be sent by then.
    pub fn greet(
        &mut self,
        peer: Peer,
        first: Option<&Request>,
        deadline: Deadline,
    ) -> Result<(), ChannelError> {
        let mut bytes = match peer {
            Peer::Waiting => hello(self.nonce).to_vec(),
            Peer::Unknown => padded_hello(self.nonce),
        };
        if let Some(request) = first {
            encode_request(&mut bytes, SessionId::CONTROL, request)?;
        }
        self.send(&bytes, deadline)
    }

    /// Waits until the greeting is answered.
    ///
    /// # Errors
    /// If it is not by then.
    pub fn greeted(&mut self, deadline: Deadline) -> Result<(), ChannelError> {
        while !self.receive(deadline, |incoming| matches!(incoming, Incoming::HelloReply(_)))? {}
        Ok(())
    }

    /// Asks the agent itself, and waits for the answer.
    ///
    /// # Errors
    /// If it refuses, or does not answer by then.
    pub fn ask(&mut self, request: &Request, deadline: Deadline) -> Result<Reply, ChannelError> {
        let mut bytes = Vec::new();
        encode_request(&mut bytes, SessionId::CONTROL, request)?;
        self.send(&bytes, deadline)?;
        self.answer(deadline)
    }

    /// Waits for the agent's next answer to what it was asked.
    ///
    /// # Errors
    /// If it refuses, or does not answer by then.
    pub fn answer(&mut self, deadline: Deadline) -> Result<Reply, ChannelError> {
        loop {
            let reply = self.receive(deadline, |incoming| match incoming {
                Incoming::Control(SessionId::CONTROL, payload) => Some(parse_reply(payload)),
                _ => None,
            })?;
            match reply {
                None => {}
                Some(Ok(Reply::Failed(failure))) => return Err(ChannelError::Refused(failure)),
                Some(reply) => return Ok(reply?),
            }
        }
    }

    /// Sends whole frames.
    ///
    /// # Errors
    /// If they cannot be sent by then.
    pub fn send(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), ChannelError> {
        self.stream.set_write_timeout(Some(remaining(deadline)?))?;
        self.stream.write_all(bytes).map_err(from_io)
    }

    /// Waits for the next thing that comes in, and gives what `take` makes of it.
    ///
    /// # Errors
    /// If nothing comes by then, the connection ends, or the other end breaks the protocol.
    pub fn receive<T>(
        &mut self,
        deadline: Deadline,
        take: impl FnOnce(Incoming<'_>) -> T,
    ) -> Result<T, ChannelError> {
        loop {
            let mut input = self.buffer.get(self.pending.clone()).unwrap_or_default();
            let incoming = self.decoder.next(&mut input);
            self.pending.start = self.pending.end - input.len();
            match incoming {
                Some(Incoming::Lost(error)) => return Err(error.into()),
                Some(incoming) => return Ok(take(incoming)),
                None => {}
            }
            self.stream.set_read_timeout(Some(remaining(deadline)?))?;
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return Err(ChannelError::Closed),
                Ok(length) => self.pending = 0..length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(from_io(error)),
            }
        }
    }

    /// The parts, for a supervisor that goes on without blocking. Nothing is pending when all that was asked is answered.
    #[must_use]
    pub fn into_parts(self) -> (UnixStream, Decoder) {
        (self.stream, self.decoder)
    }

    /// A second handle for sending while another thread receives.
    ///
    /// # Errors
    /// If the process is out of descriptors.
    pub fn sender(&self) -> io::Result<UnixStream> {
        self.stream.try_clone()
    }
}

fn remaining(deadline: Deadline) -> Result<Duration, ChannelError> {
    deadline.remaining().ok_or(ChannelError::Timeout)
}

fn from_io(error: io::Error) -> ChannelError {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ChannelError::Timeout,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => ChannelError::Closed,
        _ => error.into(),
    }
}
