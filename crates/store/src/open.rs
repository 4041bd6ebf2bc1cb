//! Opening a store: what a root must be, and what is made in it.

use std::fs::{self, DirBuilder, Metadata};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use format::Digest;

use crate::file::{At, FileError, found, names, read_small, replace, sync_folder, sync_parent};

mod version;

const LAYOUT_FILE: &str = "oci-layout";
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Why a folder cannot be used as a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder holds something else.
    #[error("{} is not a Spore store: {reason}; give an empty folder or a store to --root", root.display())]
    Foreign {
        /// The folder.
        root: PathBuf,
        /// What shows it.
        reason: String,
    },
    /// It belongs to another user.
    #[error(
        "{} belongs to user {owner}, this is user {user}: a store has one owner; choose another --root",
        path.display()
    )]
    Owner {
        /// The folder.
        path: PathBuf,
        /// Its owner's id.
        owner: u32,
        /// The id of who runs this.
        user: u32,
    },
    /// A part of it is on another filesystem, where hard links and renames do not reach.
    #[error(
        "{} is not on the filesystem of {}: a store is one filesystem; unmount it or choose another --root",
        folder.display(),
        root.display()
    )]
    SpansFilesystems {
        /// The store's root.
        root: PathBuf,
        /// The folder that is elsewhere.
        folder: PathBuf,
    },
    /// A newer Spore made or upgraded it. Nothing in it was changed.
    #[error(
        "{} is a store of version {version}, this Spore knows versions up to {}: install the Spore that made it or a \
         newer one, or choose another --root; nothing was changed",
        root.display(),
        version::CURRENT
    )]
    Newer {
        /// The store's root.
        root: PathBuf,
        /// Its version.
        version: u32,
    },
    /// A file or folder could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A folder of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Folder {
    Blobs,
    Refs,
    Flat,
    Framings,
    Origins,
    Partial,
    Tmp,
    Trash,
    Leases,
    Locks,
    Sandboxes,
    Cache,
}

impl Folder {
    pub(crate) const ALL: [Self; 12] = [
        Self::Blobs,
        Self::Refs,
        Self::Flat,
        Self::Framings,
        Self::Origins,
        Self::Partial,
        Self::Tmp,
        Self::Trash,
        Self::Leases,
        Self::Locks,
        Self::Sandboxes,
        Self::Cache,
    ];

    /// Those that tell a store from another OCI layout, whichever version has made it.
    const OF_EVERY_STORE: [Self; 3] = [Self::Blobs, Self::Refs, Self::Sandboxes];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Blobs => "blobs/sha256",
            Self::Refs => "refs",
            Self::Flat => "flat",
            Self::Framings => "framings",
            Self::Origins => "origins",
            Self::Partial => "partial",
            Self::Tmp => "tmp",
            Self::Trash => "trash",
            Self::Leases => "leases",
            Self::Locks => "locks",
            Self::Sandboxes => "sandboxes",
            Self::Cache => "cache",
        }
    }

    /// The entry of the root that it is in.
    fn top(self) -> &'static str {
        self.name().split('/').next().unwrap_or_default()
    }
}

/// The files in the root itself.
const ROOT_FILES: [&str; 3] = [LAYOUT_FILE, crate::refs::INDEX_FILE, version::VERSION_FILE];

/// What a filesystem has in its own root, which can be a store's.
const LOST_AND_FOUND: &str = "lost+found";

/// Whether a store has an entry of this name in its root.
pub(crate) fn belongs_in_root(name: &str) -> bool {
    name == LOST_AND_FOUND
        || ROOT_FILES.contains(&name)
        || Folder::ALL.iter().any(|folder| folder.top() == name)
}

/// A local store. Clones are the same store.
#[derive(Debug, Clone)]
pub struct Store {
    root: Arc<Path>,
}

impl Store {
    /// Opens the store at `root`, makes it if the folder is empty or absent, and removes what commands that were
    /// killed have left, unless a collector is at work. A store of an older version is upgraded in place.
    ///
    /// # Errors
    /// If the folder holds something else, is of a newer version, belongs to another user, is spread over filesystems, or
    /// cannot be written.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let (store, _) = Self::prepare(root)?;
        store.sweep()?;
        Ok(store)
    }

    /// As [`Store::open`], but one that is there already is not swept: for what only talks to a sandbox, and is not
    /// to take longer the more the store holds.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_unswept(root: &Path) -> Result<Self, OpenError> {
        let (store, was_there) = Self::prepare(root)?;
        if !was_there {
            store.sweep()?;
        }
        Ok(store)
    }

    /// Makes or upgrades what is not as it should be. Whether all was.
    fn prepare(root: &Path) -> Result<(Self, bool), OpenError> {
        make_root(root)?;
        let root = fs::canonicalize(root).at("find", root)?;
        let metadata = fs::metadata(&root).at("examine", &root)?;
        check_owner(&root, &metadata)?;
        let kind = check_kind(&root)?;
        make_folders(&root, metadata.dev())?;
        let store = Self { root: root.into() };
        if kind == Kind::Empty {
            // After the folders: a root without it has nothing in it yet.
            replace(&store.folder(Folder::Tmp), &store.root.join(LAYOUT_FILE), LAYOUT)?;
        }
        let was_there = kind == Kind::Store(version::Found::Current);
        if !was_there {
            // Before the version, which comes last: whoever was killed between has not done it.
            sync_parent(&store.root)?;
            version::write(&store.root, &store.folder(Folder::Tmp))?;
        }
        Ok((store, was_there))
    }

    /// Whether there is a store at `root` that this Spore knows. Nothing is made or changed.
    #[must_use]
    pub fn is_at(root: &Path) -> bool {
        matches!(check_kind(root), Ok(Kind::Store(_)))
    }

    /// The store at `root`, which the caller's parent process has opened: nothing is checked or swept again.
    #[must_use]
    pub fn attach(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// The store's root, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn folder(&self, folder: Folder) -> PathBuf {
        self.root.join(folder.name())
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.folder(Folder::Blobs).join(digest.hex())
    }
}

