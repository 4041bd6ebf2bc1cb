//! The files of a tar archive that holds images, found without unpacking it.

use std::collections::BTreeMap;
use std::io::{Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use tar_stream::{FileInput, Part};

use super::ImageError;
use super::blobs::{missing, open_regular};
use super::layer::Compression;
use crate::archive::{Archive, ArchiveError, EntryPath, Kind, Role};

/// Most files of an archive that holds images.
const MAX_MEMBERS: usize = 100_000;
/// How often links in an archive may lead to links.
const MAX_LINKS: usize = 8;

/// The files of a tar archive, which is left as it is: they are read where they lie.
#[derive(Debug)]
pub(super) struct Members {
    path: PathBuf,
    files: BTreeMap<EntryPath, (u64, u64)>,
    /// What links lead to.
    links: BTreeMap<EntryPath, EntryPath>,
}

impl Members {
    /// Finds out what is in an archive, by its headers.
    pub(super) fn index(path: &Path) -> Result<Self, ImageError> {
        let io = |source| ImageError::Io { path: path.to_owned(), source };
        let wrong = |source| ImageError::Archive { source };
        let mut file = open_regular(path)?.ok_or_else(|| missing(&path.display().to_string()))?;
        let mut magic = Vec::new();
        (&mut file).take(4).read_to_end(&mut magic).map_err(io)?;
        if let Some(compression) = Compression::of(&magic) {
            return Err(ImageError::Compressed { by: compression.name() });
        }
        let mut archive = Archive::new(FileInput::new(&file).map_err(io)?, Role::File);
        let mut members = Self { path: path.to_owned(), files: BTreeMap::new(), links: BTreeMap::new() };
        while let Some(entry) = archive.next().map_err(wrong)? {
            if members.files.len() + members.links.len() >= MAX_MEMBERS {
                let what = "files, which is more than an archive of images has";
                return Err(wrong(ArchiveError::TooMuch { what, limit: MAX_MEMBERS as u64 }));
            }
            members.add(entry.path, entry.kind, archive.position())?;
        }
        archive.finish(|| Ok(())).map_err(wrong)?;
        Ok(members)
    }

    fn add(&mut self, path: EntryPath, kind: Kind, position: u64) -> Result<(), ImageError> {
        let doubled = self.files.contains_key(&path) || self.links.contains_key(&path);
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
                self.files.insert(path, (position, size));
            }
            Kind::HardLink(target) => {
                self.links.insert(path, target);
            }
            // Layers that are there twice: older releases of docker write `../OTHER/layer.tar`.
            Kind::Symlink(target) => {
                let target = path.beside(&target).map_err(|reason| {
                    let reason = format!("{path} is a symbolic link whose target {reason}");
                    ImageError::Malformed { what: "archive", reason }
                })?;
                self.links.insert(path, target);
            }
            Kind::Folder | Kind::Special(_) => {}
        }
        Ok(())
    }

    /// The bytes of a file in it.
    pub(super) fn open(&self, name: &str) -> Result<Box<dyn Read>, ImageError> {
        let mut path = &EntryPath::parse(name.as_bytes(), Role::File).map_err(|_| missing(name))?;
        for _ in 0..MAX_LINKS {
            match self.links.get(path) {
                Some(target) => path = target,
                None => break,
            }
        }
        let (position, size) = *self.files.get(path).ok_or_else(|| missing(name))?;
        let mut file = open_regular(&self.path)?.ok_or_else(|| missing(name))?;
        let seek = file.seek(SeekFrom::Start(position));
        seek.map_err(|source| ImageError::Io { path: self.path.clone(), source })?;
        Ok(Box::new(file.take(size)))
    }
}
