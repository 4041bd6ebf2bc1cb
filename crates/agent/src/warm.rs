//! The warm process, its log, and its runner if it is one.

use std::os::fd::BorrowedFd;
use std::process::Stdio;

use agent_protocol::{ExitStatus, Failure, FailureKind, GuestConfig, signal};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;

use crate::eval::Evals;
use crate::link::Link;
use crate::log::Log;
use crate::runner::{Broken, FromRunner, Runner};
use crate::spawn::{Descriptors, Program, failure, set_nonblocking, spawn};
use crate::sys::{self, Extra};

const RUNNER_FD: &str = "SPORE_RUNNER_FD";

enum State {
    /// Not started so far.
    Off,
    Running(Running),
    /// How it ended.
    Ended(String),
}

struct Running {
    pid: Pid,
    ready: bool,
    runner: Option<Runner>,
    /// Why there is no runner any more, though the process may go on.
    lost: Option<String>,
}

/// Whether the runner has fresh seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reseed {
    /// It has, or there is no runner that could have stale ones.
    Done,
    /// It has not said so.
    Asked,
    /// It never will.
    Lost,
}

pub(crate) struct Warm {
    state: State,
    pub(crate) log: Log,
    pub(crate) evals: Evals,
    /// For the runner, as soon as it is idle.
    seed: Option<String>,
    reseed: Reseed,
}

impl Warm {
    pub(crate) fn new(log: Log) -> Self {
        Warm { state: State::Off, log, evals: Evals::default(), seed: None, reseed: Reseed::Done }
    }

    /// Starts the process unless it runs.
    pub(crate) fn start(&mut self, config: &GuestConfig) -> Result<(), Failure> {
        if matches!(self.state, State::Running(_)) {
            return Ok(());
        }
        let Some(warm) = &config.warm else {
            return Err(failure(
                FailureKind::BadRequest,
                "the guest config names no warm process".to_owned(),
            ));
        };
        let io_failure =
            |error| failure(FailureKind::Io, format!("cannot prepare the warm process: {error}"));
        let (runner, extra) = if warm.eval {
            let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
            let (ours, theirs) = pair.map_err(|errno| io_failure(errno.into()))?;
            set_nonblocking(&ours).map_err(io_failure)?;
            (Some(Runner::new(ours)), Extra::Inherited(RUNNER_FD, theirs))
        } else {
            (None, Extra::None)
        };
        let stdout = self.log.writer().map_err(io_failure)?;
        let stderr = self.log.writer().map_err(io_failure)?;
        let (cwd, user) = (warm.cwd.as_deref(), warm.user.as_deref());
        let program = Program { argv: &warm.argv, env: &warm.env, cwd, user };
        let pid = spawn(config, &program, Descriptors { stdin: Stdio::null(), stdout, stderr, extra })?;
        self.state = State::Running(Running { pid, ready: false, runner, lost: None });
        Ok(())
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(&self.state, State::Running(running) if running.ready)
    }

    pub(crate) fn set_ready(&mut self) {
        if let State::Running(running) = &mut self.state {
            running.ready = true;
        }
    }

    /// How the process ended, if it was started and has.
    pub(crate) fn end(&self) -> Option<&str> {
        if let State::Ended(how) = &self.state { Some(how) } else { None }
    }

    /// Takes the end of a process, if it was this one.
    pub(crate) fn reaped(&mut self, pid: Pid, status: ExitStatus, link: &mut Link) -> bool {
        let ours = matches!(&self.state, State::Running(running) if running.pid == pid);
        if ours {
            let mut how = match status {
                ExitStatus::Code(code) => format!("it exited with code {code}"),
                ExitStatus::Signal(signal) => format!("it was killed by signal {signal}"),
            };
            if let State::Running(Running { lost: Some(why), .. }) = &self.state {
                how = format!("{how} (its runner failed: {why})");
            }
            self.no_runner(&how, link);
            self.state = State::Ended(how);
        }
        ours
    }

