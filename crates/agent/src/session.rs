//! A session that has streams, whatever they lead to.

use std::os::fd::BorrowedFd;

use agent_protocol::{ExitStatus, Failure, Stream, WindowSize};
use rustix::process::Pid;

use crate::connection::Connection;
use crate::exec::ExecSession;
use crate::link::Link;

pub(crate) enum Session {
    Exec(ExecSession),
    Connection(Connection),
}

impl Session {
    /// Ends the program with this process id, if it is this session's. Whether it was.
    pub(crate) fn reaped(&mut self, pid: Pid, status: ExitStatus) -> bool {
        match self {
            Session::Exec(exec) if exec.pid() == pid => {
                exec.ended(status);
                true
            }
            _ => false,
        }
    }

    pub(crate) fn signal(&mut self, number: i32) {
        match self {
            Session::Exec(exec) => exec.signal(number),
            Session::Connection(connection) => connection.signal(number),
        }
    }

    /// Sets the size of its terminal, if it has one.
    pub(crate) fn resize(&self, size: WindowSize) {
        if let Session::Exec(exec) = self {
            exec.resize(size);
        }
    }

    /// Takes input from the host. An error ends the session.
    pub(crate) fn input(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Session::Exec(exec) => exec.input(bytes),
            Session::Connection(connection) => connection.input(bytes),
        }
    }

    pub(crate) fn credit(&mut self, stream: Stream, bytes: u32) {
        match self {
            Session::Exec(exec) => exec.credit(stream, bytes),
            Session::Connection(connection) => connection.credit(stream, bytes),
        }
    }

    /// Names the descriptors whose readiness matters for now, with whether to read and to write each.
    pub(crate) fn waits<'a>(&'a self, room: bool, add: &mut impl FnMut(BorrowedFd<'a>, bool, bool)) {
        let mut each = |(stream, fd)| add(fd, stream != Stream::Stdin, stream == Stream::Stdin);
        match self {
            Session::Exec(exec) => exec.waits(room).for_each(&mut each),
            Session::Connection(connection) => connection.waits(room).for_each(&mut each),
        }
    }

    /// Moves what can be moved. Whether the session is over; then its last message was queued.
    pub(crate) fn pump(&mut self, link: &mut Link, buffer: &mut [u8]) -> bool {
        match self {
            Session::Exec(exec) => exec.pump(link, buffer),
            Session::Connection(connection) => connection.pump(link, buffer),
        }
    }
}
