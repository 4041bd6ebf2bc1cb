//! `trash/`: what is removed lies there until it is unlinked, under a name that says where it was, so that it can be put back.

use std::fmt;
use std::path::PathBuf;

use format::Digest;

use crate::refs::{percent_decode, percent_encode};
use crate::{FlatKey, Folder, SandboxId, Store};

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

impl Store {
    /// Where an item lies while it is in use.
    pub(crate) fn place_of(&self, item: &Item) -> PathBuf {
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
