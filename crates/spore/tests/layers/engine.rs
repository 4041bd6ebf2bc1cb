//! An engine that attaches something else than it was told: a script before the real QEMU, which changes its arguments.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::harness::needs::find_program;

/// A QEMU that does not do as it is told, and keeps a record of the states that its machine was in.
pub struct Liar {
    pub program: PathBuf,
    trace: PathBuf,
}

impl Liar {
    /// `change` is in cases of the shell's `case`, which may change `$argument` and `arguments`, those before it.
    pub fn new(folder: &Path, change: &str) -> Self {
        let real = std::env::var_os("SPORE_QEMU").map(PathBuf::from);
        let real = real.or_else(|| find_program("qemu-system-x86_64")).expect("QEMU is here");
        let (program, trace) = (folder.join("qemu"), folder.join("trace"));
        let script = format!(
            r#"#!/bin/bash
arguments=()
for argument in "$@"; do
    case $argument in
    {change}
    -S) arguments+=(-trace runstate_set -D '{trace}') ;;
    esac
    arguments+=("$argument")
done
exec '{real}' "${{arguments[@]}}"
"#,
            trace = trace.display(),
            real = real.display(),
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::remove_file(&trace).ok();
        Self { program, trace }
    }

    /// Whether the machine was started.
    pub fn was_started(&self) -> bool {
        self.trace.exists()
    }

    /// Whether the guest has run.
    pub fn has_run(&self) -> bool {
        fs::read_to_string(&self.trace).is_ok_and(|trace| trace.contains("(running)"))
    }
}
