//! The VMM behind a trait.
//!
//! An [`Engine`] turns a machine (`format::config`) and files in one folder into a running VM, freezes it, and
//! restores what was frozen. It knows nothing of stores, manifests or agents: it is given file names in a
//! folder, and whoever wants to talk to the guest connects to the socket [`AGENT_SOCKET`] there.
//!
//! ```text
//!            boot                       resume              freeze
//!   folder ───────▶ Vm: paused ◀──────────────────▶ running ───────▶ Vm: paused + state file
//!     │  restore       ▲                pause          │
//!     └────────────────┘                               └─▶ gone (kill, guest shutdown, crash)
//! ```
//!
//! Invariants:
//! - The engine's process works in the sandbox's folder and is given names in it ([`FileName`]), so that no path
//!   of the host reaches its state and it opens only what was put there, or linked there by the user's order.
//! - No unchecked text of a snapshot becomes part of an engine's command line.
//! - A VM that boot or restore hands out has exactly the disks that were asked for: the engine was asked, before it was
//!   given a state, and killed if it said otherwise.
//! - Every call that waits has a [`Deadline`].
//! - Dropping a [`Vm`] leaves the process running: [`Engine::attach`] takes it up again.

use std::path::Path;

use format::Digest;
use format::config::{self, Accelerator, Cpu, EngineKind, StateFormat};
use host::{Deadline, ProcessId};

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod files;
mod mismatch;
pub mod qemu;
mod spec;

pub use error::EngineError;
pub use files::{AGENT_SOCKET, CONSOLE_LOG, ENGINE_LOG, FileName, MEMORY_FILE};
pub use mismatch::{Mismatch, Remedy, Subject};
pub use spec::{
    Attachment, BootSpec, Disk, DiskFormat, MemoryMode, NetworkMode, ProbeGuest, RestoreSpec, Setup,
};

/// A VMM that is installed on this host.
pub trait Engine: Send + Sync {
    /// Which VMM it is.
    fn kind(&self) -> EngineKind;

    /// What it can do here.
    fn capabilities(&self) -> &Capabilities;

    /// The hardware that a new snapshot should be baked on, so that as many hosts as possible can restore it.
    fn describe(&self, accelerator: Accelerator) -> Description;

    /// Why this host can't restore a snapshot; empty if it can. Nothing is started to find out.
    fn compatibility(&self, config: &config::Config) -> Vec<Mismatch> {
        self.restorable(&Description::of(&config.engine))
    }

    /// [`Engine::compatibility`], from the part of a config that decides it.
    fn restorable(&self, engine: &Description) -> Vec<Mismatch>;

    /// Makes the file `overlay` in `folder`, to be attached as a [`DiskFormat::Overlay`]: it takes all that is written, has the
    /// size of `base`, a raw file there, and shows it as long as nothing is written.
    ///
    /// # Errors
    /// If `overlay` is there already or can't be written, or `base` has no size that a disk may have.
    fn create_overlay(&self, folder: &Path, overlay: &FileName, base: &FileName) -> Result<(), EngineError>;

