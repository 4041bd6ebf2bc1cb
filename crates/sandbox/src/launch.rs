//! Starting a supervisor, and what it says of its start to the command that waits for it: one line of JSON on a connection that
//! it inherits. That it ends without a word, or says nothing in time, is a failure too.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_protocol::Given;
use host::{Deadline, ProcessId};
use serde::{Deserialize, Serialize};
use store::{SandboxId, Store};

use crate::error::At;
use crate::limits::KILL_DEADLINE;
use crate::manage;
use crate::{Cause, Context, Error, SUPERVISOR_LOG, SupervisorProgram};

/// Longest announcement of a supervisor, in bytes.
const ANNOUNCEMENT_BYTES: u64 = 64 << 10;
/// How much longer than its supervisor a command waits: only the supervisor knows what a guest did not do in time. Before
/// its time begins it has to start, and after it to end the engine.
const ANNOUNCEMENT_GRACE: Duration = KILL_DEADLINE.saturating_add(Duration::from_secs(5));
/// How long a supervisor may take to hear what its guest is given: no longer than a connection's buffer is full, if at all.
const TELL_DEADLINE: Duration = Duration::from_secs(10);
/// What is said of a supervisor whose end is all that is seen of it.
pub(crate) const SUPERVISOR_ENDED: &str = "its supervisor has ended";

/// What a supervisor tells the command that started it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Announcement {
    /// The sandbox is ready.
    Ready,
    /// It is not and will not be.
    Failed(FailedStart),
}

/// Why a supervisor's sandbox is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedStart {
    /// What callers tell it apart by.
    pub(crate) cause: Cause,
    /// For people.
    pub(crate) reason: String,
}

impl FailedStart {
    /// What it means for a fork that was to be ready within `allowed`.
    pub(crate) fn of_fork(self, allowed: Duration) -> Error {
        let Self { cause, reason } = self;
        match cause {
            Cause::Interrupted => Error::Interrupted,
            Cause::Timeout => Error::NotInTime { allowed, reason },
            _ => Error::NotReady { cause, reason },
        }
    }
}

impl From<io::Error> for FailedStart {
    fn from(error: io::Error) -> Self {
        Self { cause: Cause::Other, reason: format!("its supervisor cannot be heard: {error}") }
    }
}

impl From<&Error> for FailedStart {
    fn from(error: &Error) -> Self {
        Self { cause: error.into(), reason: error.to_string() }
    }
}

/// A supervisor that this process has started.
pub(crate) struct Supervisor {
    process: ProcessId,
    connection: UnixStream,
}

/// What a supervisor is started for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Task<'a> {
    /// To restore the VM, and to serve it if a byte comes through this pipe.
    Restore {
        /// The end to read from.
        kept: BorrowedFd<'a>,
        /// How long the guest may take.
        deadline: Duration,
        /// What the guest is given, which goes over the connection alone: arguments can be seen, files stay.
        given: &'a Given,
    },
    /// To serve a VM whose supervisor has died.
    Adopt,
}

/// Starts a supervisor for the sandbox `id`, and gives the connection on which it announces itself.
pub(crate) fn start(
    store: &Store,
    program: &SupervisorProgram,
    id: &SandboxId,
    task: Task<'_>,
) -> Result<Supervisor, Error> {
    let folder = store.sandbox_path(id);
    let log_path = folder.join(SUPERVISOR_LOG);
    let log = File::options().append(true).create(true).open(&log_path).at("open", &log_path)?;
    let (ours, theirs) = UnixStream::pair().at("connect to the supervisor in", &folder)?;
    let mut arguments = program.arguments.clone();
    arguments.push(id.to_string());
    arguments.push(theirs.as_raw_fd().to_string());
    let mut inherit = vec![theirs.as_fd()];
    match task {
        Task::Restore { kept, deadline, .. } => {
            arguments.extend(["--restore".to_owned(), kept.as_raw_fd().to_string()]);
            arguments.extend(["--deadline-ms".to_owned(), deadline.as_millis().to_string()]);
            inherit.push(kept);
        }
        Task::Adopt => arguments.push("--adopt".to_owned()),
    }
    let process = host::spawn(&host::Spawn {
        program: &program.program,
        arguments: &arguments,
        folder: &folder,
        output: &log,
        inherit: &inherit,
        environment: program.environment,
        confinement: None,
        die_with_parent: false,
    })
    .at("start the supervisor", &program.program)?;
    if let Task::Restore { given, .. } = task {
        let mut line = serde_json::to_vec(given).at("tell the supervisor in", &folder)?;
        line.push(b'\n');
        // One that has ended already, or takes nothing, is heard of when it is waited for.
        ours.set_write_timeout(Some(TELL_DEADLINE)).at("tell the supervisor in", &folder)?;
        (&ours).write_all(&line).ok();
    }
    Ok(Supervisor { process, connection: ours })
}

impl Supervisor {
    /// Whether its process runs.
    pub(crate) fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// Ends it, and removes its sandbox. What cannot be removed shows in `ps -a` and is removed by `kill`.
    pub(crate) fn remove(self, context: &Context<'_>, id: &SandboxId) {
        self.process.kill().ok();
        self.process.wait(Deadline::after(KILL_DEADLINE)).ok();
        if let Ok(sandbox) = manage::find(context.store, id.as_str()) {
            manage::kill(context.store, &sandbox).ok();
        }
    }

    /// Waits until it announces that its sandbox is ready, for which it was given `allowed`. That it announces nothing is a
    /// failure as those are that it announces.
    pub(crate) fn wait(&self, allowed: Duration, interrupted: &AtomicBool) -> Result<(), FailedStart> {
        /// How often an interruption is looked for.
        const TICK: Duration = Duration::from_millis(200);
        let failed = |cause, reason: &str| FailedStart { cause, reason: reason.to_owned() };
        let deadline = Deadline::after(allowed.saturating_add(ANNOUNCEMENT_GRACE));
        let mut line = Vec::new();
        let mut reader = BufReader::new((&self.connection).take(ANNOUNCEMENT_BYTES));
        loop {
            if interrupted.load(Ordering::Relaxed) {
                return Err(failed(Cause::Interrupted, "interrupted"));
            }
            let left = deadline
                .remaining()
                .ok_or_else(|| failed(Cause::Timeout, "its supervisor did not say how it went"))?;
            self.connection.set_read_timeout(Some(left.min(TICK)))?;
            match reader.read_until(b'\n', &mut line) {
                Ok(_) if line.ends_with(b"\n") => break,
                Ok(_) => return Err(failed(Cause::Other, SUPERVISOR_ENDED)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match serde_json::from_slice(&line).map_err(std::io::Error::from)? {
            Announcement::Ready => Ok(()),
            Announcement::Failed(failure) => Err(failure),
        }
    }
}

#[cfg(test)]
mod tests;
