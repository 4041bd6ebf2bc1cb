//! The command lines, whole.

use std::path::Path;
use std::time::Duration;

use host::Deadline;

use super::super::fake::{engine, machine};
use super::*;

fn disks(format: DiskFormat, writable: &str) -> Vec<Disk> {
    let disk = |id: &str, file: &str, format, read_only| {
        let file = FileName::new(file).unwrap();
        Disk { id: id.to_owned(), file, size: 1 << 30, format, read_only }
    };
    vec![
        disk("layer0", "layer0", DiskFormat::Raw, true),
        disk("layer1", "layer1", DiskFormat::Raw, true),
        disk("writable", writable, format, false),
    ]
}

const INHERITED: Inherited = Inherited { qmp: 20, agent: 21 };

/// One option a line, so that a difference can be read.
fn lines(arguments: &[String]) -> String {
    let mut text = String::new();
    for argument in arguments {
        text.push(if argument.starts_with('-') { '\n' } else { ' ' });
        text.push_str(argument);
    }
    text.trim_start().to_owned() + "\n"
}

fn assert_golden(name: &str, arguments: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let found = lines(arguments);
    assert!(golden == found, "{} is not what was found:\n{found}", path.display());
}

fn boot_lines(version: &str) -> Vec<String> {
    let (machine, engine) = (machine(2), engine(Accelerator::Tcg));
    let disks = disks(DiskFormat::Raw, "writable.raw");
    let (kernel, initrd) = (FileName::new("kernel").unwrap(), FileName::new("initrd").unwrap());
    let setup = Setup {
        folder: Path::new("/"),
        machine: &machine,
        engine: &engine,
        disks: &disks,
        network: NetworkMode::User,
        memory: MemoryMode::Shared,
        deadline: Deadline::after(Duration::ZERO),
    };
    boot(Version::parse(version).unwrap(), &BootSpec { setup, kernel: &kernel, initrd: &initrd }, INHERITED)
}

fn restore_lines(version: &str, accelerator: Accelerator, reserve: bool) -> Vec<String> {
    let (machine, engine) = (machine(2), engine(accelerator));
    let disks = disks(DiskFormat::Overlay { base: FileName::new("writable.raw").unwrap() }, "writable.qcow2");
    let setup = Setup {
        folder: Path::new("/"),
        machine: &machine,
        engine: &engine,
        disks: &disks,
        network: NetworkMode::None,
        memory: MemoryMode::Private,
        deadline: Deadline::after(Duration::ZERO),
    };
    restore(Version::parse(version).unwrap(), &setup, reserve, INHERITED)
}

#[test]
fn the_command_lines_are_frozen() {
    assert_golden("boot.txt", &boot_lines("version 7.2.22"));
    assert_golden("boot.txt", &boot_lines("version 10.0.2"));
    assert_golden("restore-7.2.txt", &restore_lines("version 7.2.22", Accelerator::Tcg, true));
    assert_golden("restore-10.0.txt", &restore_lines("version 10.0.2", Accelerator::Tcg, false));
    let on_kvm = restore_lines("version 10.0.2", Accelerator::Kvm, false);
    assert!(on_kvm.windows(2).any(|option| option == ["-accel", "kvm"]));
}

#[test]
fn the_network_is_what_the_guest_was_told() {
    let network = Network { address: [192, 168, 77, 130].into(), prefix: 25, ..machine(2).network };
    assert!(netdev(NetworkMode::User, &network).contains("net=192.168.77.128/25,"));
    let network = Network { prefix: 0, ..machine(2).network };
    assert!(netdev(NetworkMode::User, &network).contains("net=0.0.0.0/0,"));
    let network = Network { prefix: 32, ..machine(2).network };
    assert!(netdev(NetworkMode::User, &network).contains("net=10.0.2.15/32,"));
}
