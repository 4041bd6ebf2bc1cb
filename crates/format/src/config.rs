//! The config: everything a snapshot says of its VM, as JSON (docs/format.md, "Config").
//!
//! [`Config::parse`] is the only way in: it bounds the text, refuses unknown fields, and checks every rule that
//! one config alone can break, so that whoever holds a [`Config`] need not check again. Rules between a config,
//! its maps and its manifest are in [`crate::snapshot`].

use serde::{Deserialize, Serialize};

use crate::{Digest, limits};

mod check;
mod engine;
mod mac;
mod machine;
mod provenance;

pub use engine::{Accelerator, Cpu, Engine, EngineKind, StateFormat};
pub use mac::MacAddress;
pub use machine::{Device, DeviceKind, Kernel, Machine, MemoryRegion, Network, Profile, layer_id};
pub use provenance::{BaseOrigin, Package, Provenance, RecipeOrigin};

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

#[cfg(test)]
mod tests;
