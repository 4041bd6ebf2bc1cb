//! The agent's loop: one thread, which waits in one place, for descriptors that the state asks for.
//!
//! Nothing runs by the clock while nobody waits for anything: an idle agent sleeps for good.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use agent_protocol::{ExitStatus, HEADER_LEN, MAX_PAYLOAD};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitOptions, wait};

use crate::boot::Booted;
use crate::link::Link;
use crate::log::Log;
use crate::service::Service;
use crate::spawn::OUTPUT_PIPE_BYTES;
use crate::{power, sys};

/// What is read of a program's output at a time, behind room for a header: nearly all that its pipe holds, so that the two take few turns.
/// In frames of 64 KiB with their headers these fill whole writes of Linux's port, which takes 32 KiB in one.
const BUFFER_BYTES: usize = HEADER_LEN + OUTPUT_PIPE_BYTES - OUTPUT_PIPE_BYTES / MAX_PAYLOAD * HEADER_LEN;
/// Where the warm process's output is kept.
const WARM_LOG: &str = "/run/spore/warm.log";

pub(crate) struct Agent {
    link: Link,
    service: Service,
    signals: OwnedFd,
    buffer: Vec<u8>,
}

/// Which of the agent's own descriptors are ready; those of sessions are simply tried.
#[derive(Default)]
struct ReadyNow {
    signals: bool,
    port: bool,
    log: bool,
}

impl Agent {
    pub(crate) fn new(booted: Booted) -> io::Result<Self> {
        let service = Service::new(booted.config, booted.writable, Log::create(WARM_LOG)?);
        let signals = sys::child_signals()?;
        Ok(Agent { link: Link::new(booted.port), service, signals, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Serves until the guest is powered off.
    pub(crate) fn run(mut self) -> io::Result<Infallible> {
        loop {
            let ready = self.wait()?;
            if ready.signals {
                self.reap()?;
            }
            if ready.port {
                self.link.edge_came()?;
            }
            if ready.log {
                self.service.pump_log(&mut self.buffer);
            }
            self.link.receive(|link, received| self.service.receive(link, received))?;
            self.pump()?;
            if self.service.shutdown_due(!self.link.is_active()) {
                return power::off(self.service.writable());
            }
        }
    }

    /// Moves everything that can be moved. What a full queue kept back has no event of its own, so it is tried
    /// again as soon as there is room.
    fn pump(&mut self) -> io::Result<()> {
        loop {
            self.service.pump(&mut self.link, &mut self.buffer);
            let full = self.link.is_open() && !self.link.has_room();
            self.link.flush()?;
            if !full || !self.link.has_room() {
                return Ok(());
            }
        }
    }

    fn wait(&self) -> io::Result<ReadyNow> {
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        let mut add = |fd, flags| fds.push(PollFd::from_borrowed_fd(fd, flags));
        add(self.signals.as_fd(), PollFlags::IN);
        add(self.link.edge(), PollFlags::IN);
        add(self.service.log_readable(), PollFlags::IN);
        self.service.waits(&self.link, &mut |fd: BorrowedFd<'_>, read, write| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, read);
            flags.set(PollFlags::OUT, write);
            // Nothing is asked of what is not waited for: even then a hang-up would wake us, over and over.
            if !flags.is_empty() {
                fds.push(PollFd::from_borrowed_fd(fd, flags));
            }
        });
        let timeout =
            if self.link.has_work() { Some(Timespec::default()) } else { self.service.wake().map(until) };
        match poll(&mut fds, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) | Ok(0) => return Ok(ReadyNow::default()),
            other => other?,
        };
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let mut next = || ready.next().unwrap_or(false);
        Ok(ReadyNow { signals: next(), port: next(), log: next() })
    }

    /// Reaps every child, ours or an orphan of somebody's.
    fn reap(&mut self) -> io::Result<()> {
        let mut record = [0; 128];
        let _ = rustix::io::read(&self.signals, &mut record);
        loop {
            let (pid, status) = match wait(WaitOptions::NOHANG) {
                Ok(Some(ended)) => ended,
                Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let code = status.exit_status().map(ExitStatus::Code);
            if let Some(status) = code.or(status.terminating_signal().map(ExitStatus::Signal)) {
                self.service.reaped(&mut self.link, pid, status);
            }
        }
    }
}

fn until(time: Instant) -> Timespec {
    let left = time.saturating_duration_since(Instant::now());
    let tv_sec = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: left.subsec_nanos().into() }
}
