//! Sessions: a program or a piece of code that runs in a guest, with its three streams.
//!
//! Input and output are bounded by credit at both ends: what is not read is not sent.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use agent_protocol::{
    Credit, ExitStatus, Failure, INITIAL_CREDIT, Incoming, MAX_PAYLOAD, Reply, Request, SessionId, Stream,
    WindowSize, encode_credit, encode_data, encode_end, encode_request, parse_reply,
};
use host::Deadline;
use store::{SandboxId, Store};

use crate::channel::Peer;
use crate::launch::FailedStart;
use crate::limits::ADOPTION_DEADLINE;
use crate::{
    CONTROL_SOCKET, Channel, ChannelError, Error, Sandbox, Status, SupervisorProgram, launch, manage,
};

/// The one session of a client's connection.
const SESSION: SessionId = SessionId(1);
/// How long a supervisor may take to answer a greeting.
const GREETING_DEADLINE: Duration = Duration::from_secs(30);
/// How long to wait before looking for a supervisor again.
const INTERVAL: Duration = Duration::from_millis(20);
/// Bytes of output that were read before they are granted again.
const GRANT_BYTES: u32 = INITIAL_CREDIT / 2;
/// What a stream is granted besides, once, when it turns out to be long: a pipe in the guest that is as large as the credit fills
/// again while what it held is on its way.
const LONG_STREAM_BYTES: u32 = INITIAL_CREDIT;

/// A connection to the supervisor of a running sandbox; starts a new supervisor if the last one has died.
///
/// # Errors
/// If the sandbox's VM has ended, or no supervisor can be reached.
pub fn connect(store: &Store, program: &SupervisorProgram, sandbox: &Sandbox) -> Result<Channel, Error> {
    let Sandbox { id, status, .. } = sandbox;
    let folder = store.sandbox_path(id);
    let patience = Deadline::after(GREETING_DEADLINE);
    let mut status = status.clone();
    loop {
        supervise(store, program, id, status)?;
        let source = match reach(&folder) {
            Ok(channel) => return Ok(channel),
            Err(error) => error,
        };
        // One that another command has just started has not bound its socket yet; one that was just killed still looked
        // alive.
        if !is_absence(&source) || !folder.exists() || patience.remaining().is_none() {
            return Err(Error::Agent { what: format!("sandbox {id} was not reached"), source });
        }
        std::thread::sleep(INTERVAL);
        status = manage::look(store, id.clone()).status;
    }
}

/// Why a session broke off: that a connection has ended does not tell whether the sandbox has, too.
///
/// # Errors
/// Another error of the connection, as it is.
pub fn why_lost(store: &Store, id: &str, error: ChannelError) -> Result<Error, ChannelError> {
    if !is_lost(&error) {
        return Err(error);
    }
    Ok(match manage::find(store, id) {
        Ok(Sandbox { id, status: Status::Dead { reason }, .. }) => Error::NotRunning { id, reason },
        Ok(Sandbox { id, .. }) => Error::Lost { id, source: error },
        // Another command has removed it.
        Err(error) => error,
    })
}

/// Whether the other end has gone.
fn is_lost(error: &ChannelError) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    match error {
        ChannelError::Closed => true,
        ChannelError::Io(error) => matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof),
        _ => false,
    }
}

/// Sees to it that a supervisor is there, or on its way.
fn supervise(
    store: &Store,
    program: &SupervisorProgram,
    id: &SandboxId,
    status: Status,
) -> Result<(), Error> {
    let not_running = |reason| Error::NotRunning { id: id.clone(), reason };
    match status {
        Status::Running => Ok(()),
        Status::Unsupervised => {
            let supervisor = launch::start(store, program, id, launch::Task::Adopt)?;
            let adopted = supervisor.wait(ADOPTION_DEADLINE, &AtomicBool::new(false));
            adopted.map_err(|FailedStart { cause, reason }| Error::NotAdopted {
                id: id.clone(),
                cause,
                reason,
            })
        }
        Status::Starting => Err(not_running("it is still starting".to_owned())),
        Status::Dead { reason } => Err(not_running(reason)),
    }
}

/// A connection to a supervisor that runs.
pub(crate) fn reach(folder: &Path) -> Result<Channel, ChannelError> {
    let deadline = Deadline::after(GREETING_DEADLINE);
    let mut channel = Channel::new(host::socket::connect_in(folder, CONTROL_SOCKET)?)?;
    channel.greet(Peer::Waiting, Some(&Request::Ping {}), deadline)?;
    channel.answer(deadline)?;
    Ok(channel)
}

/// Whether nobody answers at a socket.
fn is_absence(error: &ChannelError) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    match error {
        ChannelError::Closed => true,
        ChannelError::Io(error) => matches!(error.kind(), ConnectionRefused | NotFound),
        _ => false,
    }
}

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

/// What of output is to be granted again.
#[derive(Debug, Default)]
struct Taken {
    stdout: TakenStream,
    stderr: TakenStream,
}

#[derive(Debug, Default)]
struct TakenStream {
    /// Bytes that were taken and are not granted again yet.
    bytes: u32,
    /// Whether it has [`LONG_STREAM_BYTES`].
    is_long: bool,
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

impl Taken {
    /// Adds what an event has of output, and grants it again when it is enough to be worth a message.
    fn grant(&mut self, event: &Event, input: &SessionInput) -> io::Result<()> {
        let (stream, taken, length) = match event {
            Event::Stdout(bytes) => (Stream::Stdout, &mut self.stdout, bytes.len()),
            Event::Stderr(bytes) => (Stream::Stderr, &mut self.stderr, bytes.len()),
            Event::Exit(_) | Event::Failed(_) => return Ok(()),
        };
        let Some(bytes) = taken.grant(u32::try_from(length).unwrap_or(u32::MAX)) else { return Ok(()) };
        let mut out = Vec::new();
        encode_credit(&mut out, SESSION, Credit { stream, bytes });
        input.send(&out)
    }
}

impl TakenStream {
    /// Adds what was taken. What is to be granted for it, when that is enough.
    fn grant(&mut self, length: u32) -> Option<u32> {
        self.bytes = self.bytes.saturating_add(length);
        if self.bytes < GRANT_BYTES {
            return None;
        }
        let more = if std::mem::replace(&mut self.is_long, true) { 0 } else { LONG_STREAM_BYTES };
        Some(std::mem::take(&mut self.bytes).saturating_add(more))
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
