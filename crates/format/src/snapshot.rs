//! What holds between a manifest, its config and its maps: the closure (docs/format.md, "Manifest" and "Map").
//!
//! [`check`] is what a reader calls once it has all three, before it believes any of them; [`closure`] is what a
//! writer makes a manifest from, and what `check` compares with. One function decides both.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::config::DiskRole;
use crate::manifest::{annotation, media_type};
use crate::{Config, Descriptor, Digest, Manifest, Map, PAGE_SIZE};

mod reading;

pub use reading::{MapReader, PlannedBlob, Roles, declared_maps};

/// The maps of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maps {
    /// The memory's.
    pub memory: Map,
    /// The disks', in the config's order.
    pub disks: Vec<Map>,
}

/// A blob that a snapshot needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its digest.
    pub digest: Digest,
    /// What it is.
    pub media_type: String,
    /// Its bytes, where a map or the config says so.
    pub size: Option<u64>,
    /// What it is for, for people: `memory map`, `frames of layer3`.
    pub role: String,
}

/// Why manifest, config and maps do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The manifest's list is not the closure.
    #[error("manifest does not list what its config needs: {0}")]
    Closure(String),
    /// A map does not fit the config.
    #[error("{role} is not valid: {reason}")]
    Map {
        /// Which map.
        role: String,
        /// Why.
        reason: String,
    },
}

/// The blobs that `config` itself names, maps and all, in the manifest's order: what can be listed before the maps are read.
#[must_use]
pub fn named_by_config(config: &Config) -> Vec<Part> {
    let part = |digest, media_type: &str, role: String| Part {
        digest,
        media_type: media_type.to_owned(),
        size: None,
        role,
    };
    let kernel = &config.machine.kernel;
    let mut parts = vec![
        part(config.engine.state, media_type::ENGINE_STATE, "engine state".to_owned()),
        part(kernel.image, media_type::KERNEL, "kernel".to_owned()),
        part(kernel.initrd, media_type::INITRD, "initrd".to_owned()),
        part(config.memory.map, media_type::MAP, "memory map".to_owned()),
    ];
    parts.extend(
        config
            .disks
            .iter()
            .map(|disk| part(disk.map, media_type::MAP, format!("map of disk {}", describe(disk)))),
    );
    parts
}

fn describe(disk: &crate::config::Disk) -> String {
    disk.content.map_or_else(|| disk.id.clone(), |content| format!("{} (content {content})", disk.id))
}

/// Every blob that a snapshot needs besides manifest and config, in the manifest's order, each once.
#[must_use]
pub fn closure(config: &Config, maps: &Maps) -> Vec<Part> {
    // Each is looked for before it is made: many maps may have many blobs in common.
    let mut seen = HashSet::new();
    let mut parts = named_by_config(config);
    parts.retain(|part| seen.insert(part.digest));
    let mut add_frames = |map: &Map, of: &str| {
        for blob in map.blobs().iter().filter(|blob| seen.insert(blob.digest)) {
            parts.push(Part {
                digest: blob.digest,
                media_type: media_type::FRAMES.to_owned(),
                size: Some(blob.size),
                role: format!("frames of {of}"),
            });
        }
    };
    add_frames(&maps.memory, "memory");
    for (disk, map) in config.disks.iter().zip(&maps.disks) {
        add_frames(map, &format!("disk {}", describe(disk)));
    }
    let attachments = config.attachments.iter().filter(|attachment| seen.insert(attachment.digest));
    parts.extend(attachments.map(|attachment| Part {
        digest: attachment.digest,
        media_type: attachment.media_type.clone(),
        size: Some(attachment.size),
        role: "attachment".to_owned(),
    }));
    parts
}

/// The layers of a manifest: the closure, each with a title that no other one has, since clients such as `oras` make titles the
/// names of files. `size` gives the bytes of each blob: where they lie, so that [`check`] compares them with what config and maps say.
///
/// # Errors
/// The first of `size`.
pub fn layers<E>(
    config: &Config,
    maps: &Maps,
    size: impl Fn(&Part) -> Result<u64, E>,
) -> Result<Vec<Descriptor>, E> {
    let mut titles = HashMap::<String, u32>::new();
    let layer = |part: Part| {
        let size = size(&part)?;
        let Part { digest, media_type, role, .. } = part;
        let count = titles.entry(role.clone()).or_default();
        *count += 1;
        let title = if *count == 1 { role } else { format!("{role}, part {count}") };
        Ok(Descriptor {
            media_type,
            digest,
            size,
            annotations: BTreeMap::from([(annotation::TITLE.to_owned(), title)]),
        })
    };
    closure(config, maps).into_iter().map(layer).collect()
}

