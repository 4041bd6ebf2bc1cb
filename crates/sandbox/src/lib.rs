//! The acts on VMs: bake, fork, exec, kill; and the supervisor that owns a running one.
//!
//! ```text
//!  recipe ──bake──▶ snapshot ──fork──▶ starting ──ready──▶ running ──engine ends, time or idle limit──▶ dead ──kill, prune──▶ gone
//!                                         │                 │   ▲                                                  ▲
//!                                         │      supervisor │   │ next command                                     │
//!                                         │            dies ▼   │ that touches it                                  │
//!                                         │            unsupervised                                                │
//!                                         └──── not acknowledged, or the forking command ended ────────────────────┘
//! ```
//!
//! Invariants:
//! - What is attached to a sandbox is decided by digests in its snapshot's config and by nothing else, but for the data disk
//!   that the user names.
//! - A sandbox counts as forked only when its agent has acknowledged a new identity, and it stays only if the command
//!   that forked it has seen all of its siblings ready.
//! - The state of a sandbox is not believed from its record: processes are looked up by pid and start time, in the
//!   same boot of the host ([`record::Record::status`]).
//! - A supervisor is crash-only: it holds nothing that the next one cannot find in the sandbox's folder.
//! - Nothing here knows which engine runs.

mod activity;
mod attachments;
pub mod bake;
mod cause;
mod channel;
mod client;
mod credit;
mod data;
mod error;
mod fork;
mod identity;
mod launch;
mod layout;
mod limits;
mod manage;
mod probe;
mod record;
mod session;
pub mod supervisor;
#[cfg(feature = "testing")]
pub mod testing;

pub use attachments::{Attachment, attachments};
pub use cause::Cause;
pub use channel::{Channel, ChannelError};
pub use client::{connect, why_lost};
pub use data::{AttachedData, DataDisk};
pub use error::Error;
pub use fork::{ForkOptions, Forked, MAX_COUNT, fork};
pub use manage::{Sandbox, find, kill, kill_all, list};
pub use probe::probe_for;
pub use record::{Forward, Record, Status};
pub use session::{Event, OutputError, Session, SessionInput, SessionOutput};

use std::path::PathBuf;

use engine::Engine;
use store::Store;

/// What the acts on VMs need of the host.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Where snapshots and sandboxes are.
    pub store: &'a Store,
    /// What runs them.
    pub engine: &'a dyn Engine,
    /// How a supervisor is started.
    pub supervisor: &'a SupervisorProgram,
}

/// How a supervisor is started: `program arguments… ID FD --restore FD | --adopt`, which is to call [`supervisor::run`].
#[derive(Debug, Clone)]
pub struct SupervisorProgram {
    /// The executable.
    pub program: PathBuf,
    /// What comes before the sandbox's id.
    pub arguments: Vec<String>,
    /// The variables that it sees of our environment: how to find and start the engine, and how to log. It lives on beside a guest,
    /// and is given no credentials.
    pub environment: &'static [&'static str],
}

/// The socket in a sandbox's folder on which its supervisor serves the agent protocol to many clients.
pub(crate) const CONTROL_SOCKET: &str = "control";
/// The file whose lock a supervisor holds.
pub(crate) const LOCK_FILE: &str = "lock";
/// What the supervisor itself wrote: errors only.
pub const SUPERVISOR_LOG: &str = "supervisor.log";
