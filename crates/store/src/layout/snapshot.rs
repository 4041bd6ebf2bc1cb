//! All maps of a snapshot, laid out once and shared by whoever needs them.

use std::fs::File;

use format::{Map, PAGE_SIZE};

use super::{LayerFile, LayoutError, check_layer, write_map};
use crate::{FlatKey, Lease, LockKey, Snapshot, Store};

/// Where a snapshot's address spaces lie as flat files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flats {
    /// The memory.
    pub memory: FlatKey,
    /// The disks, in the config's order.
    pub disks: Vec<FlatKey>,
}

impl Store {
    /// Lays out every map of a snapshot that is not laid out yet. `lease` protects the files.
    ///
    /// `on_wait` is called when another command is laying out the same map, before waiting for it.
    ///
    /// # Errors
    /// If there is no room, a blob is damaged, or a layer's content is not what the config declares.
    pub fn lay_out(
        &self,
        lease: &Lease,
        snapshot: &Snapshot,
        on_wait: &mut dyn FnMut(),
    ) -> Result<Flats, LayoutError> {
        let mut disks = Vec::new();
        let mut layers = Vec::new();
        for (disk, map) in snapshot.config.disks.iter().zip(&snapshot.maps.disks) {
            let key = disk.content.map_or(FlatKey::Map(disk.map), FlatKey::Layer);
            let file = self.lay_out_one(lease, key, map, &[], on_wait)?;
            layers.extend(disk.content.map(|content| LayerFile { content, file }));
            disks.push(key);
        }
        let memory = FlatKey::Map(snapshot.config.memory.map);
        self.lay_out_one(lease, memory, &snapshot.maps.memory, &layers, on_wait)?;
        Ok(Flats { memory, disks })
    }

    fn lay_out_one(
        &self,
        lease: &Lease,
        key: FlatKey,
        map: &Map,
        layers: &[LayerFile],
        on_wait: &mut dyn FnMut(),
    ) -> Result<File, LayoutError> {
        lease.protect(key.digest())?;
        if let Some(file) = self.open_flat(key)? {
            return Ok(file);
        }
        let _held = self.lock(LockKey::Flat(key), on_wait)?;
        if let Some(file) = self.open_flat(key)? {
            return Ok(file);
        }
        self.ensure_space(map.covered_pages() * PAGE_SIZE)?;
        let writer = self.flat_writer(lease, key)?;
        write_map(self, map, layers, writer.file())?;
        if let FlatKey::Layer(expected) = key {
            check_layer(writer.file(), expected)?;
        }
        let file = writer.file().try_clone()?;
        writer.commit()?;
        Ok(file)
    }
}
