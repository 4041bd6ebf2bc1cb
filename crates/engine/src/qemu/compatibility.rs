//! Whether a QEMU on this host can restore a snapshot.

use format::PAGE_SIZE;
use format::config::{Accelerator, Cpu, StateFormat};

use super::discover::Found;
use super::version::q35;
use crate::{Description, Mismatch, Remedy, Subject};

/// Every reason why not.
pub(super) fn mismatches(found: &Found, accelerators: &[Accelerator], engine: &Description) -> Vec<Mismatch> {
    let StateFormat::QemuDevicesV1 = engine.state_format;
    [
        machine_type(found, &engine.machine_type),
        accelerator(accelerators, engine.accelerator),
        cpu(found, &engine.cpu),
        cx16(found, engine),
        page_size(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn machine_type(found: &Found, wanted: &str) -> Option<Mismatch> {
    if q35(wanted).is_some() && found.machine_types.contains(wanted) {
        return None;
    }
    let newest = found.machine_types.iter().filter_map(q35).max();
    let newest = newest.map_or("none".to_owned(), |(major, minor)| format!("up to pc-q35-{major}.{minor}"));
    Some(Mismatch {
        subject: Subject::MachineType,
        needs: format!("QEMU's {wanted:?}"),
        has: format!("QEMU {} with versioned q35 machines {newest}", found.version),
        remedies: vec![Remedy::UpgradeEngine, Remedy::AnotherVariant, Remedy::BakeAgain],
    })
}

fn accelerator(available: &[Accelerator], wanted: Accelerator) -> Option<Mismatch> {
    if available.contains(&wanted) {
        return None;
    }
    let name = |accelerator: &Accelerator| match accelerator {
        Accelerator::Tcg => "tcg",
        Accelerator::Kvm => "kvm",
    };
    let available: Vec<&str> = available.iter().map(name).collect();
    Some(Mismatch {
        subject: Subject::Accelerator,
        needs: name(&wanted).to_owned(),
        has: available.join(" and "),
        remedies: vec![Remedy::AnotherVariant, Remedy::BakeAgain],
    })
}

/// A model or feature that QEMU does not know. One that it knows and this host can't run is found when it
/// starts (`enforce`).
fn cpu(found: &Found, wanted: &Cpu) -> Option<Mismatch> {
    let fixed = !matches!(wanted.model.as_str(), "host" | "max" | "base");
    let unknown: Vec<&str> = wanted
        .features
        .iter()
        .map(String::as_str)
        .filter(|feature| {
            !feature.strip_prefix(['+', '-']).is_some_and(|name| found.cpu_features.contains(name))
        })
        .collect();
    let has = if !fixed || !found.cpu_models.contains(&wanted.model) {
        format!("QEMU {} without that model", found.version)
    } else if !unknown.is_empty() {
        format!("QEMU {} without the features {}", found.version, unknown.join(","))
    } else {
        return None;
    };
    Some(Mismatch {
        subject: Subject::Cpu,
        needs: wanted.to_string(),
        has,
        remedies: vec![Remedy::UpgradeEngine, Remedy::AnotherVariant, Remedy::BakeAgain],
    })
}

fn cx16(found: &Found, engine: &Description) -> Option<Mismatch> {
    let shown = !engine.cpu.features.iter().any(|feature| feature == "-cx16");
    let wrong = found.version.emulates_cx16_wrongly() && engine.accelerator == Accelerator::Tcg;
    (shown && wrong).then(|| Mismatch {
        subject: Subject::Cpu,
        needs: "cmpxchg16b (cx16)".to_owned(),
        has: format!("QEMU {}, whose software emulation of it corrupts the guest", found.version),
        remedies: vec![Remedy::UpgradeEngine, Remedy::AnotherVariant, Remedy::BakeAgain],
    })
}

fn page_size() -> Option<Mismatch> {
    let size = rustix::param::page_size();
    (u64::try_from(size) != Ok(PAGE_SIZE)).then(|| Mismatch {
        subject: Subject::PageSize,
        needs: format!("{PAGE_SIZE} bytes"),
        has: format!("{size} bytes"),
        remedies: vec![Remedy::AnotherVariant],
    })
}
