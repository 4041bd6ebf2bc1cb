//! One running QEMU.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use host::{Deadline, ProcessError, ProcessId};
use serde::Deserialize;
use serde_json::json;

use super::attachments::{self, BlockDevice};
use super::process::end;
use super::qmp::{Command, Events, Qmp, log_tail, shortened};
use super::state::{self, StateError};
use crate::{Attachment, EngineError, Exit, FileName, NetworkMode, Setup, Status, Vm};

/// How long a killed process may take to be gone.
const END: Duration = Duration::from_secs(10);

/// A QEMU whose control socket we hold.
pub(super) struct QemuVm {
    process: ProcessId,
    qmp: Qmp,
    folder: PathBuf,
    attachments: Vec<Attachment>,
}

#[derive(Debug, Deserialize)]
struct StatusAnswer {
    status: String,
    running: bool,
}

#[derive(Debug, Deserialize)]
struct MigrationAnswer {
    #[serde(rename = "blocked-reasons", default)]
    blocked: Vec<String>,
}

impl QemuVm {
    /// Takes over a process that was just started. Only after its disks were compared with those of `setup` does it load a
    /// state, from `state`, a URI of QEMU's. It is ended if it has other disks or does not come to be paused.
    pub(super) fn begin(
        (process, qmp): (ProcessId, Qmp),
        setup: &Setup<'_>,
        state: Option<&str>,
    ) -> Result<Self, EngineError> {
        let mut vm = Self { process, qmp, folder: setup.folder.to_owned(), attachments: Vec::new() };
        match vm.become_ready(setup, state) {
            Ok(()) => Ok(vm),
            Err(error) => {
                if let Err(also) = end(process, Deadline::after(END)) {
                    tracing::warn!(%process, %also, "a QEMU that is of no use can't be ended");
                }
                Err(vm.explain(error))
            }
        }
    }

    /// A log may be complete only after the process has ended.
    fn explain(&self, error: EngineError) -> EngineError {
        match error {
            EngineError::Died { doing, .. } => EngineError::Died { doing, log: log_tail(&self.folder) },
            other => other,
        }
    }

    fn become_ready(&mut self, setup: &Setup<'_>, state: Option<&str>) -> Result<(), EngineError> {
        let deadline = setup.deadline;
        let [hello, block] =
            self.qmp.send([("qmp_capabilities", json!({})), ("query-block", json!({}))], deadline)?;
        self.qmp.answer(&hello, deadline)?;
        self.attachments = attachments::reported(self.qmp.answer_as::<Vec<BlockDevice>>(&block, deadline)?);
        attachments::compare(&attachments::expected(setup.disks), &self.attachments)?;
        let wanted = match state {
            Some(uri) => {
                self.load_state(uri, deadline)?;
                "paused"
            }
            None => "prelaunch",
        };
        // The cable after the state, which holds whether it was plugged in when it was frozen.
        let link = link(setup.network == NetworkMode::User);
        let [status, link] = self.qmp.send([("query-status", json!({})), link], deadline)?;
        let status: StatusAnswer = self.qmp.answer_as(&status, deadline)?;
        if status.status != wanted {
            let answer = format!(
                "{}, should be {wanted}; its log ends with: {}",
                shortened(&status.status),
                log_tail(&self.folder)
            );
            return Err(EngineError::Protocol { command: "query-status".to_owned(), answer });
        }
        self.qmp.answer(&link, deadline).map(drop)
    }

    fn load_state(&mut self, uri: &str, deadline: Deadline) -> Result<(), EngineError> {
        self.qmp.call("migrate-incoming", json!({ "uri": uri }), deadline)?;
        let ended = |migration: &str| matches!(migration, "completed" | "failed");
        let done = |events: &Events| events.migration.as_deref().is_some_and(ended);
        self.qmp.wait("restore the state", done, deadline)
    }

    /// Takes up a process that runs already.
    pub(super) fn attach(folder: &Path, process: ProcessId, deadline: Deadline) -> Result<Self, EngineError> {
        if !process.is_alive() {
            return Err(ProcessError::Gone(process).into());
        }
        let mut qmp = Qmp::connect(folder)?;
        qmp.call("qmp_capabilities", json!({}), deadline)?;
        let attachments = attachments::reported(qmp.query::<Vec<BlockDevice>>("query-block", deadline)?);
        Ok(Self { process, qmp, folder: folder.to_owned(), attachments })
    }

