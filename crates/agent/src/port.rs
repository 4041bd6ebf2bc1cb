//! The transport: a virtio-serial port. All that knows which transport it is.
//!
//! While no host is connected, a port is permanently "hung up", and a level-triggered wait on it would
//! spin. So it is watched edge-triggered by an epoll descriptor of its own: [`Port::edge`] is readable when something
//! about the port has changed, and [`Port::take_edge`] consumes that.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::epoll;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// What reading or writing a port came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// This many bytes.
    Bytes(usize),
    /// None for the time being: an edge will come.
    Blocked,
    /// No host is connected.
    Closed,
}

pub(crate) struct Port {
    device: OwnedFd,
    edge: OwnedFd,
}

impl Port {
    /// Opens the port with this name, if there is one so far.
    pub(crate) fn open(name: &str) -> io::Result<Option<Self>> {
        let Some(path) = find(name) else { return Ok(None) };
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let device = rustix::fs::open(path, flags, Mode::empty())?;
        let edge = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let events = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&edge, &device, epoll::EventData::new_u64(0), events)?;
        Ok(Some(Port { device, edge }))
    }

    pub(crate) fn edge(&self) -> BorrowedFd<'_> {
        self.edge.as_fd()
    }

    pub(crate) fn take_edge(&self) -> io::Result<()> {
        let mut event =
            [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }];
        epoll::wait(&self.edge, &mut event, Some(&rustix::event::Timespec::default()))?;
        Ok(())
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<Moved> {
        match rustix::io::read(&self.device, buffer) {
            Ok(0) | Err(Errno::PIPE) => Ok(Moved::Closed),
            other => moved(other),
        }
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<Moved> {
        moved(rustix::io::write(&self.device, bytes))
    }
}

fn moved(result: Result<usize, Errno>) -> io::Result<Moved> {
    match result {
        Ok(bytes) => Ok(Moved::Bytes(bytes)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Moved::Blocked),
        Err(error) => Err(error.into()),
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let ports = std::fs::read_dir("/sys/class/virtio-ports").ok()?;
    let entry = ports.flatten().find(|port| {
        std::fs::read_to_string(port.path().join("name")).is_ok_and(|found| found.trim_end() == name)
    })?;
    Some(PathBuf::from("/dev").join(entry.file_name()))
}
