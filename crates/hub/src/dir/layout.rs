//! Which folders are hubs, what they are made of, and what killed pushers leave in them.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use format::{Digest, Name};

use super::file::{self, DirError};
use super::folder::Folder;
use super::index;
use super::writable::{ALGORITHM, BLOBS, MANIFESTS, NAMES, TMP, Writable};

pub(crate) const LAYOUT_FILE: &str = "oci-layout";
pub(crate) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// More than any `oci-layout` has.
const LAYOUT_LIMIT: u64 = 4096;

/// What to give instead of a folder that is no hub.
const EXPECTED: &str = "give a folder that `spore push --hub` wrote";

/// How old a temporary file must be before it is taken for one that nobody writes to. A pusher's is written to all
/// the time.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The folder of a hub.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
    is_hub: OnceLock<()>,
    is_prepared: OnceLock<()>,
}

impl Layout {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, is_hub: OnceLock::new(), is_prepared: OnceLock::new() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn blobs_path(&self) -> PathBuf {
        self.root.join(BLOBS).join(ALGORITHM)
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs_path().join(digest.hex())
    }

    pub(super) fn names_path(&self) -> PathBuf {
        self.root.join(NAMES)
    }

    pub(super) fn manifests_path(&self, name: &Name) -> PathBuf {
        self.names_path().join(name.as_str()).join(MANIFESTS)
    }

    /// Refuses to read what is no hub.
    pub(super) fn check(&self) -> Result<(), DirError> {
        if self.is_hub.get().is_some() {
            return Ok(());
        }
        // Twice, since it may have become a hub while what it holds instead was looked for.
        if !self.read_layout()? {
            let instead = self.instead_of_hub()?;
            if !self.read_layout()? {
                return Err(instead);
            }
        }
        self.is_hub.get_or_init(|| ());
        Ok(())
    }

    /// Refuses to write to what neither is a hub nor can be made one, and a name that a folder cannot hold.
    pub(super) fn check_writable(&self, name: &Name) -> Result<(), DirError> {
        check_name(&self.names_path(), name)?;
        self.check_can_be_hub()
    }

    fn check_can_be_hub(&self) -> Result<(), DirError> {
        match self.check() {
            Err(DirError::NotAHub { push_makes_one: true, .. }) => Ok(()),
            result => result,
        }
    }

    /// What is there instead of a hub.
    fn instead_of_hub(&self) -> Result<DirError, DirError> {
        let not_a_hub = |push_makes_one, reason: String| Ok(DirError::NotAHub { reason, push_makes_one });
        let metadata = file::found(fs::metadata(&self.root));
        let Some(metadata) = metadata.map_err(|error| DirError::io("examine", &self.root, error))? else {
            return not_a_hub(true, format!("no such folder; {EXPECTED}"));
        };
        if !metadata.is_dir() {
            return not_a_hub(false, format!("it is not a folder; {EXPECTED}"));
        }
        // The folders of a hub that is just being made are not in the way.
        let ours = [BLOBS, NAMES, TMP];
        let other = file::entries(&self.root)?.into_iter().find(|entry| !ours.contains(&entry.name.as_str()));
        match other {
            None => not_a_hub(true, format!("it is not a hub: it has no {LAYOUT_FILE}; {EXPECTED}")),
            Some(other) => {
                let found = format!("it holds {:?} and no {LAYOUT_FILE}", other.name);
                not_a_hub(false, format!("it is not a hub: {found}; {EXPECTED}, or an empty one to push to"))
            }
        }
    }

    fn read_layout(&self) -> Result<bool, DirError> {
        let path = self.root.join(LAYOUT_FILE);
        let Some(file) = file::open(&path)? else { return Ok(false) };
        let mut bytes = Vec::new();
        file.take(LAYOUT_LIMIT)
            .read_to_end(&mut bytes)
            .map_err(|error| DirError::io("read", &path, error))?;
        let found = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
        if found == serde_json::from_slice(LAYOUT).ok() {
            return Ok(true);
        }
        Err(DirError::malformed(&path, format!("expected {}", String::from_utf8_lossy(LAYOUT))))
    }

    /// Makes the hub ready to be written: makes what is missing of it, and removes what killed pushers left.
    pub(super) fn prepare(&self) -> Result<Writable, DirError> {
        self.check_can_be_hub()?;
        let writable = Writable::new(Folder::root(&self.root)?);
        if self.is_prepared.get().is_none() {
            writable.blobs()?;
            writable.names()?;
            sweep(&writable.tmp()?)?;
            if !self.read_layout()? {
                // Last of all that readers need: what is without it is no hub to them.
                let mut temp = writable.temp_file()?;
                temp.append(LAYOUT)?;
                temp.place(writable.root(), LAYOUT_FILE)?;
            }
            index::begin(&writable)?;
            self.is_prepared.get_or_init(|| ());
        }
        Ok(writable)
    }
}

/// Refuses a name that a folder cannot hold: the folder of `a/manifests` would lie where the tag `manifests` of `a`
/// does.
fn check_name(names: &Path, name: &Name) -> Result<(), DirError> {
    if name.as_str().split('/').all(|part| part != MANIFESTS) {
        return Ok(());
    }
    let reason = format!("a folder cannot hold a name with the component {MANIFESTS:?}; choose another");
    Err(DirError::malformed(&names.join(name.as_str()), reason))
}

/// Removes temporary files of pushers that were killed.
fn sweep(tmp: &Folder) -> Result<(), DirError> {
    for entry in file::entries(tmp.path())? {
        if !entry.is_folder && is_leftover(&tmp.path().join(&entry.name))? {
            tmp.remove(&entry.name)?;
        }
    }
    Ok(())
}

fn is_leftover(path: &Path) -> Result<bool, DirError> {
    let metadata =
        file::found(fs::symlink_metadata(path)).map_err(|error| DirError::io("examine", path, error))?;
    let modified = metadata.and_then(|metadata| metadata.modified().ok());
    let age = modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
    Ok(age.is_some_and(|age| age >= LEFTOVER_AGE))
}
