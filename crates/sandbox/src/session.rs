//! Sessions: a program or a piece of code that runs in a guest, with its three streams.
//!
//! Input and output are bounded by credit at both ends: what is not read is not sent.

mod output;

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use agent_protocol::{
    Credit, ExitStatus, Failure, INITIAL_CREDIT, Incoming, MAX_PAYLOAD, Reply, Request, SessionId, Stream,
    WindowSize, encode_credit, encode_data, encode_end, encode_request, parse_reply,
};
use host::Deadline;

use crate::credit::Grants;
use crate::{Channel, ChannelError};

pub use output::{OutputError, SessionOutput};

/// The one session of a client's connection.
const SESSION: SessionId = SessionId(1);

/// What comes from a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Output.
    Stdout(Vec<u8>),
    /// Error output.
    Stderr(Vec<u8>),
    /// It has ended.
    Exit(ExitStatus),
    /// It could not be started, or not be finished.
    Failed(Failure),
}

/// A running exec, eval or copy.
#[derive(Debug)]
pub struct Session {
    channel: Channel,
    input: SessionInput,
    taken: Taken,
}

/// What of output was taken.
#[derive(Debug)]
struct Taken {
    stdout: Grants,
    stderr: Grants,
}

/// The way into a session; clones can be used from other threads.
#[derive(Debug, Clone)]
pub struct SessionInput {
    stream: Arc<Mutex<UnixStream>>,
    credit: Arc<(Mutex<Allowance>, Condvar)>,
}

#[derive(Debug)]
struct Allowance {
    bytes: usize,
    ended: bool,
}

impl Session {
    /// Starts `request`, which opens a session, as the only session of a channel.
    ///
    /// # Errors
    /// If the other end is too old for it, or it cannot be sent.
    pub fn start(channel: Channel, request: &Request) -> Result<Self, ChannelError> {
        channel.check(request)?;
        let allowance = Allowance { bytes: INITIAL_CREDIT as usize, ended: false };
        let input = SessionInput {
            stream: Arc::new(Mutex::new(channel.sender()?)),
            credit: Arc::new((Mutex::new(allowance), Condvar::new())),
        };
        let mut bytes = Vec::new();
        encode_request(&mut bytes, SESSION, request)?;
        input.send(&bytes)?;
        Ok(Self { channel, input, taken: Taken::default() })
    }

    /// The way into it.
    #[must_use]
    pub fn input(&self) -> SessionInput {
        self.input.clone()
    }

    /// Waits for what comes next. After [`Event::Exit`] or [`Event::Failed`] nothing does.
    ///
    /// # Errors
    /// If nothing comes by then, or the connection ends: the supervisor, or the VM, has ended.
    pub fn next(&mut self, deadline: Deadline) -> Result<Event, ChannelError> {
        let event = self.receive(deadline)?;
        self.taken.grant(&event, &self.input)?;
        Ok(event)
    }

    /// As [`Session::next`], but what comes still counts as not taken.
    fn receive(&mut self, deadline: Deadline) -> Result<Event, ChannelError> {
        loop {
            let input = &self.input;
            let taken = self.channel.receive(deadline, |incoming| take(&incoming, input));
            // Whoever waits for credit then would wait for ever.
            let event = taken.and_then(Option::transpose).inspect_err(|_| input.end())?;
            let Some(event) = event else { continue };
            if matches!(event, Event::Exit(_) | Event::Failed(_)) {
                input.end();
            }
            return Ok(event);
        }
    }

    /// Waits for the end, writing output as it comes. Input that another thread sends goes on while output cannot be written:
    /// what comes meanwhile is bounded by credit.
    ///
    /// # Errors
    /// If the connection ends, the deadline passes, or output cannot be written.
    pub fn finish(
        &mut self,
        deadline: Deadline,
        stdout: &mut dyn Write,
        stderr: &mut dyn Write,
    ) -> Result<Result<ExitStatus, Failure>, ChannelError> {
        let (input, connection) = (self.input(), self.channel.sender()?);
        let (events, received) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                loop {
                    let event = self.receive(deadline);
                    let is_last = !matches!(event, Ok(Event::Stdout(_) | Event::Stderr(_)));
                    if events.send(event).is_err() || is_last {
                        return;
                    }
                }
            });
            let mut taken = Taken::default();
            for event in received {
                let event = event?;
                let written = match &event {
                    Event::Stdout(bytes) => stdout.write_all(bytes).and_then(|()| stdout.flush()),
                    Event::Stderr(bytes) => stderr.write_all(bytes).and_then(|()| stderr.flush()),
                    Event::Exit(status) => return Ok(Ok(*status)),
                    Event::Failed(failure) => return Ok(Err(failure.clone())),
                };
                // Else the other thread would read on.
                written.inspect_err(|_| drop(connection.shutdown(Shutdown::Both)))?;
                // A connection that has ended has more to say of that, and what it said before is still to be written.
                taken.grant(&event, &input).ok();
            }
            Err(ChannelError::Closed)
        })
    }

    /// Gives the channel back, for another session or for what the agent itself is asked.
    #[must_use]
    pub fn into_channel(self) -> Channel {
        self.channel
    }
}

