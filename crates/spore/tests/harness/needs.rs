//! What a test cannot run without, and how it says so.

use std::path::{Path, PathBuf};

use super::run::Run;

/// Something that a machine may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// QEMU, and the tools that turn a recipe into a machine.
    Bake,
    /// skopeo, which carries container images.
    Skopeo,
    /// To be root, with mount and host-name namespaces.
    Namespaces,
}

/// Whether `test` has to be skipped; says so, with the reason.
#[must_use]
pub fn skipped(test: &str, needs: &[Need]) -> bool {
    let reasons: Vec<_> = needs.iter().filter_map(|need| need.missing()).collect();
    for reason in &reasons {
        say_skipped(test, reason);
    }
    !reasons.is_empty()
}

/// Says that a test, or a part of one, is not run.
pub fn say_skipped(test: &str, reason: &str) {
    println!("skipped: {test}: {reason}");
}

impl Need {
    fn missing(self) -> Option<String> {
        match self {
            Self::Bake => missing_for_bake(),
            Self::Skopeo => find_program("skopeo").is_none().then(|| "missing: skopeo".to_owned()),
            Self::Namespaces => missing_for_namespaces(),
        }
    }
}

fn missing_for_bake() -> Option<String> {
    let is_root = rustix::process::geteuid().is_root();
    let missing = rootfs::tools().into_iter().filter(|tool| !tool.usable);
    // Only ordinary users build in a user namespace.
    let mut missing: Vec<_> =
        missing.filter(|tool| !(is_root && tool.program == "newuidmap")).map(|tool| tool.program).collect();
    if std::env::var_os("SPORE_QEMU").is_none() && find_program("qemu-system-x86_64").is_none() {
        missing.push("qemu-system-x86_64");
    }
    (!missing.is_empty()).then(|| format!("missing or too old: {}", missing.join(", ")))
}

fn missing_for_namespaces() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can hide a folder and become another user".to_owned());
    }
    let missing = ["unshare", "setpriv", "mount"].into_iter().find(|name| find_program(name).is_none());
    if let Some(name) = missing {
        return Some(format!("missing: {name}"));
    }
    let tried =
        Run::new("unshare").args(["--mount", "--uts", "mount", "-t", "tmpfs", "none", "/mnt"]).finish();
    (!tried.status.success()).then(|| format!("no mount and host-name namespaces: {}", tried.error().trim()))
}

/// Where a program is.
pub fn find_program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// QEMU 7.2 beside a newer one: the folder that its packages were unpacked to, from `SPORE_TEST_QEMU72`, or
/// where `scripts/install-deps.sh --tests` puts it.
pub fn qemu_7_2() -> Option<PathBuf> {
    let set = std::env::var_os("SPORE_TEST_QEMU72").map(PathBuf::from);
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/qemu-7.2");
    let folder = set.unwrap_or(installed);
    folder.join("usr/bin/qemu-system-x86_64").is_file().then_some(folder)
}
