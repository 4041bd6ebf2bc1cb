//! One TCP connection of a host to a program in the guest: its two directions, its end.
//!
//! Only to the guest's own loopback: whatever listens there, or on all addresses.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_protocol::{ExitStatus, Failure, FailureKind, Reply, SessionId, Stream};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use crate::link::Link;
use crate::spawn::failure;
use crate::streams::{Ending, Input, Output};

pub(crate) struct Connection {
    id: SessionId,
    port: u16,
    /// Until it is connected.
    connecting: Option<OwnedFd>,
    input: Input,
    output: Output,
    /// The signal by which the host has given it up.
    given_up: Option<i32>,
}

impl Connection {
    /// Begins to connect. The answer is queued when that has succeeded or failed.
    pub(crate) fn start(id: SessionId, port: u16) -> Result<Self, Failure> {
        let start = || -> io::Result<Self> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
            Ok(Connection {
                id,
                port,
                input: Input::new(socket.try_clone()?, Ending::Shutdown),
                output: Output::of_pipe(Stream::Stdout, socket.try_clone()?),
                connecting: Some(socket),
                given_up: None,
            })
        };
        start().map_err(|error| failure(FailureKind::Io, format!("no socket: {error}")))
    }

    /// Ends it, whatever the signal.
    pub(crate) fn signal(&mut self, number: i32) {
        self.given_up = Some(number);
    }

    /// Takes input from the host. An error ends the session.
    pub(crate) fn input(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.input.take(bytes)
    }

    pub(crate) fn credit(&mut self, stream: Stream, bytes: u32) {
        if stream == Stream::Stdout {
            self.output.allow(bytes);
        }
    }

    /// The descriptors whose readiness matters for now.
    pub(crate) fn waits(&self, room: bool) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        let connecting = self.connecting.as_ref().map(|socket| (Stream::Stdin, socket.as_fd()));
        let is_open = connecting.is_none();
        let output = self.output.waits().filter(|_| is_open && room).map(|fd| (Stream::Stdout, fd));
        let input = self.input.waits().filter(|_| is_open).map(|fd| (Stream::Stdin, fd));
        connecting.into_iter().chain(output).chain(input)
    }

    /// Moves what can be moved. Whether the session is over; then its last message was queued.
    pub(crate) fn pump(&mut self, link: &mut Link, buffer: &mut [u8]) -> bool {
        if let Some(number) = self.given_up {
            link.queue().reply(self.id, &Reply::Exit(ExitStatus::Signal(number)));
            return true;
        }
        if let Some(socket) = &self.connecting {
            // Asked again, it says how it stands.
            match connect(socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port)) {
                Ok(()) | Err(Errno::ISCONN) => {
                    link.queue().reply(self.id, &Reply::Connected {});
                    self.connecting = None;
                }
                Err(Errno::INPROGRESS | Errno::ALREADY | Errno::INTR) => return false,
                Err(error) => {
                    let message = format!("port {} of the guest: {}", self.port, io::Error::from(error));
                    link.queue().reply(self.id, &Reply::Failed(failure(FailureKind::NotFound, message)));
                    return true;
                }
            }
        }
        self.input.pump(self.id, link);
        self.output.pump(self.id, link, buffer);
        let is_over = self.input.is_over() && self.output.is_over();
        if is_over {
            link.queue().reply(self.id, &Reply::Exit(ExitStatus::Code(0)));
        }
        is_over
    }
}