impl Default for Taken {
    fn default() -> Self {
        Self { stdout: Grants::that_may_double(), stderr: Grants::that_may_double() }
    }
}

impl Taken {
    /// Adds what an event has of output, and grants it again when it is enough to be worth a message.
    fn grant(&mut self, event: &Event, input: &SessionInput) -> io::Result<()> {
        let (stream, taken, length) = match event {
            Event::Stdout(bytes) => (Stream::Stdout, &mut self.stdout, bytes.len()),
            Event::Stderr(bytes) => (Stream::Stderr, &mut self.stderr, bytes.len()),
            Event::Exit(_) | Event::Failed(_) => return Ok(()),
        };
        let Some(bytes) = taken.take(length) else { return Ok(()) };
        let mut out = Vec::new();
        encode_credit(&mut out, SESSION, Credit { stream, bytes });
        input.send(&out)
    }
}

fn take(incoming: &Incoming<'_>, input: &SessionInput) -> Option<Result<Event, ChannelError>> {
    match incoming {
        Incoming::Control(SESSION, payload) => match parse_reply(payload) {
            Ok(Reply::Exit(status)) => Some(Ok(Event::Exit(status))),
            Ok(Reply::Failed(failure)) => Some(Ok(Event::Failed(failure))),
            Ok(_) => None,
            Err(error) => Some(Err(error.into())),
        },
        Incoming::Data(SESSION, stream, bytes) if !bytes.is_empty() => Some(Ok(match stream {
            Stream::Stderr => Event::Stderr(bytes.to_vec()),
            Stream::Stdout | Stream::Stdin => Event::Stdout(bytes.to_vec()),
        })),
        Incoming::Credit(SESSION, credit) => {
            input.allow(credit.bytes);
            None
        }
        _ => None,
    }
}

impl SessionInput {
    /// Sends input, waiting until the guest reads it.
    ///
    /// # Errors
    /// If the session has ended.
    pub fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let length = self.take_credit(bytes.len().min(MAX_PAYLOAD))?;
            let (now, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
            let mut out = Vec::new();
            encode_data(&mut out, SESSION, Stream::Stdin, now);
            self.send(&out)?;
            bytes = rest;
        }
        Ok(())
    }

    /// Ends the input.
    ///
    /// # Errors
    /// If the session has ended.
    pub fn close(&self) -> io::Result<()> {
        let mut out = Vec::new();
        encode_end(&mut out, SESSION, Stream::Stdin);
        self.send(&out)
    }

    /// Sends a signal to the session's process group.
    ///
    /// # Errors
    /// If the session has ended.
    pub fn signal(&self, number: i32) -> io::Result<()> {
        let mut out = Vec::new();
        encode_request(&mut out, SESSION, &Request::Signal { number }).map_err(io::Error::other)?;
        self.send(&out)
    }

    /// Tells the session's terminal its size.
    ///
    /// # Errors
    /// If the session has ended.
    pub fn resize(&self, size: WindowSize) -> io::Result<()> {
        let mut out = Vec::new();
        encode_request(&mut out, SESSION, &Request::Resize(size)).map_err(io::Error::other)?;
        self.send(&out)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.set_write_timeout(None)?;
        stream.write_all(bytes)
    }

    fn take_credit(&self, wanted: usize) -> io::Result<usize> {
        let (allowance, changed) = &*self.credit;
        let mut allowance = changed
            .wait_while(allowance.lock().unwrap_or_else(PoisonError::into_inner), |a| {
                a.bytes == 0 && !a.ended
            })
            .unwrap_or_else(PoisonError::into_inner);
        if allowance.ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let taken = wanted.min(allowance.bytes);
        allowance.bytes -= taken;
        Ok(taken)
    }

    fn allow(&self, bytes: u32) {
        self.change(|allowance| allowance.bytes = allowance.bytes.saturating_add(bytes as usize));
    }

    fn end(&self) {
        self.change(|allowance| allowance.ended = true);
    }

    fn change(&self, change: impl FnOnce(&mut Allowance)) {
        let (allowance, changed) = &*self.credit;
        change(&mut allowance.lock().unwrap_or_else(PoisonError::into_inner));
        changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
