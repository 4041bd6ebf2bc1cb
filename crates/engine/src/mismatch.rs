//! Why a host can't restore a snapshot.

use std::fmt;

/// One thing that a snapshot needs and this host does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What it is about.
    pub subject: Subject,
    /// What the snapshot needs.
    pub needs: String,
    /// What this host has.
    pub has: String,
    /// What can be done.
    pub remedies: Vec<Remedy>,
}

/// What a mismatch is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// The processor architecture.
    Architecture,
    /// The VMM.
    Engine,
    /// The versioned machine type.
    MachineType,
    /// What runs the guest's instructions.
    Accelerator,
    /// The CPU model and its features.
    Cpu,
    /// The form of the engine state.
    StateFormat,
    /// The size of the host's pages.
    PageSize,
}

/// What can be done about a mismatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// Take another variant of the snapshot, if it has one for this host.
    AnotherVariant,
    /// Bake it again on this host.
    BakeAgain,
    /// Install a newer engine.
    UpgradeEngine,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: the snapshot needs {}, this host has {}", self.subject, self.needs, self.has)?;
        for (n, remedy) in self.remedies.iter().enumerate() {
            write!(out, "{}{remedy}", if n == 0 { "; " } else { ", or " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Architecture => "architecture",
            Self::Engine => "engine",
            Self::MachineType => "machine type",
            Self::Accelerator => "accelerator",
            Self::Cpu => "CPU",
            Self::StateFormat => "state format",
            Self::PageSize => "page size",
        })
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::AnotherVariant => "pull another variant of it",
            Self::BakeAgain => "bake it again here",
            Self::UpgradeEngine => "install a newer engine",
        })
    }
}
