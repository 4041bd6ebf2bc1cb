//! The rules of docs/format.md that one config alone can break.

use super::{Config, ConfigError, Disk, DiskRole, Machine, layer_id};
use crate::{PAGE_SIZE, limits};

type Result = std::result::Result<(), ConfigError>;

pub(super) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { field: field.into(), reason: reason.into() }
}

fn require(holds: bool, field: &str, reason: impl FnOnce() -> String) -> Result {
    if holds { Ok(()) } else { Err(invalid(field, reason())) }
}

pub(super) fn config(config: &Config) -> Result {
    require(config.version == 0, "version", || {
        format!("{} is not known: this Spore reads version 0", config.version)
    })?;
    machine(&config.machine)?;
    disks(&config.disks)?;
    let layers = u8::try_from(config.layers().count()).unwrap_or(u8::MAX);
    require(config.machine.devices == config.machine.profile.devices(layers), "machine.devices", || {
        format!("they are not those of profile {:?} with {layers} layers", config.machine.profile)
    })?;
    engine(&config.engine)?;
    provenance(config)?;
    attachments(config)
}

fn machine(machine: &Machine) -> Result {
    require((1..=limits::VCPUS).contains(&machine.vcpus), "machine.vcpus", || {
        format!("{} is not in 1 to {}", machine.vcpus, limits::VCPUS)
    })?;
    let size = machine.memory_size();
    require(
        size > 0 && size <= limits::MEMORY_BYTES && size.is_multiple_of(PAGE_SIZE),
        "machine.memory",
        || format!("{size} bytes: expected whole pages, at most {}", limits::MEMORY_BYTES),
    )?;
    require(machine.memory == machine.profile.memory_regions(size), "machine.memory", || {
        format!("the regions are not those of profile {:?} with {size} bytes", machine.profile)
    })?;
    require(machine.network.prefix <= 32, "machine.network.prefix", || {
        format!("{} is more than 32", machine.network.prefix)
    })?;
    let line = &machine.kernel.command_line;
    let printable = line.bytes().all(|c| (0x20..0x7f).contains(&c));
    require(printable && line.len() <= limits::COMMAND_LINE_BYTES, "machine.kernel.command_line", || {
        format!("expected printable ASCII, at most {} bytes", limits::COMMAND_LINE_BYTES)
    })
}

fn disks(disks: &[Disk]) -> Result {
    let layers = disks.len().saturating_sub(1);
    require((1..=limits::LAYERS).contains(&layers), "disks", || {
        format!("{} disks: expected 1 to {} layers and one writable disk", disks.len(), limits::LAYERS)
    })?;
    for (n, disk) in disks.iter().enumerate() {
        let field = |name: &str| format!("disks[{n}].{name}");
        let role = if n < layers { DiskRole::Layer } else { DiskRole::Writable };
        require(disk.role == role, &field("role"), || "expected layers, then one writable disk".to_owned())?;
        let id = match role {
            DiskRole::Layer => layer_id(u8::try_from(n).unwrap_or(u8::MAX)),
            DiskRole::Writable => "writable".to_owned(),
        };
        require(disk.id == id, &field("id"), || format!("{:?}: expected {id:?}", crate::excerpt(&disk.id)))?;
        require(disk.content.is_some() == (role == DiskRole::Layer), &field("content"), || {
            "a layer has one, the writable disk has none".to_owned()
        })?;
        let size = disk.size;
        require(
            size > 0 && size < limits::DISK_BYTES && size.is_multiple_of(PAGE_SIZE),
            &field("size"),
            || format!("{size} bytes: expected whole pages, less than {}", limits::DISK_BYTES),
        )?;
    }
    Ok(())
}

/// What an engine is given as one word of a list must not be able to add another.
fn word(text: &str, field: &str) -> Result {
    let fits = (1..=limits::WORD_BYTES).contains(&text.len())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-' | b'+'));
    require(fits, field, || {
        let (found, most) = (crate::excerpt(text), limits::WORD_BYTES);
        format!("{found:?}: expected 1 to {most} of A-Z a-z 0-9 . _ - +")
    })
}

fn engine(engine: &super::Engine) -> Result {
    word(&engine.version, "engine.version")?;
    word(&engine.machine_type, "engine.machine_type")?;
    word(&engine.cpu.model, "engine.cpu.model")?;
    let named = !matches!(engine.cpu.model.as_str(), "host" | "max" | "base");
    require(named, "engine.cpu.model", || {
        format!("{} is another CPU on every host: expected a model's name", engine.cpu.model)
    })?;
    for feature in &engine.cpu.features {
        word(feature, "engine.cpu.features")?;
        require(feature.starts_with(['+', '-']), "engine.cpu.features", || {
            format!("{feature:?}: expected +name or -name")
        })?;
    }
    let features = &engine.cpu.features;
    let sorted = features.is_sorted_by(|a, b| a < b) && features.len() <= limits::CPU_FEATURES;
    require(sorted, "engine.cpu.features", || {
        format!("expected at most {}, sorted, each once", limits::CPU_FEATURES)
    })
}

fn text(text: &str, field: &str) -> Result {
    require(text.len() <= limits::TEXT_BYTES, field, || format!("more than {} bytes", limits::TEXT_BYTES))
}

fn provenance(config: &Config) -> Result {
    let provenance = &config.provenance;
    if let Some(recipe) = &provenance.recipe {
        text(&recipe.name, "provenance.recipe.name")?;
        text(&recipe.version, "provenance.recipe.version")?;
    }
    if let Some(base) = &provenance.base {
        text(&base.reference, "provenance.base.reference")?;
    }
    for package in &provenance.packages {
        let texts = [&package.name, &package.version, &package.source, &package.source_version];
        for value in texts.into_iter().chain(&package.licences) {
            text(value, "provenance.packages")?;
        }
    }
    for (name, version) in &provenance.tools {
        text(name, "provenance.tools")?;
        text(version, "provenance.tools")?;
    }
    text(&provenance.kernel_version, "provenance.kernel_version")?;
    text(&provenance.agent_version, "provenance.agent_version")?;
    text(&provenance.created_at, "provenance.created_at")
}

fn attachments(config: &Config) -> Result {
    require(config.attachments.len() <= limits::ATTACHMENTS, "attachments", || {
        format!("{} are more than {}", config.attachments.len(), limits::ATTACHMENTS)
    })?;
    for (n, attachment) in config.attachments.iter().enumerate() {
        text(&attachment.media_type, &format!("attachments[{n}].mediaType"))?;
        // No kind of attachment is known yet, so none that is critical can be obeyed.
        require(!attachment.critical, &format!("attachments[{n}]"), || {
            format!(
                "{:?} is critical and not known: a newer Spore may read it",
                crate::excerpt(&attachment.media_type)
            )
        })?;
    }
    Ok(())
}
