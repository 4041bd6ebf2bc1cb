//! A frozen VM, and forks of it.

use std::fs::{self, File, Permissions};
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use format::config::{Kernel, Machine, Network};
use host::{Deadline, ProcessId};

use super::{Failure, Guest, GuestDriver, expect, soon};
use crate::{
    BootSpec, Description, Disk, DiskFormat, Engine, EngineError, FileName, MEMORY_FILE, MemoryMode,
    NetworkMode, RestoreSpec, Setup, Status, Vm,
};

pub(super) const STATE: &str = "state";
/// The writable disk as it was frozen.
pub(super) const WRITABLE: &str = "writable.base";
/// The file that takes what a fork writes to its writable disk.
pub(super) const OVERLAY: &str = "writable.overlay";
/// In the guest's memory, whatever its disks are.
pub(super) const IN_MEMORY: &str = "/dev/spore-conformance";
const CARRIER: &str = "cat /sys/class/net/e*/carrier";

/// A frozen VM, in a folder.
pub(super) struct Bench<'a> {
    pub(super) guest: &'a Guest<'a>,
    pub(super) folder: PathBuf,
    pub(super) machine: Machine,
    pub(super) engine: Description,
    pub(super) freeze: Duration,
    pub(super) writable_size: u64,
    pub(super) layer_size: u64,
}

/// A fork and the way to its guest.
pub(super) struct Fork {
    pub(super) vm: Box<dyn Vm>,
    pub(super) driver: Box<dyn GuestDriver>,
    pub(super) folder: PathBuf,
    process: KillOnDrop,
}

/// Ends a process that a failed check would leave behind.
struct KillOnDrop(ProcessId);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // Nothing can be done about it here, and an ended process is no error.
        let _ = self.0.kill();
    }
}

impl<'a> Bench<'a> {
    /// Bakes what `restorer` can restore.
    pub(super) fn bake(
        baker: &dyn Engine,
        restorer: &dyn Engine,
        guest: &'a Guest<'a>,
        folder: &Path,
        network: NetworkMode,
    ) -> Result<Self, Failure> {
        let (ours, theirs) = (baker.capabilities(), restorer.capabilities());
        let accelerator =
            ours.accelerators.iter().find(|&accelerator| theirs.accelerators.contains(accelerator));
        let accelerator = *accelerator.ok_or("the engines have no accelerator in common")?;
        fs::create_dir_all(folder)?;
        for (from, to) in [
            (guest.kernel, "kernel"),
            (guest.initrd, "initrd"),
            (guest.layer, "layer0"),
            (guest.writable, WRITABLE),
        ] {
            fs::copy(from, folder.join(to))?;
        }
        File::create_new(folder.join(MEMORY_FILE))?.set_len(guest.memory)?;
        let mut bench = Self {
            guest,
            folder: folder.to_owned(),
            machine: machine(guest),
            engine: baker.describe(accelerator),
            freeze: Duration::ZERO,
            writable_size: folder.join(WRITABLE).metadata()?.len(),
            layer_size: folder.join("layer0").metadata()?.len(),
        };
        bench.boot_and_freeze(baker, network)?;
        for name in [MEMORY_FILE, WRITABLE, "layer0"] {
            let mode = if name != MEMORY_FILE || theirs.memory_file_read_only { 0o444 } else { 0o644 };
            fs::set_permissions(folder.join(name), Permissions::from_mode(mode))?;
        }
        Ok(bench)
    }

    fn boot_and_freeze(&mut self, engine: &dyn Engine, network: NetworkMode) -> Result<(), Failure> {
        let disks = self.disks(DiskFormat::Raw, WRITABLE)?;
        let (kernel, initrd) = (FileName::new("kernel")?, FileName::new("initrd")?);
        let deadline = Deadline::after(self.guest.boot_time);
        let setup = Setup { memory: MemoryMode::Shared, network, ..self.setup(&self.folder, &disks) };
        let mut vm = engine.boot(&BootSpec { setup, kernel: &kernel, initrd: &initrd })?;
        let worked = self.warm_and_freeze(vm.as_mut(), network, deadline);
        vm.kill(soon())?;
        worked
    }

    fn warm_and_freeze(
        &mut self,
        vm: &mut dyn Vm,
        network: NetworkMode,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        expect("a booted VM waits", vm.status(deadline)?, Status::Paused)?;
        vm.resume(deadline)?;
        let mut driver = (self.guest.driver)();
        driver.ready(&self.folder, deadline)?;
        let file = self.guest.writable_file;
        driver.ask(&format!("echo frozen > {file}; sync; echo frozen > {IN_MEMORY}"), deadline)?;
        driver.ask("for i in /sys/class/net/e*; do ip link set ${i##*/} up; done", deadline)?;
        carrier(driver.as_mut(), network, deadline)?;
        driver.quiet(deadline)?;
        let begun = Instant::now();
        vm.freeze(&FileName::new(STATE)?, deadline)?;
        self.freeze = begun.elapsed();
        expect("a frozen VM is paused", vm.status(deadline)?, Status::Paused)?;
        let state = fs::read(self.folder.join(STATE))?;
        let path = self.folder.as_os_str().as_encoded_bytes();
        expect("no path is in the state", state.windows(path.len()).any(|part| part == path), false)
    }

