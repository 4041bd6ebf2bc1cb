//! Where the pages of layers are, by their content.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::FileExt;

use crate::{PAGE, is_zero};

/// Pages that are indexed at most: 96 MiB of index. Pages of the upper layers beyond it are not found.
pub const INDEX_PAGES: usize = 6 << 20;

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// Finds pages of layer files by content.
#[derive(Debug)]
pub struct LayerPages<'a> {
    files: Vec<&'a File>,
    /// Hash, layer and page, sorted by hash.
    pages: Vec<(u64, u8, u32)>,
}

impl<'a> LayerPages<'a> {
    /// Reads all of `files`, of which there are at most 255, and remembers where each page's content is.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn index(files: Vec<&'a File>) -> io::Result<Self> {
        let mut pages = Vec::new();
        let mut buffer = vec![0; READ_BYTES];
        for (layer, file) in (0_u8..).zip(&files) {
            let mut at = 0_u64;
            while pages.len() < INDEX_PAGES {
                let length = read_up_to(file, &mut buffer, at)?;
                let read = buffer.get(..length - length % PAGE).unwrap_or(&[]);
                if read.is_empty() {
                    break;
                }
                for (n, page) in (at / PAGE as u64..).zip(read.chunks_exact(PAGE)) {
                    let Ok(n) = u32::try_from(n) else { break };
                    if !is_zero(page) {
                        pages.push((hash(page), layer, n));
                    }
                }
                at += read.len() as u64;
            }
        }
        pages.sort_unstable();
        Ok(Self { files, pages })
    }

    /// The layer and page whose bytes are those of `page`, which is one page long.
    ///
    /// Looks first behind `after`, where the page before it was found, so that files cached in a row are one run.
    ///
    /// # Errors
    /// If a candidate cannot be read for comparison.
    pub fn find(&self, page: &[u8], after: Option<(u8, u32)>) -> io::Result<Option<(u8, u32)>> {
        if let Some((layer, before)) = after {
            let next = before.saturating_add(1);
            if self.equals(page, layer, next)? {
                return Ok(Some((layer, next)));
            }
        }
        let hash = hash(page);
        let first = self.pages.partition_point(|(candidate, ..)| *candidate < hash);
        for (candidate, layer, number) in self.pages.iter().skip(first) {
            if *candidate != hash {
                break;
            }
            if self.equals(page, *layer, *number)? {
                return Ok(Some((*layer, *number)));
            }
        }
        Ok(None)
    }

    fn equals(&self, page: &[u8], layer: u8, number: u32) -> io::Result<bool> {
        let Some(file) = self.files.get(layer as usize) else { return Ok(false) };
        let mut stored = [0; PAGE];
        let length = read_up_to(file, &mut stored, u64::from(number) * PAGE as u64)?;
        Ok(length == PAGE && stored == page)
    }
}

fn hash(page: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    page.hash(&mut hasher);
    hasher.finish()
}

/// Fills `buffer` from `at`, or up to the file's end; says how many bytes that were.
pub(crate) fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + filled as u64) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
