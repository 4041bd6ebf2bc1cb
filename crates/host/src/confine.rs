//! What of the host a process may reach, whatever becomes of it: a Landlock domain (Linux, `landlock(7)`).
//!
//! It bounds what a program can do that has been taken over from within, as an engine by its guest. Rules are built here, by the
//! `landlock` crate, before the process is forked; the child only enters the domain ([`crate::spawn`]).
//!
//! Invariants:
//! - As much is enforced as the kernel has: files since Linux 5.13, truncation since 6.2, TCP since 6.7, devices since 6.10,
//!   signals and abstract sockets since 6.12, named sockets since 7.1. A kernel without any is no error: [`Confinement::new`] gives `None`.
//! - Descriptors that the process inherits stay usable: they were opened outside of the domain.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, make_bitflags, path_beneath_rules,
};

/// The newest rules that are asked for.
const NEWEST: ABI = ABI::V9;

/// What a confined process may reach. What is not there is left out.
#[derive(Debug, Clone, Default)]
pub struct Allowed<'a> {
    /// Files and folders to read, and to execute.
    pub read: Vec<&'a Path>,
    /// Folders in which files may be read, made and written, but not removed or renamed.
    pub write: Vec<&'a Path>,
    /// Devices.
    pub devices: Vec<&'a Path>,
    /// Whether it may use TCP.
    pub network: bool,
}

/// What of a domain this kernel enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enforced {
    /// Which files are opened.
    pub files: bool,
    /// TCP.
    pub tcp: bool,
    /// To whom signals are sent.
    pub signals: bool,
}

impl Enforced {
    /// Asks the kernel.
    #[must_use]
    pub fn here() -> Self {
        fn has(ask: impl FnOnce(Ruleset) -> Result<Ruleset, RulesetError>) -> bool {
            let strictly = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
            ask(strictly).and_then(Ruleset::create).is_ok()
        }
        Self {
            files: has(|rules| rules.handle_access(AccessFs::from_all(ABI::V1))),
            tcp: has(|rules| rules.handle_access(AccessNet::from_all(ABI::V4))),
            signals: has(|rules| rules.scope(Scope::Signal)),
        }
    }
}

/// A domain that processes can be started in.
#[derive(Debug)]
pub struct Confinement(OwnedFd);

impl Confinement {
    /// Prepares a domain; `None` if the kernel has no Landlock, or has it disabled.
    ///
    /// # Errors
    /// If the kernel refuses a rule.
    pub fn new(allowed: &Allowed<'_>) -> io::Result<Option<Self>> {
        let ruleset = Self::ruleset(allowed).map_err(io::Error::other)?;
        Ok(ruleset.map(Self))
    }

    fn ruleset(allowed: &Allowed<'_>) -> Result<Option<OwnedFd>, RulesetError> {
        let write: BitFlags<AccessFs> =
            make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | Truncate | MakeReg});
        let device: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | WriteFile | IoctlDev});
        let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(NEWEST))?;
        if !allowed.network {
            ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST))?;
        }
        let ruleset = ruleset
            .scope(Scope::from_all(NEWEST))?
            .create()?
            .add_rules(path_beneath_rules(&allowed.read, AccessFs::from_read(NEWEST)))?
            .add_rules(path_beneath_rules(&allowed.write, write))?
            .add_rules(path_beneath_rules(&allowed.devices, device))?;
        Ok(ruleset.into())
    }
}

impl AsFd for Confinement {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
