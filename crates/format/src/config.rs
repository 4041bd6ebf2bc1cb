//! The config: everything a snapshot says of its VM, as JSON (docs/format.md, "Config").
//!
//! [`Config::parse`] is the only way in: it bounds the text, refuses unknown fields, and checks every rule that
//! one config alone can break, so that whoever holds a [`Config`] need not check again. Rules between a config,
//! its maps and its manifest are in [`crate::snapshot`].

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{Digest, PAGE_SIZE, limits};

mod check;
mod mac;
mod provenance;

pub use mac::MacAddress;
pub use provenance::{Package, Provenance, RecipeOrigin};

/// A snapshot's config, version 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of this document: 0.
    pub version: u32,
    /// The guest's architecture.
    pub architecture: Architecture,
    /// The virtual hardware.
    pub machine: Machine,
    /// The VMM that froze it, and its state.
    pub engine: Engine,
    /// The guest's memory.
    pub memory: Memory,
    /// Layers from the lowest to the highest, then the writable disk.
    pub disks: Vec<Disk>,
    /// Where it comes from; never needed to restore.
    pub lineage: Lineage,
    /// How it was made.
    pub provenance: Provenance,
    /// What later versions add.
    pub attachments: Vec<Attachment>,
}

/// Why bytes are not a config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// More bytes than a config may have.
    #[error("config has {0} bytes: at most {max} are allowed", max = limits::CONFIG_BYTES)]
    TooLarge(usize),
    /// Not JSON of the right shape; says where.
    #[error("config is not valid: {0}")]
    Json(#[from] serde_json::Error),
    /// A rule of docs/format.md does not hold.
    #[error("config is not valid: {field}: {reason}")]
    Invalid {
        /// The field, as a path such as `disks[2].size`.
        field: String,
        /// What was found and what was expected.
        reason: String,
    },
}

/// A guest's processor architecture, in OCI's spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// x86-64.
    Amd64,
}

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

/// The VMM that froze the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// Which VMM.
    pub kind: EngineKind,
    /// Its version, such as `10.0.2`. Information: [`Engine::state_format`] decides.
    pub version: String,
    /// Versioned machine type, such as `pc-q35-7.2`.
    pub machine_type: String,
    /// What ran the guest's instructions.
    pub accelerator: Accelerator,
    /// The CPU that the guest saw.
    pub cpu: Cpu,
    /// How the state is to be read.
    pub state_format: StateFormat,
    /// The engine state's blob.
    pub state: Digest,
}

/// A VMM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// QEMU.
    Qemu,
}

/// What runs the guest's instructions. Snapshots do not cross from one to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// QEMU's software emulation.
    Tcg,
    /// The host kernel's KVM.
    Kvm,
}

/// A CPU by name, never `host` or `max`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// The engine's name of the model.
    pub model: String,
    /// Sorted `+name` and `-name`.
    pub features: Vec<String>,
}

/// How an engine state is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateFormat {
    /// QEMU's device state without RAM, with a configuration section.
    #[serde(rename = "qemu-devices-v1")]
    QemuDevicesV1,
}

/// The guest's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Its map.
    pub map: Digest,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// `layerN` or `writable`, as the device it is attached to.
    pub id: String,
    /// What it is for.
    pub role: DiskRole,
    /// Bytes, whole pages.
    pub size: u64,
    /// Its map.
    pub map: Digest,
    /// The sha256 of a layer's bytes: its identity. Absent for the writable disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
}

/// What a disk is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskRole {
    /// A read-only EROFS layer.
    Layer,
    /// The disk that forks write to, each its own copy.
    Writable,
}

/// Where a snapshot comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lineage {
    /// The manifest of the snapshot whose fork this one was.
    pub parent: Option<Digest>,
}

/// Something that a later version adds to a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// What it is.
    #[serde(rename = "mediaType")]
    pub media_type: String,
    /// Its blob.
    pub digest: Digest,
    /// The blob's bytes.
    pub size: u64,
    /// Whether a reader that does not know it must refuse the snapshot.
    pub critical: bool,
}

impl Config {
    /// Reads and checks a config.
    ///
    /// # Errors
    /// If it is too large, not of this shape, of another version, or breaks a rule of docs/format.md.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        if bytes.len() > limits::CONFIG_BYTES {
            return Err(ConfigError::TooLarge(bytes.len()));
        }
        let config: Self = serde_json::from_slice(bytes)?;
        check::config(&config)?;
        Ok(config)
    }

    /// The bytes that are stored, and hashed.
    ///
    /// # Errors
    /// If the config breaks a rule, so that nothing is written which would be refused when read.
    pub fn encode(&self) -> Result<Vec<u8>, ConfigError> {
        check::config(self)?;
        let bytes = serde_json::to_vec(self)?;
        if bytes.len() > limits::CONFIG_BYTES {
            return Err(ConfigError::TooLarge(bytes.len()));
        }
        Ok(bytes)
    }

    /// The layer disks, the lowest first.
    pub fn layers(&self) -> impl DoubleEndedIterator<Item = &Disk> {
        self.disks.iter().filter(|disk| disk.role == DiskRole::Layer)
    }

    /// The writable disk.
    ///
    /// # Errors
    /// Never for a config that was parsed or encoded.
    pub fn writable(&self) -> Result<&Disk, ConfigError> {
        self.disks
            .iter()
            .find(|disk| disk.role == DiskRole::Writable)
            .ok_or_else(|| check::invalid("disks", "there is no writable disk"))
    }
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

impl std::fmt::Display for Cpu {
    /// As QEMU's `-cpu` takes it.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.model)?;
        self.features.iter().try_for_each(|feature| write!(out, ",{feature}"))
    }
}

#[cfg(test)]
mod tests;
