//! Where an image's bytes are: an OCI image layout in a folder or in an archive, what `docker save` writes, a registry.

use std::io::Read;
use std::path::{Path, PathBuf};

use format::Digest;

use super::documents::{self, Descriptor, Document, IndexEntry, MAX_DOCUMENT, SavedImage};
use super::file::open_regular;
use super::members::Members;
use super::{Found, ImageError, Registries};
use crate::recipe::RegistryImage;

/// How many indexes may lead to one another.
const MAX_INDEXES: usize = 4;
/// Where an image layout says what it has.
const LAYOUT_INDEX: &str = "index.json";
/// Where `docker save` does.
const SAVED_INDEX: &str = "manifest.json";

/// Where blobs are read from.
#[derive(Debug)]
pub(super) enum Blobs<'a> {
    Layout(PathBuf),
    Archive(Members),
    Registry(&'a RegistryImage, &'a dyn Registries),
}

/// Where one layer is.
#[derive(Debug, Clone)]
pub(super) enum Location {
    /// A blob that is known by its digest.
    Blob(Descriptor),
    /// A file of an archive.
    Member(String),
}

impl Blobs<'_> {
    /// The bytes of a layer, and the digest that they should have if that is known.
    pub(super) fn open(
        &self,
        location: &Location,
    ) -> Result<(Box<dyn Read + '_>, Option<Digest>), ImageError> {
        match location {
            Location::Blob(blob) => Ok((self.blob(blob)?, Some(blob.digest))),
            Location::Member(name) => match self {
                Self::Archive(members) => Ok((members.open(name)?, None)),
                _ => Err(ImageError::missing(name)),
            },
        }
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + '_>, ImageError> {
        let Descriptor { digest, size } = blob;
        let path = format!("blobs/sha256/{}", digest.hex());
        let reader: Box<dyn Read> = match self {
            Self::Layout(folder) => {
                Box::new(open_regular(&folder.join(&path))?.ok_or_else(|| ImageError::missing(&path))?)
            }
            Self::Archive(members) => members.open(&path)?,
            Self::Registry(image, registries) => {
                let found = registries.blob(image, digest, *size)?;
                found.ok_or_else(|| ImageError::missing(&digest.to_string()))?
            }
        };
        Ok(Box::new(reader.take(*size)))
    }

    /// A manifest or an index. Registries keep them apart from other blobs.
    fn manifest(&self, blob: &Descriptor) -> Result<Vec<u8>, ImageError> {
        match self {
            Self::Registry(image, registries) => {
                let found = registries.manifest(image, Some(&blob.digest))?;
                verified(
                    "manifest",
                    blob,
                    found.ok_or_else(|| ImageError::missing(&blob.digest.to_string()))?,
                )
            }
            _ => self.document("manifest", blob),
        }
    }

    /// A document that is a blob.
    fn document(&self, what: &'static str, blob: &Descriptor) -> Result<Vec<u8>, ImageError> {
        if blob.size > MAX_DOCUMENT {
            let reason = format!("it has {} bytes: at most {MAX_DOCUMENT} are read", blob.size);
            return Err(ImageError::Malformed { what, reason });
        }
        verified(what, blob, read_bounded(self.blob(blob)?, &blob.digest.to_string())?)
    }

    /// What the manifest in `bytes` says, or the one that the index in them leads to.
    fn resolve(&self, mut bytes: Vec<u8>) -> Result<Found, ImageError> {
        for _ in 0..=MAX_INDEXES {
            match Document::parse(&bytes)? {
                Document::Manifest { config, layers } => {
                    return Ok(Found {
                        manifest: Some(Digest::of(&bytes)),
                        config: self.document("config", &config)?,
                        layers: layers.into_iter().map(Location::Blob).collect(),
                    });
                }
                Document::Index(entries) => {
                    bytes = self.manifest(&documents::choose(&entries.iter().collect::<Vec<_>>())?.blob)?;
                }
            }
        }
        let reason = format!("more than {MAX_INDEXES} indexes lead to one another");
        Err(ImageError::Malformed { what: "index", reason })
    }

    /// What a layout's index leads to.
    fn resolve_layout(&self, index: &[u8], tag: Option<&str>) -> Result<Found, ImageError> {
        let Document::Index(entries) = Document::parse(index)? else {
            let reason = "expected manifests".to_owned();
            return Err(ImageError::Malformed { what: LAYOUT_INDEX, reason });
        };
        let entry = named_entry(&entries, tag)?;
        self.resolve(self.manifest(&entry.blob)?)
    }
}

/// The bytes of a document, if its digest is theirs.
fn verified(what: &str, blob: &Descriptor, bytes: Vec<u8>) -> Result<Vec<u8>, ImageError> {
    let digest = Digest::of(&bytes);
    if digest == blob.digest {
        return Ok(bytes);
    }
    let reason = format!("it should be {} and is {digest}", blob.digest);
    Err(ImageError::Corrupt { what: what.to_owned(), reason })
}

