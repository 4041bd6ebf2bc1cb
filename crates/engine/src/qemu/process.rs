//! Starting a QEMU in a sandbox's folder.

use std::fs::{self, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use host::{Deadline, ProcessId, Spawn};

use super::command::Inherited;
use super::confine::confine;
use super::discover::Found;
use super::qmp::{QMP_SOCKET, Qmp};
use crate::{AGENT_SOCKET, Disk, ENGINE_LOG, EngineError, NetworkMode};

/// What a QEMU sees of our environment: what its own start may need. A guest that breaks into it finds no credentials there.
const ENVIRONMENT: [&str; 1] = ["LD_LIBRARY_PATH"];

/// How long a QEMU lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// Until it is ended, whoever started it: a fork outlives its supervisor.
    Own,
    /// At most as long as the thread that started it: nobody takes up a bake, or a probe, that was killed.
    WithStarter,
}

/// How a QEMU is started.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start<'a> {
    /// Its working directory, all that it may write in besides a writable data disk.
    pub(super) folder: &'a Path,
    /// Its disks. One that is a symbolic link in the folder may be opened where that leads.
    pub(super) disks: &'a [Disk],
    /// A file that it inherits under the number that it has here.
    pub(super) state: Option<BorrowedFd<'a>>,
    pub(super) life: Life,
    /// Whether it may reach all that its user may.
    pub(super) unconfined: bool,
    /// Whether it may use the host's network.
    pub(super) network: NetworkMode,
}

/// Starts QEMU and connects to its control socket, which it answers once it is set up.
///
/// Its sockets listen before it runs, and it inherits them: nobody has to wait for them to appear.
pub(super) fn start(
    found: &Found,
    start: &Start<'_>,
    arguments: impl FnOnce(Inherited) -> Vec<String>,
) -> Result<(ProcessId, Qmp), EngineError> {
    let Start { folder, disks, state, life, unconfined, network } = *start;
    let confinement = match unconfined {
        true => None,
        false => confine(found, folder, disks, network == NetworkMode::User)?,
    };
    let opened = host::socket::folder(folder).map_err(EngineError::at("open", folder))?;
    let bind =
        |name| host::socket::bind(opened.as_fd(), name).map_err(EngineError::at("bind", &folder.join(name)));
    let (qmp, agent) = (bind(QMP_SOCKET)?, bind(AGENT_SOCKET)?);
    let log = folder.join(ENGINE_LOG);
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&log)
        .map_err(EngineError::at("open", &log))?;
    let mut inherit = vec![qmp.as_fd(), agent.as_fd()];
    inherit.extend(state);
    let numbers = Inherited { qmp: qmp.as_raw_fd(), agent: agent.as_raw_fd() };
    let mut line = found.data_options();
    line.extend(arguments(numbers));
    let program = found.program();
    let die_with_parent = life == Life::WithStarter;
    let spec = Spawn {
        program,
        arguments: &line,
        folder,
        output: &log,
        inherit: &inherit,
        environment: &ENVIRONMENT,
        confinement: confinement.as_ref(),
        die_with_parent,
    };
    // Connected first, so that there is no process to clean up if this fails.
    let control = Qmp::connect(folder)?;
    let process = host::spawn(&spec).map_err(EngineError::at("start", program))?;
    Ok((process, control))
}

/// Whether the host lets memory be mapped that it does not reserve (proc(5), `overcommit_memory`). Where it does not, QEMU
/// would refuse to; and it reads the same file.
pub(super) fn may_overcommit() -> bool {
    fs::read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|policy| policy.trim() != "2")
}

/// Ends a QEMU and waits until it is gone.
pub(super) fn end(process: ProcessId, deadline: Deadline) -> Result<(), EngineError> {
    process.kill()?;
    Ok(process.wait(deadline)?)
}
