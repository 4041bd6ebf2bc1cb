//! The VMM that froze a snapshot, as a config has it: enough to tell who can restore it, before anything starts.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// The VMM that froze the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// Which VMM.
    pub kind: EngineKind,
    /// Its version, such as `10.0.2`. Information: [`Engine::state_format`] decides.
    pub version: String,
    /// Versioned machine type, such as `pc-q35-7.2`.
    pub machine_type: String,
    /// What ran the guest's instructions.
    pub accelerator: Accelerator,
    /// The CPU that the guest saw.
    pub cpu: Cpu,
    /// How the state is to be read.
    pub state_format: StateFormat,
    /// The engine state's blob.
    pub state: Digest,
}

/// A VMM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// QEMU.
    Qemu,
}

/// What runs the guest's instructions. Snapshots do not cross from one to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// QEMU's software emulation.
    Tcg,
    /// The host kernel's KVM.
    Kvm,
}

/// A CPU by name, never `host` or `max`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// The engine's name of the model.
    pub model: String,
    /// Sorted `+name` and `-name`.
    pub features: Vec<String>,
}

/// How an engine state is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateFormat {
    /// QEMU's device state without RAM, with a configuration section.
    #[serde(rename = "qemu-devices-v1")]
    QemuDevicesV1,
}

impl fmt::Display for Cpu {
    /// As QEMU's `-cpu` takes it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.model)?;
        self.features.iter().try_for_each(|feature| write!(out, ",{feature}"))
    }
}
