//! Unix sockets in folders with long names.
//!
//! The kernel takes at most 107 bytes of a socket's path, and a store's root may be longer. So the folder is
//! opened, and the socket is named through `/proc/self/fd`: no length of path matters, and the working
//! directory, which all threads share, stays what it is.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 8;

/// Opens a folder for naming sockets in it.
///
/// # Errors
/// If it is not there, or no folder.
pub fn folder(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Binds a listening socket `name` in a folder, in place of a socket that a dead process left there.
///
/// The socket is for its owner alone (mode 0600) before anyone can connect.
///
/// # Errors
/// If `name` is not one file name of at most 64 bytes, or something other than a socket has it.
pub fn bind(folder: BorrowedFd<'_>, name: &str) -> io::Result<UnixListener> {
    let path = path(folder, name)?;
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_socket() => {
            rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
        }
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{name} is not a socket"))),
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::fs::chmodat(folder, name, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
    net::listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// Connects to the socket `name` in a folder.
///
/// # Errors
/// As connect(2): `NotFound` if there is none, `ConnectionRefused` if nobody listens any more.
pub fn connect(folder: BorrowedFd<'_>, name: &str) -> io::Result<UnixStream> {
    UnixStream::connect(path(folder, name)?)
}

/// Connects to the socket `name` in the folder at `path`.
///
/// # Errors
/// As [`folder`] and [`connect`].
pub fn connect_in(path: &Path, name: &str) -> io::Result<UnixStream> {
    connect(folder(path)?.as_fd(), name)
}

fn path(folder: BorrowedFd<'_>, name: &str) -> io::Result<PathBuf> {
    const NAME_MAX: usize = 64;
    if name.is_empty() || name.len() > NAME_MAX || name.contains('/') || name == "." || name == ".." {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no name for a socket: {name:?}")));
    }
    Ok(PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd())))
}
