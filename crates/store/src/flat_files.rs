//! `flat/` as a place: names, temporary files, links and sizes of flat files. What is in them is `layout`'s matter.
//!
//! A flat file is a cache of a map's content: it is never changed, can be laid out again at any time, and may be
//! evicted unless a sandbox holds a hard link to it. So whoever needs one makes that link, and lays the file out if
//! there is none to link; nobody relies on the name.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use format::Digest;

use crate::file::{At, FileError, Output, TempFile, allocated, found, names, rename_new};
use crate::trash::Item;
use crate::{Folder, Lease, Store};

/// What a flat file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlatKey {
    /// The layer whose content has this sha256.
    Layer(Digest),
    /// The content of the map with this digest: memory, or a writable disk.
    Map(Digest),
}

impl FlatKey {
    /// The digest in it: of a layer's content, or of a map.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Layer(digest) | Self::Map(digest) => digest,
        }
    }

    pub(crate) fn parse(file_name: &str) -> Option<Self> {
        let (kind, hex) = file_name.split_once('-')?;
        let digest = Digest::from_hex(hex).ok()?;
        match kind {
            "layer" => Some(Self::Layer(digest)),
            "map" => Some(Self::Map(digest)),
            _ => None,
        }
    }

    /// Layers cannot be written even by their owner. QEMU before 8.2 opens a memory file for writing although it
    /// maps it privately, so what a map gave has to allow that.
    pub(crate) fn mode(self) -> u32 {
        match self {
            Self::Layer(_) => 0o444,
            Self::Map(_) => 0o644,
        }
    }
}

impl fmt::Display for FlatKey {
    /// The file's name.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(digest) => write!(out, "layer-{}", digest.hex()),
            Self::Map(digest) => write!(out, "map-{}", digest.hex()),
        }
    }
}

/// A flat file as the folder shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlatFile {
    /// What it holds.
    pub key: FlatKey,
    /// Bytes of the address space.
    pub size: u64,
    /// Bytes that it takes on the filesystem.
    pub allocated: u64,
    /// Hard links to it besides its own name: sandboxes that use it.
    pub users: u64,
}

/// A flat file that is being laid out. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct FlatWriter {
    store: Store,
    key: FlatKey,
    temp: TempFile,
}

impl FlatWriter {
    /// The file, empty at first. Write at offsets: what is never written is a hole.
    #[must_use]
    pub fn file(&self) -> &File {
        self.temp.file()
    }

    pub(crate) fn output(&self) -> Result<Output, FileError> {
        self.temp.output()
    }

    /// Makes it visible.
    ///
    /// # Errors
    /// If it cannot be synced or renamed.
    pub fn commit(self) -> Result<(), FileError> {
        self.temp.place(&self.store.flat_path(self.key), self.key.mode())
    }
}

impl Store {
    /// Where the flat file `key` lies, if it is there. For messages and links, not to rely on.
    #[must_use]
    pub fn flat_path(&self, key: FlatKey) -> PathBuf {
        self.folder(Folder::Flat).join(key.to_string())
    }

    /// Begins a flat file, which `lease` will protect.
    ///
    /// # Errors
    /// If its file cannot be made.
    pub fn flat_writer(&self, lease: &Lease, key: FlatKey) -> Result<FlatWriter, FileError> {
        lease.protect(key.digest())?;
        let temp = TempFile::create(&self.folder(Folder::Tmp), "lay out", self.flat_path(key))?;
        Ok(FlatWriter { store: self.clone(), key, temp })
    }

    /// Protects a flat file and opens it, if it is there: the one way to find out that can be relied on. One in the trash is taken back,
    /// for the collector may have put it there before it could read the lease that protects it.
    ///
    /// # Errors
    /// If the lease cannot be written, or the file cannot be opened.
    pub fn claim_flat(&self, lease: &Lease, key: FlatKey) -> Result<Option<File>, FileError> {
        lease.protect(key.digest())?;
        let (path, trash) = (self.flat_path(key), self.trash_path(&Item::Flat(key)));
        let open = || found(File::open(&path).at("open", &path));
        if let Some(file) = open()? {
            return Ok(Some(file));
        }
        // Not there if it was put back, or made again, between the first look and this.
        found(rename_new(&trash, &path))?;
        open()
    }

    /// Opens a flat file for reading, if it is there now. It can go the next moment: see [`Store::claim_flat`].
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open_flat(&self, key: FlatKey) -> Result<Option<File>, FileError> {
        self.find_flat(key, |path| File::open(path).at("open", path))
    }

    /// Makes `to`, in the store's filesystem, a hard link to a flat file; `false` if the flat file is not there.
    ///
    /// # Errors
    /// If the link cannot be made for another reason, for instance because `to` exists.
    pub fn link_flat(&self, key: FlatKey, to: &Path) -> Result<bool, FileError> {
        self.find_flat(key, |path| fs::hard_link(path, to).at("link a flat file as", to))
            .map(|linked| linked.is_some())
    }

    /// Whether `path` is a hard link to the flat file `key`, and so has its content.
    ///
    /// # Errors
    /// If one of the two cannot be examined; that one is not there is none.
    pub fn is_link_to_flat(&self, key: FlatKey, path: &Path) -> Result<bool, FileError> {
        let identity = |path: &Path| {
            let metadata = fs::symlink_metadata(path).at("examine", path)?;
            Ok((metadata.dev(), metadata.ino()))
        };
        let (Some(flat), Some(link)) = (self.find_flat(key, identity)?, found(identity(path))?) else {
            return Ok(false);
        };
        Ok(flat == link)
    }

    /// Does `act` with a flat file wherever it is: one that a lease protects can lie in the trash for a moment, until
    /// the collector has read the lease.
    fn find_flat<T>(
        &self,
        key: FlatKey,
        act: impl Fn(&Path) -> Result<T, FileError>,
    ) -> Result<Option<T>, FileError> {
        let (path, trash) = (self.flat_path(key), self.trash_path(&Item::Flat(key)));
        for path in [&path, &trash, &path] {
            if let Some(done) = found(act(path))? {
                return Ok(Some(done));
            }
        }
        Ok(None)
    }

    /// All flat files.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn flat_files(&self) -> Result<Vec<FlatFile>, FileError> {
        let mut files = Vec::new();
        for key in names(&self.folder(Folder::Flat))?.iter().filter_map(|name| FlatKey::parse(name)) {
            files.extend(self.flat_file(key)?);
        }
        Ok(files)
    }

    /// One flat file, if it is there.
    ///
    /// # Errors
    /// If it cannot be examined.
    pub fn flat_file(&self, key: FlatKey) -> Result<Option<FlatFile>, FileError> {
        let path = self.flat_path(key);
        let metadata = found(fs::symlink_metadata(&path).at("examine", &path))?;
        Ok(metadata.map(|metadata| FlatFile {
            key,
            size: metadata.len(),
            allocated: allocated(&metadata),
            users: metadata.nlink().saturating_sub(1),
        }))
    }
}

#[cfg(test)]
mod tests;
