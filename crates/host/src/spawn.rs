//! Starting processes that stay when their starter goes.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::FileType;
use rustix::io::{Errno, FdFlags};
use rustix::process::Signal;

use crate::process::Stat;
use crate::{Confinement, ProcessId};

/// A process to be started by [`spawn`].
pub struct Spawn<'a> {
    /// The executable; a relative path is looked up from the caller's working directory only if it has a slash.
    pub program: &'a Path,
    /// What follows the executable's name.
    pub arguments: &'a [String],
    /// Its working directory.
    pub folder: &'a Path,
    /// Where standard output and error go; standard input is `/dev/null`.
    pub output: &'a File,
    /// Descriptors that it inherits under the same numbers. It inherits nothing else beyond the standard three,
    /// whatever the caller, or the caller's caller, left open.
    pub inherit: &'a [BorrowedFd<'a>],
    /// Variables of the caller's environment that it has, too. It has no others: a caller's may be credentials.
    pub environment: &'a [&'a str],
    /// What it may reach, if that is not all that its user may. It cannot gain privileges either, then.
    pub confinement: Option<&'a Confinement>,
    /// Whether it is killed when the *thread* that started it ends.
    pub die_with_parent: bool,
}

/// Starts a process in a session of its own, so that no terminal's signals reach it.
///
/// It is a child of the caller: whoever stays alive must [`ProcessId::wait`] for it, or it remains a zombie.
///
/// # Errors
/// If it can't be started: the executable or the folder is not there, or the host is out of processes.
pub fn spawn(spec: &Spawn<'_>) -> io::Result<ProcessId> {
    let mut command = Command::new(std::path::absolute(spec.program)?);
    command
        .args(spec.arguments)
        .current_dir(spec.folder)
        .env_clear()
        .envs(spec.environment.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .stdin(Stdio::null())
        .stdout(spec.output.try_clone()?)
        .stderr(spec.output.try_clone()?);
    let inherit: Vec<RawFd> = spec.inherit.iter().map(AsRawFd::as_raw_fd).collect();
    let domain = spec.confinement.map(|domain| domain.as_fd().as_raw_fd());
    let parent = spec.die_with_parent.then(std::process::id);
    // SAFETY: the closure runs between fork and exec of a possibly multi-threaded process; it makes system calls
    // only, and neither allocates nor takes a lock.
    unsafe { command.pre_exec(move || prepare(&inherit, domain, parent)) };
    let mut child = command.spawn()?;
    // Nobody has waited for the child, so that the pid is its own even if it has ended already.
    match Stat::read(child.id()) {
        Ok(stat) => Ok(ProcessId { pid: child.id(), start_time: stat.start_time }),
        Err(error) => {
            // Nobody could end it later.
            child.kill()?;
            child.wait()?;
            Err(io::Error::other(error))
        }
    }
}

/// The socket that this process was given as descriptor `fd` by [`Spawn::inherit`]. It is not inherited further.
///
/// # Errors
/// If the descriptor is not an open socket, or one of the standard three.
pub fn inherited_stream(fd: RawFd) -> io::Result<UnixStream> {
    Ok(inherited(fd, FileType::Socket)?.into())
}

/// The pipe that this process was given as descriptor `fd` by [`Spawn::inherit`]. It is not inherited further.
///
/// # Errors
/// If the descriptor is not an open pipe, or one of the standard three.
pub fn inherited_pipe(fd: RawFd) -> io::Result<File> {
    Ok(inherited(fd, FileType::Fifo)?.into())
}

fn inherited(fd: RawFd, wanted: FileType) -> io::Result<OwnedFd> {
    let wrong =
        || io::Error::new(io::ErrorKind::InvalidInput, format!("descriptor {fd} is no inherited {wanted:?}"));
    if fd <= 2 {
        return Err(wrong());
    }
    // SAFETY: only looked at, and not kept; a number that is not open is an error of the call.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    if FileType::from_raw_mode(rustix::fs::fstat(borrowed)?.st_mode) != wanted {
        return Err(wrong());
    }
    rustix::io::fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and the caller, which was told its number by its parent, is the only one to take it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What the child does before it becomes the program.
fn prepare(inherit: &[RawFd], domain: Option<RawFd>, die_with: Option<u32>) -> io::Result<()> {
    rustix::process::setsid()?;
    if let Some(parent) = die_with {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the line above.
        if rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) != i32::try_from(parent).ok() {
            return Err(Errno::CHILD.into());
        }
    }
    // Marked rather than closed: the standard library's own pipe, over which it hears of a failed exec, is
    // among them.
    // SAFETY: close_range only marks descriptors and touches no memory.
    let marked = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if marked != 0 {
        return Err(io::Error::last_os_error());
    }
    for fd in inherit {
        // SAFETY: the caller of `spawn` holds the descriptor borrowed until `spawn` returns.
        let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
        rustix::io::fcntl_setfd(fd, FdFlags::empty())?;
    }
    domain.map_or(Ok(()), enter)
}

/// Enters a Landlock domain, for good.
fn enter(domain: RawFd) -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    // SAFETY: the call takes a descriptor, which the caller of `spawn` holds until that returns, and flags.
    match unsafe { libc::syscall(libc::SYS_landlock_restrict_self, domain, 0u32) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
