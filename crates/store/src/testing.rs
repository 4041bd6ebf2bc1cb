//! A store in a temporary folder, and small whole snapshots for it.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::Ipv4Addr;

use format::config::{
    Accelerator, Architecture, Config, Cpu, Disk, DiskRole, Engine, EngineKind, Kernel, Lineage, Machine,
    Memory, Network, Profile, Provenance, StateFormat, layer_id,
};
use format::manifest::media_type;
use format::map::{Codec, MapBuilder};
use format::{Descriptor, Digest, FullName, Manifest, Map, Maps, PAGE_SIZE, snapshot};

use crate::{Framing, Lease, Store};

const MEMORY_PAGES: u64 = 16;

pub(crate) struct Home {
    _folder: tempfile::TempDir,
    pub(crate) store: Store,
}

/// A new store, gone when dropped.
pub(crate) fn home() -> Home {
    // Nothing here survives the test, so syncing to a disk would prove nothing.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let store = Store::open(&folder.path().join("root")).unwrap();
    Home { _folder: folder, store }
}

pub(crate) fn name(text: &str) -> FullName {
    text.parse().unwrap()
}

/// Pages of bytes that depend on `text` and on nothing else.
pub(crate) fn pages(text: &str, count: u64) -> Vec<u8> {
    let line = format!("{text} ");
    line.bytes().cycle().take(usize::try_from(count * PAGE_SIZE).unwrap()).collect()
}

/// The content of the layer `text`.
pub(crate) fn layer(text: &str) -> Vec<u8> {
    pages(text, 3)
}

/// Stores a whole snapshot: layers of these names, and state, memory and writable disk that are `unique` to it.
pub(crate) fn put_snapshot(store: &Store, lease: &Lease, layers: &[&str], unique: &str) -> Digest {
    let digest = |bytes: &[u8]| store.put_blob(lease, bytes).unwrap();
    let put_map = |map: &Map| digest(&map.encode(Codec::Zstd).unwrap());
    let contents: Vec<_> = layers.iter().map(|text| layer(text)).collect();
    let mut maps: Vec<_> = contents
        .iter()
        .map(|content| {
            store.write_layer_frames(lease, &file(content), content.len() as u64 / PAGE_SIZE).unwrap()
        })
        .collect();
    let mut disks: Vec<_> = (0..)
        .zip(&contents)
        .zip(&maps)
        .map(|((n, content), map)| Disk {
            id: layer_id(n),
            role: DiskRole::Layer,
            size: content.len() as u64,
            map: put_map(map),
            content: Some(Digest::of(content)),
        })
        .collect();
    let writable = private_map(store, lease, &format!("writable {unique}"), None);
    let memory =
        private_map(store, lease, &format!("memory {unique}"), contents.first().map(|c| Digest::of(c)));
    disks.push(Disk {
        id: "writable".into(),
        role: DiskRole::Writable,
        size: writable.bytes(),
        map: put_map(&writable),
        content: None,
    });
    maps.push(writable);
    let config = Config {
        version: 0,
        architecture: Architecture::Amd64,
        machine: Machine {
            profile: Profile::Q35V1,
            vcpus: 1,
            memory: Profile::Q35V1.memory_regions(memory.bytes()),
            devices: Profile::Q35V1.devices(u8::try_from(layers.len()).unwrap()),
            network: Network {
                mac: "52:54:00:12:34:56".parse().unwrap(),
                address: Ipv4Addr::new(10, 0, 2, 15),
                prefix: 24,
                gateway: Ipv4Addr::new(10, 0, 2, 2),
                dns: Ipv4Addr::new(10, 0, 2, 3),
            },
            kernel: Kernel {
                command_line: "quiet".into(),
                image: digest(b"kernel"),
                initrd: digest(b"initrd"),
            },
        },
        engine: Engine {
            kind: EngineKind::Qemu,
            version: "10.0.2".into(),
            machine_type: "pc-q35-7.2".into(),
            accelerator: Accelerator::Tcg,
            cpu: Cpu { model: "Haswell-noTSX".into(), features: vec!["-cx16".into()] },
            state_format: StateFormat::QemuDevicesV1,
            state: digest(format!("state {unique}").as_bytes()),
        },
        memory: Memory { map: put_map(&memory) },
        disks,
        lineage: Lineage::default(),
        provenance: Provenance::default(),
        attachments: Vec::new(),
    };
    let maps = Maps { memory, disks: maps };
    let descriptor = |media_type: &str, digest: Digest| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size: store.blob_size(&digest).unwrap(),
        annotations: BTreeMap::new(),
    };
    let closure = snapshot::closure(&config, &maps);
    let layers = closure.iter().map(|part| descriptor(&part.media_type, part.digest)).collect();
    let config = descriptor(media_type::CONFIG, digest(&config.encode().unwrap()));
    digest(&Manifest::new(config, layers, BTreeMap::new()).encode().unwrap())
}

/// A map with two pages of frames, and one of `layer` if there is one.
fn private_map(store: &Store, lease: &Lease, text: &str, layer: Option<Digest>) -> Map {
    let blobs = store.write_frames(lease, &file(&pages(text, 2)), &[(0, 2)], Framing::PRIVATE).unwrap();
    let mut builder = MapBuilder::new(MEMORY_PAGES);
    builder.blob(3, 2, &blobs[0], 0).unwrap();
    if let Some(layer) = layer {
        builder.layer(8, 1, layer, 1).unwrap();
    }
    builder.finish().unwrap()
}

fn file(content: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}
