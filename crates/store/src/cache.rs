//! `cache/`: what can be made again, kept because that takes long. `cache/GROUP/NAME` is an entry, a file or a folder.
//!
//! An entry is believed by whoever finds it, so it is durable before it is visible. Who makes or uses one whose name is a
//! digest holds that digest's lock ([`LockKey::Object`]); a collection of caches leaves it alone then.
//!
//! The collector must understand one group: `bases/KEY.json` names in its field `layers` the content digests of layers
//! whose flat files are kept for the next bake.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use format::Digest;
use serde::Deserialize;

use crate::file::{At, FileError, found, names, read_small, remove_tree, replace, sync_parent};
use crate::trash::Item;
use crate::{Folder, LockKey, Store};

const BASES: &str = "bases";

/// Of a base's entry, what keeps flat files. The rest is bake's own.
#[derive(Deserialize)]
struct Base {
    layers: Vec<Digest>,
}

impl Store {
    /// The folder of what can be made again: entries are files or folders one level below it, which a collection of
    /// caches takes away one by one.
    #[must_use]
    pub fn cache_folder(&self) -> PathBuf {
        self.folder(Folder::Cache)
    }

    /// Where the entry `name` of `group` lies, if it is there.
    #[must_use]
    pub fn cache_entry(&self, group: &str, name: &str) -> PathBuf {
        self.cache_folder().join(group).join(name)
    }

    /// Makes a file with this content the entry `name` of `group`, in place of what that was.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_cache_entry(&self, group: &str, name: &str, content: &[u8]) -> Result<(), FileError> {
        let entry = self.cache_entry(group, name);
        make_group(&entry)?;
        replace(&self.folder(Folder::Tmp), &entry, content)
    }

    /// Makes `folder`, which lies on the store's filesystem, the entry `name` of `group`, in place of what that was.
    ///
    /// # Errors
    /// If what is in it cannot be made durable, or it cannot be moved.
    pub fn place_cache_entry(&self, group: &str, name: &str, folder: &Path) -> Result<(), FileError> {
        // One call for however many files: of a kernel, there are thousands.
        File::open(folder).and_then(|open| Ok(rustix::fs::syncfs(&open)?)).at("sync", folder)?;
        let entry = self.cache_entry(group, name);
        make_group(&entry)?;
        // A folder that is not empty cannot be replaced by a rename.
        let trash = self.trash_path(&Item::Cache(format!("{group}/{name}")));
        remove_tree(&trash)?;
        found(fs::rename(&entry, &trash).at("replace", &entry))?;
        fs::rename(folder, &entry).at("write", &entry)?;
        sync_parent(&entry)?;
        remove_tree(&trash)
    }
}

fn make_group(entry: &Path) -> Result<(), FileError> {
    let Some(group) = entry.parent().filter(|group| !group.is_dir()) else { return Ok(()) };
    fs::create_dir_all(group).at("create", group)?;
    sync_parent(group)
}

/// The lock that whoever uses an entry holds, by the entry's path in the cache.
pub(crate) fn lock_key(path: &str) -> Option<LockKey> {
    let stem = Path::new(path).file_stem()?.to_str()?;
    Digest::from_hex(stem).ok().map(LockKey::Object)
}

/// The layers that cached bases consist of.
pub(crate) fn layers(store: &Store) -> Result<HashSet<Digest>, FileError> {
    let folder = store.folder(Folder::Cache).join(BASES);
    let mut layers = HashSet::new();
    for name in names(&folder)?.iter().filter(|name| name.ends_with(".json")) {
        let path = folder.join(name);
        let Some(bytes) = read_small(&path)? else { continue };
        // Bake takes an entry that it cannot read for none, and makes it again.
        if let Ok(base) = serde_json::from_slice::<Base>(&bytes) {
            layers.extend(base.layers);
        }
    }
    Ok(layers)
}

/// Everything in the cache, as paths in it: what a collection of caches too takes away, entry by entry. The groups stay:
/// they cost nothing, and somebody may be about to put something in.
pub(crate) fn entries(store: &Store) -> Result<Vec<String>, FileError> {
    let folder = store.folder(Folder::Cache);
    let mut entries = Vec::new();
    for group in names(&folder)? {
        let path = folder.join(&group);
        if path.is_dir() {
            entries.extend(names(&path)?.into_iter().map(|name| format!("{group}/{name}")));
        } else {
            entries.push(group);
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
