//! What a folder holds and how old it is, for `prune`.
//!
//! Ages are told by the clock of the folder's file system, which may be another machine's: a file made for that says what time it
//! has. Temporary files of killed pushers are no concern of prune: each push sweeps them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use format::{Digest, Name};

use super::file::{self, DirError};
use super::layout::Layout;
use super::{DirHub, manifests};
use crate::HubError;
use crate::prune::{MIN_YOUNG, Storage, Stored, StoredObject};

#[async_trait]
impl Storage for DirHub {
    async fn now(&self) -> Result<SystemTime, HubError> {
        self.run(|layout| {
            layout.check()?;
            layout.prepare()?.temp_file()?.modified()
        })
        .await
    }

    async fn stored(&self) -> Result<Vec<Stored>, HubError> {
        self.run(|layout| {
            layout.check()?;
            let mut objects = Vec::new();
            for entry in file::entries(&layout.blobs_path())?.into_iter().filter(|entry| !entry.is_folder) {
                objects.extend(Digest::from_hex(&entry.name).ok().map(StoredObject::Blob));
            }
            for name in manifests::names(layout)? {
                for entry in file::entries(&layout.manifests_path(&name))? {
                    let digest = entry.name.parse().ok();
                    objects.extend(digest.map(|digest| StoredObject::Manifest(name.clone(), digest)));
                }
            }
            let stored = |object: StoredObject| {
                let found = metadata(&path(layout, &object)?)?;
                Ok(found.map(|(size, modified)| Stored { object, size, modified }))
            };
            objects.into_iter().filter_map(|object| stored(object).transpose()).collect()
        })
        .await
    }

    async fn modified(&self, object: &StoredObject) -> Result<Option<SystemTime>, HubError> {
        let object = object.clone();
        let found = self.run(move |layout| metadata(&path(layout, &object)?)).await?;
        Ok(found.map(|(_, modified)| modified))
    }

    async fn delete(&self, object: &StoredObject) -> Result<(), HubError> {
        let object = object.clone();
        self.run(move |layout| {
            let hub = layout.prepare()?;
            match &object {
                StoredObject::Blob(digest) => hub.blobs()?.remove(&digest.hex()),
                StoredObject::Manifest(name, digest) => hub.manifests(name)?.remove(&digest.to_string()),
                StoredObject::Unfinished { path, .. } => Err(unknown(path)),
            }
        })
        .await
    }
}

fn path(layout: &Layout, object: &StoredObject) -> Result<PathBuf, DirError> {
    match object {
        StoredObject::Blob(digest) => Ok(layout.blob_path(digest)),
        StoredObject::Manifest(name, digest) => Ok(manifest_path(layout, name, digest)),
        StoredObject::Unfinished { path, .. } => Err(unknown(path)),
    }
}

fn manifest_path(layout: &Layout, name: &Name, digest: &Digest) -> PathBuf {
    layout.manifests_path(name).join(digest.to_string())
}

/// Folders list nothing unfinished.
fn unknown(path: &str) -> DirError {
    DirError::malformed(Path::new(path), "expected a blob or a manifest")
}

fn metadata(path: &Path) -> Result<Option<(u64, SystemTime)>, DirError> {
    let error = |error| DirError::io("examine", path, error);
    let Some(found) = file::found(fs::symlink_metadata(path)).map_err(error)? else { return Ok(None) };
    Ok(Some((found.len(), found.modified().map_err(error)?)))
}

/// Makes a blob young again, if it is not. By this machine's clock, which is not days from the folder's.
pub(super) fn refresh(layout: &Layout, digest: &Digest) -> Result<(), DirError> {
    let Some((_, modified)) = metadata(&layout.blob_path(digest))? else { return Ok(()) };
    if SystemTime::now().duration_since(modified).is_ok_and(|age| age >= MIN_YOUNG) {
        layout.prepare()?.blobs()?.touch(&digest.hex())?;
    }
    Ok(())
}
