//! What lies in a sandbox's folder, and how it gets there.
//!
//! Everything the engine opens is named relative to the folder. What is shared, memory and disks as they were frozen, are hard
//! links to the store's flat files; what is the sandbox's own is an empty overlay. Which flat file is which disk is
//! decided by the config's digests.

use std::fs;
use std::path::Path;

use engine::{Disk, DiskFormat, Engine, FileName, MEMORY_FILE};
use format::config::{Config, DiskRole};
use format::limits;
use format::zstd_frame;
use store::{FlatKey, Flats, Snapshot, Store};

use crate::Error;
use crate::data::DATA_FILE;
use crate::error::At;

/// The engine state.
pub(crate) const STATE_FILE: &str = "state";
/// The writable disk as it was frozen.
const WRITABLE_BASE: &str = "writable.base";
/// What the sandbox has written.
const WRITABLE_OVERLAY: &str = "writable.overlay";

/// The engine state of a snapshot, decompressed: at most [`limits::STATE_BYTES`].
pub(crate) fn read_state(store: &Store, config: &Config) -> Result<Vec<u8>, Error> {
    let digest = config.engine.state;
    let bytes = store.read_blob(&digest, limits::STATE_BYTES)?;
    zstd_frame::decode(&bytes, limits::STATE_BYTES).map_err(|source| Error::State { digest, source })
}

/// Fills a new sandbox's folder.
pub(crate) fn populate(
    store: &Store,
    engine: &dyn Engine,
    folder: &Path,
    snapshot: &Snapshot,
    flats: &Flats,
    state: &[u8],
) -> Result<(), Error> {
    link(store, flats.memory, &folder.join(MEMORY_FILE))?;
    for (disk, key) in snapshot.config.disks.iter().zip(&flats.disks) {
        let file = match disk.role {
            DiskRole::Layer => folder.join(&disk.id),
            DiskRole::Writable => folder.join(WRITABLE_BASE),
        };
        link(store, *key, &file)?;
        if disk.role == DiskRole::Writable {
            let (overlay, base) = (FileName::new(WRITABLE_OVERLAY)?, FileName::new(WRITABLE_BASE)?);
            engine.create_overlay(folder, &overlay, &base)?;
        }
    }
    let path = folder.join(STATE_FILE);
    fs::write(&path, state).at("write", &path)
}

fn link(store: &Store, key: FlatKey, to: &Path) -> Result<(), Error> {
    if store.link_flat(key, to)? {
        return Ok(());
    }
    // It was claimed, so only a person can have removed it.
    let gone = std::io::Error::new(std::io::ErrorKind::NotFound, "it was removed while it was in use");
    Err(gone).at("link", &store.flat_path(key))
}

/// The disks that a sandbox's engine is given, in the config's order.
pub(crate) fn disks(config: &Config) -> Result<Vec<Disk>, Error> {
    config
        .disks
        .iter()
        .map(|disk| {
            let (file, format) = match disk.role {
                DiskRole::Layer => (FileName::new(disk.id.clone())?, DiskFormat::Raw),
                DiskRole::Writable => (
                    FileName::new(WRITABLE_OVERLAY)?,
                    DiskFormat::Overlay { base: FileName::new(WRITABLE_BASE)? },
                ),
            };
            Ok(Disk {
                id: disk.id.clone(),
                file,
                size: disk.size,
                format,
                read_only: disk.role == DiskRole::Layer,
            })
        })
        .collect()
}

/// Removes from a dead sandbox's folder all that is large; logs and the record stay.
pub(crate) fn remove_large(folder: &Path, config: &Config) {
    let names = config.layers().map(|disk| disk.id.as_str());
    for name in names.chain([MEMORY_FILE, WRITABLE_BASE, WRITABLE_OVERLAY, STATE_FILE, DATA_FILE]) {
        // What cannot be removed now goes with the folder.
        fs::remove_file(folder.join(name)).ok();
    }
}
