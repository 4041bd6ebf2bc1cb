//! One running program of a host: its pipes, its credit, its end.
//!
//! The program is reaped by the agent's one reaper, which reports here. What was written to the pipes by
//! then is still sent; what descendants write later is not waited for.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Stdio;

use agent_protocol::{
    Exec, ExitStatus, Failure, FailureKind, GuestConfig, INITIAL_CREDIT, Reply, SessionId, Stream,
};
use rustix::process::Pid;

use crate::link::Link;
use crate::spawn::{Descriptors, Pipe, Program, failure, read, spawn};
use crate::sys;

/// Consumed input is credited in pieces no smaller than this, so that credit is not most of the traffic.
const CREDIT_STEP: u32 = INITIAL_CREDIT / 4;

pub(crate) struct ExecSession {
    id: SessionId,
    pid: Pid,
    status: Option<ExitStatus>,
    stdin: Option<Input>,
    stdout: Output,
    stderr: Output,
}

/// Bytes on their way to the program.
struct Input {
    /// `None` when the program reads no more: what comes is consumed for nothing.
    pipe: Option<OwnedFd>,
    held: VecDeque<u8>,
    /// What the host may still send.
    window: u32,
    /// Consumed, and not credited yet.
    owed: u32,
    ended: bool,
}

/// Bytes on their way to the host.
struct Output {
    stream: Stream,
    /// `None` when the end was sent.
    pipe: Option<OwnedFd>,
    /// What the host is ready to take.
    credit: u64,
    /// After the program's end: what is in the pipe by then. More comes from others, and is not waited for.
    left: Option<u64>,
}

impl ExecSession {
    pub(crate) fn start(id: SessionId, exec: &Exec, config: &GuestConfig) -> Result<Self, Failure> {
        let io_failure =
            |error: io::Error| failure(FailureKind::Io, format!("no pipe for the program: {error}"));
        let stdout = Pipe::from_program().map_err(io_failure)?;
        let stderr = Pipe::from_program().map_err(io_failure)?;
        let stdin = exec.stdin.then(Pipe::to_program).transpose().map_err(io_failure)?;
        let (input, stdin) = stdin.map_or((None, Stdio::null()), |pipe| (Some(pipe.ours), pipe.theirs));
        let (cwd, user) = (exec.cwd.as_deref(), exec.user.as_deref());
        let program = Program { argv: &exec.argv, env: &exec.env, cwd, user };
        let descriptors =
            Descriptors { stdin, stdout: stdout.theirs, stderr: stderr.theirs, inherited: None };
        let pid = spawn(config, &program, descriptors)?;
        let output =
            |stream, pipe| Output { stream, pipe: Some(pipe), credit: INITIAL_CREDIT.into(), left: None };
        Ok(ExecSession {
            id,
            pid,
            status: None,
            stdin: input.map(Input::new),
            stdout: output(Stream::Stdout, stdout.ours),
            stderr: output(Stream::Stderr, stderr.ours),
        })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Signals the program's group; nothing when it has ended.
    pub(crate) fn signal(&self, number: i32) {
        if self.status.is_none() {
            // The group may be gone, or the number none: both concern only the sender.
            let _ = sys::kill(Some(self.pid), number);
        }
    }

    pub(crate) fn ended(&mut self, status: ExitStatus) {
        self.status = Some(status);
        self.stdout.limit();
        self.stderr.limit();
    }

    /// Takes input from the host. An error ends the session.
    pub(crate) fn input(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(input) = &mut self.stdin else { return Ok(()) };
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        input.window = input.window.checked_sub(length).ok_or_else(|| {
            failure(FailureKind::BadRequest, "the host sent more input than it had credit for".to_owned())
        })?;
        if bytes.is_empty() {
            input.ended = true;
        } else if !input.ended {
            input.held.extend(bytes);
        }
        Ok(())
    }

    pub(crate) fn credit(&mut self, stream: Stream, bytes: u32) {
        for output in [&mut self.stdout, &mut self.stderr] {
            if output.stream == stream {
                output.credit = output.credit.saturating_add(bytes.into());
            }
        }
    }

    /// The descriptors whose readiness matters for now.
    pub(crate) fn waits(&self, room: bool) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        let outputs =
            [&self.stdout, &self.stderr].into_iter().filter(move |output| room && output.credit > 0);
        let outputs = outputs.filter_map(|output| Some((output.stream, output.pipe.as_ref()?.as_fd())));
        let input = self.stdin.iter().filter(|input| !input.held.is_empty());
        outputs.chain(input.filter_map(|input| Some((Stream::Stdin, input.pipe.as_ref()?.as_fd()))))
    }

    /// Moves what can be moved. Whether the session is over; then its last message was queued.
    pub(crate) fn pump(&mut self, link: &mut Link, buffer: &mut [u8]) -> bool {
        if let Some(input) = &mut self.stdin {
            input.pump(self.id, link);
        }
        self.stdout.pump(self.id, link, buffer);
        self.stderr.pump(self.id, link, buffer);
        match self.status {
            Some(status) if self.stdout.pipe.is_none() && self.stderr.pipe.is_none() => {
                link.queue().reply(self.id, &Reply::Exit(status));
                true
            }
            _ => false,
        }
    }
}

impl Input {
    fn new(pipe: OwnedFd) -> Self {
        Input { pipe: Some(pipe), held: VecDeque::new(), window: INITIAL_CREDIT, owed: 0, ended: false }
    }

    fn pump(&mut self, id: SessionId, link: &mut Link) {
        while let (Some(pipe), false) = (&self.pipe, self.held.is_empty()) {
            match rustix::io::write(pipe, self.held.as_slices().0) {
                Ok(count) => self.consume(count),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => break,
                Err(_) => self.pipe = None,
            }
        }
        if self.pipe.is_none() {
            self.consume(self.held.len());
        } else if self.ended && self.held.is_empty() {
            self.pipe = None;
        }
        if self.owed >= CREDIT_STEP && !self.ended {
            link.queue().credit(id, Stream::Stdin, self.owed);
            self.window += self.owed;
            self.owed = 0;
        }
    }

    fn consume(&mut self, count: usize) {
        self.held.drain(..count);
        // What is held never exceeds the window, which is a u32.
        self.owed += u32::try_from(count).unwrap_or(u32::MAX);
    }
}

impl Output {
    /// The program has ended: only what is in the pipe is still to be sent.
    fn limit(&mut self) {
        let held = self.pipe.as_ref().map(rustix::io::ioctl_fionread);
        self.left = Some(held.and_then(Result::ok).unwrap_or(0));
    }

    /// Reads once, if there is credit and room, so that every session gets its turn.
    fn pump(&mut self, id: SessionId, link: &mut Link, buffer: &mut [u8]) {
        let Some(pipe) = &self.pipe else { return };
        let wanted = self.credit.min(self.left.unwrap_or(u64::MAX));
        let count = if self.left == Some(0) {
            0
        } else if wanted == 0 || !link.has_room() {
            return;
        } else {
            let limit = usize::try_from(wanted).unwrap_or(usize::MAX).min(buffer.len());
            let Some(count) = read(pipe.as_fd(), buffer.get_mut(..limit).unwrap_or_default()) else { return };
            count
        };
        self.credit -= count as u64;
        self.left = self.left.map(|left| left - count as u64);
        link.queue().data(id, self.stream, buffer.get(..count).unwrap_or_default());
        if count == 0 || self.left == Some(0) {
            link.queue().end(id, self.stream);
            self.pipe = None;
        }
    }
}
