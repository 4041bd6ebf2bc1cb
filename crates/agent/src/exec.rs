//! One running program of a host: its streams, its end.
//!
//! The program is reaped by the agent's one reaper, which reports here. What was written to the pipes by
//! then is still sent; what descendants write later is not waited for. A program with a terminal has all its output on
//! one stream; when the session is over its terminal hangs up, which ends what is still in its foreground.

use std::io;
use std::os::fd::BorrowedFd;
use std::process::Stdio;

use agent_protocol::{
    Exec, ExitStatus, Failure, FailureKind, GuestConfig, Reply, SessionId, Stream, WindowSize,
};
use rustix::process::Pid;

use crate::link::Link;
use crate::spawn::{Descriptors, Pipe, Program, failure, spawn};
use crate::streams::{Ending, Input, Output};
use crate::sys::{self, Extra};
use crate::terminal::{self, Terminal};

pub(crate) struct ExecSession {
    id: SessionId,
    pid: Pid,
    status: Option<ExitStatus>,
    input: Option<Input>,
    /// One for each stream that the program has.
    outputs: Vec<Output>,
}

/// The agent's ends of a program's streams, and the program's.
struct Streams {
    input: Option<Input>,
    outputs: Vec<Output>,
    theirs: Descriptors,
}

impl ExecSession {
    pub(crate) fn start(id: SessionId, exec: &Exec, config: &GuestConfig) -> Result<Self, Failure> {
        let streams = match exec.tty {
            Some(size) => Streams::of_terminal(size, exec.stdin),
            None => Streams::of_pipes(exec.stdin),
        };
        let Streams { input, outputs, theirs } = streams.map_err(|error| {
            failure(FailureKind::Io, format!("no pipe or terminal for the program: {error}"))
        })?;
        let (cwd, user) = (exec.cwd.as_deref(), exec.user.as_deref());
        let program = Program { argv: &exec.argv, env: &exec.env, cwd, user };
        let pid = spawn(config, &program, theirs)?;
        Ok(ExecSession { id, pid, status: None, input, outputs })
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

    /// Sets the size of its terminal, if it has one.
    pub(crate) fn resize(&self, size: WindowSize) {
        if let Some(terminal) = self.outputs.iter().find_map(Output::terminal) {
            // It has hung up already.
            let _ = terminal::resize(terminal, size);
        }
    }

    pub(crate) fn ended(&mut self, status: ExitStatus) {
        self.status = Some(status);
        self.outputs.iter_mut().for_each(Output::limit);
    }

    /// Takes input from the host. An error ends the session.
    pub(crate) fn input(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.input.as_mut().map_or(Ok(()), |input| input.take(bytes))
    }

    pub(crate) fn credit(&mut self, stream: Stream, bytes: u32) {
        for output in self.outputs.iter_mut().filter(|output| output.stream() == stream) {
            output.allow(bytes);
        }
    }

    /// The descriptors whose readiness matters for now.
    pub(crate) fn waits(&self, room: bool) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        let outputs = self.outputs.iter().filter(move |_| room);
        let outputs = outputs.filter_map(|output| Some((output.stream(), output.waits()?)));
        let input = self.input.iter().filter_map(|input| Some((Stream::Stdin, input.waits()?)));
        outputs.chain(input)
    }

    /// Moves what can be moved. Whether the session is over; then its last message was queued.
    pub(crate) fn pump(&mut self, link: &mut Link, buffer: &mut [u8]) -> bool {
        if let Some(input) = &mut self.input {
            input.pump(self.id, link);
        }
        for output in &mut self.outputs {
            output.pump(self.id, link, buffer);
        }
        match self.status {
            Some(status) if self.outputs.iter().all(Output::is_over) => {
                link.queue().reply(self.id, &Reply::Exit(status));
                true
            }
            _ => false,
        }
    }
}

impl Streams {
    fn of_pipes(with_input: bool) -> io::Result<Self> {
        let (stdout, stderr) = (Pipe::from_program()?.enlarged(), Pipe::from_program()?);
        let stdin = if with_input { Some(Pipe::to_program()?) } else { None };
        let (input, stdin) = stdin.map_or((None, Stdio::null()), |pipe| (Some(pipe.ours), pipe.theirs));
        let theirs = Descriptors { stdin, stdout: stdout.theirs, stderr: stderr.theirs, extra: Extra::None };
        // Errors are short, and do not wait until all of a long output has room.
        let outputs =
            vec![Output::of_pipe(Stream::Stderr, stderr.ours), Output::of_pipe(Stream::Stdout, stdout.ours)];
        Ok(Streams { input: input.map(|pipe| Input::new(pipe, Ending::Close)), outputs, theirs })
    }

    fn of_terminal(size: WindowSize, with_input: bool) -> io::Result<Self> {
        let Terminal { master, slave } = Terminal::open(size)?;
        let input = if with_input { Some(master.try_clone()?) } else { None };
        let (stdin, stdout) = (slave.try_clone()?, slave.try_clone()?);
        Ok(Streams {
            input: input.map(|master| Input::new(master, Ending::Say(terminal::END_OF_INPUT))),
            outputs: vec![Output::of_terminal(Stream::Stdout, master)],
            theirs: Descriptors {
                stdin: stdin.into(),
                stdout: stdout.into(),
                stderr: slave.into(),
                extra: Extra::Terminal,
            },
        })
    }
}