/// Checks that a manifest, its config and its maps belong together.
///
/// # Errors
/// If a map does not fit the config, or the manifest does not list exactly the closure, in its order, with its sizes.
pub fn check(manifest: &Manifest, config: &Config, maps: &Maps) -> Result<(), SnapshotError> {
    check_maps(config, maps)?;
    let closure = closure(config, maps);
    let declared: HashMap<Digest, &Descriptor> =
        manifest.layers.iter().map(|blob| (blob.digest, blob)).collect();
    for part in &closure {
        let Some(listed) = declared.get(&part.digest) else {
            return Err(SnapshotError::Closure(format!("{} {} is not declared", part.role, part.digest)));
        };
        if listed.media_type != part.media_type {
            return Err(SnapshotError::Closure(format!(
                "{} {} is declared as {:?}: expected {:?}",
                part.role, part.digest, listed.media_type, part.media_type
            )));
        }
        if part.size.is_some_and(|size| size != listed.size) {
            return Err(SnapshotError::Closure(format!(
                "{} {} is declared with {} bytes: its map says {}",
                part.role,
                part.digest,
                listed.size,
                part.size.unwrap_or(0)
            )));
        }
    }
    let needed: HashSet<Digest> = closure.iter().map(|part| part.digest).collect();
    if let Some(extra) = manifest.layers.iter().find(|blob| !needed.contains(&blob.digest)) {
        return Err(SnapshotError::Closure(format!("{} is declared, but nothing needs it", extra.digest)));
    }
    if !closure.iter().map(|part| part.digest).eq(manifest.layers.iter().map(|blob| blob.digest)) {
        return Err(SnapshotError::Closure("its blobs are not in order".to_owned()));
    }
    Ok(())
}

/// Small blobs must not be able to fill a disk by being pointed at again and again.
fn check_bulk(map: &Map) -> Result<(), SnapshotError> {
    const REPEATS: u64 = 4;
    let stored: u64 = map.blobs().iter().map(|blob| blob.plain_pages).sum();
    let from_blobs = |extent: &&crate::map::Extent| matches!(extent.source(), crate::map::Source::Blob(_));
    let laid_out: u64 = map.extents().iter().filter(from_blobs).map(crate::map::Extent::pages).sum();
    if laid_out <= stored.saturating_mul(REPEATS) {
        return Ok(());
    }
    let reason = format!(
        "it lays out {laid_out} pages of {stored} stored ones: at most {REPEATS} times as many are allowed"
    );
    Err(SnapshotError::Map { role: "a map".to_owned(), reason })
}

fn check_maps(config: &Config, maps: &Maps) -> Result<(), SnapshotError> {
    let error = |role: &str, reason: String| SnapshotError::Map { role: role.to_owned(), reason };
    if maps.memory.pages() != config.machine.memory_pages() {
        return Err(error(
            "memory map",
            format!("it has {} pages, the machine {}", maps.memory.pages(), config.machine.memory_pages()),
        ));
    }
    for (n, extent) in maps.memory.extents().iter().enumerate() {
        let crate::map::Source::Layer(layer) = extent.source() else { continue };
        let content = maps.memory.layers().get(layer as usize).copied();
        let disk = config.layers().find(|disk| content.is_some() && disk.content == content);
        let reaches = extent.page().saturating_add(extent.pages()).saturating_mul(PAGE_SIZE);
        if disk.is_none_or(|disk| reaches > disk.size) {
            return Err(error(
                "memory map",
                format!("extent {n} points beyond, or to none of, the config's layers"),
            ));
        }
    }
    std::iter::once(&maps.memory).chain(&maps.disks).try_for_each(check_bulk)?;
    if maps.disks.len() != config.disks.len() {
        return Err(error("maps", format!("{} maps for {} disks", maps.disks.len(), config.disks.len())));
    }
    for (disk, map) in config.disks.iter().zip(&maps.disks) {
        let role = format!("map of disk {}", describe(disk));
        if map.bytes() != disk.size {
            return Err(error(&role, format!("it has {} bytes, the disk {}", map.bytes(), disk.size)));
        }
        match disk.role {
            DiskRole::Layer => map.check_layer().map_err(|e| error(&role, e.to_string()))?,
            DiskRole::Writable if !map.layers().is_empty() => {
                return Err(error(&role, "only memory may point into layers".to_owned()));
            }
            DiskRole::Writable => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
