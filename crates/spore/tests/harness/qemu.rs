//! A QEMU that is a script around the real one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::needs::find_program;
use super::run::Run;

/// Makes a program of `script`, in which `QEMU` stands for the real one. It is run for its version and the like, too.
#[track_caller]
pub fn wrapped(folder: &Path, script: &str) -> PathBuf {
    let set = std::env::var_os("SPORE_QEMU").filter(|program| !program.is_empty()).map(PathBuf::from);
    let real = set.or_else(|| find_program("qemu-system-x86_64")).expect("QEMU is there");
    let (text, program) = (folder.join("qemu.text"), folder.join("qemu"));
    fs::write(&text, script.replace("QEMU", &format!("'{}'", real.display()))).expect("a script");
    fs::set_permissions(&text, PermissionsExt::from_mode(0o755)).expect("a mode");
    // By another process: a file that this one has open for writing, while something is forked, can't be executed.
    Run::new("cp").args(["-p".as_ref(), text.as_os_str(), program.as_os_str()]).finish().succeeds();
    program
}

/// One that does `act`, a command of a shell, before it restores a guest.
#[track_caller]
pub fn that_first(folder: &Path, act: &str) -> PathBuf {
    wrapped(folder, &format!("#!/bin/sh\ncase \"$*\" in *-incoming*) {act} ;; esac\nexec QEMU \"$@\"\n"))
}