    /// Gives up what waits for the runner.
    fn no_runner(&mut self, why: &str, link: &mut Link) {
        self.seed = None;
        if self.reseed == Reseed::Asked {
            self.reseed = Reseed::Lost;
        }
        if link.is_open() {
            let message = format!("the warm process can evaluate no more: {why}");
            self.evals.fail_all(link, &failure(FailureKind::NoRunner, message));
        } else {
            self.evals.clear();
        }
    }

    /// Whether code could be evaluated; else why not.
    pub(crate) fn check_runner(&self) -> Result<(), Failure> {
        let why = match &self.state {
            State::Running(Running { ready: true, runner: Some(_), .. }) => return Ok(()),
            State::Running(Running { lost: Some(why), .. }) => why,
            State::Running(Running { runner: None, .. }) => "the warm process of this guest is no runner",
            State::Running(_) => "the runner is not ready",
            State::Off => "this guest has no warm process running",
            State::Ended(how) => how,
        };
        Err(failure(FailureKind::NoRunner, format!("nothing can be evaluated: {why}")))
    }

    /// Hands new seeds to the runner, if there is one.
    pub(crate) fn reseed(&mut self, seed: String) {
        self.reseed = match &self.state {
            State::Running(Running { runner: Some(_), .. }) => Reseed::Asked,
            State::Running(Running { lost: Some(_), .. }) => Reseed::Lost,
            _ => Reseed::Done,
        };
        self.seed = Some(seed).filter(|_| self.reseed == Reseed::Asked);
    }

    pub(crate) fn reseed_state(&self) -> Reseed {
        self.reseed
    }

    /// Signals the warm process. SIGINT is told to a runner by a message too: one that runs code in the thread that would
    /// have to handle signals could not hear it.
    pub(crate) fn signal(&mut self, number: i32) {
        if let State::Running(running) = &mut self.state {
            if let (signal::INT, Some(runner)) = (number, &mut running.runner) {
                runner.interrupt();
            }
            // The number may be none: that concerns only the sender.
            let _ = sys::kill(Some(running.pid), number);
        }
    }

    /// Forgets all evaluations; the running one is interrupted, and its output will be dropped.
    pub(crate) fn abandon_evals(&mut self) {
        if self.evals.clear() {
            self.signal(signal::INT);
        }
    }

    /// The runner's socket, and whether reading and writing it are waited for.
    pub(crate) fn waits(&self, room: bool) -> Option<(BorrowedFd<'_>, bool, bool)> {
        let State::Running(Running { runner: Some(runner), .. }) = &self.state else { return None };
        Some((runner.socket(), room && self.evals.takes_output(), runner.wants_write()))
    }

    /// Talks with the runner as far as possible. For use while the link is open.
    pub(crate) fn pump(&mut self, link: &mut Link, buffer: &mut [u8]) {
        let Err(broken) = self.talk(link, buffer) else { return };
        if !matches!(broken, Broken::Closed) {
            self.signal(signal::KILL);
        }
        let why = broken.to_string();
        self.no_runner(&why, link);
        if let State::Running(running) = &mut self.state {
            running.runner = None;
            running.lost = Some(why);
        }
    }

    fn talk(&mut self, link: &mut Link, buffer: &mut [u8]) -> Result<(), Broken> {
        let State::Running(running) = &mut self.state else { return Ok(()) };
        let Some(runner) = &mut running.runner else { return Ok(()) };
        loop {
            self.evals.pump(link);
            if !self.evals.takes_output() || !link.has_room() {
                break;
            }
            match runner.receive(buffer)? {
                None => break,
                Some(FromRunner::Ready) => running.ready = true,
                Some(FromRunner::Output { id, stream, data }) => self.evals.output(id, stream.into(), data),
                Some(FromRunner::Done { id, ok }) => self.evals.done(id, ok),
                // An acknowledgement of an earlier seed does not count.
                Some(FromRunner::Reseeded) if self.seed.is_some() => {}
                Some(FromRunner::Reseeded) => self.reseed = Reseed::Done,
            }
        }
        if running.ready && !runner.is_busy() {
            match self.seed.take() {
                Some(seed) => runner.reseed(&seed),
                None => self.evals.start_next(runner),
            }
        }
        runner.flush()
    }
}
