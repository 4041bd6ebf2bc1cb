//! Collection: what nothing uses is found, shown, and removed, while other commands go on.
//!
//! ```text
//! plan      read the roots; what they do not lead to is a candidate
//! execute   1. rename candidates into trash/, manifests first
//!           2. read the roots again, leases first
//!           3. put back what they lead to now, manifests last
//!           4. unlink the rest of the trash
//! ```
//!
//! Nobody is ever stopped: a command that needs a blob puts it on its lease and then tests whether it is there. If
//! the test comes after 1, the command takes the blob back from the trash, or makes it anew if it is gone from there
//! too; if before, step 2 sees the lease. A crash leaves a filled trash at worst, which the next [`Store::open`]
//! settles by steps 2 to 4.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use format::Digest;

use crate::reach::Reached;
use crate::refs::{percent_decode, percent_encode};
use crate::{FileError, FlatKey, Folder, LoadError, SandboxId, Store, cache};

mod execute;

pub use execute::PruneReport;

/// Why nothing could be collected.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// What a root needs cannot be known, so that nothing can be known to be unused.
    #[error(
        "cannot tell what {root} needs, so nothing is removed: {source}; pull it again, or remove it, and repeat"
    )]
    Unreadable {
        /// The tag, sandbox or lease.
        root: String,
        /// Its snapshot.
        digest: Digest,
        /// What is wrong with it.
        source: Box<LoadError>,
    },
    /// A sandbox's folder does not say of which snapshot it is.
    #[error(
        "{} does not say of which snapshot it is, so nothing is removed: `spore kill {id}` removes it",
        path.display()
    )]
    UnknownSandbox {
        /// The sandbox.
        id: SandboxId,
        /// Its folder.
        path: PathBuf,
    },
    /// A file could not be read, renamed or removed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The test that runs this wants it to end here.
    #[cfg(test)]
    #[error("killed by the test")]
    Killed,
}

impl PruneError {
    pub(crate) fn unreadable(root: String, digest: Digest, source: LoadError) -> Self {
        Self::Unreadable { root, digest, source: Box::new(source) }
    }
}

/// Something that can be collected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    /// A blob.
    Blob(Digest),
    /// A flat file.
    Flat(FlatKey),
    /// What a broken pull left of a blob.
    Partial(Digest),
    /// An entry of `cache/`, by its path in there.
    Cache(String),
    /// The folder of a sandbox that was killed.
    Sandbox(SandboxId),
}

impl Item {
    /// Its name in the trash, from which [`Item::from_trash`] makes it again.
    fn trash_name(&self) -> String {
        match self {
            Self::Blob(digest) => format!("blob-{}", digest.hex()),
            Self::Flat(key) => format!("flat-{key}"),
            Self::Partial(digest) => format!("partial-{}", digest.hex()),
            Self::Cache(path) => format!("cache-{}", percent_encode(path)),
            Self::Sandbox(id) => format!("sandbox-{id}"),
        }
    }

    pub(crate) fn from_trash(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once('-')?;
        match kind {
            "blob" => Digest::from_hex(rest).ok().map(Self::Blob),
            "flat" => FlatKey::parse(rest).map(Self::Flat),
            "partial" => Digest::from_hex(rest).ok().map(Self::Partial),
            "cache" => percent_decode(rest).map(Self::Cache),
            "sandbox" => rest.parse().ok().map(Self::Sandbox),
            _ => None,
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(digest) => write!(out, "blob {digest}"),
            Self::Flat(key) => write!(out, "flat file {key}"),
            Self::Partial(digest) => write!(out, "part of blob {digest}"),
            Self::Cache(path) => write!(out, "cache entry {path}"),
            Self::Sandbox(id) => write!(out, "sandbox {id}"),
        }
    }
}

/// Why something can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The manifest of a snapshot without a tag or a sandbox.
    Untagged,
    /// No snapshot that is in use has it.
    Unused,
    /// A pull that broke, and that nobody has resumed.
    BrokenPull,
    /// A cache, and caches were to go too.
    Cache,
}

