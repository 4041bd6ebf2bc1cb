//! `sandboxes/`: one folder per sandbox, made and removed as a whole.
//!
//! The store knows one thing about a sandbox: the snapshot it was forked from, in its file `snapshot`, which keeps
//! that snapshot from being collected. All else in the folder belongs to who runs the sandbox.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use format::Digest;

use crate::file::{At, FileError, found, names, read_small, remove_tree, rename_new, sync_folder};
use crate::lock::lock_existing;
use crate::trash::Item;
use crate::{Folder, Lease, Store, WorkFolder};

const SNAPSHOT_FILE: &str = "snapshot";
const ID_LENGTH: usize = 12;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A sandbox's name on this host: 12 random characters of `a-z2-7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SandboxId(String);

/// Why a sandbox cannot be made, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The text is no sandbox's name.
    #[error("{text:?} is not a sandbox's id: expected {ID_LENGTH} of a-z and 2-7, or how one begins")]
    Id {
        /// The text.
        text: String,
    },
    /// There is no such sandbox.
    #[error("there is no sandbox {prefix}: `spore ps -a` lists all")]
    NotFound {
        /// What was asked for.
        prefix: String,
    },
    /// Several sandboxes begin like this.
    #[error("{prefix} can mean {}: give more of the id", list(ids))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// What it can mean.
        ids: Vec<SandboxId>,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

fn list(ids: &[SandboxId]) -> String {
    ids.iter().map(SandboxId::as_str).collect::<Vec<_>>().join(", ")
}

impl SandboxId {
    /// A new one.
    ///
    /// # Errors
    /// If the kernel gives no random bytes.
    pub fn random() -> Result<Self, FileError> {
        let mut bytes = [0; ID_LENGTH];
        getrandom::fill(&mut bytes)
            .map_err(io::Error::other)
            .at("read random bytes for", Path::new("a sandbox's id"))?;
        let character = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).copied().map(char::from);
        Ok(Self(bytes.iter().filter_map(character).collect()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SandboxId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for SandboxId {
    type Err = SandboxError;

    fn from_str(text: &str) -> Result<Self, SandboxError> {
        if text.len() == ID_LENGTH && text.bytes().all(|c| ALPHABET.contains(&c)) {
            return Ok(Self(text.to_owned()));
        }
        Err(SandboxError::Id { text: text.chars().take(80).collect() })
    }
}

/// The folder of a sandbox that is being made. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct SandboxDraft {
    store: Store,
    id: SandboxId,
    folder: WorkFolder,
    /// Keeps the snapshot until the sandbox does.
    _lease: Lease,
}

impl SandboxDraft {
    /// The id that it will have.
    #[must_use]
    pub fn id(&self) -> &SandboxId {
        &self.id
    }

    /// The folder, to be filled; it moves at [`SandboxDraft::commit`].
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes the sandbox visible and gives its folder.
    ///
    /// # Errors
    /// If the folder cannot be synced or renamed.
    pub fn commit(self) -> Result<PathBuf, FileError> {
        let target = self.store.sandbox_path(&self.id);
        sync_folder(self.path())?;
        if !rename_new(self.path(), &target)? {
            // The id was free when it was drawn: somebody has put this here by hand.
            return Err(io::Error::from(io::ErrorKind::AlreadyExists)).at("create", &target);
        }
        Ok(target)
    }
}

impl Store {
    /// Begins the folder of a new sandbox of the snapshot `digest`, which the caller has claimed for `lease` ([`Store::load_leased`]): it
    /// stays until the draft is dropped or the sandbox is removed.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn draft_sandbox(&self, lease: &Lease, digest: &Digest) -> Result<SandboxDraft, FileError> {
        lease.protect(digest)?;
        let id = loop {
            let id = SandboxId::random()?;
            if !self.sandbox_path(&id).exists() {
                break id;
            }
        };
        let folder = self.work_folder()?;
        let draft = SandboxDraft { store: self.clone(), id, folder, _lease: lease.clone() };
        let snapshot = draft.path().join(SNAPSHOT_FILE);
        File::create_new(&snapshot)
            .and_then(|mut file| {
                file.write_all(format!("{digest}\n").as_bytes()).and_then(|()| file.sync_all())
            })
            .at("write", &snapshot)?;
        Ok(draft)
    }

    /// The folder of a sandbox, whether it is there or not.
    #[must_use]
    pub fn sandbox_path(&self, id: &SandboxId) -> PathBuf {
        self.folder(Folder::Sandboxes).join(id.as_str())
    }

    /// All sandboxes, running or dead.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn sandboxes(&self) -> Result<Vec<SandboxId>, FileError> {
        Ok(names(&self.folder(Folder::Sandboxes))?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The one sandbox whose id begins with `prefix`.
    ///
    /// # Errors
    /// If `prefix` cannot be one, or no or several sandboxes begin with it.
    pub fn find_sandbox(&self, prefix: &str) -> Result<SandboxId, SandboxError> {
        let fits = (1..=ID_LENGTH).contains(&prefix.len()) && prefix.bytes().all(|c| ALPHABET.contains(&c));
        if !fits {
            return Err(SandboxError::Id { text: prefix.chars().take(80).collect() });
        }
        let mut ids = self.sandboxes()?;
        ids.retain(|id| id.as_str().starts_with(prefix));
        match ids.as_slice() {
            [id] => Ok(id.clone()),
            [] => Err(SandboxError::NotFound { prefix: prefix.to_owned() }),
            _ => Err(SandboxError::Ambiguous { prefix: prefix.to_owned(), ids }),
        }
    }

    /// The snapshot that a sandbox was forked from, if the sandbox is there.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn sandbox_snapshot(&self, id: &SandboxId) -> Result<Option<Digest>, FileError> {
        let path = self.sandbox_path(id).join(SNAPSHOT_FILE);
        let Some(bytes) = read_small(&path)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        text.trim_end().parse().map(Some).map_err(|error| {
            FileError::content(&path, &format_args!("{error}; `spore kill {id}` removes the sandbox"))
        })
    }

    /// Removes a sandbox's folder at once, then what was in it. Nothing may run in it.
    ///
    /// # Errors
    /// If there is no such sandbox, or it cannot be removed.
    pub fn remove_sandbox(&self, id: &SandboxId) -> Result<(), SandboxError> {
        let (path, trash) = (self.sandbox_path(id), self.trash_path(&Item::Sandbox(id.clone())));
        let renamed = found(fs::rename(&path, &trash).at("remove", &path))?;
        if renamed.is_none() {
            return Err(SandboxError::NotFound { prefix: id.to_string() });
        }
        // Not to be taken for a leftover while it goes.
        let _held = lock_existing(&trash).ok();
        sync_folder(&self.folder(Folder::Sandboxes))?;
        Ok(remove_tree(&trash)?)
    }
}

#[cfg(test)]
mod tests;
