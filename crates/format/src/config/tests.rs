//! Configs: golden bytes, and each rule broken once.
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::PAGE_SIZE;
use crate::testing::config as sample;

#[test]
fn golden_bytes() {
    let bytes = sample(2, 8192).encode().unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert_eq!(
        Digest::of(&bytes).to_string(),
        "sha256:28298a4d13e27f8e89b11dd857348bd21ecb1d2058ef1d69cecf3ea49e8ea8d0",
        "{text}"
    );
    assert_eq!(Config::parse(&bytes).unwrap(), sample(2, 8192));
}

fn refused(change: impl FnOnce(&mut Config), expected: &str) {
    let mut config = sample(2, 8192);
    change(&mut config);
    let error = config.encode().unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    let error = Config::parse(&serde_json::to_vec(&config).unwrap()).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn each_rule_is_checked() {
    refused(|c| c.version = 1, "version: 1 is not known");
    refused(|c| c.machine.vcpus = 0, "machine.vcpus");
    refused(|c| c.machine.vcpus = 65, "machine.vcpus");
    refused(|c| c.machine.memory[0].size = 1 << 63, "machine.memory");
    refused(|c| c.machine.memory[0].size += 1, "machine.memory");
    refused(|c| c.machine.memory[0].offset = 4096, "machine.memory");
    refused(|c| c.machine.memory.clear(), "machine.memory");
    refused(|c| c.machine.devices.swap(0, 1), "machine.devices");
    refused(|c| c.machine.devices[5].slot = 9, "machine.devices");
    refused(|c| c.machine.network.prefix = 33, "prefix");
    refused(|c| c.machine.kernel.command_line = "a\nb".into(), "command_line");
    refused(|c| c.disks.truncate(1), "disks");
    refused(|c| c.disks.swap(0, 1), "disks[0].id");
    refused(|c| c.disks.swap(1, 2), "disks[1].role");
    refused(|c| c.disks[0].content = None, "disks[0].content");
    refused(|c| c.disks[2].content = Some(Digest::of(b"")), "disks[2].content");
    refused(|c| c.disks[1].size = 100, "disks[1].size");
    refused(|c| c.disks[1].size = 1 << 63, "disks[1].size");
    refused(|c| c.disks[1].id = "../../etc".into(), "disks[1].id");
    refused(|c| c.engine.machine_type = "pc-q35-7.2,accel=kvm".into(), "engine.machine_type");
    refused(|c| c.engine.cpu.model = "host".into(), "engine.cpu.model");
    refused(|c| c.engine.cpu.features = vec!["pcid=on".into()], "engine.cpu.features");
    refused(|c| c.engine.cpu.features.reverse(), "sorted");
    let of_letters = |length| "x".repeat(length);
    refused(|c| c.engine.version = of_letters(limits::WORD_BYTES + 1), "engine.version");
    let features = (0..=limits::CPU_FEATURES).map(|n| format!("+f{n:03}")).collect();
    refused(|c| c.engine.cpu.features = features, "at most 256");
    refused(|c| c.disks[1].size = limits::DISK_BYTES, "disks[1].size");
    refused(|c| c.provenance.tools = BTreeMap::from([("x".repeat(5000), String::new())]), "provenance.tools");
}

#[test]
fn attachments_are_the_only_extension() {
    let attachment = |critical| Attachment {
        media_type: "application/x".into(),
        digest: Digest::of(b"x"),
        size: 1,
        critical,
    };
    let mut config = sample(1, 4096);
    config.attachments.push(attachment(false));
    assert_eq!(Config::parse(&config.encode().unwrap()).unwrap(), config);
    refused(
        |c| c.attachments.push(attachment(true)),
        "attachments[0]: \"application/x\" is critical and not known",
    );
}

#[test]
fn unknown_and_doubled_fields_are_refused() {
    let text = String::from_utf8(sample(1, 4096).encode().unwrap()).unwrap();
    for (from, to) in [
        ("{\"version\":0", "{\"version\":0,\"extra\":1"),
        ("{\"version\":0", "{\"version\":0,\"version\":0"),
        ("\"vcpus\":1", "\"vcpus\":1,\"path\":\"/etc\""),
        ("\"mkfs.erofs\":\"1.5\"", "\"mkfs.erofs\":\"1.5\",\"mkfs.erofs\":\"1.5\""),
        ("\"profile\":\"q35-v1\"", "\"profile\":\"q35-v2\""),
        ("\"accelerator\":\"tcg\"", "\"accelerator\":\"hvf\""),
        ("\"size\":4096", "\"size\":-4096"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        assert!(matches!(Config::parse(changed.as_bytes()), Err(ConfigError::Json(_))), "{to}");
    }
    assert!(matches!(Config::parse(&vec![b' '; limits::CONFIG_BYTES + 1]), Err(ConfigError::TooLarge(_))));
    for end in 0..text.len() {
        assert!(Config::parse(&text.as_bytes()[..end]).is_err());
    }
}

#[test]
fn memory_is_split_where_the_machine_splits_it() {
    let regions = |mib: u64| Profile::Q35V1.memory_regions(mib << 20);
    assert_eq!(regions(2815).len(), 1);
    let split = regions(2816);
    assert_eq!((split[0].size, split[1].guest_address, split[1].offset), (2048 << 20, 4 << 30, 2048 << 20));
    assert_eq!(split[1].size, 768 << 20);
}

const WORD: &str = "[A-Za-z0-9._+-]{1,20}";
const TEXT: &str = "\\PC{0,40}";

fn digests() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

prop_compose! {
    fn provenances()(
        recipe in proptest::option::of((TEXT, TEXT, digests())),
        base in proptest::option::of((TEXT, proptest::option::of(digests()), digests())),
        packages in proptest::collection::vec((TEXT, TEXT, proptest::collection::vec(TEXT, 0..3), TEXT, TEXT), 0..4),
        tools in proptest::collection::btree_map(TEXT, TEXT, 0..4),
        kernel_version in TEXT,
        created_at in TEXT,
    ) -> Provenance {
        let package = |(name, version, licences, source, source_version)| Package {
            name,
            version,
            licences,
            source,
            source_version,
        };
        Provenance {
            recipe: recipe.map(|(name, version, digest)| RecipeOrigin { name, version, digest }),
            base: base.map(|(reference, manifest, config)| BaseOrigin { reference, manifest, config }),
            packages: packages.into_iter().map(package).collect(),
            tools,
            kernel_version,
            agent_version: String::new(),
            created_at,
        }
    }
}

prop_compose! {
    fn configs()(
        layers in 1..=12_u8,
        pages in (1..=limits::DISK_BYTES / PAGE_SIZE - 1, 1..=limits::MEMORY_BYTES / PAGE_SIZE),
        vcpus in 1..=limits::VCPUS,
        network in any::<([u8; 6], u32, u32)>(),
        prefix in 0..=32_u8,
        command_line in "[ -~]{0,80}",
        (version, model) in (WORD, "[A-Z][A-Za-z0-9._+-]{0,19}"),
        features in proptest::collection::btree_set("[+-][A-Za-z0-9._+-]{1,12}", 0..9),
        parent in proptest::option::of(digests()),
        provenance in provenances(),
        attached in proptest::collection::vec((TEXT, digests(), any::<u64>()), 0..4),
    ) -> Config {
        let mut config = sample(layers, pages.0 * PAGE_SIZE);
        config.machine.vcpus = vcpus;
        config.machine.memory = config.machine.profile.memory_regions(pages.1 * PAGE_SIZE);
        let (mac, address, gateway) = network;
        let (address, gateway) = (address.into(), gateway.into());
        config.machine.network = Network { mac: MacAddress(mac), address, prefix, gateway, dns: gateway };
        config.machine.kernel.command_line = command_line;
        (config.engine.version, config.engine.cpu.model) = (version, model);
        config.engine.cpu.features = features.into_iter().collect();
        config.lineage.parent = parent;
        config.provenance = provenance;
        let attachment = |(media_type, digest, size)| Attachment { media_type, digest, size, critical: false };
        config.attachments = attached.into_iter().map(attachment).collect();
        config
    }
}

proptest! {
    #[test]
    fn round_trips(config in configs()) {
        let bytes = config.encode().unwrap();
        let again = Config::parse(&bytes).unwrap();
        prop_assert_eq!(&again, &config);
        prop_assert_eq!(again.encode().unwrap(), bytes, "one config has two digests");
    }
}
