//! Writing: which blobs go into a pack, how many bytes it will have, and the pack.
//!
//! ```text
//! oci-layout  index.json  manifest  config  maps  all other blobs, in the manifest's order
//! ```
//!
//! Maps come before what they describe, so that whoever reads a pack from a pipe knows what it is going to take.

use std::collections::HashSet;
use std::io::{self, Read, Write};

use format::config::DiskRole;
use format::manifest::media_type;
use format::map::MapBlob;
use format::snapshot::{Roles, closure};
use format::{Descriptor, Digest, Hasher, Manifest, PlannedBlob};
use serde::Serialize;
use store::{Lease, Snapshot, Store};

use crate::archive::{END, entry_bytes, folder, header, padding};
use crate::names::{EntryName, FOLDERS, Index, Layout};
use crate::{BUFFER, PackError, Progress};

/// What of a snapshot goes into a pack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The name that the pack proposes to whoever unpacks it, `NAME:TAG`.
    pub name: Option<String>,
    /// Whether the frames of the layers stay out: they are to be where it is unpacked.
    pub without_layers: bool,
    /// A snapshot that is to be where it is unpacked: nothing that it has goes in.
    pub since: Option<Digest>,
}

/// What a pack is going to have.
#[derive(Debug, Serialize)]
pub struct PackPlan {
    /// The snapshot.
    pub snapshot: Digest,
    /// The name that the pack proposes.
    pub name: Option<String>,
    /// Bytes of the pack.
    pub bytes: u64,
    /// The blobs that go in, in the pack's order, without the manifest.
    pub packed: Vec<PlannedBlob>,
    /// The blobs that stay out.
    pub left_out: Vec<PlannedBlob>,
    #[serde(skip)]
    store: Store,
    /// Keeps what goes in.
    #[serde(skip)]
    _lease: Lease,
    /// `oci-layout`, `index.json`, manifest.
    #[serde(skip)]
    head: Vec<(EntryName, Vec<u8>)>,
}

/// The blobs of a manifest in the order of a pack: those that the others cannot be judged without come first.
pub(crate) fn in_order(manifest: &Manifest) -> impl Iterator<Item = &Descriptor> {
    let is_map = |blob: &&Descriptor| blob.media_type == media_type::MAP;
    let maps = manifest.layers.iter().filter(is_map);
    let rest = manifest.layers.iter().filter(move |blob| !is_map(blob));
    std::iter::once(&manifest.config).chain(maps).chain(rest)
}

/// Finds out what a pack of `snapshot`, which `lease` protects, is going to have.
///
/// # Errors
/// If the store cannot be read, or does not know the snapshot that `contents` leaves out.
pub fn plan_pack(
    store: &Store,
    lease: &Lease,
    snapshot: &Snapshot,
    contents: &Contents,
) -> Result<PackPlan, PackError> {
    let Snapshot { digest, manifest, .. } = snapshot;
    let mut out = HashSet::new();
    if contents.without_layers {
        out.extend(layer_frames(snapshot));
    }
    if let Some(since) = &contents.since {
        let (since, _) = store.read_manifest(since)?;
        out.extend(since.blobs().map(|blob| blob.digest));
    }
    let roles = Roles::new(manifest, closure(&snapshot.config, &snapshot.maps));
    let parts = in_order(manifest).map(|blob| roles.blob(blob));
    let (left_out, packed): (Vec<_>, Vec<_>) = parts.partition(|part| out.contains(&part.digest));
    let (_, encoded) = store.read_manifest(digest)?;
    let index = Index::new(*digest, encoded.len() as u64, contents.name.as_deref());
    let json = |error: serde_json::Error| PackError::Output(error.into());
    let head = vec![
        (EntryName::Layout, serde_json::to_vec(&Layout::new()).map_err(json)?),
        (EntryName::Index, serde_json::to_vec(&index).map_err(json)?),
        (EntryName::Blob(*digest), encoded),
    ];
    let sizes = head.iter().map(|(_, bytes)| bytes.len() as u64).chain(packed.iter().map(|part| part.size));
    let sizes = sizes.chain(FOLDERS.map(|_| 0));
    let bytes = sizes.map(entry_bytes).fold(END.len() as u64, u64::saturating_add);
    Ok(PackPlan {
        snapshot: *digest,
        name: contents.name.clone(),
        bytes,
        packed,
        left_out,
        store: store.clone(),
        _lease: lease.clone(),
        head,
    })
}

