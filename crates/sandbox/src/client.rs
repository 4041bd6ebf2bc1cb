//! Reaching a sandbox's supervisor, and what it means when one is lost.

use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use agent_protocol::Request;
use host::Deadline;
use store::{SandboxId, Store};

use crate::channel::Peer;
use crate::launch::FailedStart;
use crate::limits::ADOPTION_DEADLINE;
use crate::{
    CONTROL_SOCKET, Channel, ChannelError, Error, Sandbox, Status, SupervisorProgram, launch, manage,
};

/// How long a supervisor may take to answer a greeting.
const GREETING_DEADLINE: Duration = Duration::from_secs(30);
/// How long to wait before looking for a supervisor again.
const INTERVAL: Duration = Duration::from_millis(20);

/// A connection to the supervisor of a running sandbox; starts a new supervisor if the last one has died.
///
/// # Errors
/// If the sandbox's VM has ended, or no supervisor can be reached.
pub fn connect(store: &Store, program: &SupervisorProgram, sandbox: &Sandbox) -> Result<Channel, Error> {
    let Sandbox { id, status, .. } = sandbox;
    let folder = store.sandbox_path(id);
    let patience = Deadline::after(GREETING_DEADLINE);
    let mut status = status.clone();
    loop {
        supervise(store, program, id, status)?;
        let source = match reach(&folder) {
            Ok(channel) => return Ok(channel),
            Err(error) => error,
        };
        // One that another command has just started has not bound its socket yet; one that was just killed still looked
        // alive.
        if !is_absence(&source) || !folder.exists() || patience.remaining().is_none() {
            return Err(Error::Agent { what: format!("sandbox {id} was not reached"), source });
        }
        std::thread::sleep(INTERVAL);
        status = manage::look(store, id.clone()).status;
    }
}

/// Why a session broke off: that a connection has ended does not tell whether the sandbox has, too.
///
/// # Errors
/// Another error of the connection, as it is.
pub fn why_lost(store: &Store, id: &str, error: ChannelError) -> Result<Error, ChannelError> {
    if !is_lost(&error) {
        return Err(error);
    }
    Ok(match manage::find(store, id) {
        Ok(Sandbox { id, status: Status::Dead { reason }, .. }) => Error::NotRunning { id, reason },
        Ok(Sandbox { id, .. }) => Error::Lost { id, source: error },
        // Another command has removed it.
        Err(error) => error,
    })
}

/// Whether the other end has gone.
fn is_lost(error: &ChannelError) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    match error {
        ChannelError::Closed => true,
        ChannelError::Io(error) => matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof),
        _ => false,
    }
}

/// Sees to it that a supervisor is there, or on its way.
fn supervise(
    store: &Store,
    program: &SupervisorProgram,
    id: &SandboxId,
    status: Status,
) -> Result<(), Error> {
    let not_running = |reason| Error::NotRunning { id: id.clone(), reason };
    match status {
        Status::Running => Ok(()),
        Status::Unsupervised => {
            let supervisor = launch::start(store, program, id, launch::Task::Adopt)?;
            let adopted = supervisor.wait(ADOPTION_DEADLINE, &AtomicBool::new(false));
            adopted.map_err(|FailedStart { cause, reason }| Error::NotAdopted {
                id: id.clone(),
                cause,
                reason,
            })
        }
        Status::Starting => Err(not_running("it is still starting".to_owned())),
        Status::Dead { reason } => Err(not_running(reason)),
    }
}

/// A connection to a supervisor that runs.
pub(crate) fn reach(folder: &Path) -> Result<Channel, ChannelError> {
    let deadline = Deadline::after(GREETING_DEADLINE);
    let mut channel = Channel::new(host::socket::connect_in(folder, CONTROL_SOCKET)?)?;
    channel.greet(Peer::Waiting, Some(&Request::Ping {}), deadline)?;
    channel.answer(deadline)?;
    Ok(channel)
}

/// Whether nobody answers at a socket.
fn is_absence(error: &ChannelError) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    match error {
        ChannelError::Closed => true,
        ChannelError::Io(error) => matches!(error.kind(), ConnectionRefused | NotFound),
        _ => false,
    }
}
