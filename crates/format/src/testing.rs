//! A small snapshot that is valid in every respect but that no engine can run, for tests of this and other crates.
//!
//! What is in its memory and disks is the test's matter: all else is the same for everybody.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::error::Error;
use std::net::Ipv4Addr;

use crate::config::{
    Accelerator, Architecture, Config, Cpu, Disk, DiskRole, Engine, EngineKind, Kernel, Lineage, MacAddress,
    Machine, Memory, Network, Package, Profile, Provenance, RecipeOrigin, StateFormat, layer_id,
};
use crate::manifest::media_type;
use crate::map::{Codec, MapBlob, MapBuilder, MapError};
use crate::{Descriptor, Digest, Manifest, Map, Maps, limits, snapshot, zstd_frame};

/// Why a sample could not be made.
pub type SampleError = Box<dyn Error + Send + Sync>;

/// What makes a sample different from others. Whoever tests has stored the maps' frames.
#[derive(Debug)]
pub struct Contents<'a> {
    /// What the engine is to have saved.
    pub state: &'a str,
    /// The memory's map.
    pub memory: Map,
    /// Each layer's content and map, the lowest first: 1 to 12.
    pub layers: Vec<(Digest, Map)>,
    /// The writable disk's map.
    pub writable: Map,
}

/// A snapshot.
#[derive(Debug)]
pub struct Sample {
    /// Its digest.
    pub digest: Digest,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its config.
    pub config: Config,
}

impl Contents<'_> {
    /// Makes the snapshot, and gives each of its blobs but the frames to `store`.
    ///
    /// # Errors
    /// If a rule of docs/format.md is broken, or `store` fails.
    pub fn put(self, store: impl Fn(&[u8]) -> Result<Digest, SampleError>) -> Result<Sample, SampleError> {
        let sizes = RefCell::new(HashMap::new());
        let put = |bytes: &[u8]| {
            let digest = store(bytes)?;
            sizes.borrow_mut().insert(digest, bytes.len() as u64);
            Ok::<_, SampleError>(digest)
        };
        let put_map = |map: &Map| put(&map.encode(Codec::Zstd)?);
        let mut config = config(u8::try_from(self.layers.len())?, 0);
        config.engine.state = put(&zstd_frame::encode(self.state.as_bytes())?)?;
        config.machine.kernel.image = put(b"a kernel")?;
        config.machine.kernel.initrd = put(&zstd_frame::encode(b"an initrd")?)?;
        config.machine.memory = config.machine.profile.memory_regions(self.memory.bytes());
        config.memory.map = put_map(&self.memory)?;
        let layers = self.layers.into_iter().map(|(content, map)| (Some(content), map));
        let mut maps = Maps { memory: self.memory, disks: Vec::new() };
        for (disk, (content, map)) in config.disks.iter_mut().zip(layers.chain([(None, self.writable)])) {
            (disk.size, disk.map, disk.content) = (map.bytes(), put_map(&map)?, content);
            maps.disks.push(map);
        }
        let encoded = config.encode()?;
        put(&encoded)?;
        let manifest =
            manifest(&config, &encoded, &maps, |digest| sizes.borrow().get(digest).copied().unwrap_or(0));
        Ok(Sample { digest: put(&manifest.encode()?)?, manifest, config })
    }
}

/// The manifest of exactly what `config`, which is `encoded` so, and `maps` need. `size` gives the bytes of those blobs
/// of which `maps` do not say it.
pub fn manifest(config: &Config, encoded: &[u8], maps: &Maps, size: impl Fn(&Digest) -> u64) -> Manifest {
    let Ok(layers) = snapshot::layers(config, maps, |part| {
        Ok::<_, Infallible>(part.size.unwrap_or_else(|| size(&part.digest)))
    });
    let config = Descriptor {
        media_type: media_type::CONFIG.to_owned(),
        digest: Digest::of(encoded),
        size: encoded.len() as u64,
        annotations: BTreeMap::new(),
    };
    Manifest::new(config, layers, BTreeMap::new())
}

/// A config with so many layers of `layer_size` bytes. The blobs that it names are nowhere.
#[must_use]
pub fn config(layers: u8, layer_size: u64) -> Config {
    let digest = |text: &str| Digest::of(text.as_bytes());
    let layer = |n: u8| Disk {
        id: layer_id(n),
        role: DiskRole::Layer,
        size: layer_size,
        map: digest(&format!("map of layer {n}")),
        content: Some(digest(&format!("layer {n}"))),
    };
    let writable = Disk {
        id: "writable".into(),
        role: DiskRole::Writable,
        size: 1 << 20,
        map: digest("writable"),
        content: None,
    };
    Config {
        version: 0,
        architecture: Architecture::Amd64,
        machine: Machine {
            profile: Profile::Q35V1,
            vcpus: 1,
            memory: Profile::Q35V1.memory_regions(4 << 20),
            devices: Profile::Q35V1.devices(layers),
            network: Network {
                mac: MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]),
                address: Ipv4Addr::new(10, 0, 2, 15),
                prefix: 24,
                gateway: Ipv4Addr::new(10, 0, 2, 2),
                dns: Ipv4Addr::new(10, 0, 2, 3),
            },
            kernel: Kernel {
                command_line: "quiet".into(),
                image: digest("kernel"),
                initrd: digest("initrd"),
            },
        },
        engine: Engine {
            kind: EngineKind::Qemu,
            version: "10.0.2".into(),
            machine_type: "pc-q35-7.2".into(),
            accelerator: Accelerator::Tcg,
            cpu: Cpu { model: "Haswell-noTSX".into(), features: vec!["-cx16".into(), "-pcid".into()] },
            state_format: StateFormat::QemuDevicesV1,
            state: digest("state"),
        },
        memory: Memory { map: digest("memory") },
        disks: (0..layers).map(layer).chain([writable]).collect(),
        lineage: Lineage::default(),
        provenance: Provenance {
            recipe: Some(RecipeOrigin {
                name: "sample".into(),
                version: "1".into(),
                digest: digest("recipe"),
            }),
            base: None,
            packages: vec![Package {
                name: "a".into(),
                version: "1".into(),
                licences: vec!["MIT".into()],
                source: "a".into(),
                source_version: "1".into(),
            }],
            tools: BTreeMap::from([("mkfs.erofs".into(), "1.5".into())]),
            kernel_version: "6.1.0".into(),
            agent_version: "0.1.0".into(),
            created_at: "2026-01-01T00:00:00Z".into(),
        },
        attachments: Vec::new(),
    }
}

/// What a map says of a frame blob of this many pages, which is nowhere.
pub fn map_blob(name: &str, plain_pages: u64) -> MapBlob {
    MapBlob {
        digest: Digest::of(name.as_bytes()),
        size: 2000,
        plain_pages,
        index_offset: 1000,
        index_length: 1000,
        index_digest: Digest::of(b"index"),
    }
}

/// A map with all the extents that one can have, which jump about in one blob as far as its encoding has room.
///
/// # Errors
/// If it breaks a rule of maps.
pub fn fragmented(blob: &str) -> Result<Map, MapError> {
    let extents = limits::MAP_EXTENTS as u64;
    let blob = map_blob(blob, 1 << 24);
    let mut builder = MapBuilder::new(extents * 100);
    for n in 0..extents {
        // Mixed well: next to nothing is left to compress.
        let mixed = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let page = (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40;
        builder.blob(n * 100 + page % 90, 1, &blob, page)?;
    }
    builder.finish()
}