/// The entry of a layout's index that has the tag, or the digest that is given as one; without a tag that of this kind of machine,
/// where there is one name only.
fn named_entry<'e>(entries: &'e [IndexEntry], tag: Option<&str>) -> Result<&'e IndexEntry, ImageError> {
    let mut names: Vec<&str> = entries.iter().filter_map(IndexEntry::ref_name).collect();
    names.sort_unstable();
    names.dedup();
    let problem = |reason: &str| ImageError::NotNamed {
        reason: reason.to_owned(),
        found: names.iter().map(|&name| name.to_owned()).collect(),
    };
    let named = match tag {
        Some(tag) => {
            let is_named =
                |entry: &&IndexEntry| entry.ref_name() == Some(tag) || entry.blob.digest.to_string() == tag;
            let named: Vec<_> = entries.iter().filter(is_named).collect();
            if named.is_empty() {
                return Err(problem(&format!("no image in it is named {:?}", format::excerpt(tag))));
            }
            named
        }
        None if names.len() > 1 => return Err(problem("it has several images: name one behind a colon")),
        None => entries.iter().collect(),
    };
    match named.as_slice() {
        [only] => Ok(only),
        named => documents::choose(named),
    }
}

/// Opens an image layout folder.
pub(super) fn layout(folder: &Path, tag: Option<&str>) -> Result<(Blobs<'static>, Found), ImageError> {
    let index = open_regular(&folder.join(LAYOUT_INDEX))?.ok_or_else(|| ImageError::missing(LAYOUT_INDEX))?;
    let index = read_bounded(index, LAYOUT_INDEX)?;
    let blobs = Blobs::Layout(folder.to_owned());
    let found = blobs.resolve_layout(&index, tag)?;
    Ok((blobs, found))
}

/// Opens an archive of an image layout.
pub(super) fn oci_archive(file: &Path, tag: Option<&str>) -> Result<(Blobs<'static>, Found), ImageError> {
    let members = Members::index(file)?;
    let index = read_bounded(members.open(LAYOUT_INDEX)?, LAYOUT_INDEX)?;
    let blobs = Blobs::Archive(members);
    let found = blobs.resolve_layout(&index, tag)?;
    Ok((blobs, found))
}

/// Opens what `docker save` writes.
pub(super) fn docker_archive(file: &Path, name: Option<&str>) -> Result<(Blobs<'static>, Found), ImageError> {
    let members = Members::index(file)?;
    let saved = read_bounded(members.open(SAVED_INDEX)?, SAVED_INDEX)?;
    let mut images: Vec<SavedImage> = documents::parse(SAVED_INDEX, &saved)?;
    let names = |images: &[SavedImage]| images.iter().filter_map(|i| i.repo_tags.clone()).flatten().collect();
    let found = names(&images);
    if let Some(name) = name {
        let has = |image: &SavedImage| image.repo_tags.iter().flatten().any(|tag| tag == name);
        images.retain(has);
    }
    let (Some(image), true) = (images.pop(), images.is_empty()) else {
        let reason = match name {
            Some(name) => format!("no image in it, or more than one, is named {:?}", format::excerpt(name)),
            None => "it has none, or several images: name one behind a colon".to_owned(),
        };
        return Err(ImageError::NotNamed { reason, found });
    };
    let config = read_bounded(members.open(&image.config)?, &image.config)?;
    let layers = image.layers.into_iter().map(Location::Member).collect();
    Ok((Blobs::Archive(members), Found { manifest: None, config, layers }))
}

/// Opens an image in a registry: its tag is resolved here, and only here.
pub(super) fn registry<'a>(
    image: &'a RegistryImage,
    registries: &'a dyn Registries,
) -> Result<(Blobs<'a>, Found), ImageError> {
    let bytes = registries.manifest(image, image.digest.as_ref())?;
    let bytes = bytes.ok_or_else(|| ImageError::missing(&format!("manifest {image}")))?;
    if let Some(digest) = image.digest.filter(|digest| *digest != Digest::of(&bytes)) {
        let reason = format!("it should be {digest} and is {}", Digest::of(&bytes));
        return Err(ImageError::Corrupt { what: "manifest".to_owned(), reason });
    }
    let blobs = Blobs::Registry(image, registries);
    let found = blobs.resolve(bytes)?;
    Ok((blobs, found))
}

/// Reads a document whole.
fn read_bounded(reader: impl Read, what: &str) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    let read = reader.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes);
    read.map_err(|source| ImageError::Io { path: what.into(), source })?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        let reason = format!("{what} has more than {MAX_DOCUMENT} bytes");
        return Err(ImageError::Malformed { what: "document", reason });
    }
    Ok(bytes)
}