    pub(super) fn disks(&self, format: DiskFormat, writable: &str) -> Result<Vec<Disk>, Failure> {
        let disk = |id: &str, file: &str, size, format, read_only| {
            Ok::<_, EngineError>(Disk {
                id: id.to_owned(),
                file: FileName::new(file)?,
                size,
                format,
                read_only,
            })
        };
        Ok(vec![
            disk("layer0", "layer0", self.layer_size, DiskFormat::Raw, true)?,
            disk("writable", writable, self.writable_size, format, false)?,
        ])
    }

    pub(super) fn overlays(&self) -> Result<Vec<Disk>, Failure> {
        self.disks(DiskFormat::Overlay { base: FileName::new(WRITABLE)? }, OVERLAY)
    }

    pub(super) fn setup<'b>(&'b self, folder: &'b Path, disks: &'b [Disk]) -> Setup<'b> {
        Setup {
            folder,
            machine: &self.machine,
            engine: &self.engine,
            disks,
            network: NetworkMode::None,
            memory: MemoryMode::Private,
            deadline: soon(),
        }
    }

    /// A new sandbox's folder with links to what was frozen.
    pub(super) fn sandbox(&self, engine: &dyn Engine, name: &str) -> Result<PathBuf, Failure> {
        let folder = self.folder.join(name);
        fs::create_dir(&folder)?;
        for name in [MEMORY_FILE, STATE, "layer0", WRITABLE] {
            fs::hard_link(self.folder.join(name), folder.join(name))?;
        }
        engine.create_overlay(&folder, &FileName::new(OVERLAY)?, &FileName::new(WRITABLE)?)?;
        Ok(folder)
    }

    pub(super) fn restore(
        &self,
        engine: &dyn Engine,
        folder: PathBuf,
        network: NetworkMode,
    ) -> Result<Fork, Failure> {
        let disks = self.overlays()?;
        let setup = Setup { network, ..self.setup(&folder, &disks) };
        let vm = engine.restore(&RestoreSpec { setup, state: &FileName::new(STATE)? })?;
        let (driver, process) = ((self.guest.driver)(), KillOnDrop(vm.process()));
        Ok(Fork { vm, driver, process, folder })
    }

    pub(super) fn fork(
        &self,
        engine: &dyn Engine,
        name: &str,
        network: NetworkMode,
    ) -> Result<Fork, Failure> {
        let folder = self.sandbox(engine, name)?;
        let mut fork = self.restore(engine, folder, network)?;
        fork.vm.resume(soon())?;
        fork.driver.ready(&fork.folder, soon())?;
        Ok(fork)
    }

    pub(super) fn fingerprints(&self) -> Result<Vec<u64>, Failure> {
        let names = [MEMORY_FILE, WRITABLE, "layer0"];
        names.iter().map(|name| fingerprint(&self.folder.join(name))).collect()
    }
}

impl Fork {
    pub(super) fn ask(&mut self, line: &str) -> Result<String, Failure> {
        self.driver.ask(line, soon())
    }

    pub(super) fn end(mut self) -> Result<(), Failure> {
        self.vm.kill(soon())?;
        expect("a killed VM is gone", self.process.0.is_alive(), false)?;
        nobody_works_in(&self.folder)?;
        Ok(fs::remove_dir_all(&self.folder)?)
    }
}

fn machine(guest: &Guest<'_>) -> Machine {
    let profile = guest.profile;
    Machine {
        profile,
        vcpus: 1,
        memory: profile.memory_regions(guest.memory),
        devices: profile.devices(1),
        network: Network {
            mac: format::config::MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]),
            address: [10, 0, 2, 15].into(),
            prefix: 24,
            gateway: [10, 0, 2, 2].into(),
            dns: [10, 0, 2, 3].into(),
        },
        kernel: Kernel {
            command_line: guest.command_line.to_owned(),
            image: format::Digest::of(b"kernel"),
            initrd: format::Digest::of(b"initrd"),
        },
    }
}

/// The guest sees a cable exactly if it has a network.
pub(super) fn carrier(
    driver: &mut dyn GuestDriver,
    network: NetworkMode,
    deadline: Deadline,
) -> Result<(), Failure> {
    let expected = if network == NetworkMode::User { "1" } else { "0" };
    // The guest hears of it by an interrupt, and tells it by a work queue.
    loop {
        let seen = driver.ask(CARRIER, deadline)?;
        if seen == expected || deadline.remaining().is_none() {
            return expect("the cable", seen.as_str(), expected);
        }
        driver.ask("usleep 100000 || sleep 0.1", deadline)?;
    }
}

pub(super) fn nobody_works_in(folder: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir("/proc")?.flatten() {
        if fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder) {
            return Err(format!("process {:?} still works in {}", entry.file_name(), folder.display()).into());
        }
    }
    Ok(())
}

fn fingerprint(path: &Path) -> Result<u64, Failure> {
    let (mut file, mut hasher, mut piece) = (File::open(path)?, DefaultHasher::new(), vec![0; 1 << 20]);
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            return Ok(hasher.finish());
        }
        hasher.write(piece.get(..length).unwrap_or_default());
    }
}
