//! Tags: one file each in `refs/`, replaced whole; `index.json` is derived from all of them.
//!
//! A tag's file is named by its full name, percent-encoded, so that no name can leave the folder.

use std::collections::BTreeMap;

use format::manifest::media_type;
use format::{Digest, FullName};
use serde::{Deserialize, Serialize};

use crate::file::{
    At, FileError, holds, names, read_small, remove_file, replace, replace_derived, sync_folder,
};
use crate::{Folder, LoadError, Lock, LockKey, Store};

pub(crate) const INDEX_FILE: &str = "index.json";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Linux's bound on a file name.
const FILE_NAME_BYTES: usize = 255;

/// Where a tag leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefRecord {
    /// The snapshot.
    pub digest: Digest,
    /// Bytes of its manifest.
    pub size: u64,
    /// The location of the hub it was pulled from, where missing parts can be fetched by digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// The tag that an act sets when all of a snapshot is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagAs {
    /// The tag.
    pub name: FullName,
    /// Whether one that leads elsewhere is moved.
    pub may_move: bool,
}

/// Tags that can be read, and those that can't.
pub type ReadableRefs = (BTreeMap<FullName, RefRecord>, Vec<(FullName, FileError)>);

/// Why a tag cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum RefError {
    /// It leads elsewhere and was not to be moved.
    #[error("{name} is {digest} here, and was not moved")]
    Exists {
        /// The tag.
        name: FullName,
        /// Where it leads.
        digest: Digest,
    },
    /// There is no such tag.
    #[error("there is no tag {name}: `spore images` lists all")]
    NotFound {
        /// The tag.
        name: FullName,
    },
    /// The name is too long for a file of its own.
    #[error(
        "{name} takes {bytes} bytes as a file name: at most {FILE_NAME_BYTES} fit; choose a shorter name or tag"
    )]
    TooLong {
        /// The tag.
        name: FullName,
        /// Its bytes, percent-encoded.
        bytes: usize,
    },
    /// What it is to lead to is no snapshot that is here in whole.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Store {
    /// Makes `name` lead to the snapshot `digest`, and gives where it led before. `origin` is the
    /// location of the hub that it came from.
    ///
    /// # Errors
    /// If the snapshot is not in the store in whole, or the tag cannot be written.
    pub fn set_ref(
        &self,
        name: &FullName,
        digest: &Digest,
        origin: Option<&str>,
    ) -> Result<Option<RefRecord>, RefError> {
        self.write_ref(name, digest, origin, true)
    }

    /// Like [`Store::set_ref`], but leaves a tag alone that leads elsewhere.
    ///
    /// # Errors
    /// [`RefError::Exists`] then; else as [`Store::set_ref`].
    pub fn create_ref(&self, name: &FullName, digest: &Digest, origin: Option<&str>) -> Result<(), RefError> {
        self.write_ref(name, digest, origin, false).map(drop)
    }

    /// Sets `tag`, and gives where it led before, if elsewhere.
    ///
    /// # Errors
    /// As [`Store::set_ref`] and [`Store::create_ref`].
    pub fn set_tag(
        &self,
        tag: &TagAs,
        digest: &Digest,
        origin: Option<&str>,
    ) -> Result<Option<Digest>, RefError> {
        let before = self.write_ref(&tag.name, digest, origin, tag.may_move)?;
        Ok(before.map(|before| before.digest).filter(|before| before != digest))
    }

    /// Whether `tag` could lead to `digest`, as things are: what is better said before anything is transferred.
    ///
    /// # Errors
    /// [`RefError::Exists`] if it leads elsewhere and may not move; if it cannot be read.
    pub fn check_tag(&self, tag: &TagAs, digest: &Digest) -> Result<(), RefError> {
        let TagAs { name, may_move } = tag;
        match self.get_ref(name)? {
            Some(before) if before.digest != *digest && !may_move => {
                Err(RefError::Exists { name: name.clone(), digest: before.digest })
            }
            _ => Ok(()),
        }
    }

    fn write_ref(
        &self,
        name: &FullName,
        digest: &Digest,
        origin: Option<&str>,
        may_move: bool,
    ) -> Result<Option<RefRecord>, RefError> {
        let file_name = file_name(name)?;
        let lease = self.lease()?;
        self.claim_snapshot(&lease, digest)?;
        let record = RefRecord {
            digest: *digest,
            size: self.blob_size(digest).map_err(LoadError::from)?,
            origin: origin.map(str::to_owned),
        };
        let lock = self.lock_refs()?;
        let before = self.get_ref(name)?;
        if let Some(before) = before.as_ref().filter(|before| before.digest != *digest && !may_move) {
            return Err(RefError::Exists { name: name.clone(), digest: before.digest });
        }
        let path = self.folder(Folder::Refs).join(file_name);
        let bytes = serde_json::to_vec(&record).at("encode", &path)?;
        replace(&self.folder(Folder::Tmp), &path, &bytes)?;
        self.write_index(&lock)?;
        Ok(before)
    }

    /// Where `name` leads, if there is such a tag.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn get_ref(&self, name: &FullName) -> Result<Option<RefRecord>, RefError> {
        Ok(self.read_ref(&file_name(name)?)?)
    }

    /// Removes a tag and gives where it led, unless that can't be read. Its snapshot stays until the next collection.
    ///
    /// # Errors
    /// If there is no such tag, or it cannot be removed.
    pub fn remove_ref(&self, name: &FullName) -> Result<Option<Digest>, RefError> {
        let lock = self.lock_refs()?;
        let (folder, file_name) = (self.folder(Folder::Refs), file_name(name)?);
        let digest = match self.read_ref(&file_name) {
            Ok(None) => return Err(RefError::NotFound { name: name.clone() }),
            Ok(Some(record)) => Some(record.digest),
            // Removing it is all that can be done about it.
            Err(_) => None,
        };
        remove_file(&folder.join(file_name))?;
        sync_folder(&folder)?;
        self.write_index(&lock)?;
        Ok(digest)
    }

    /// All tags.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn refs(&self) -> Result<BTreeMap<FullName, RefRecord>, FileError> {
        let (refs, damaged) = self.readable_refs()?;
        damaged.into_iter().next().map_or(Ok(refs), |(_, error)| Err(error))
    }

    /// All tags that can be read, and the others, with the reason: for lists of what is here. Nothing may be taken for
    /// unused by them.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn readable_refs(&self) -> Result<ReadableRefs, FileError> {
        let (mut refs, mut damaged) = (BTreeMap::new(), Vec::new());
        for file_name in names(&self.folder(Folder::Refs))? {
            // Another file is no tag; fsck names it.
            let Some(name) = full_name(&file_name) else { continue };
            match self.read_ref(&file_name) {
                Ok(record) => refs.extend(record.map(|record| (name, record))),
                Err(error) => damaged.push((name, error)),
            }
        }
        Ok((refs, damaged))
    }

    /// All tags at one moment: while it reads, none changes.
    pub(crate) fn refs_at_once(&self) -> Result<BTreeMap<FullName, RefRecord>, FileError> {
        let _lock = self.lock_refs()?;
        self.refs()
    }

    /// Writes `index.json` anew if it does not say what the tags say: a command was killed between the two.
    pub(crate) fn heal_index(&self) -> Result<(), FileError> {
        let lock = self.lock_refs()?;
        if holds(&self.root().join(INDEX_FILE), &self.index()?)? { Ok(()) } else { self.write_index(&lock) }
    }

    fn lock_refs(&self) -> Result<Lock, FileError> {
        self.lock(LockKey::Refs, &mut || ())
    }

    pub(crate) fn read_ref(&self, file_name: &str) -> Result<Option<RefRecord>, FileError> {
        let path = self.folder(Folder::Refs).join(file_name);
        let Some(bytes) = read_small(&path)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| FileError::content(&path, &error))
    }

    fn write_index(&self, _held: &Lock) -> Result<(), FileError> {
        replace_derived(&self.folder(Folder::Tmp), &self.root().join(INDEX_FILE), &self.index()?)
    }

    fn index(&self) -> Result<Vec<u8>, FileError> {
        // A damaged tag is not to keep others from being written, nor the store from being opened.
        let (refs, _) = self.readable_refs()?;
        let manifests = refs.into_iter().map(|(name, record)| {
            serde_json::json!({
                "mediaType": media_type::MANIFEST,
                "digest": record.digest,
                "size": record.size,
                "artifactType": media_type::SNAPSHOT,
                "annotations": { REF_NAME: name.to_string() },
            })
        });
        let index = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type::INDEX,
            "manifests": manifests.collect::<Vec<_>>(),
        });
        Ok(index.to_string().into_bytes())
    }
}

/// The file name of a tag.
pub(crate) fn file_name(name: &FullName) -> Result<String, RefError> {
    let encoded = percent_encode(&name.to_string());
    if encoded.len() > FILE_NAME_BYTES {
        return Err(RefError::TooLong { name: name.clone(), bytes: encoded.len() });
    }
    Ok(encoded)
}

/// The tag whose file has this name: only the one spelling that [`file_name`] gives.
pub(crate) fn full_name(file_name: &str) -> Option<FullName> {
    let name: FullName = percent_decode(file_name)?.parse().ok()?;
    (percent_encode(&name.to_string()) == file_name).then_some(name)
}

/// `text` with everything but letters, digits, `-`, `.` and `_` as `%XX`.
pub(crate) fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            encoded.push(byte.into());
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend(rest.bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
