//! Processes that outlive the command that started them.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid};

use crate::Deadline;

/// A process, told apart from every other that had or will have the same pid on this boot of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessId {
    /// The process's number in this pid namespace.
    pub pid: u32,
    /// When it was started, in clock ticks since the host's boot (field 22 of `/proc/PID/stat`).
    pub start_time: u64,
}

/// Why a process could not be looked at, signalled or waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// It is gone, or its pid now is another process's.
    #[error("process {0} has ended")]
    Gone(ProcessId),
    /// It had not ended when the deadline passed.
    #[error("process {0} has not ended in time")]
    Timeout(ProcessId),
    /// What the kernel shows of it is not of the known form.
    #[error("/proc/{pid}/{file} is not understood: {text:?}")]
    Proc {
        /// Whose.
        pid: u32,
        /// Which file.
        file: &'static str,
        /// What was read, shortened.
        text: String,
    },
    /// The kernel refused.
    #[error("process {pid}: {action}: {source}")]
    Io {
        /// Whose.
        pid: u32,
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The fields of `/proc/PID/stat` that matter here.
pub(crate) struct Stat {
    pub(crate) state: char,
    /// -1 once it has let go of it, as a zombie does that nobody waits for.
    session: i64,
    /// 0 if it has none.
    terminal: i32,
    pub(crate) user_ticks: u64,
    pub(crate) system_ticks: u64,
    pub(crate) start_time: u64,
}

impl Stat {
    pub(crate) fn read(pid: u32) -> Result<Self, ProcessError> {
        let text = read_proc(pid, "stat")?;
        Self::parse(&text).ok_or_else(|| not_understood(pid, "stat", &text))
    }

    /// The second field is the command's name, which may hold blanks and parentheses: all else is counted from
    /// the last `)`.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        // Counted from field 4: skipping 2 gives field 6, and so on.
        let session = fields.nth(2)?.parse().ok()?;
        let terminal = fields.next()?.parse().ok()?;
        let user_ticks = fields.nth(6)?.parse().ok()?;
        let system_ticks = fields.next()?.parse().ok()?;
        let start_time = fields.nth(6)?.parse().ok()?;
        Some(Self { state, session, terminal, user_ticks, system_ticks, start_time })
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

impl ProcessId {
    /// The process that has this pid now.
    ///
    /// # Errors
    /// If there is none, or it is a zombie.
    pub fn of(pid: u32) -> Result<Self, ProcessError> {
        let stat = Stat::read(pid)?;
        let process = Self { pid, start_time: stat.start_time };
        if stat.has_ended() { Err(ProcessError::Gone(process)) } else { Ok(process) }
    }

    /// The calling process.
    ///
    /// # Errors
    /// If `/proc` is not mounted.
    pub fn current() -> Result<Self, ProcessError> {
        Self::of(std::process::id())
    }

    /// Whether it still runs. A zombie does not.
    #[must_use]
    pub fn is_alive(self) -> bool {
        self.stat().is_ok()
    }

    /// Ends it with SIGKILL. That it has ended already is no error; it may take a moment to end ([`Self::wait`]).
    ///
    /// # Errors
    /// If it belongs to somebody else.
    pub fn kill(self) -> Result<(), ProcessError> {
        self.signal(Signal::KILL)
    }

    /// Asks it to end, with SIGTERM. That it has ended already is no error.
    ///
    /// # Errors
    /// If it belongs to somebody else.
    pub fn terminate(self) -> Result<(), ProcessError> {
        self.signal(Signal::TERM)
    }

    /// Blocks until it has ended, and takes its exit status from the kernel if it is a child of the caller, so
    /// that no zombie remains.
    ///
    /// # Errors
    /// [`ProcessError::Timeout`] if it has not ended by then.
    pub fn wait(self, deadline: Deadline) -> Result<(), ProcessError> {
        let fd = match self.open() {
            Ok(fd) => fd,
            Err(ProcessError::Gone(_)) => return self.reap(),
            Err(error) => return Err(error),
        };
        loop {
            let mut fds = [PollFd::new(&fd, PollFlags::IN)];
            match poll(&mut fds, Some(&deadline.timespec())) {
                Ok(0) => return Err(ProcessError::Timeout(self)),
                Ok(_) => return self.reap(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.error("poll", error)),
            }
        }
    }

    /// A file descriptor of the process that poll(2) shows as readable once it has ended.
    ///
    /// # Errors
    /// [`ProcessError::Gone`] if it has ended.
    pub fn open(self) -> Result<OwnedFd, ProcessError> {
        let pid = self.raw()?;
        let fd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| match error {
            Errno::SRCH => ProcessError::Gone(self),
            error => self.error("pidfd_open", error),
        })?;
        // Only from here on can the pid not be reused under us: so the start time is compared after, not before.
        self.stat()?;
        Ok(fd)
    }

    /// Its stat, if it is this process and it has not ended.
    pub(crate) fn stat(self) -> Result<Stat, ProcessError> {
        let stat = Stat::read(self.pid)?;
        if stat.start_time != self.start_time || stat.has_ended() {
            return Err(ProcessError::Gone(self));
        }
        Ok(stat)
    }

    fn signal(self, signal: Signal) -> Result<(), ProcessError> {
        let fd = match self.open() {
            Ok(fd) => fd,
            Err(ProcessError::Gone(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        match pidfd_send_signal(fd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(self.error("pidfd_send_signal", error)),
        }
    }

    /// A zombie keeps its pid, so that what is reaped can only be this process; with another start time the
    /// pid belongs to somebody who is left alone.
    fn reap(self) -> Result<(), ProcessError> {
        match Stat::read(self.pid) {
            Ok(stat) if stat.start_time == self.start_time => {}
            _ => return Ok(()),
        }
        match waitpid(Some(self.raw()?), WaitOptions::NOHANG) {
            Ok(_) | Err(Errno::CHILD) => Ok(()),
            Err(error) => Err(self.error("waitpid", error)),
        }
    }

    fn raw(self) -> Result<Pid, ProcessError> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw).ok_or(ProcessError::Gone(self))
    }

    fn error(self, action: &'static str, error: Errno) -> ProcessError {
        ProcessError::Io { pid: self.pid, action, source: error.into() }
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.pid)
    }
}

/// The processes that [`crate::spawn`] may have started in `folder`: it is their working directory, they lead a session,
/// and have no terminal. A person's shell has one. Those of other users are not seen.
///
/// # Errors
/// If the folder is not there, or `/proc` is not mounted.
pub fn detached_in(folder: &Path) -> io::Result<Vec<ProcessId>> {
    let wanted = fs::metadata(folder)?;
    let is_there = |pid: &u32| {
        fs::metadata(format!("/proc/{pid}/cwd"))
            .is_ok_and(|cwd| (cwd.dev(), cwd.ino()) == (wanted.dev(), wanted.ino()))
    };
    let pids =
        fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let own = std::process::id();
    let detached = |pid: u32| {
        let stat = Stat::read(pid)
            .ok()
            .filter(|stat| !stat.has_ended() && stat.terminal == 0 && stat.session == i64::from(pid))?;
        Some(ProcessId { pid, start_time: stat.start_time })
    };
    Ok(pids.filter(|pid| *pid != own && is_there(pid)).filter_map(detached).collect())
}

/// Reads a file of `/proc/PID`; a process that is not there is [`ProcessError::Gone`].
pub(crate) fn read_proc(pid: u32, file: &'static str) -> Result<String, ProcessError> {
    /// More than these files have: the kernel makes them anew for each read, and says of none how long it is.
    const BYTES: usize = 2 << 10;
    let mut text = String::with_capacity(BYTES);
    let read = File::open(format!("/proc/{pid}/{file}")).and_then(|mut file| file.read_to_string(&mut text));
    read.map(|_| text).map_err(|source| {
        let ended = source.kind() == io::ErrorKind::NotFound
            || source.raw_os_error() == Some(Errno::SRCH.raw_os_error());
        if ended {
            ProcessError::Gone(ProcessId { pid, start_time: 0 })
        } else {
            ProcessError::Io { pid, action: "read /proc", source }
        }
    })
}

pub(crate) fn not_understood(pid: u32, file: &'static str, text: &str) -> ProcessError {
    ProcessError::Proc { pid, file, text: text.chars().take(200).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zombie_that_has_let_go_of_its_session_is_understood() {
        let zeros = "0 ".repeat(30);
        let line =
            format!("8170 (qemu) x) Z 0 -1 -1 0 -1 138446220 11567 0 0 0 68 14 0 0 20 0 0 0 869804 {zeros}");
        let stat = Stat::parse(&line).unwrap();
        assert!(stat.has_ended());
        assert_eq!((stat.session, stat.terminal, stat.user_ticks, stat.start_time), (-1, 0, 68, 869_804));
    }
}
