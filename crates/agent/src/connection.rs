//! One TCP connection of a host to a program in the guest: its two directions, its end.
//!
//! Only to the guest's own loopback, of IPv4 or else of IPv6: whatever listens there, or on all addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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
    state: State,
    /// The signal by which the host has given it up.
    given_up: Option<i32>,
}

enum State {
    Connecting { socket: OwnedFd, address: IpAddr },
    Open { input: Input, output: Output },
}

impl State {
    /// Begins to connect.
    fn to(address: IpAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        Ok(State::Connecting { socket, address })
    }

    fn open(socket: OwnedFd) -> io::Result<Self> {
        let input = Input::new(socket.try_clone()?, Ending::Shutdown);
        Ok(State::Open { input, output: Output::of_pipe(Stream::Stdout, socket) })
    }
}

impl Connection {
    /// Begins to connect. The answer is queued when that has succeeded or failed.
    pub(crate) fn start(id: SessionId, port: u16) -> Result<Self, Failure> {
        let state = State::to(Ipv4Addr::LOCALHOST.into())
            .map_err(|error| failure(FailureKind::Io, format!("no socket: {error}")))?;
        Ok(Connection { id, port, state, given_up: None })
    }

    /// Ends it, whatever the signal.
    pub(crate) fn signal(&mut self, number: i32) {
        self.given_up = Some(number);
    }

    /// Takes input from the host, which it sends to an open connection only. An error ends the session.
    pub(crate) fn input(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match &mut self.state {
            State::Open { input, .. } => input.take(bytes),
            State::Connecting { .. } => {
                let message = "the host sent input to a port before it was connected".to_owned();
                Err(failure(FailureKind::BadRequest, message))
            }
        }
    }

    pub(crate) fn credit(&mut self, stream: Stream, bytes: u32) {
        if let (Stream::Stdout, State::Open { output, .. }) = (stream, &mut self.state) {
            output.allow(bytes);
        }
    }

    /// The descriptors whose readiness matters for now.
    pub(crate) fn waits(&self, room: bool) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        let (write, read) = match &self.state {
            State::Connecting { socket, .. } => (Some(socket.as_fd()), None),
            State::Open { input, output } => (input.waits(), output.waits().filter(|_| room)),
        };
        let read = read.map(|fd| (Stream::Stdout, fd));
        write.map(|fd| (Stream::Stdin, fd)).into_iter().chain(read)
    }

    /// Moves what can be moved. Whether the session is over; then its last message was queued.
    pub(crate) fn pump(&mut self, link: &mut Link, buffer: &mut [u8]) -> bool {
        if let Some(number) = self.given_up {
            link.queue().reply(self.id, &Reply::Exit(ExitStatus::Signal(number)));
            return true;
        }
        if matches!(self.state, State::Connecting { .. }) {
            match self.connect() {
                Ok(false) => return false,
                Ok(true) => link.queue().reply(self.id, &Reply::Connected {}),
                Err(error) => {
                    let message = format!("port {} of the guest: {error}", self.port);
                    link.queue().reply(self.id, &Reply::Failed(failure(FailureKind::NotFound, message)));
                    return true;
                }
            }
        }
        let State::Open { input, output } = &mut self.state else { return false };
        input.pump(self.id, link);
        output.pump(self.id, link, buffer);
        let is_over = input.is_over() && output.is_over();
        if is_over {
            link.queue().reply(self.id, &Reply::Exit(ExitStatus::Code(0)));
        }
        is_over
    }

    /// Goes on with connecting; whether that is done.
    fn connect(&mut self) -> io::Result<bool> {
        loop {
            let State::Connecting { socket, address } = &self.state else { return Ok(true) };
            // Asked again, it says how it stands.
            let refused = match connect(socket, &SocketAddr::new(*address, self.port)) {
                Ok(()) | Err(Errno::ISCONN) => {
                    self.state = State::open(socket.try_clone()?)?;
                    return Ok(true);
                }
                Err(Errno::INPROGRESS | Errno::ALREADY | Errno::INTR) => return Ok(false),
                Err(error) => error,
            };
            // Some programs listen on one of the two only.
            self.state = match address {
                IpAddr::V4(_) => State::to(Ipv6Addr::LOCALHOST.into()).map_err(|_| refused)?,
                // A guest without IPv6 says something else, which is not why.
                IpAddr::V6(_) => return Err(Errno::CONNREFUSED.into()),
            };
        }
    }
}

#[cfg(test)]
#[allow(clippy::print_stdout, reason = "what a test says is its output")]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Some programs listen on one of the two only.
    #[test]
    fn a_port_of_ipv6_is_found_after_one_of_ipv4() {
        let connected = |address: IpAddr| {
            let Ok(listener) = TcpListener::bind((address, 0)) else {
                println!("skipped: connection::a_port_of_ipv6_is_found_after_one_of_ipv4: no {address}");
                return;
            };
            let mut connection =
                Connection::start(SessionId(1), listener.local_addr().unwrap().port()).unwrap();
            while !connection.connect().unwrap() {}
            assert!(listener.accept().unwrap().1.ip() == address);
        };
        connected(Ipv4Addr::LOCALHOST.into());
        connected(Ipv6Addr::LOCALHOST.into());
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut connection = Connection::start(SessionId(1), free).unwrap();
        let refused = loop {
            match connection.connect() {
                Ok(is_open) => assert!(!is_open),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
