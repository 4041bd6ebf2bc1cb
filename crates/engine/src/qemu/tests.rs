//! Discovery, compatibility and the probe, with an executable that says what a test wants.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::*;
use crate::{Remedy, Subject};

/// A program that answers as QEMU does, and otherwise runs `then`.
fn fake(folder: &Path, version: &str, then: &str) -> PathBuf {
    let script = format!(
        "#!/bin/sh
echo asked >> {count}
case \"$*\" in
*--version) echo 'QEMU emulator version {version} (Debian)' ;;
*'-machine help') printf 'Supported machines are:\\npc x\\npc-q35-7.2 x\\npc-q35-8.0 x\\npc-q35-6.2 x\\n' ;;
*'-cpu help') printf 'Available CPUs:\\nx86 Haswell-noTSX (alias)\\nRecognized CPUID flags:\\n  avx cx16\\n  pcid\\n' ;;
*) {then} ;;
esac
",
        count = folder.join("count").display(),
    );
    let (text, program) = (folder.join("text"), folder.join("qemu"));
    fs::write(&text, script).unwrap();
    fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).unwrap();
    // By another process: a file that this one has open for writing, while a test beside this one forks, can't
    // be executed.
    assert!(Command::new("cp").arg("-pf").arg(&text).arg(&program).status().unwrap().success());
    program
}

fn discover(folder: &Path, version: &str) -> Result<Qemu, EngineError> {
    let program = Some(fake(folder, version, "exit 1"));
    let cache = Some(folder.join("cache.json"));
    Qemu::discover(Options { program, cache, ..Options::default() })
}

#[test]
fn answers_are_kept_for_this_executable() {
    let folder = tempfile::tempdir().unwrap();
    let asked = || fs::read_to_string(folder.path().join("count")).unwrap().lines().count();
    let qemu = discover(folder.path(), "8.2.1").unwrap();
    assert_eq!(qemu.capabilities().version, "8.2.1");
    assert_eq!(qemu.capabilities().accelerators, [Accelerator::Tcg]);
    assert!(qemu.capabilities().memory_file_read_only);
    assert_eq!(asked(), 3);
    let options = qemu.options.clone();
    let again = Qemu::discover(options.clone()).unwrap();
    assert_eq!((again.capabilities(), asked()), (qemu.capabilities(), 3));
    // Another executable of the same name.
    assert_eq!(discover(folder.path(), "10.0.2").unwrap().capabilities().version, "10.0.2");
    assert_eq!(asked(), 6);
    fs::write(folder.path().join("cache.json"), "{\"key\":").unwrap();
    assert_eq!(Qemu::discover(options).unwrap().capabilities().version, "10.0.2");
    assert_eq!(asked(), 9);
}

#[test]
fn what_is_too_old_or_no_qemu_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = discover(folder.path(), "7.1.9").unwrap_err().to_string();
    assert!(error.contains("it is version 7.1.9; QEMU 7.2 or later"), "{error}");
    let missing = Options { program: Some(folder.path().join("none")), ..Options::default() };
    let error = Qemu::discover(missing).unwrap_err().to_string();
    assert!(error.starts_with("QEMU is not found: ") && error.ends_with("or set SPORE_QEMU"), "{error}");
    let other = Options { program: Some("/bin/true".into()), ..Options::default() };
    assert!(matches!(Qemu::discover(other), Err(EngineError::Unusable { .. })));
}

#[test]
fn every_mismatch_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let old = discover(folder.path(), "7.2.22").unwrap();
    let fits = Description {
        cpu: Cpu { model: "Haswell-noTSX".to_owned(), features: vec!["-cx16".to_owned()] },
        ..old.describe(Accelerator::Tcg)
    };
    assert_eq!(fits.machine_type, "pc-q35-7.2");
    assert_eq!(old.restorable(&fits), []);

    let wrong = Description {
        machine_type: "pc-q35-9.0".to_owned(),
        accelerator: Accelerator::Kvm,
        cpu: Cpu {
            model: "Haswell-noTSX".to_owned(),
            features: vec!["+newer".to_owned(), "-cx16".to_owned()],
        },
        ..fits.clone()
    };
    let found = old.restorable(&wrong);
    let subjects: Vec<Subject> = found.iter().map(|mismatch| mismatch.subject).collect();
    assert_eq!(subjects, [Subject::MachineType, Subject::Accelerator, Subject::Cpu]);
    assert!(found.iter().all(|mismatch| mismatch.remedies.contains(&Remedy::AnotherVariant)));
    assert_eq!(
        found.first().unwrap().to_string(),
        "machine type: the snapshot needs QEMU's \"pc-q35-9.0\", this host has QEMU 7.2.22 with versioned q35 \
         machines up to pc-q35-8.0; install a newer engine, or pull another variant of it, or bake it \
         again here"
    );

    let machine = Description { machine_type: "q35".to_owned(), ..fits.clone() };
    assert_eq!(old.restorable(&machine).first().unwrap().subject, Subject::MachineType);
    for model in ["host", "max", "base"] {
        let cpu = Cpu { model: model.to_owned(), ..fits.cpu.clone() };
        let found = old.restorable(&Description { cpu, ..fits.clone() });
        assert_eq!(found.first().unwrap().subject, Subject::Cpu, "{model}");
    }

    let cx16 = Description { cpu: Cpu { features: Vec::new(), ..fits.cpu.clone() }, ..fits };
    let found = old.restorable(&cx16);
    assert!(found.first().unwrap().to_string().contains("corrupts the guest"), "{found:?}");
    assert_eq!(discover(folder.path(), "10.0.2").unwrap().restorable(&cx16), []);
}

#[test]
fn a_guest_that_hangs_is_given_up_and_one_that_writes_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let try_it = |then: &str, patience| {
        let program = Some(fake(folder.path(), "10.0.2", then));
        let qemu = Qemu::discover(Options { program, ..Options::default() }).unwrap();
        let guest = ProbeGuest {
            folder: folder.path(),
            kernel: &FileName::new("kernel").unwrap(),
            initrd: &FileName::new("initrd").unwrap(),
            command_line: "console=ttyS0",
            marker: "in user space",
        };
        qemu.comes_up(Accelerator::Kvm, &guest, patience).unwrap()
    };
    let long = Duration::from_secs(60);
    let begun = Instant::now();
    assert!(!try_it("echo Linux version > console.log; exec sleep 1000", Duration::from_millis(200)));
    assert!(!try_it("exit 1", long));
    assert!(try_it("echo now in user space > console.log; exec sleep 1000", long));
    assert!(begun.elapsed() < long);
}
