//! The two directions of a session's streams: bytes from the host to a descriptor, and from one to the host, both
//! bounded by credit.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_protocol::{Failure, FailureKind, HEADER_LEN, INITIAL_CREDIT, SessionId, Stream};

use crate::link::Link;
use crate::spawn::{failure, read};

/// Consumed input is credited in pieces no smaller than this, so that credit is not most of the traffic.
const CREDIT_STEP: u32 = INITIAL_CREDIT / 2;
/// More than the kernel holds of what was written to a terminal: 64 KiB under way, and 4 KiB to be read.
const TERMINAL_HOLDS: u64 = 128 * 1024;

/// What tells a program that no more input comes, besides that the descriptor is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nothing.
    Close,
    /// These bytes are the last.
    Say(&'static [u8]),
    /// Its socket is shut down in this direction.
    Shutdown,
}

/// Bytes on their way to a program.
pub(crate) struct Input {
    /// `None` when the program reads no more: what comes is consumed for nothing.
    fd: Option<OwnedFd>,
    ending: Ending,
    held: VecDeque<u8>,
    /// What the host may still send.
    window: u32,
    /// Consumed, and not credited yet.
    owed: u32,
    ended: bool,
}

impl Input {
    /// To a descriptor that does not block.
    pub(crate) fn new(fd: OwnedFd, ending: Ending) -> Self {
        let held = VecDeque::new();
        Input { fd: Some(fd), ending, held, window: INITIAL_CREDIT, owed: 0, ended: false }
    }

    /// Takes what the host sent. An error ends the session.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.window = self.window.checked_sub(length).ok_or_else(|| {
            failure(FailureKind::BadRequest, "the host sent more input than it had credit for".to_owned())
        })?;
        if self.ended {
            return Ok(());
        }
        if bytes.is_empty() {
            self.ended = true;
            if let Ending::Say(last) = self.ending {
                self.held.extend(last);
            }
        } else {
            // Straight through, where nothing is before it.
            let written = if self.held.is_empty() { write(&mut self.fd, bytes) } else { 0 };
            self.owe(written);
            self.held.extend(bytes.get(written..).unwrap_or_default());
        }
        Ok(())
    }

    /// Whether nothing is to be written any more: all was, or nobody reads.
    pub(crate) fn is_over(&self) -> bool {
        self.fd.is_none()
    }

    /// What has to be writable for something to happen.
    pub(crate) fn waits(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().filter(|_| !self.held.is_empty()).map(AsFd::as_fd)
    }

    pub(crate) fn pump(&mut self, id: SessionId, link: &mut Link) {
        loop {
            let written = write(&mut self.fd, self.held.as_slices().0);
            if written == 0 {
                break;
            }
            self.consume(written);
        }
        if self.fd.is_none() {
            self.consume(self.held.len());
        } else if self.ended && self.held.is_empty() {
            if let (Some(socket), Ending::Shutdown) = (&self.fd, self.ending) {
                // Whoever is at its other end may have gone.
                let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Write);
            }
            self.fd = None;
        }
        if self.owed >= CREDIT_STEP && !self.ended {
            link.queue().credit(id, Stream::Stdin, self.owed);
            self.window += self.owed;
            self.owed = 0;
        }
    }

    fn consume(&mut self, count: usize) {
        self.held.drain(..count);
        self.owe(count);
    }

    fn owe(&mut self, count: usize) {
        // What comes never exceeds the window, which is a u32.
        self.owed += u32::try_from(count).unwrap_or(u32::MAX);
    }
}

/// Writes what is taken of `bytes`, and gives how much that was. A reader that has gone is `None` from then on.
fn write(fd: &mut Option<OwnedFd>, bytes: &[u8]) -> usize {
    let mut written = 0;
    while let (Some(open), Some(rest @ [_, ..])) = (&fd, bytes.get(written..)) {
        match rustix::io::write(open, rest) {
            Ok(count) => written += count,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => break,
            Err(_) => *fd = None,
        }
    }
    written
}

/// Bytes on their way to the host.
pub(crate) struct Output {
    stream: Stream,
    /// `None` when the end was sent.
    fd: Option<OwnedFd>,
    is_terminal: bool,
    /// What the host is ready to take.
    credit: u64,
    /// After the program's end: what can be of it in the pipe by then. More comes from others, and is not waited for.
    left: Option<u64>,
}

impl Output {
    /// From a pipe or socket that does not block.
    pub(crate) fn of_pipe(stream: Stream, pipe: OwnedFd) -> Self {
        Output { stream, fd: Some(pipe), is_terminal: false, credit: INITIAL_CREDIT.into(), left: None }
    }

    /// From a terminal's master side that does not block.
    pub(crate) fn of_terminal(stream: Stream, master: OwnedFd) -> Self {
        Output { is_terminal: true, ..Self::of_pipe(stream, master) }
    }

    pub(crate) fn stream(&self) -> Stream {
        self.stream
    }

    /// Whether its end was sent.
    pub(crate) fn is_over(&self) -> bool {
        self.fd.is_none()
    }

    /// The terminal that it comes from, until its end was sent.
    pub(crate) fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().filter(|_| self.is_terminal).map(AsFd::as_fd)
    }

    /// What has to be readable for something to happen.
    pub(crate) fn waits(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().filter(|_| self.credit > 0).map(AsFd::as_fd)
    }

    pub(crate) fn allow(&mut self, bytes: u32) {
        self.credit = self.credit.saturating_add(bytes.into());
    }

    /// The program has ended: only what it wrote is still to be sent.
    pub(crate) fn limit(&mut self) {
        // A terminal does not tell of what is under way in it, so it is read until it gives nothing.
        let held = self.fd.as_ref().filter(|_| !self.is_terminal).map(rustix::io::ioctl_fionread);
        let unknown = if self.is_terminal { TERMINAL_HOLDS } else { 0 };
        self.left = Some(held.and_then(Result::ok).unwrap_or(unknown));
    }

    /// Reads once, if there is credit and room, so that every session gets its turn; after the program's end as often as
    /// it gives something, since a terminal that somebody else keeps open causes no event then.
    pub(crate) fn pump(&mut self, id: SessionId, link: &mut Link, buffer: &mut [u8]) {
        while self.pump_once(id, link, buffer) && self.left.is_some() {}
    }

    /// Whether there may be more.
    fn pump_once(&mut self, id: SessionId, link: &mut Link, buffer: &mut [u8]) -> bool {
        let Some(fd) = &self.fd else { return false };
        let wanted = self.credit.min(self.left.unwrap_or(u64::MAX));
        let count = if self.left == Some(0) {
            0
        } else if wanted == 0 || !link.has_room() {
            return false;
        } else {
            let room = buffer.get_mut(HEADER_LEN..).unwrap_or_default();
            let end = usize::try_from(wanted).unwrap_or(usize::MAX).min(room.len());
            match read(fd.as_fd(), room.get_mut(..end).unwrap_or_default()) {
                Some(count) => count,
                None if self.left.is_some() => 0,
                None => return false,
            }
        };
        self.credit -= count as u64;
        self.left = self.left.map(|left| left - count as u64);
        link.send_data(id, self.stream, buffer.get_mut(..HEADER_LEN + count).unwrap_or_default());
        if count == 0 || self.left == Some(0) {
            link.queue().end(id, self.stream);
            self.fd = None;
        }
        self.fd.is_some()
    }
}
