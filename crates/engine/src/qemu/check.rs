//! Whether a spec is one of the profile, and the folder holds what it says.

use format::config::{DeviceKind, Machine};
use format::limits;

use crate::{DiskFormat, EngineError, MEMORY_FILE, Setup};

/// The disk in the spare slot, and its file.
const DATA: &str = "data0";

/// Refuses what the profile does not have, so that what is left can be written down as it is.
pub(super) fn setup(setup: &Setup<'_>) -> Result<(), EngineError> {
    let Setup { machine, disks, .. } = setup;
    check_machine(machine)?;
    let attached = |kind| machine.devices.iter().filter(move |device| device.kind == kind);
    let layers = attached(DeviceKind::LayerDisk).map(|device| (device.id.as_str(), true));
    let writable = attached(DeviceKind::WritableDisk).map(|device| (device.id.as_str(), false));
    let expected: Vec<_> = layers.chain(writable).collect();
    let found: Vec<_> = disks.iter().map(|disk| (disk.id.as_str(), disk.read_only)).collect();
    let rest = found.strip_prefix(expected.as_slice()).ok_or_else(|| EngineError::Spec {
        what: "disks",
        reason: format!("(id, read-only) in order should be {expected:?}, but are {found:?}"),
    })?;
    match rest {
        [] | [(DATA, _)] => {}
        more => {
            let reason = format!("beyond those of the machine only data0 may be attached, not {more:?}");
            return Err(EngineError::Spec { what: "disks", reason });
        }
    }
    check_files(setup)
}

fn check_machine(machine: &Machine) -> Result<(), EngineError> {
    let spec = |what, reason: String| Err(EngineError::Spec { what, reason });
    let layers = machine.devices.iter().filter(|device| device.kind == DeviceKind::LayerDisk).count();
    let few = u8::try_from(layers).ok().filter(|_| layers <= limits::LAYERS);
    if few.is_none_or(|layers| machine.devices != machine.profile.devices(layers)) {
        return spec("devices", format!("they are not those of the profile with {layers} layers"));
    }
    if machine.memory != machine.profile.memory_regions(machine.memory_size()) {
        return spec("memory", format!("regions are not the profile's: {:?}", machine.memory));
    }
    if !(1..=limits::VCPUS).contains(&machine.vcpus) {
        return spec("vcpus", format!("1 to {} are possible, not {}", limits::VCPUS, machine.vcpus));
    }
    let text = &machine.kernel.command_line;
    if text.len() > limits::COMMAND_LINE_BYTES || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return spec(
            "kernel command line",
            format!("at most {} printable ASCII characters", limits::COMMAND_LINE_BYTES),
        );
    }
    Ok(())
}

/// A memory file or a disk of the wrong size would be found out by the guest, much later.
fn check_files(setup: &Setup<'_>) -> Result<(), EngineError> {
    let check = |what, name: &str, expected: u64| {
        let path = setup.folder.join(name);
        // A data disk is somebody's file, and may be a link to wherever that is.
        let found = if name == DATA { path.metadata() } else { path.symlink_metadata() };
        let found = found.map_err(EngineError::at("read", &path))?;
        if found.is_file() && found.len() == expected {
            return Ok(());
        }
        let reason = format!("{name} should be a file of {expected} bytes, but has {}", found.len());
        Err(EngineError::Spec { what, reason })
    };
    check("memory", MEMORY_FILE, setup.machine.memory_size())?;
    for disk in setup.disks {
        match &disk.format {
            DiskFormat::Raw => check("disk", disk.file.as_str(), disk.size)?,
            DiskFormat::Overlay { base } => check("disk", base.as_str(), disk.size)?,
        }
    }
    Ok(())
}
