//! What runs forks: QEMU, its accelerator, what confines it.

use std::fs::OpenOptions;
use std::io;

use engine::Engine;
use engine::qemu::{Options as QemuOptions, Qemu};
use format::config::Accelerator;
use host::Enforced;
use store::Store;

use super::super::{Check, State};
use super::{FORKS, advice, apt};
use crate::context;
use crate::environment::variable;
use crate::error::CliError;

pub(super) fn engine(store: Option<&Store>) -> Vec<Check> {
    let qemu = match store {
        Some(store) => context::engine(store),
        None => QemuOptions::from_variables(variable).and_then(Qemu::discover).map_err(CliError::from),
    };
    let check = |state, found, remedy| Check {
        name: "QEMU".into(),
        state,
        for_forks: true,
        purpose: FORKS,
        found,
        remedy,
    };
    match qemu {
        Ok(qemu) => {
            let capabilities = qemu.capabilities();
            let device = OpenOptions::new().read(true).write(true).open("/dev/kvm").map(drop);
            let is_chosen = variable("SPORE_ACCEL").is_some();
            vec![
                check(State::Ok, format!("{} at {}", capabilities.version, qemu_path()), None),
                judge_kvm(capabilities.accelerators.contains(&Accelerator::Kvm), is_chosen, device),
            ]
        }
        Err(error) => vec![check(State::Missing, error.to_string(), Some(apt(&["qemu-system-x86"])))],
    }
}

fn qemu_path() -> String {
    let chosen = QemuOptions::from_variables(variable).ok().and_then(|options| options.program);
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .map(|folder| folder.join("qemu-system-x86_64"))
            .find(|file| file.is_file())
    };
    chosen.or_else(on_path).map_or_else(|| "an unknown place".to_owned(), |path| path.display().to_string())
}

pub(super) fn judge_kvm(is_used: bool, is_chosen: bool, device: io::Result<()>) -> Check {
    let (state, found, remedy) = match (is_used, is_chosen, device) {
        (true, true, _) => (State::Ok, "KVM, because SPORE_ACCEL says so".to_owned(), None),
        (true, false, _) => (State::Ok, "KVM: a guest ran on it".to_owned(), None),
        (false, true, _) => (
            State::Warning,
            "software emulation, because SPORE_ACCEL says so".to_owned(),
            Some(advice("unset SPORE_ACCEL, or accel in the configuration file")),
        ),
        (false, false, Ok(())) => (
            State::Warning,
            "software emulation: /dev/kvm opens, but no guest has been seen to run on it".to_owned(),
            Some(advice(
                "a bake tries one, once; where a bake was made already, KVM does not work for Linux guests",
            )),
        ),
        (false, false, Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => (
            State::Warning,
            "software emulation: this user may not open /dev/kvm".to_owned(),
            Some(advice("sudo usermod --append --groups kvm \"$USER\", then log in again")),
        ),
        (false, false, Err(error)) => (
            State::Warning,
            format!("software emulation: /dev/kvm cannot be opened: {error}"),
            Some(advice(
                "enable virtualization in the firmware or, in a VM, nested virtualization; all works without, slower",
            )),
        ),
    };
    Check { name: "accelerator".into(), state, for_forks: true, purpose: FORKS, found, remedy }
}

/// What bounds an engine that its guest has taken over.
pub(super) fn judge_confinement(enforced: Enforced) -> Check {
    let Enforced { files, tcp, signals } = enforced;
    let parts = [(files, "files", "5.13"), (tcp, "TCP", "6.7"), (signals, "signals", "6.12")];
    let there: Vec<_> = parts.iter().filter(|part| part.0).map(|part| part.1).collect();
    let lacking = parts.iter().filter(|part| !part.0);
    let lacking: Vec<_> =
        lacking.map(|(_, what, since)| format!("no {what} (since Linux {since})")).collect();
    let (state, found, remedy) = match there.as_slice() {
        [] => (
            State::Warning,
            "no Landlock: QEMU has its seccomp filter, and reaches all files of yours".to_owned(),
            Some(advice("boot with landlock in the kernel's lsm= list (/sys/kernel/security/lsm has it)")),
        ),
        there if lacking.is_empty() => (State::Ok, format!("Landlock: {}", there.join(", ")), None),
        there => (State::Ok, format!("Landlock: {}; {}", there.join(", "), lacking.join(", ")), None),
    };
    Check { name: "confinement".into(), state, for_forks: true, purpose: FORKS, found, remedy }
}