    /// Whether it can be frozen: it is asked before it is paused.
    fn check_freezable(&mut self, deadline: Deadline) -> Result<(), EngineError> {
        const REASONS: usize = 8;
        let migration: MigrationAnswer = self.qmp.query("query-migrate", deadline)?;
        let reasons: Vec<_> =
            migration.blocked.iter().take(REASONS).map(|reason| shortened(reason)).collect();
        if reasons.is_empty() { Ok(()) } else { Err(EngineError::Blocked(reasons)) }
    }

    /// The machine type that this QEMU itself says it is, to be put into the state.
    fn machine_type(&mut self, deadline: Deadline) -> Result<String, EngineError> {
        let answer = self.qmp.call("qom-get", json!({ "path": "/machine", "property": "type" }), deadline)?;
        let name = answer.as_str().and_then(|name| name.strip_suffix("-machine"));
        name.map(str::to_owned).ok_or_else(|| EngineError::Protocol {
            command: "qom-get /machine type".to_owned(),
            answer: shortened(&answer.to_string()),
        })
    }

    fn complete_state(&self, part: &str, state: &FileName, machine_type: &str) -> Result<(), EngineError> {
        let (part, target) = (self.folder.join(part), self.folder.join(state));
        let raw = fs::read(&part).map_err(EngineError::at("read", &part))?;
        let complete = state::complete(&raw, machine_type)
            .and_then(|bytes| {
                let length = bytes.len();
                let fits = length <= format::limits::STATE_BYTES;
                if fits { Ok(bytes) } else { Err(StateError::TooLarge(length as u64)) }
            })
            .map_err(|source| EngineError::State { file: state.to_string(), source: source.into() })?;
        fs::write(&part, complete)
            .and_then(|()| fs::rename(&part, &target))
            .map_err(EngineError::at("write", &target))
    }
}

impl Vm for QemuVm {
    fn process(&self) -> ProcessId {
        self.process
    }

    fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    fn resume(&mut self, deadline: Deadline) -> Result<(), EngineError> {
        self.qmp.call("cont", json!({}), deadline).map(drop)
    }

    fn pause(&mut self, deadline: Deadline) -> Result<(), EngineError> {
        self.qmp.call("stop", json!({}), deadline).map(drop)
    }

    fn freeze(&mut self, state: &FileName, deadline: Deadline) -> Result<(), EngineError> {
        self.check_freezable(deadline)?;
        let machine_type = self.machine_type(deadline)?;
        self.pause(deadline)?;
        let part = format!("{state}.part");
        // Whatever the name has in between, QEMU would write to it.
        let path = self.folder.join(&part);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(EngineError::at("remove", &path)(error));
            }
            _ => {}
        }
        self.qmp.call("xen-save-devices-state", json!({ "filename": part, "live": false }), deadline)?;
        self.complete_state(&part, state, &machine_type)
    }

    fn status(&mut self, deadline: Deadline) -> Result<Status, EngineError> {
        let answer: StatusAnswer = self.qmp.query("query-status", deadline)?;
        Ok(match answer.status.as_str() {
            _ if answer.running => Status::Running,
            "paused" | "prelaunch" => Status::Paused,
            other => Status::Other(shortened(other)),
        })
    }

    fn set_link(&mut self, up: bool, deadline: Deadline) -> Result<(), EngineError> {
        let (name, arguments) = link(up);
        self.qmp.call(name, arguments, deadline).map(drop)
    }

    fn wait_exit(&mut self, deadline: Deadline) -> Result<Exit, EngineError> {
        match self.qmp.wait("end", |_| false, deadline) {
            Ok(()) | Err(EngineError::Died { .. }) => {}
            Err(error) => return Err(error),
        }
        match self.process.wait(deadline) {
            Ok(()) => {}
            Err(ProcessError::Timeout(_)) => return Err(EngineError::Timeout("end")),
            Err(error) => return Err(error.into()),
        }
        Ok(match &self.qmp.events().shutdown {
            Some(reason) => Exit::Guest { reason: reason.clone() },
            None => Exit::Engine,
        })
    }

    fn kill(&mut self, deadline: Deadline) -> Result<(), EngineError> {
        end(self.process, deadline)
    }
}

/// The command that plugs the network cable in or out.
fn link(up: bool) -> Command {
    ("set_link", json!({ "name": "nic0", "up": up }))
}

#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;
