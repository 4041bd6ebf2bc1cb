//! Hashing blobs and layers again on many cores, and comparing what maps were laid out to with the maps: those one by
//! one, since each is laid out on many cores by itself, and a map can be large.

use std::fs::File;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use format::{Digest, PAGE_SIZE};

use crate::file::{At, FileError, TempFile};
use crate::frames::workers;
use crate::fsck::compare::first_difference;
use crate::fsck::{Problem, Progress, Report};
use crate::layout::{LayerFile, LayoutError, hash_file, write_map};
use crate::{BlobError, FlatKey, Folder, LoadError, Store};

/// One file to check.
#[derive(Debug, Clone, Copy)]
enum Content {
    Blob(Digest),
    Flat(FlatKey),
}

impl Store {
    pub(super) fn check_contents(
        &self,
        report: &mut Report,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<(), FileError> {
        let mut contents = Vec::new();
        for digest in self.blobs()? {
            contents.extend(self.size_if_there(&digest)?.map(|size| (Content::Blob(digest), size)));
        }
        report.blobs = contents.len();
        contents.extend(self.flat_files()?.into_iter().map(|flat| {
            // A layer is hashed with its holes; of what a map was laid out to, holes are not read.
            let work = if matches!(flat.key, FlatKey::Layer(_)) { flat.size } else { flat.allocated };
            (Content::Flat(flat.key), work)
        }));
        report.flats = contents.len() - report.blobs;
        // The largest first, so that no core ends up with it alone.
        contents.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        let total = contents.iter().map(|(_, size)| size).sum();
        let is_laid_out = |(content, _): &(Content, u64)| matches!(content, Content::Flat(FlatKey::Map(_)));
        let (laid_out, hashed): (Vec<_>, Vec<_>) = contents.into_iter().partition(is_laid_out);
        let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
        let problems = Mutex::new(Vec::new());
        let check = |(content, size): &(Content, u64)| {
            let found = self.check_content(*content);
            problems.lock().unwrap_or_else(PoisonError::into_inner).extend(found.err());
            progress(Progress { done: done.fetch_add(*size, Ordering::Relaxed) + size, total });
        };
        let next_hashed = || hashed.get(next.fetch_add(1, Ordering::Relaxed));
        std::thread::scope(|scope| {
            for _ in 0..workers() {
                scope.spawn(|| std::iter::from_fn(next_hashed).for_each(check));
            }
            laid_out.iter().for_each(check);
        });
        report.problems.append(&mut problems.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    fn check_content(&self, content: Content) -> Result<(), Problem> {
        match content {
            Content::Blob(digest) => {
                let file = match self.open_blob(&digest) {
                    Ok(file) => file,
                    Err(BlobError::File(error)) => return Err(error.into()),
                    // Collected since it was listed.
                    Err(_) => return Ok(()),
                };
                let found = hash_file(&file).at("read", &self.blob_path(&digest))?;
                let damaged = Problem::DamagedBlob { digest, found, users: Vec::new() };
                if found == digest { Ok(()) } else { Err(damaged) }
            }
            Content::Flat(key) => {
                let Some(file) = self.open_flat(key)? else { return Ok(()) };
                match key {
                    FlatKey::Layer(content) => {
                        let found = hash_file(&file).at("read", &self.flat_path(key))?;
                        if found == content { Ok(()) } else { Err(Problem::DamagedLayer { key, found }) }
                    }
                    FlatKey::Map(map) => self.check_map_file(key, &map, &file),
                }
            }
        }
    }

    /// Lays the map out once more, in a temporary file, and compares.
    fn check_map_file(&self, key: FlatKey, map: &Digest, file: &File) -> Result<(), Problem> {
        let map = match self.read_map(map) {
            Ok(map) => map,
            Err(LoadError::Blob(BlobError::File(error))) => return Err(error.into()),
            // No map to compare with: a file that nothing uses any more. A damaged one is a problem of its own.
            Err(_) => return Ok(()),
        };
        let unchecked = |error: LayoutError| Problem::Unchecked { key, source: Box::new(error) };
        let mut layers = Vec::new();
        for content in map.layers() {
            let file = self.open_flat(FlatKey::Layer(*content))?;
            layers.extend(file.map(|file| LayerFile { content: *content, file }));
        }
        self.ensure_space(map.covered_pages() * PAGE_SIZE).map_err(|error| unchecked(error.into()))?;
        let expected = TempFile::create(&self.folder(Folder::Tmp), "lay out once more", self.flat_path(key))?;
        write_map(self, &map, &layers, &expected.output()?).map_err(unchecked)?;
        let difference = first_difference(file, expected.file()).at("compare", &self.flat_path(key))?;
        difference.map_or(Ok(()), |offset| Err(Problem::DamagedFlat { key, offset }))
    }
}
