//! What an engine is asked for, and what it then has.

use std::path::Path;

use format::config::Machine;
use host::Deadline;

use crate::{Description, FileName};

/// What boot and restore have in common.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// The sandbox's folder: the engine's working directory. It holds [`MEMORY_FILE`](crate::MEMORY_FILE), of
    /// the machine's memory size, and the disks; the engine adds its sockets and logs.
    pub folder: &'a Path,
    /// The virtual hardware.
    pub machine: &'a Machine,
    /// What it runs on.
    pub engine: &'a Description,
    /// The layers from the lowest, then the writable disk, then, if something is attached there, `data0`.
    pub disks: &'a [Disk],
    /// What the NIC is connected to.
    pub network: NetworkMode,
    /// How memory is mapped.
    pub memory: MemoryMode,
    /// Until when the VM must be there.
    pub deadline: Deadline,
}

/// A machine to boot.
#[derive(Debug, Clone, Copy)]
pub struct BootSpec<'a> {
    /// The machine.
    pub setup: Setup<'a>,
    /// The kernel's image. Its command line is the machine's.
    pub kernel: &'a FileName,
    /// Its initrd.
    pub initrd: &'a FileName,
}

/// A machine to restore.
#[derive(Debug, Clone, Copy)]
pub struct RestoreSpec<'a> {
    /// The machine.
    pub setup: Setup<'a>,
    /// The engine state, as [`crate::Vm::freeze`] wrote it.
    pub state: &'a FileName,
}

/// A disk to attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The device: `layerN`, `writable` or `data0`.
    pub id: String,
    /// Its file in the folder.
    pub file: FileName,
    /// Bytes that the guest sees.
    pub size: u64,
    /// What the file is. Never found out by looking at it.
    pub format: DiskFormat,
    /// Whether the guest may not write to it.
    pub read_only: bool,
}

/// What a disk's file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskFormat {
    /// The disk's bytes.
    Raw,
    /// What [`Engine::create_overlay`](crate::Engine::create_overlay) has made, in the engine's own format. It names no file
    /// below.
    Overlay {
        /// The raw file below, which is never written to.
        base: FileName,
    },
}

/// What the NIC is connected to. A snapshot restores with either, whatever it was frozen with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkMode {
    /// Nothing: the link is down.
    None,
    /// The host's network, by address translation in the engine's process. The gateway's address is the host's
    /// loopback: the guest reaches what listens there.
    User,
}

/// How the memory file is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryMode {
    /// What the guest writes is in the file: for a bake.
    Shared,
    /// What the guest writes is its own; the file is never changed: for a fork.
    Private,
}

/// A disk as the engine reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The device.
    pub id: String,
    /// The file, as the engine was told; `None` for a spare disk with nothing attached.
    pub file: Option<String>,
    /// The file below an overlay.
    pub base: Option<String>,
    /// Bytes.
    pub size: u64,
    /// Whether the guest may not write to it.
    pub read_only: bool,
}

/// A guest by which an accelerator is tried.
#[derive(Debug, Clone, Copy)]
pub struct ProbeGuest<'a> {
    /// A folder to work in, with nothing else in it than the next two: it is all that the engine is sure to reach.
    pub folder: &'a Path,
    /// A Linux kernel.
    pub kernel: &'a FileName,
    /// Its initrd.
    pub initrd: &'a FileName,
    /// The kernel's command line; it must lead the guest to write to its first serial port.
    pub command_line: &'a str,
    /// What the guest writes there once it is in user space.
    pub marker: &'a str,
}
