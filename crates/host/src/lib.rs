//! What a host is made of, as far as Spore touches it: processes, what confines them, their memory and time, deadlines,
//! Unix sockets, and when what is written reaches a disk.
//!
//! Nothing here knows of snapshots or of any VMM. A process is never named by its pid alone: a pid is reused,
//! and a signal to a stranger cannot be taken back (see [`ProcessId`]). Nothing here changes state that all
//! threads share, such as the working directory.

mod confine;
mod deadline;
mod disk;
mod memory;
mod process;
pub mod socket;
mod spawn;
mod usage;

pub use confine::{Allowed, Confinement, Enforced};
pub use deadline::Deadline;
pub use disk::begin_writeback;
pub use memory::give_back_freed_memory;
pub use process::{ProcessError, ProcessId, detached_in};
pub use spawn::{Spawn, inherited_pipe, inherited_stream, spawn};
pub use usage::{Usage, usage};