/// Makes it with all above it. Its own name is synced later, when it is a store.
fn make_root(root: &Path) -> Result<(), FileError> {
    let above = root.parent().into_iter().flat_map(Path::ancestors);
    let new: Vec<_> = above.take_while(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()).collect();
    make_folder(root)?;
    new.into_iter().try_for_each(sync_parent)
}

fn make_folder(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).at("create", path)
}

/// Makes the folders that are not there, and refuses those that are somebody else's, or not on the root's device. A store has nearly always
/// all of them.
fn make_folders(root: &Path, device: u64) -> Result<(), OpenError> {
    let mut is_changed = false;
    let mut folders = Vec::new();
    for folder in Folder::ALL {
        let path = root.join(folder.name());
        let look = || fs::metadata(&path).at("examine", &path);
        let metadata = match found(look())? {
            Some(metadata) if metadata.is_dir() => metadata,
            _ => {
                make_folder(&path)?;
                is_changed = true;
                look()?
            }
        };
        folders.push((path, metadata));
    }
    if is_changed {
        sync_folders(root)?;
    }
    for (folder, metadata) in folders {
        check_owner(&folder, &metadata)?;
        if metadata.dev() != device {
            return Err(OpenError::SpansFilesystems { root: root.to_owned(), folder });
        }
    }
    Ok(())
}

/// Makes the names of a store's folders durable.
fn sync_folders(root: &Path) -> Result<(), FileError> {
    for folder in Folder::ALL.iter().filter(|folder| folder.name() != folder.top()) {
        sync_folder(&root.join(folder.top()))?;
    }
    sync_folder(root)
}

fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), OpenError> {
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == user { Ok(()) } else { Err(OpenError::Owner { path: path.to_owned(), owner, user }) }
}

/// What a root is before it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// There is no store in it yet.
    Empty,
    /// A store.
    Store(version::Found),
}

/// Refuses a folder that holds something else.
fn check_kind(root: &Path) -> Result<Kind, OpenError> {
    let layout = || read_small(&root.join(LAYOUT_FILE));
    if let Some(layout) = layout()? {
        return check_made(root, &layout).map(Kind::Store);
    }
    match check_unmade(root) {
        Ok(()) => Ok(Kind::Empty),
        // Another command may have made the store between the two looks.
        Err(refusal) => match layout()? {
            Some(layout) => check_made(root, &layout).map(Kind::Store),
            None => Err(refusal),
        },
    }
}

/// Refuses a folder with a layout that is not a store's, or that is a store's of rules that are not known here.
fn check_made(root: &Path, layout: &[u8]) -> Result<version::Found, OpenError> {
    let foreign = |reason: String| OpenError::Foreign { root: root.to_owned(), reason };
    let version = serde_json::from_slice::<serde_json::Value>(layout).ok();
    if version != serde_json::from_slice(LAYOUT).ok() {
        return Err(foreign(format!("its {LAYOUT_FILE} is not {}", String::from_utf8_lossy(LAYOUT))));
    }
    let version = version::check(root)?;
    for folder in Folder::OF_EVERY_STORE {
        if found(fs::metadata(root.join(folder.name())).at("examine", root))?.is_none() {
            return Err(foreign(format!("it is an OCI layout without {}/", folder.name())));
        }
    }
    Ok(version)
}

/// Refuses a folder without a layout unless it has nothing, or folders of a store whose making was interrupted.
fn check_unmade(root: &Path) -> Result<(), OpenError> {
    let foreign = |reason: String| OpenError::Foreign { root: root.to_owned(), reason };
    let is_foreign = |name: &String| !belongs_in_root(name) || ROOT_FILES.contains(&name.as_str());
    if let Some(other) = names(root)?.into_iter().find(is_foreign) {
        return Err(foreign(format!("it holds {other:?}")));
    }
    for folder in Folder::OF_EVERY_STORE.map(|folder| root.join(folder.name())) {
        if !names(&folder)?.is_empty() {
            return Err(foreign(format!("{} is not empty, and there is no {LAYOUT_FILE}", folder.display())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