/// The frames of layers that nothing else is made of.
fn layer_frames(snapshot: &Snapshot) -> HashSet<Digest> {
    let Snapshot { config, maps, .. } = snapshot;
    let disks = || config.disks.iter().zip(&maps.disks);
    let digest = |blob: &MapBlob| blob.digest;
    let others = disks().filter(|(disk, _)| disk.role != DiskRole::Layer).map(|(_, map)| map);
    let kept: HashSet<_> =
        others.chain([&maps.memory]).flat_map(|map| map.blobs().iter().map(digest)).collect();
    let layers = disks().filter(|(disk, _)| disk.role == DiskRole::Layer);
    let frames = layers.flat_map(|(_, map)| map.blobs().iter().map(digest));
    frames.filter(|digest| !kept.contains(digest)).collect()
}

impl PackPlan {
    /// Bytes of the blobs that stay out.
    #[must_use]
    pub fn left_out_bytes(&self) -> u64 {
        self.left_out.iter().fold(0, |sum, part| sum.saturating_add(part.size))
    }

    /// Writes the pack. Every blob is hashed again on its way.
    ///
    /// # Errors
    /// If a blob is damaged, of which a part may have been written by then; if `out` takes no more.
    pub fn write(&self, out: &mut dyn Write, progress: &dyn Progress) -> Result<(), PackError> {
        let mut writer = Writer { out, progress, buffer: vec![0; BUFFER] };
        for name in FOLDERS {
            writer.put(folder(name).map_err(PackError::Output)?.as_bytes())?;
        }
        for (name, bytes) in &self.head {
            writer.header(name, bytes.len() as u64)?;
            writer.put(bytes)?;
            writer.pad(bytes.len() as u64)?;
        }
        for part in &self.packed {
            writer.header(&EntryName::Blob(part.digest), part.size)?;
            writer.blob(&self.store, part)?;
            writer.pad(part.size)?;
        }
        writer.put(&END)?;
        writer.out.flush().map_err(PackError::Output)
    }
}

struct Writer<'a> {
    out: &'a mut dyn Write,
    progress: &'a dyn Progress,
    buffer: Vec<u8>,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        if self.progress.is_interrupted() {
            return Err(PackError::Interrupted);
        }
        self.out.write_all(bytes).map_err(PackError::Output)?;
        self.progress.moved(bytes.len() as u64);
        Ok(())
    }

    fn header(&mut self, name: &EntryName, size: u64) -> Result<(), PackError> {
        let header = header(name, size).map_err(PackError::Output)?;
        self.put(header.as_bytes())
    }

    fn pad(&mut self, size: u64) -> Result<(), PackError> {
        let zeros = usize::try_from(padding(size)).unwrap_or(0);
        self.put(END.get(..zeros).unwrap_or_default())
    }

    /// Exactly as many bytes as the header has said, or an error.
    fn blob(&mut self, store: &Store, part: &PlannedBlob) -> Result<(), PackError> {
        let file = store.open_blob(&part.digest)?;
        // One byte more than there should be: a longer blob is another one.
        let mut rest = file.take(part.size.saturating_add(1));
        let (mut hasher, mut left) = (Hasher::new(), part.size);
        let mut buffer = std::mem::take(&mut self.buffer);
        let damaged = loop {
            let length = match rest.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                length => length.map_err(|source| PackError::Read { part: part.clone(), source })?,
            };
            let bytes = buffer.get(..length).unwrap_or_default();
            hasher.update(bytes);
            match left.checked_sub(length as u64) {
                Some(now) if length > 0 => left = now,
                Some(now) => break now != 0,
                None => break true,
            }
            self.put(bytes)?;
        };
        self.buffer = buffer;
        let found = hasher.finish();
        if damaged || found != part.digest {
            return Err(PackError::Damaged { part: part.clone(), found });
        }
        Ok(())
    }
}
