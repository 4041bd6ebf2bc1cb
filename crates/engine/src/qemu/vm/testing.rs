//! For fuzzing: what becomes of what a QEMU says and writes, without a QEMU.
//!
//! All that it is going to say lies in the socket, and nothing reads what it is asked: no process is started or ended.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use host::ProcessId;

use super::*;
use crate::{Description, Disk, MemoryMode};

/// A QEMU that has said all that it will, and has ended.
pub struct Spoken {
    vm: QemuVm,
    /// Its end, which nobody reads: without it no command could be sent.
    _other_end: UnixStream,
}

impl Spoken {
    /// What it has said, at most 64 KiB: what fits into a socket.
    ///
    /// # Errors
    /// If there is no socket, or it takes no more.
    pub fn new(said: &[u8]) -> io::Result<Self> {
        let (ours, mut other_end) = UnixStream::pair()?;
        other_end.set_nonblocking(true)?;
        other_end.write_all(said)?;
        other_end.shutdown(Shutdown::Write)?;
        let folder = Path::new("/nonexistent");
        let process = ProcessId::current().map_err(io::Error::other)?;
        let vm = QemuVm {
            process,
            qmp: Qmp::over(ours, folder),
            folder: folder.to_owned(),
            attachments: Vec::new(),
        };
        Ok(Self { vm, _other_end: other_end })
    }

    /// As a fork does: its disks are to be these, then it is to load a state. What it says is attached.
    ///
    /// # Errors
    /// If it says anything else.
    pub fn begin(&mut self, disks: &[Disk]) -> Result<&[Attachment], EngineError> {
        let config = format::testing::config(1, 4096);
        let setup = Setup {
            folder: Path::new("/nonexistent"),
            machine: &config.machine,
            engine: &Description::of(&config.engine),
            disks,
            network: NetworkMode::None,
            memory: MemoryMode::Private,
            deadline: soon(),
        };
        self.vm.become_ready(&setup, Some("file:state"))?;
        Ok(self.vm.attachments())
    }

    /// As a supervisor does.
    ///
    /// # Errors
    /// If it does not say how it is.
    pub fn status(&mut self) -> Result<Status, EngineError> {
        self.vm.status(soon())
    }

    /// As a capture does, up to the machine type that a state gets.
    ///
    /// # Errors
    /// If it does not say it, or says that it cannot be frozen.
    pub fn machine_type(&mut self) -> Result<String, EngineError> {
        self.vm.check_freezable(soon())?;
        self.vm.machine_type(soon())
    }

    /// Listens to its end; why the guest went down, if it said so.
    ///
    /// # Errors
    /// If what it says is no QMP.
    pub fn end(&mut self) -> Result<Option<String>, EngineError> {
        match self.vm.qmp.wait("end", |_| false, soon()) {
            Ok(()) | Err(EngineError::Died { .. }) => Ok(self.vm.qmp.events().shutdown.clone()),
            Err(error) => Err(error),
        }
    }
}

/// Nothing is waited for: all is there.
fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

/// Makes what QEMU wrote into a state of this machine type.
///
/// # Errors
/// Why it cannot be.
pub fn complete_state(raw: &[u8], machine_type: &str) -> Result<Vec<u8>, String> {
    state::complete(raw, machine_type).map_err(|error| error.to_string())
}

/// All that is checked of a state of somebody else's before a QEMU gets it.
///
/// # Errors
/// Why it is refused.
pub fn check_state(state: &[u8], machine_type: &str) -> Result<(), String> {
    let start = state.get(..usize::try_from(state::CHECKED).unwrap_or(usize::MAX)).unwrap_or(state);
    state::check(start, machine_type)
        .and_then(|()| state::check_commands(state))
        .map_err(|error| error.to_string())
}
