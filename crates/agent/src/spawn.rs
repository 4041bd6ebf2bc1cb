//! Starting programs in the guest.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};

use agent_protocol::{Failure, FailureKind, GuestConfig};
use rustix::process::Pid;

use crate::sys::{self, Extra};
use crate::users::{self, Credentials};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the pipe of a program's output holds, which is what a guest keeps of one that nobody reads. Each time that the agent and the
/// program take turns, an emulated processor forgets what it knows of page tables; Linux's 64 KiB are little work for that.
pub(crate) const OUTPUT_PIPE_BYTES: usize = 256 * 1024;

/// A program, and what differs from the guest's defaults.
pub(crate) struct Program<'a> {
    pub(crate) argv: &'a [String],
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) cwd: Option<&'a str>,
    pub(crate) user: Option<&'a str>,
}

/// Its three standard descriptors, and what else some have.
pub(crate) struct Descriptors {
    pub(crate) stdin: Stdio,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
    pub(crate) extra: Extra,
}

/// Starts the program as the leader of its own session. Its end is seen by whoever reaps all children.
pub(crate) fn spawn(
    config: &GuestConfig,
    program: &Program<'_>,
    descriptors: Descriptors,
) -> Result<Pid, Failure> {
    let Some((name, arguments)) = program.argv.split_first().filter(|(name, _)| !name.is_empty()) else {
        return Err(failure(FailureKind::BadRequest, "no program is named: argv is empty".to_owned()));
    };
    let credentials = program.user.or(config.user.as_deref()).map(credentials).transpose()?;
    let cwd = program.cwd.or(config.cwd.as_deref()).unwrap_or("/");
    if !std::path::Path::new(cwd).is_dir() {
        return Err(failure(
            FailureKind::NotFound,
            format!("the working directory {cwd} is no folder of the guest"),
        ));
    }
    let home = credentials.as_ref().map_or("/root", |credentials| &credentials.home);
    let mut command = Command::new(name);
    command.args(arguments).current_dir(cwd).env_clear().envs([("PATH", PATH), ("HOME", home)]);
    command.envs(&config.env).envs(program.env);
    command.stdin(descriptors.stdin).stdout(descriptors.stdout).stderr(descriptors.stderr);
    if let Extra::Inherited(variable, fd) = &descriptors.extra {
        command.env(variable, fd.as_raw_fd().to_string());
    }
    sys::prepare(&mut command, credentials, descriptors.extra);
    let child = command.spawn().map_err(|error| spawn_failure(name, &error))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| failure(FailureKind::Io, format!("{name} got an impossible process id")))
}

/// A pipe whose end for the agent does not block.
pub(crate) struct Pipe {
    /// For the agent.
    pub(crate) ours: OwnedFd,
    /// For the program.
    pub(crate) theirs: Stdio,
}

impl Pipe {
    /// The agent reads what the program writes.
    pub(crate) fn from_program() -> io::Result<Self> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        Self::new(read, write)
    }

    /// Has it hold [`OUTPUT_PIPE_BYTES`].
    pub(crate) fn enlarged(self) -> Self {
        // A guest that allows less has more turns to take, and nothing else.
        let _ = rustix::pipe::fcntl_setpipe_size(&self.ours, OUTPUT_PIPE_BYTES);
        self
    }

    /// The program reads what the agent writes.
    pub(crate) fn to_program() -> io::Result<Self> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        Self::new(write, read)
    }

    fn new(ours: OwnedFd, theirs: OwnedFd) -> io::Result<Self> {
        set_nonblocking(&ours)?;
        Ok(Pipe { ours, theirs: theirs.into() })
    }
}

pub(crate) fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    Ok(rustix::fs::fcntl_setfl(fd, rustix::fs::OFlags::NONBLOCK)?)
}

/// Reads without blocking. `None`: nothing for now. Zero: the end.
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<usize> {
    use rustix::io::Errno;
    match rustix::io::read(fd, buffer) {
        Ok(count) => Some(count),
        Err(Errno::AGAIN | Errno::INTR) => None,
        // A pipe or socket that fails has no more to give.
        Err(_) => Some(0),
    }
}

pub(crate) fn failure(kind: FailureKind, message: String) -> Failure {
    Failure { kind, message }
}

/// What a user of the guest runs with.
pub(crate) fn credentials(user: &str) -> Result<Credentials, Failure> {
    let read = |path| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    // A guest without these files has no users by name; numbers work.
    let (passwd, group) = (read("/etc/passwd").unwrap_or_default(), read("/etc/group").unwrap_or_default());
    users::resolve(user, &passwd, &group).ok_or_else(|| {
        let message = format!(
            "the guest has no user {user:?}: give a name of its /etc/passwd or a number, \
             and a group of its /etc/group or a number behind a colon"
        );
        failure(FailureKind::NoSuchUser, message)
    })
}

fn spawn_failure(name: &str, error: &io::Error) -> Failure {
    let kind = match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => FailureKind::NotFound,
        Some(libc::EACCES | libc::ENOEXEC | libc::EISDIR | libc::ELOOP | libc::ETXTBSY) => {
            FailureKind::NotExecutable
        }
        // A zero byte in an argument or variable never reaches the kernel.
        None => FailureKind::BadRequest,
        Some(_) => FailureKind::Io,
    };
    failure(kind, format!("{name}: {error}"))
}
