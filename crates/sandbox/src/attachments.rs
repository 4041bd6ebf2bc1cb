//! What a sandbox's engine has in its folder to open, by the digests that the files themselves have.
//!
//! What a snapshot declares says nothing of a host: each file is looked at, and has the digest of the store's flat file that it
//! is a hard link to.

use std::path::{Path, PathBuf};

use engine::{DiskFormat, MEMORY_FILE};
use store::{FlatKey, Store};

use crate::{Error, Sandbox, Status, layout};

/// A file that a sandbox shares with its siblings: memory, a layer, or the writable disk as it was frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// `memory`, or the disk's id.
    pub name: String,
    /// The file in the sandbox's folder.
    pub file: PathBuf,
    /// What its snapshot declares it to be.
    pub declared: FlatKey,
    /// Whether it is that: the same file as the store's, which was checked when it was laid out.
    pub is_declared: bool,
}

/// What a sandbox shares, as it lies in its folder: the memory, then the disks in the engine's order. A dead one has nothing
/// attached.
///
/// # Errors
/// If its snapshot or a file cannot be read.
pub fn attachments(store: &Store, sandbox: &Sandbox) -> Result<Vec<Attachment>, Error> {
    let (Some(record), false) = (&sandbox.record, matches!(sandbox.status, Status::Dead { .. })) else {
        return Ok(Vec::new());
    };
    let (manifest, _) = store.read_manifest(&record.snapshot)?;
    let config = store.read_config(&manifest.config.digest)?;
    let folder = store.sandbox_path(&sandbox.id);
    let look = |name: &str, file: &Path, declared| {
        let file = folder.join(file);
        let is_declared = store.is_link_to_flat(declared, &file)?;
        Ok::<_, Error>(Attachment { name: name.to_owned(), file, declared, is_declared })
    };
    let mut attachments = vec![look("memory", MEMORY_FILE.as_ref(), FlatKey::Map(config.memory.map))?];
    for (disk, declared) in layout::disks(&config)?.iter().zip(&config.disks) {
        let shared = match &disk.format {
            DiskFormat::Raw => &disk.file,
            DiskFormat::Overlay { base } => base,
        };
        let key = declared.content.map_or(FlatKey::Map(declared.map), FlatKey::Layer);
        attachments.push(look(&disk.id, shared.as_ref(), key)?);
    }
    // One that has died meanwhile has had its files removed.
    if attachments.iter().any(|one| !one.is_declared) && matches!(record.status(), Status::Dead { .. }) {
        attachments.clear();
    }
    Ok(attachments)
}
