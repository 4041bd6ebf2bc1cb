//! The virtual hardware, as a config has it: what a guest was frozen on, and what an engine's command line is derived from.
//!
//! Devices cannot be added to a frozen machine: a profile is a table that never changes, and a new one gets a new name.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::MacAddress;
use crate::{Digest, PAGE_SIZE};

/// The virtual hardware, from which an engine's command line is derived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The frozen table of devices.
    pub profile: Profile,
    /// Virtual CPUs, 1 to 64.
    pub vcpus: u32,
    /// Guest memory, by address.
    pub memory: Vec<MemoryRegion>,
    /// What the profile gives for this number of layers.
    pub devices: Vec<Device>,
    /// The NIC as the guest was told.
    pub network: Network,
    /// For a cold boot.
    pub kernel: Kernel,
}

/// A frozen table of devices and their properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Profile {
    /// QEMU's q35, trimmed; docs/format.md has the table.
    #[serde(rename = "q35-v1")]
    Q35V1,
}

/// A range of guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryRegion {
    /// Guest-physical address in bytes.
    pub guest_address: u64,
    /// Bytes.
    pub size: u64,
    /// Where it begins in the memory map, in bytes.
    pub offset: u64,
}

/// One device and its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// The id under which the engine knows it.
    pub id: String,
    /// What it is.
    pub kind: DeviceKind,
    /// Its slot on the bus, 0 where it has none.
    pub slot: u8,
}

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// The channel to the guest's agent.
    AgentChannel,
    /// A source of entropy.
    Entropy,
    /// The network card, always there.
    Nic,
    /// The writable disk.
    WritableDisk,
    /// A place for one more disk.
    SpareDisk,
    /// A read-only layer.
    LayerDisk,
    /// Tells a guest that it was forked.
    GenerationId,
}

/// The network card as the guest was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Hardware address, the same in every fork: each has a network of its own.
    pub mac: MacAddress,
    /// The guest's address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix, 0 to 32.
    pub prefix: u8,
    /// The guest's way out.
    pub gateway: Ipv4Addr,
    /// The guest's name server.
    pub dns: Ipv4Addr,
}

/// What a cold boot needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Printable ASCII, at most 2048 bytes.
    pub command_line: String,
    /// The kernel image.
    pub image: Digest,
    /// The initrd, which holds the agent.
    pub initrd: Digest,
}

impl Machine {
    /// Bytes of guest memory.
    #[must_use]
    pub fn memory_size(&self) -> u64 {
        self.memory.iter().fold(0, |sum, region| sum.saturating_add(region.size))
    }

    /// Pages of guest memory.
    #[must_use]
    pub fn memory_pages(&self) -> u64 {
        self.memory_size() / PAGE_SIZE
    }
}

impl Profile {
    /// The devices of a machine with `layers` layer disks, in order.
    #[must_use]
    pub fn devices(self, layers: u8) -> Vec<Device> {
        let device = |id: &str, kind, slot| Device { id: id.to_owned(), kind, slot };
        let mut devices = vec![
            device("agent", DeviceKind::AgentChannel, 2),
            device("entropy", DeviceKind::Entropy, 3),
            device("nic0", DeviceKind::Nic, 4),
            device("writable", DeviceKind::WritableDisk, 5),
            device("data0", DeviceKind::SpareDisk, 6),
        ];
        devices.extend((0..layers).map(|n| device(&layer_id(n), DeviceKind::LayerDisk, 8 + n)));
        devices.push(device("generation", DeviceKind::GenerationId, 0));
        devices
    }

    /// Where `size` bytes of guest memory lie.
    #[must_use]
    pub fn memory_regions(self, size: u64) -> Vec<MemoryRegion> {
        const TWO_REGIONS_FROM: u64 = 2816 << 20;
        const LOW: u64 = 2048 << 20;
        const HIGH_ADDRESS: u64 = 4 << 30;
        if size < TWO_REGIONS_FROM {
            return vec![MemoryRegion { guest_address: 0, size, offset: 0 }];
        }
        vec![
            MemoryRegion { guest_address: 0, size: LOW, offset: 0 },
            MemoryRegion { guest_address: HIGH_ADDRESS, size: size - LOW, offset: LOW },
        ]
    }
}

/// The id of the `n`th layer disk, counted from the lowest.
#[must_use]
pub fn layer_id(n: u8) -> String {
    format!("layer{n}")
}
