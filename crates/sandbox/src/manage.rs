//! Which sandboxes there are, what they are doing, and their end.

use std::path::Path;
use std::time::Duration;

use host::{Deadline, ProcessId};
use store::{SandboxId, Store};

use crate::error::At;
use crate::limits::{IDLE_LIMIT, KILL_DEADLINE, TIME_LIMIT};
use crate::record::Record;
use crate::{Error, Status, activity, client};

/// How long a supervisor may take to follow its engine.
const SUPERVISOR_DEADLINE: Duration = Duration::from_secs(2);

/// A sandbox and what it is doing.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// Its id.
    pub id: SandboxId,
    /// What is remembered of it, if that can be read.
    pub record: Option<Record>,
    /// What it is doing.
    pub status: Status,
}

/// All sandboxes, dead ones too, the oldest first. An overdue one is ended now, if no supervisor has done so.
///
/// # Errors
/// If the store cannot be read.
pub fn list(store: &Store) -> Result<Vec<Sandbox>, Error> {
    let mut sandboxes: Vec<_> = store.sandboxes()?.into_iter().map(|id| look(store, id)).collect();
    // One that another command has removed meanwhile is none.
    sandboxes.retain(|sandbox| sandbox.record.is_some() || store.sandbox_path(&sandbox.id).exists());
    sandboxes
        .sort_by_key(|sandbox| (sandbox.record.as_ref().map(|record| record.created_at), sandbox.id.clone()));
    Ok(sandboxes)
}

/// The sandbox whose id begins with `prefix`.
///
/// # Errors
/// If there is none, or more than one.
pub fn find(store: &Store, prefix: &str) -> Result<Sandbox, Error> {
    Ok(look(store, store.find_sandbox(prefix)?))
}

pub(crate) fn look(store: &Store, id: SandboxId) -> Sandbox {
    let folder = store.sandbox_path(&id);
    let record = match Record::read(&folder) {
        Ok(record) => record,
        Err(error) => {
            let status = Status::Dead { reason: format!("its record cannot be read: {error}") };
            return Sandbox { id, record: None, status };
        }
    };
    let mut sandbox = Sandbox { id, status: record.status(), record: Some(record) };
    if let (Status::Unsupervised, Some(record)) = (&sandbox.status, &mut sandbox.record)
        && let Some(reason) = overdue(record, &folder)
        && end(record.engine()).is_ok()
    {
        record.ended = Some(reason.clone());
        // Should this fail, the next look finds the engine gone all the same.
        record.write(&folder).ok();
        sandbox.status = Status::Dead { reason };
    }
    sandbox
}

/// Why a sandbox is to be ended that no supervisor watches over.
fn overdue(record: &Record, folder: &Path) -> Option<String> {
    let is_idle = || Some(activity::age(folder)? >= record.idle_limit()?);
    if record.is_overdue() { Some(TIME_LIMIT.to_owned()) } else { is_idle()?.then(|| IDLE_LIMIT.to_owned()) }
}

/// Ends a sandbox, whatever state it is in, and removes its folder. To a data disk that it may write, it first brings all that it
/// has written.
///
/// # Errors
/// If a process cannot be ended, or the folder cannot be removed; when it is gone, if the data disk may lack something.
pub fn kill(store: &Store, sandbox: &Sandbox) -> Result<(), Error> {
    let folder = store.sandbox_path(&sandbox.id);
    let runs = matches!(sandbox.status, Status::Running | Status::Unsupervised);
    let data = sandbox.record.as_ref().and_then(|record| record.data.as_ref()).filter(|_| runs);
    let released = data.map_or(Ok(()), |data| data.release(|| client::reach(&folder)));
    if let Some(record) = &sandbox.record {
        end(record.engine())?;
        // A supervisor sees its engine end, waits for it as its parent has to, and ends itself.
        if let Some(supervisor) = record.supervisor() {
            supervisor.wait(Deadline::after(SUPERVISOR_DEADLINE)).ok();
        }
        end(record.supervisor())?;
    }
    // A supervisor that was killed between starting its engine and noting it leaves one that no record names.
    match host::detached_in(&folder) {
        Ok(processes) => processes.into_iter().try_for_each(|process| end(Some(process)))?,
        // Another command has removed it meanwhile, which the store says below.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).at("look for processes in", &folder),
    }
    store.remove_sandbox(&sandbox.id)?;
    released
}

/// Ends all of these, as far as nobody else does it at the same time. Goes on after a failure.
///
/// # Errors
/// The first failure.
pub fn kill_all<'a>(store: &Store, sandboxes: impl IntoIterator<Item = &'a Sandbox>) -> Result<(), Error> {
    let gone = |error: &Error| matches!(error, Error::Sandbox(store::SandboxError::NotFound { .. }));
    let kill = |sandbox| match kill(store, sandbox) {
        Err(error) if gone(&error) => Ok(()),
        result => result,
    };
    sandboxes.into_iter().map(kill).fold(Ok(()), Result::and)
}

fn end(process: Option<ProcessId>) -> Result<(), Error> {
    let Some(process) = process.filter(|process| process.is_alive()) else { return Ok(()) };
    process.kill()?;
    Ok(process.wait(Deadline::after(KILL_DEADLINE))?)
}
