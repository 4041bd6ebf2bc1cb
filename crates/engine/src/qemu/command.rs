//! QEMU's command line, derived from the profile (docs/format.md, "Profile `q35-v1`").
//!
//! What the guest can see of it is frozen with every snapshot: tests/golden pins all of it. Only [`check`]ed
//! text gets in; what it holds of names is [`FileName`]s, which no option can misread.

use std::net::Ipv4Addr;
use std::os::fd::RawFd;

use format::config::{Accelerator, DeviceKind, Machine, Network};
use format::limits;
use serde_json::{Value, json};

use super::version::Version;
use crate::{
    BootSpec, CONSOLE_LOG, Disk, DiskFormat, EngineError, FileName, MEMORY_FILE, MemoryMode, NetworkMode,
    Setup,
};

/// Bytes of a spare disk with nothing attached.
pub(super) const SPARE_SIZE: u64 = 1 << 20;
/// Devices that the profile leaves out of the machine type.
const TRIMMED: &str = "hpet=off,sata=off,smbus=off,i8042=off,vmport=off,smm=off";
/// Network backends disagree on them, and a guest can't give up what it was offered. Linux refuses a NIC that
/// offers what needs a control queue (the last lines) without one.
const OFFLOADS: &str = "csum=off,gso=off,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,\
    guest_ufo=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,mrg_rxbuf=off,\
    ctrl_vq=off,ctrl_rx=off,ctrl_rx_extra=off,ctrl_vlan=off,ctrl_mac_addr=off,ctrl_guest_offloads=off,\
    guest_announce=off";

/// Descriptors that QEMU inherits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inherited {
    /// The listening control socket.
    pub(super) qmp: RawFd,
    /// The listening agent socket.
    pub(super) agent: RawFd,
    /// The engine state, opened for reading, if it can't be named ([`Version::reads_state_files`]).
    pub(super) state: Option<RawFd>,
}

/// The command line of a machine that boots from its kernel.
pub(super) fn boot(version: Version, spec: &BootSpec<'_>, inherited: Inherited) -> Vec<String> {
    let mut line = Line::machine(version, &spec.setup, inherited);
    line.option("-kernel", spec.kernel.as_str());
    line.option("-initrd", spec.initrd.as_str());
    line.option("-append", &spec.setup.machine.kernel.command_line);
    line.0
}

/// The command line of a machine that is restored.
pub(super) fn restore(
    version: Version,
    setup: &Setup<'_>,
    state: &FileName,
    inherited: Inherited,
) -> Vec<String> {
    let mut line = Line::machine(version, setup, inherited);
    // So that its end is told, not asked for again and again.
    line.option("-global", "migration.x-events=on");
    match inherited.state {
        Some(fd) => line.option("-incoming", &format!("fd:{fd}")),
        None => line.option("-incoming", &format!("file:{state}")),
    }
    line.0
}

struct Line(Vec<String>);

impl Line {
    fn machine(version: Version, setup: &Setup<'_>, inherited: Inherited) -> Self {
        let mut line = Self(Vec::with_capacity(96));
        line.process();
        line.processor_and_memory(version, setup);
        line.channels(inherited);
        for device in &setup.machine.devices {
            line.device(device.kind, &device.id, device.slot, setup);
        }
        line
    }

    fn option(&mut self, name: &str, value: &str) {
        self.0.push(name.to_owned());
        self.0.push(value.to_owned());
    }