    /// Starts a machine from its kernel. It is paused before its first instruction.
    ///
    /// # Errors
    /// If the spec is refused, the engine does not start, or the deadline passes; no process remains.
    fn boot(&self, spec: &BootSpec<'_>) -> Result<Box<dyn Vm>, EngineError>;

    /// Restores a frozen machine. It is paused where it was frozen.
    ///
    /// # Errors
    /// If the spec or the state is refused, the engine does not take it, or the deadline passes; no process
    /// remains.
    fn restore(&self, spec: &RestoreSpec<'_>) -> Result<Box<dyn Vm>, EngineError>;

    /// Takes up a VM that runs in `folder` and that nobody holds any more.
    ///
    /// # Errors
    /// If the process has ended, or somebody else does hold it ([`EngineError::Timeout`]).
    fn attach(
        &self,
        folder: &Path,
        process: ProcessId,
        deadline: Deadline,
    ) -> Result<Box<dyn Vm>, EngineError>;

    /// Finds out which accelerators really work, by booting a guest, unless that is known already.
    ///
    /// That `/dev/kvm` opens does not say that a guest runs on it. Until this was called
    /// [`Capabilities::accelerators`] holds what was found out by an earlier call on this host, else software
    /// emulation alone.
    ///
    /// # Errors
    /// If the guest can't be started at all; that it does not run is an answer, not an error.
    fn probe_accelerators(&mut self, guest: &ProbeGuest<'_>) -> Result<(), EngineError>;
}

/// A running VM.
///
/// One at a time may hold it. See [`Engine`] for its states.
pub trait Vm: Send {
    /// The VMM's process.
    fn process(&self) -> ProcessId;

    /// What the engine says is attached, in the profile's order.
    fn attachments(&self) -> &[Attachment];

    /// Lets a paused guest run.
    ///
    /// # Errors
    /// If the engine refuses, is gone, or does not answer in time; so for all below.
    fn resume(&mut self, deadline: Deadline) -> Result<(), EngineError>;

    /// Halts the guest. What it wrote to its disks is in their files when this returns.
    ///
    /// # Errors
    /// See [`Vm::resume`].
    fn pause(&mut self, deadline: Deadline) -> Result<(), EngineError>;

    /// Pauses the guest and writes the state of its devices to a new file in the folder. It stays paused; its
    /// memory and disks are in their files. State of the host's side of a network is left out.
    ///
    /// # Errors
    /// [`EngineError::Blocked`] if the engine names a reason why this machine can't be frozen (it then runs
    /// on); and see [`Vm::resume`]. After any other error it may be paused.
    fn freeze(&mut self, state: &FileName, deadline: Deadline) -> Result<(), EngineError>;

    /// Whether the guest runs.
    ///
    /// # Errors
    /// See [`Vm::resume`].
    fn status(&mut self, deadline: Deadline) -> Result<Status, EngineError>;

    /// Plugs the network cable in or out, as the guest sees it.
    ///
    /// # Errors
    /// See [`Vm::resume`].
    fn set_link(&mut self, up: bool, deadline: Deadline) -> Result<(), EngineError>;

    /// Waits until the guest has shut down or the engine has ended in another way.
    ///
    /// # Errors
    /// [`EngineError::Timeout`] if neither has happened by then.
    fn wait_exit(&mut self, deadline: Deadline) -> Result<Exit, EngineError>;

    /// Ends the VM at once; returns when its process has ended. That it has ended already is no error.
    ///
    /// # Errors
    /// If the process belongs to somebody else or can't be ended in time.
    fn kill(&mut self, deadline: Deadline) -> Result<(), EngineError>;
}

/// What an engine can do on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The engine's version, such as `10.0.2`.
    pub version: String,
    /// What can run guests, the best first.
    pub accelerators: Vec<Accelerator>,
    /// Machine types that it knows.
    pub machine_types: Vec<String>,
    /// The states that it reads and writes.
    pub state_formats: Vec<StateFormat>,
    /// Whether it maps a fork's memory file without being able to write to it. If not, a file's mode can't
    /// protect it, and it must be writable.
    pub memory_file_read_only: bool,
}

/// The engine's part of a config, without the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Which VMM.
    pub kind: EngineKind,
    /// Its version; decides nothing.
    pub version: String,
    /// Versioned machine type.
    pub machine_type: String,
    /// What runs the guest's instructions.
    pub accelerator: Accelerator,
    /// The CPU that the guest sees.
    pub cpu: Cpu,
    /// How the state is written.
    pub state_format: StateFormat,
}

impl Description {
    /// What a config says.
    #[must_use]
    pub fn of(engine: &config::Engine) -> Self {
        Self {
            kind: engine.kind,
            version: engine.version.clone(),
            machine_type: engine.machine_type.clone(),
            accelerator: engine.accelerator,
            cpu: engine.cpu.clone(),
            state_format: engine.state_format,
        }
    }

    /// What a config is to say of a VM that was frozen.
    #[must_use]
    pub fn with_state(self, state: Digest) -> config::Engine {
        config::Engine {
            kind: self.kind,
            version: self.version,
            machine_type: self.machine_type,
            accelerator: self.accelerator,
            cpu: self.cpu,
            state_format: self.state_format,
            state,
        }
    }
}

/// Whether a guest runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Running,
    /// It is halted, by us.
    Paused,
    /// It is in another state, in the engine's words; it can't be resumed.
    Other(String),
}

/// How a VM ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// The guest shut itself down or restarted, which ends it too: a panic that reboots looks like this.
    Guest {
        /// The engine's word for it, such as `guest-shutdown` or `guest-reset`.
        reason: String,
    },
    /// The engine ended without saying why: it was killed, or crashed.
    Engine,
}
