//! QEMU's command line, derived from the profile (docs/format.md, "Profile `q35-v1`").
//!
//! What the guest can see of it is frozen with every snapshot: tests/golden pins all of it. Only text that
//! [`super::check`] and [`super::compatibility`] let pass gets in; files are [`FileName`]s, which no option can
//! misread.

use std::net::Ipv4Addr;
use std::os::fd::RawFd;

use format::config::{Accelerator, DeviceKind, Network};
use serde_json::{Value, json};

use super::version::Version;
use crate::{BootSpec, CONSOLE_LOG, Disk, DiskFormat, FileName, MEMORY_FILE, MemoryMode, NetworkMode, Setup};

/// Bytes of a spare disk with nothing attached.
pub(super) const SPARE_SIZE: u64 = 1 << 20;
/// Devices that the profile leaves out of the machine type.
const TRIMMED: &str = "hpet=off,sata=off,smbus=off,i8042=off,vmport=off,smm=off";
/// A write that the host has no room for is an error that the guest is told of; by default it would be halted, and wait
/// for somebody to make room and resume it. Of the host's side only: it is in no state.
const ON_ERROR: &str = "werror=report,rerror=report";
/// Network backends disagree on them, and a guest can't give up what it was offered. Linux refuses a NIC that
/// offers what needs a control queue (the last lines) without one.
const OFFLOADS: &str = "csum=off,gso=off,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,\
    guest_ufo=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,mrg_rxbuf=off,\
    ctrl_vq=off,ctrl_rx=off,ctrl_rx_extra=off,ctrl_vlan=off,ctrl_mac_addr=off,ctrl_guest_offloads=off,\
    guest_announce=off";

/// QEMU's filter of system calls.
pub(super) const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// An accelerator's name, with its options.
pub(super) fn accelerator(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Tcg => "tcg,thread=multi",
        Accelerator::Kvm => "kvm",
    }
}

/// Descriptors that QEMU inherits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inherited {
    /// The listening control socket.
    pub(super) qmp: RawFd,
    /// The listening agent socket.
    pub(super) agent: RawFd,
}

/// The command line of a machine that boots from its kernel.
pub(super) fn boot(version: Version, spec: &BootSpec<'_>, inherited: Inherited) -> Vec<String> {
    let mut line = Line::machine(version, &spec.setup, true, inherited);
    line.option("-kernel", spec.kernel.as_str());
    line.option("-initrd", spec.initrd.as_str());
    line.option("-append", &spec.setup.machine.kernel.command_line);
    line.0
}

/// The command line of a machine that is restored. It waits to be told of its state: a machine that is not what it
/// should be is to be found by its attachments, not by a device that its state does not fit.
///
/// Unless it is to `reserve` all memory that the guest may come to write, a guest may have more than the host.
pub(super) fn restore(
    version: Version,
    setup: &Setup<'_>,
    reserve: bool,
    inherited: Inherited,
) -> Vec<String> {
    let mut line = Line::machine(version, setup, reserve, inherited);
    // So that its end is told, not asked for again and again.
    line.option("-global", "migration.x-events=on");
    line.option("-incoming", "defer");
    line.0
}

struct Line(Vec<String>);

impl Line {
    fn machine(version: Version, setup: &Setup<'_>, reserve: bool, inherited: Inherited) -> Self {
        let mut line = Self(Vec::with_capacity(96));
        line.process();
        line.processor_and_memory(version, setup, reserve);
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
        self.option("-sandbox", SANDBOX);
    }

    fn processor_and_memory(&mut self, version: Version, setup: &Setup<'_>, reserve: bool) {
        let Setup { machine, engine, .. } = setup;
        let (size, cpus) = (machine.memory_size(), machine.vcpus);
        // Without suppress-vmdesc a loader complains of a description that such a state does not have.
        let kind = &engine.machine_type;
        self.option("-machine", &format!("{kind},{TRIMMED},memory-backend=ram,suppress-vmdesc=on"));
        self.option("-accel", accelerator(engine.accelerator));
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
        let reserve = if reserve { "" } else { ",reserve=off" };
        self.option("-object", &format!("{memory},merge=off,dump=off,prealloc=off{reserve}"));
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
                let properties = format!("drive={id},serial={id},num-queues=1,queue-size=128,{ON_ERROR}");
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
        DiskFormat::Overlay { base } => {
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

#[cfg(test)]
mod tests;