    /// Nothing that is not asked for, no configuration files, paused, and few system calls.
    fn process(&mut self) {
        self.0.extend(["-nodefaults", "-no-user-config", "-no-reboot", "-S"].map(str::to_owned));
        self.option("-display", "none");
        self.option("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    }

    fn processor_and_memory(&mut self, version: Version, setup: &Setup<'_>) {
        let Setup { machine, engine, .. } = setup;
        let (size, cpus) = (machine.memory_size(), machine.vcpus);
        // Without suppress-vmdesc a loader complains of a description that such a state does not have.
        let kind = &engine.machine_type;
        self.option("-machine", &format!("{kind},{TRIMMED},memory-backend=ram,suppress-vmdesc=on"));
        self.option(
            "-accel",
            match engine.accelerator {
                Accelerator::Tcg => "tcg,thread=multi",
                Accelerator::Kvm => "kvm",
            },
        );
        // A feature that this host lacks ends QEMU, instead of the guest when it uses it.
        self.option("-cpu", &format!("{},enforce", engine.cpu));
        self.option("-smp", &format!("cpus={cpus},sockets=1,cores={cpus},threads=1"));
        self.option("-m", &format!("{}k", size / 1024));
        self.option("-rtc", "base=utc");
        let share = match setup.memory {
            MemoryMode::Shared => "share=on",
            // Without rom=off, readonly=on would make the guest's memory read-only too.
            MemoryMode::Private if version.maps_memory_read_only() => "share=off,readonly=on,rom=off",
            MemoryMode::Private => "share=off",
        };
        let memory = format!("memory-backend-file,id=ram,size={size},mem-path={MEMORY_FILE},{share}");
        self.option("-object", &format!("{memory},merge=off,dump=off,prealloc=off"));
    }

    /// The control socket, and the serial port, which is part of the profile's machine.
    fn channels(&mut self, inherited: Inherited) {
        self.option("-chardev", &format!("socket,id=qmp,fd={},server=on,wait=off", inherited.qmp));
        self.option("-mon", "chardev=qmp,mode=control");
        self.option("-chardev", &format!("file,id=console,path={CONSOLE_LOG},append=on"));
        self.option("-device", "isa-serial,id=console,chardev=console,iobase=0x3f8,irq=4");
        self.option("-chardev", &format!("socket,id=agent,fd={},server=on,wait=off", inherited.agent));
    }

    fn device(&mut self, kind: DeviceKind, id: &str, slot: u8, setup: &Setup<'_>) {
        match kind {
            DeviceKind::AgentChannel => {
                self.virtio("virtio-serial", id, slot, "max_ports=2");
                let port = format!("virtserialport,id={id}-port,bus={id}.0,nr=1,chardev=agent");
                self.option("-device", &format!("{port},name=dev.spore.agent"));
            }
            DeviceKind::Entropy => {
                self.option("-object", "rng-builtin,id=rng");
                self.virtio("virtio-rng", id, slot, "rng=rng");
            }
            DeviceKind::Nic => {
                self.option("-netdev", &netdev(setup.network, &setup.machine.network));
                let mac = setup.machine.network.mac;
                self.virtio("virtio-net", id, slot, &format!("netdev=net0,mac={mac},romfile=,{OFFLOADS}"));
            }
            DeviceKind::WritableDisk | DeviceKind::SpareDisk | DeviceKind::LayerDisk => {
                let disk = setup.disks.iter().find(|disk| disk.id == id);
                self.option("-blockdev", &disk.map_or_else(|| spare(id), node).to_string());
                let properties = format!("drive={id},serial={id},num-queues=1,queue-size=128");
                self.virtio("virtio-blk", id, slot, &properties);
            }
            DeviceKind::GenerationId => self.option("-device", &format!("vmgenid,id={id},guid=auto")),
        }
    }

    fn virtio(&mut self, kind: &str, id: &str, slot: u8, properties: &str) {
        let place = format!("bus=pcie.0,addr={slot:02x},disable-legacy=on");
        self.option("-device", &format!("{kind}-pci,id={id},{place},{properties}"));
    }
}

/// No backend offers the NIC anything that another lacks, so that any state loads with any of them.
fn netdev(mode: NetworkMode, network: &Network) -> String {
    let Network { address, prefix, gateway, dns, .. } = network;
    match mode {
        NetworkMode::None => "hubport,id=net0,hubid=0".to_owned(),
        NetworkMode::User => {
            let mask = u32::MAX.checked_shl(32 - u32::from((*prefix).min(32))).unwrap_or(0);
            let net = Ipv4Addr::from_bits(address.to_bits() & mask);
            format!("user,id=net0,ipv6=off,net={net}/{prefix},host={gateway},dns={dns},dhcpstart={address}")
        }
    }
}

/// A disk's node. The guest's flushes end in the host's page cache: whoever reads the file on this host sees
/// what was written, and a VM does not survive the host in any case.
fn node(disk: &Disk) -> Value {
    let (id, read_only) = (&disk.id, disk.read_only);
    let file = file_node(&disk.file, read_only);
    let mut node = match &disk.format {
        DiskFormat::Raw => json!({ "driver": "raw", "file": file }),
        DiskFormat::Qcow2Overlay { base } => {
            let below = file_node(base, true);
            let backing = json!({ "driver": "raw", "read-only": true, "file": below });
            json!({ "driver": "qcow2", "file": file, "backing": backing })
        }
    };
    if let Some(node) = node.as_object_mut() {
        node.insert("node-name".to_owned(), id.as_str().into());
        node.insert("read-only".to_owned(), read_only.into());
        node.insert("cache".to_owned(), json!({ "direct": false, "no-flush": true }));
        node.insert("discard".to_owned(), if read_only { "ignore" } else { "unmap" }.into());
    }
    node
}

fn file_node(name: &FileName, read_only: bool) -> Value {
    let name = name.as_str();
    json!({ "driver": "file", "filename": name, "read-only": read_only, "auto-read-only": false })
}

fn spare(id: &str) -> Value {
    json!({ "driver": "null-co", "node-name": id, "size": SPARE_SIZE, "read-zeroes": true })
}

/// Refuses what the profile does not have, so that what is left can be written down as it is.
pub(super) fn check(setup: &Setup<'_>) -> Result<(), EngineError> {
    let Setup { machine, disks, .. } = setup;
    check_machine(machine)?;
    let attached = |kind| machine.devices.iter().filter(move |device| device.kind == kind);
    let layers = attached(DeviceKind::LayerDisk).map(|device| (device.id.as_str(), true));
    let writable = attached(DeviceKind::WritableDisk).map(|device| (device.id.as_str(), false));
    let expected: Vec<_> = layers.chain(writable).collect();
    let found: Vec<_> = disks.iter().map(|disk| (disk.id.as_str(), disk.read_only)).collect();
    let rest = found.strip_prefix(expected.as_slice()).ok_or_else(|| EngineError::Spec {
        what: "disks",
        reason: format!("(id, read-only) in order should be {expected:?}, but are {found:?}"),
    })?;
    match rest {
        [] | [("data0", _)] => {}
        more => {
            let reason = format!("beyond those of the machine only data0 may be attached, not {more:?}");
            return Err(EngineError::Spec { what: "disks", reason });
        }
    }
    check_files(setup)
}

fn check_machine(machine: &Machine) -> Result<(), EngineError> {
    let spec = |what, reason: String| Err(EngineError::Spec { what, reason });
    let layers = machine.devices.iter().filter(|device| device.kind == DeviceKind::LayerDisk).count();
    let few = u8::try_from(layers).ok().filter(|_| layers <= limits::LAYERS);
    if few.is_none_or(|layers| machine.devices != machine.profile.devices(layers)) {
        return spec("devices", format!("they are not those of the profile with {layers} layers"));
    }
    if machine.memory != machine.profile.memory_regions(machine.memory_size()) {
        return spec("memory", format!("regions are not the profile's: {:?}", machine.memory));
    }
    if !(1..=limits::VCPUS).contains(&machine.vcpus) {
        return spec("vcpus", format!("1 to {} are possible, not {}", limits::VCPUS, machine.vcpus));
    }
    let text = &machine.kernel.command_line;
    if text.len() > limits::COMMAND_LINE_BYTES || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return spec(
            "kernel command line",
            format!("at most {} printable ASCII characters", limits::COMMAND_LINE_BYTES),
        );
    }
    Ok(())
}

/// A memory file or a disk of the wrong size would be found out by the guest, much later.
fn check_files(setup: &Setup<'_>) -> Result<(), EngineError> {
    let check = |what, name: &str, expected: u64| {
        let path = setup.folder.join(name);
        let found = path.symlink_metadata().map_err(EngineError::io(name))?;
        if found.is_file() && found.len() == expected {
            return Ok(());
        }
        let reason = format!("{name} should be a file of {expected} bytes, but has {}", found.len());
        Err(EngineError::Spec { what, reason })
    };
    check("memory", MEMORY_FILE, setup.machine.memory_size())?;
    for disk in setup.disks {
        match &disk.format {
            DiskFormat::Raw => check("disk", disk.file.as_str(), disk.size)?,
            DiskFormat::Qcow2Overlay { base } => check("disk", base.as_str(), disk.size)?,
        }
    }
    Ok(())
}
