//! The files of a tar archive that holds images, found without unpacking it.

use std::collections::BTreeMap;
use std::io::{Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use tar_stream::{FileInput, Part};

use super::ImageError;
use super::compression::Compression;
use super::file::open_regular;
use crate::archive::{Archive, EntryPath, Kind, Role};

/// Most bytes of the names of its files and links, and of what else is kept of each: some 100,000 files.
const MAX_NAMES: usize = 16 << 20;
/// What is kept of each besides.
const MEMBER: usize = 96;
/// How often links in an archive may lead to links.
const MAX_LINKS: usize = 8;

/// The files of a tar archive, which is left as it is: they are read where they lie.
#[derive(Debug)]
pub(super) struct Members {
    path: PathBuf,
    files: BTreeMap<Key, (u64, u64)>,
    /// What links lead to.
    links: BTreeMap<Key, Key>,
    /// Bytes that are kept, at most [`MAX_NAMES`].
    kept: usize,
}

/// A path, its names parted by slashes.
type Key = Box<[u8]>;

fn key(path: &EntryPath) -> Key {
    path.names().join(&b'/').into()
}

impl Members {
    /// Finds out what is in an archive, by its headers.
    pub(super) fn index(path: &Path) -> Result<Self, ImageError> {
        let io = |source| ImageError::Io { path: path.to_owned(), source };
        let wrong = |source| ImageError::Archive { source };
        let mut file = open_regular(path)?.ok_or_else(|| ImageError::missing(&path.display().to_string()))?;
        let mut magic = Vec::new();
        (&mut file).take(4).read_to_end(&mut magic).map_err(io)?;
        if let Some(compression) = Compression::of(&magic) {
            return Err(ImageError::Compressed { by: compression.name() });
        }
        let mut archive = Archive::new(FileInput::new(&file).map_err(io)?, Role::File);
        let mut members =
            Self { path: path.to_owned(), files: BTreeMap::new(), links: BTreeMap::new(), kept: 0 };
        while let Some(entry) = archive.next().map_err(wrong)? {
            members.add(&entry.path, entry.kind, archive.position())?;
        }
        archive.finish().map_err(wrong)?;
        Ok(members)
    }

    fn add(&mut self, path: &EntryPath, kind: Kind, position: u64) -> Result<(), ImageError> {
        let name = key(path);
        let doubled = self.files.contains_key(&name) || self.links.contains_key(&name);
        self.kept += MEMBER + name.len();
        match kind {
            Kind::File { .. } | Kind::Symlink(_) | Kind::HardLink(_) if doubled => {
                let reason = format!("{path} is there twice");
                return Err(ImageError::Malformed { what: "archive", reason });
            }
            Kind::File { size, parts } if parts != [Part { offset: 0, length: size }] => {
                let reason = format!("{path} is stored with holes: make the archive without tar --sparse");
                return Err(ImageError::Malformed { what: "archive", reason });
            }
            Kind::File { size, .. } => {
                self.files.insert(name, (position, size));
            }
            Kind::HardLink(target) => {
                self.link(name, &target);
            }
            // Layers that are there twice: older releases of docker write `../OTHER/layer.tar`.
            Kind::Symlink(target) => {
                let target = path.beside(&target).map_err(|reason| {
                    let reason = format!("{path} is a symbolic link whose target {reason}");
                    ImageError::Malformed { what: "archive", reason }
                })?;
                self.link(name, &target);
            }
            Kind::Folder | Kind::Special(_) => self.kept -= MEMBER + name.len(),
        }
        if self.kept > MAX_NAMES {
            let reason = "it has more files than an archive of images has".to_owned();
            return Err(ImageError::Malformed { what: "archive", reason });
        }
        Ok(())
    }

    fn link(&mut self, name: Key, target: &EntryPath) {
        let target = key(target);
        self.kept += target.len();
        self.links.insert(name, target);
    }

    /// The bytes of a file in it.
    pub(super) fn open(&self, name: &str) -> Result<Box<dyn Read>, ImageError> {
        let mut path =
            &key(&EntryPath::parse(name.as_bytes(), Role::File).map_err(|_| ImageError::missing(name))?);
        for _ in 0..MAX_LINKS {
            match self.links.get(path) {
                Some(target) => path = target,
                None => break,
            }
        }
        let (position, size) = *self.files.get(path).ok_or_else(|| ImageError::missing(name))?;
        let mut file = open_regular(&self.path)?.ok_or_else(|| ImageError::missing(name))?;
        let seek = file.seek(SeekFrom::Start(position));
        seek.map_err(|source| ImageError::Io { path: self.path.clone(), source })?;
        Ok(Box::new(file.take(size)))
    }
}
