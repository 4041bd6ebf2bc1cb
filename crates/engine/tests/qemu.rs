//! QEMU on real guests: the conformance suite, on each release that is here and from each to each other.
//!
//! `SPORE_TEST_QEMU` and `SPORE_TEST_QEMU_DATA` name a second release, as `SPORE_QEMU` and `SPORE_QEMU_DATA` do
//! the first.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use engine::conformance::{self, Guest};
use engine::qemu::{Options, Qemu};
use engine::{Engine, FileName, ProbeGuest};
use format::config::{Accelerator, Profile};
use support::{ShellDriver, TestGuest};

const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 reboot=t no_timer_check tsc=reliable nowatchdog";

fn first() -> Result<Qemu, String> {
    Qemu::discover(first_options()?).map_err(|error| error.to_string())
}

fn first_options() -> Result<Options, String> {
    let options = Options::from_environment().map_err(|error| error.to_string())?;
    Ok(Options { accelerator: Some(Accelerator::Tcg), ..options })
}

fn second() -> Result<Qemu, String> {
    let program = std::env::var_os("SPORE_TEST_QEMU").ok_or("no second QEMU in SPORE_TEST_QEMU")?;
    let data = std::env::var_os("SPORE_TEST_QEMU_DATA").unwrap_or_default();
    let data = std::env::split_paths(&data).filter(|folder| !folder.as_os_str().is_empty()).collect();
    let accelerator = Some(Accelerator::Tcg);
    Qemu::discover(Options {
        program: Some(program.into()),
        data,
        accelerator,
        cache: None,
        unconfined: false,
    })
    .map_err(|error| error.to_string())
}

fn conforms(name: &str, baker: Result<Qemu, String>, restorer: Result<Qemu, String>) {
    check(name, baker, restorer, |baker, restorer, guest, folder| {
        let measured = conformance::run(baker, restorer, guest, folder).unwrap();
        let versions = (&baker.capabilities().version, &restorer.capabilities().version);
        println!("{name}: {versions:?}: {measured:?}");
    });
}

fn check(
    name: &str,
    baker: Result<Qemu, String>,
    restorer: Result<Qemu, String>,
    body: impl FnOnce(&Qemu, &Qemu, &Guest<'_>, &Path),
) {
    let folder = tempfile::tempdir().unwrap();
    let ready = baker.and_then(|baker| Ok((baker, restorer?, TestGuest::make(folder.path())?)));
    let (baker, restorer, guest) = match ready {
        Ok(ready) => ready,
        Err(why) => {
            println!("skipped: {name}: {why}");
            return;
        }
    };
    let (layer, writable) = (folder.path().join("layer"), folder.path().join("writable"));
    std::fs::write(&layer, vec![7; 1 << 20]).unwrap();
    File::create(&writable).unwrap().set_len(64 << 20).unwrap();
    let guest = Guest {
        profile: Profile::Q35V1,
        kernel: &guest.kernel,
        initrd: &guest.initrd,
        command_line: COMMAND_LINE,
        layer: &layer,
        writable: &writable,
        writable_file: "/dev/vda",
        memory: 256 << 20,
        driver: &|| Box::new(ShellDriver::default()),
        boot_time: Duration::from_secs(300),
    };
    body(&baker, &restorer, &guest, &folder.path().join("run"));
}

/// The first release, where there is no room for what a fork writes.
fn first_without_room() -> Result<Qemu, String> {
    let options = first_options()?;
    let may = ["--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/tmp"];
    match Command::new("unshare").args(may).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            return Err(format!("no own mounts: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        Err(error) => return Err(format!("unshare: {error}")),
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/without-room.sh");
    Qemu::discover(Options { program: Some(script), unconfined: true, ..options })
        .map_err(|error| error.to_string())
}

#[test]
fn one_release_conforms() {
    conforms("one_release_conforms", first(), first());
}

#[test]
fn another_release_conforms() {
    conforms("another_release_conforms", second(), second());
}

#[test]
fn a_later_release_restores_an_earlier_ones() {
    conforms("a_later_release_restores_an_earlier_ones", second(), first());
}

#[test]
fn an_earlier_release_restores_a_later_ones() {
    conforms("an_earlier_release_restores_a_later_ones", first(), second());
}

#[test]
fn a_guest_is_told_that_the_hosts_disk_is_full() {
    let name = "a_guest_is_told_that_the_hosts_disk_is_full";
    check(name, first(), first_without_room(), |baker, restorer, guest, folder| {
        conformance::run_without_room(baker, restorer, guest, folder).unwrap();
    });
}

/// A guest to probe with, in a folder below this one.
fn probed<T>(folder: &Path, body: impl FnOnce(&ProbeGuest<'_>) -> T) -> Result<T, String> {
    let guest = TestGuest::make(folder)?;
    let work = folder.join("probe");
    std::fs::create_dir(&work).unwrap();
    let (kernel, initrd) = (FileName::new("kernel").unwrap(), FileName::new("initrd").unwrap());
    std::fs::copy(&guest.kernel, work.join(&kernel)).unwrap();
    std::fs::copy(&guest.initrd, work.join(&initrd)).unwrap();
    let (command_line, marker) = (COMMAND_LINE, "guest is up");
    Ok(body(&ProbeGuest { folder: &work, kernel: &kernel, initrd: &initrd, command_line, marker }))
}

#[test]
fn a_probe_sees_a_guest_that_comes_up() {
    let folder = tempfile::tempdir().unwrap();
    let tried = first().and_then(|qemu| {
        // No hurry: it is about what a probe's QEMU can reach.
        probed(folder.path(), |guest| {
            qemu.comes_up(Accelerator::Tcg, guest, Duration::from_secs(300)).unwrap()
        })
    });
    match tried {
        Ok(came_up) => assert!(came_up),
        Err(why) => println!("skipped: a_probe_sees_a_guest_that_comes_up: {why}"),
    }
}

#[test]
fn a_probe_ends_in_time_and_is_remembered() {
    let name = "a_probe_ends_in_time_and_is_remembered";
    if std::fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return println!("skipped: {name}: no /dev/kvm to open");
    }
    let folder = tempfile::tempdir().unwrap();
    let tried = probed(folder.path(), |guest| probe_is_remembered(folder.path(), guest));
    if let Err(why) = tried.and_then(|tried| tried) {
        println!("skipped: {name}: {why}");
    }
}

fn probe_is_remembered(folder: &Path, guest: &ProbeGuest<'_>) -> Result<(), String> {
    let cache = folder.join("qemu.json");
    let options =
        || Options { accelerator: None, cache: Some(cache.clone()), ..Options::from_environment().unwrap() };
    let mut qemu = Qemu::discover(options()).map_err(|error| error.to_string())?;
    let begun = std::time::Instant::now();
    qemu.probe_accelerators(guest).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    println!("{:?} after {:?}", qemu.capabilities().accelerators, begun.elapsed());
    let works = qemu.capabilities().accelerators.contains(&Accelerator::Kvm);
    // Whoever believes the opposite has read it, and not tried again.
    let remembered = std::fs::read_to_string(&cache).unwrap();
    let (found, opposite) = (format!("\"kvm_works\":{works}"), format!("\"kvm_works\":{}", !works));
    assert!(remembered.contains(&found), "{remembered}");
    std::fs::write(&cache, remembered.replace(&found, &opposite)).unwrap();
    let mut again = Qemu::discover(options()).unwrap();
    again.probe_accelerators(guest).unwrap();
    assert_eq!(again.capabilities().accelerators.contains(&Accelerator::Kvm), !works);
    Ok(())
}
