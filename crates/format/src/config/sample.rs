//! A small valid config, for tests of this crate.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::*;

pub(crate) fn sample(layers: u8, layer_size: u64) -> Config {
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
                mac: "52:54:00:12:34:56".parse().unwrap(),
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
            packages: vec![Package {
                name: "a".into(),
                version: "1".into(),
                licences: vec!["MIT".into()],
                source: "a".into(),
            }],
            tools: BTreeMap::from([("mkfs.erofs".into(), "1.5".into())]),
            kernel_version: "6.1.0".into(),
            agent_version: "0.1.0".into(),
            created_at: "2026-01-01T00:00:00Z".into(),
        },
        attachments: Vec::new(),
    }
}