impl fmt::Display for Why {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Untagged => "a snapshot without a tag",
            Self::Unused => "nothing uses it",
            Self::BrokenPull => "a pull that broke",
            Self::Cache => "a cache",
        })
    }
}

/// Something that a plan would remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What.
    pub item: Item,
    /// Why it can go.
    pub why: Why,
    /// Bytes that this frees, as far as that is known.
    pub bytes: u64,
}

/// What a collection would remove, as things were when it was planned.
#[derive(Debug, Clone)]
pub struct PrunePlan {
    /// In the order of removal: manifests first.
    pub candidates: Vec<Candidate>,
    keep_caches: bool,
}

impl PrunePlan {
    /// Bytes that it would free.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.candidates.iter().map(|candidate| candidate.bytes).sum()
    }
}

impl Reached {
    fn has(&self, item: &Item, keep_caches: bool) -> bool {
        match item {
            Item::Blob(digest) => self.blobs.contains(digest),
            Item::Flat(key) => self.flats.contains(key) || keep_caches && self.cached_flats.contains(key),
            Item::Partial(_) | Item::Cache(_) | Item::Sandbox(_) => false,
        }
    }
}

impl Store {
    /// What nothing uses. With `all`, also what is kept only to make the next fork or bake faster: flat files that no
    /// sandbox links to, and bake's cache.
    ///
    /// # Errors
    /// If what a tag, sandbox or lease needs cannot be read.
    pub fn plan_prune(&self, all: bool) -> Result<PrunePlan, PruneError> {
        let blobs = self.blobs()?;
        let flats = self.flat_files()?;
        let reached = self.reach(&mut || ())?;
        let mut manifests = Vec::new();
        let mut rest = Vec::new();
        for digest in blobs.into_iter().filter(|digest| !reached.blobs.contains(digest)) {
            let Some(bytes) = self.size_if_there(&digest)? else { continue };
            let is_manifest = self.is_manifest(&digest)?;
            let (list, why) =
                if is_manifest { (&mut manifests, Why::Untagged) } else { (&mut rest, Why::Unused) };
            list.push(Candidate { item: Item::Blob(digest), why, bytes });
        }
        manifests.append(&mut rest);
        let mut candidates = manifests;
        for flat in flats.into_iter().filter(|flat| flat.users == 0) {
            let item = Item::Flat(flat.key);
            if !reached.has(&item, !all) {
                let why = if reached.has(&item, true) { Why::Cache } else { Why::Unused };
                candidates.push(Candidate { item, why, bytes: flat.allocated });
            }
        }
        for (digest, bytes) in self.broken_pulls(Duration::ZERO)? {
            candidates.push(Candidate { item: Item::Partial(digest), why: Why::BrokenPull, bytes });
        }
        if all {
            for path in cache::entries(self)? {
                let bytes = crate::file::tree_size(&self.folder(Folder::Cache).join(&path))?;
                candidates.push(Candidate { item: Item::Cache(path), why: Why::Cache, bytes });
            }
        }
        Ok(PrunePlan { candidates, keep_caches: !all })
    }

    /// Where an item lies while it is in use.
    fn place_of(&self, item: &Item) -> PathBuf {
        match item {
            Item::Blob(digest) => self.blob_path(digest),
            Item::Flat(key) => self.flat_path(*key),
            Item::Partial(digest) => self.partial_path(digest),
            Item::Cache(path) => self.folder(Folder::Cache).join(path),
            Item::Sandbox(id) => self.sandbox_path(id),
        }
    }

    /// Where an item lies once it is removed, until it is unlinked.
    pub(crate) fn trash_path(&self, item: &Item) -> PathBuf {
        self.folder(Folder::Trash).join(item.trash_name())
    }
}

#[cfg(test)]
mod tests;
