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

/// Bytes read at a time, at most.
pub(crate) const READ_BYTES: usize = 64 << 10;

/// How long an agent may take to answer before it is greeted again; twice as long each time.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);

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
    /// It is older than the request.
    #[error(
        "the guest's agent is older than this: it speaks protocol {speaks}, and {needs} is needed. An agent is as old as its \
         snapshot, and a supervisor as its sandbox: bake the snapshot again, or fork it again if it was baked since"
    )]
    Older {
        /// What both speak.
        speaks: u32,
        /// What the request needs.
        needs: u32,
    },
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
    /// What both ends speak, once the greeting was answered; else 0.
    version: u32,
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
        let nonce = fresh_nonce()?;
        let decoder = Decoder::host(nonce);
        Ok(Self { stream, decoder, nonce, version: 0, buffer: vec![0; READ_BYTES], pending: 0..0 })
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

    /// Greets an agent in whatever state until it answers: a greeting that comes right behind the end of another
    /// connection may be lost. The guest's kernel hands out what was sent before it notes that somebody is connected
    /// again, and an agent that reads on in between is told that nobody is.
    ///
    /// # Errors
    /// If it has not answered by then.
    pub fn greet_until_answered(&mut self, deadline: Deadline) -> Result<(), ChannelError> {
        let mut patience = FIRST_PATIENCE;
        loop {
            self.greet(Peer::Unknown, None, deadline)?;
            match self.greeted(deadline.within(patience)) {
                Err(ChannelError::Timeout) if deadline.remaining().is_some() => {}
                greeted => return greeted,
            }
            // What comes late to the old nonce is passed over.
            self.nonce = fresh_nonce()?;
            self.decoder = Decoder::host(self.nonce);
            self.pending = 0..0;
            patience *= 2;
        }
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
        self.request(request, deadline)?;
        self.answer(deadline)
    }

    /// Asks the agent itself.
    ///
    /// # Errors
    /// If it cannot be sent by then.
    pub fn request(&mut self, request: &Request, deadline: Deadline) -> Result<(), ChannelError> {
        let mut bytes = Vec::new();
        encode_request(&mut bytes, SessionId::CONTROL, request)?;
        self.send(&bytes, deadline)
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
                Some(incoming) => {
                    if let Incoming::HelloReply(greeting) = incoming {
                        self.version = greeting.agreed_version();
                    }
                    return Ok(take(incoming));
                }
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

    /// The protocol version that both ends speak; 0 before the greeting was answered.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether the other end knows this request: an older one would do something else.
    ///
    /// # Errors
    /// [`ChannelError::Older`] if it does not.
    pub fn check(&self, request: &Request) -> Result<(), ChannelError> {
        let (speaks, needs) = (self.version, request.since());
        if needs <= speaks { Ok(()) } else { Err(ChannelError::Older { speaks, needs }) }
    }

    /// The parts, for a supervisor that goes on without blocking: the connection, what decodes it, and what it is read into.
    /// Nothing is pending when all that was asked is answered.
    #[must_use]
    pub(crate) fn into_parts(self) -> (UnixStream, Decoder, Vec<u8>) {
        (self.stream, self.decoder, self.buffer)
    }

    /// A second handle for sending while another thread receives.
    ///
    /// # Errors
    /// If the process is out of descriptors.
    pub fn sender(&self) -> io::Result<UnixStream> {
        self.stream.try_clone()
    }
}

fn fresh_nonce() -> io::Result<Nonce> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    Ok(Nonce(nonce))
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

#[cfg(test)]
mod tests {
    use super::*;
    use agent_protocol::{Exec, Greeting, WindowSize, hello_reply};

    #[test]
    fn a_lost_greeting_is_repeated_with_another_nonce() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let agent = std::thread::spawn(move || {
            let (mut decoder, mut buffer, mut nonces) = (Decoder::agent(), vec![0; READ_BYTES], Vec::new());
            let mut answered = 0;
            loop {
                let count = theirs.read(&mut buffer).unwrap();
                if count == 0 {
                    return nonces;
                }
                let mut input = &buffer[..count];
                while let Some(incoming) = decoder.next(&mut input) {
                    if let Incoming::Hello(greeting) = incoming {
                        nonces.push(greeting.nonce);
                    }
                }
                // The first answer comes late, as from a guest that is slow, and is nobody's any more.
                if nonces.len() < 2 {
                    continue;
                }
                for nonce in nonces.split_at(answered).1 {
                    theirs.write_all(&hello_reply(Greeting { version: 1, nonce: *nonce })).ok();
                }
                answered = nonces.len();
            }
        });
        let mut channel = Channel::new(ours).unwrap();
        channel.greet_until_answered(Deadline::after(Duration::from_secs(60))).unwrap();

        // The agent was one of version 1.
        assert_eq!(channel.version(), 1);
        let exec = Exec { argv: vec!["sh".into()], ..Exec::default() };
        channel.check(&Request::Exec(exec.clone())).unwrap();
        let tty = Some(WindowSize { rows: 24, columns: 80 });
        let refused = channel.check(&Request::Exec(Exec { tty, ..exec })).unwrap_err();
        assert!(refused.to_string().contains("bake the snapshot again"), "{refused}");

        let nonce = channel.nonce;
        drop(channel);
        let nonces = agent.join().unwrap();
        assert!(nonces[0] != nonces[1] && nonces[1..].contains(&nonce), "{nonce:?} of {nonces:?}");
    }
}
