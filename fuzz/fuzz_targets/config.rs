//! Configs: what is accepted obeys docs/format.md, said here once more in other words.

#![no_main]

use format::config::{Config, ConfigError, DiskRole};
use format::limits::{
    ATTACHMENTS, COMMAND_LINE_BYTES, CPU_FEATURES, DISK_BYTES, LAYERS, MEMORY_BYTES, TEXT_BYTES, VCPUS,
    WORD_BYTES,
};
use format::{PAGE_SIZE, snapshot};
use fuzz::documents::CONFIG;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let json = &*fuzz::json::read(input, &[CONFIG]);
    let parsed = fuzz::memory::within(64 * json.len() + (64 << 10), || Config::parse(json));
    let Ok(config) = parsed else { return };
    machine(&config);
    disks(&config);
    words(&config);
    texts(&config);
    let named = snapshot::named_by_config(&config);
    assert_eq!(named.len(), 4 + config.disks.len());
    match config.encode() {
        Ok(encoded) => {
            let again = Config::parse(&encoded).expect("what was written can be read");
            assert_eq!(again, config);
            assert_eq!(
                again.encode().expect("it can be written again"),
                encoded,
                "one config has two digests"
            );
        }
        // What may be absent is written as null.
        Err(ConfigError::TooLarge(_)) => {}
        Err(error) => panic!("what was read cannot be written: {error}"),
    }
});

fn machine(config: &Config) {
    let machine = &config.machine;
    assert!((1..=VCPUS).contains(&machine.vcpus));
    let mut offset = 0;
    let mut address = 0;
    for region in &machine.memory {
        assert!(region.size > 0 && region.size % PAGE_SIZE == 0 && region.offset == offset);
        assert!(region.guest_address >= address);
        (offset, address) = (offset + region.size, region.guest_address + region.size);
    }
    assert!(!machine.memory.is_empty() && offset <= MEMORY_BYTES && offset == machine.memory_size());
    assert!(machine.network.prefix <= 32);
    let line = &machine.kernel.command_line;
    assert!(
        line.len() <= COMMAND_LINE_BYTES && line.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
    );
    let layers = config.layers().count();
    assert_eq!(machine.devices.len(), 6 + layers);
    let mut slots: Vec<_> =
        machine.devices.iter().map(|device| device.slot).filter(|slot| *slot > 0).collect();
    slots.sort_unstable();
    assert!(slots.windows(2).all(|pair| pair[0] < pair[1]) && slots.iter().all(|slot| *slot < 32));
}

fn disks(config: &Config) {
    let (writable, layers) = config.disks.split_last().expect("there is one");
    assert!((1..=LAYERS).contains(&layers.len()));
    assert!(writable.role == DiskRole::Writable && writable.id == "writable" && writable.content.is_none());
    assert_eq!(config.writable().expect("there is one"), writable);
    for (n, layer) in layers.iter().enumerate() {
        assert!(layer.role == DiskRole::Layer && layer.id == format!("layer{n}") && layer.content.is_some());
    }
    for disk in &config.disks {
        assert!(disk.size > 0 && disk.size % PAGE_SIZE == 0 && disk.size < DISK_BYTES);
    }
}

/// What reaches a command line, in lists with commas.
fn words(config: &Config) {
    let (engine, cpu) = (&config.engine, &config.engine.cpu);
    for word in [&engine.version, &engine.machine_type, &cpu.model].into_iter().chain(&cpu.features) {
        assert!((1..=WORD_BYTES).contains(&word.len()));
        assert!(
            !word.contains(|c: char| !c.is_ascii() || c.is_ascii_control() || " ,=:/;$&|<>'\"\\".contains(c))
        );
    }
    assert!(!["host", "max", "base"].contains(&cpu.model.as_str()));
    assert!(cpu.features.len() <= CPU_FEATURES && cpu.features.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(cpu.to_string().split(',').count(), 1 + cpu.features.len());
}

fn texts(config: &Config) {
    let provenance = &config.provenance;
    let packages = provenance.packages.iter().flat_map(|package| {
        let texts = [&package.name, &package.version, &package.source, &package.source_version];
        texts.into_iter().chain(&package.licences)
    });
    let tools = provenance.tools.iter().flat_map(|(name, version)| [name, version]);
    let origins = provenance.recipe.iter().flat_map(|recipe| [&recipe.name, &recipe.version]);
    let base = provenance.base.iter().map(|base| &base.reference);
    let own = [&provenance.kernel_version, &provenance.agent_version, &provenance.created_at];
    let attached = config.attachments.iter().map(|attachment| &attachment.media_type);
    for text in packages.chain(tools).chain(origins).chain(base).chain(own).chain(attached) {
        assert!(text.len() <= TEXT_BYTES);
    }
    assert!(config.attachments.len() <= ATTACHMENTS);
    assert!(config.attachments.iter().all(|attachment| !attachment.critical));
}
