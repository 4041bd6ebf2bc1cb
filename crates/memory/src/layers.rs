//! Where the pages of layers are, by their content.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::FileExt;

use crate::{PAGE, is_zero};

/// Pages that are indexed at most: 48 MiB of index. Pages of the upper layers beyond it are not found.
pub const INDEX_PAGES: usize = 6 << 20;

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// Finds pages of layer files by content.
#[derive(Debug)]
pub struct LayerPages<'a> {
    layers: Vec<Layer<'a>>,
    pages: Vec<Indexed>,
}

#[derive(Debug)]
struct Layer<'a> {
    file: &'a File,
    /// Its first page's number among the pages of all layers.
    base: u32,
}

/// A page by what is in it; sorted by its hash. Millions are in memory: half of a hash is enough to find a page, whose
/// bytes are compared anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Indexed {
    hash: u32,
    /// Its number among the pages of all layers, one layer after the other.
    number: u32,
}

impl<'a> LayerPages<'a> {
    /// Reads all of `files`, of which there are at most 255, and remembers where each page's content is.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn index(files: Vec<&'a File>) -> io::Result<Self> {
        let mut pages = Vec::new();
        let mut layers = Vec::new();
        let mut buffer = vec![0; READ_BYTES];
        let mut base = 0_u64;
        for file in files {
            // Behind four thousand million pages, at the latest, nothing is indexed any more.
            let Ok(first) = u32::try_from(base) else { break };
            layers.push(Layer { file, base: first });
            let mut at = 0_u64;
            while pages.len() < INDEX_PAGES {
                let length = read_up_to(file, &mut buffer, at)?;
                let read = buffer.get(..length - length % PAGE).unwrap_or(&[]);
                if read.is_empty() {
                    break;
                }
                for (n, page) in (base + at / PAGE as u64..).zip(read.chunks_exact(PAGE)) {
                    let Ok(number) = u32::try_from(n) else { break };
                    if !is_zero(page) && pages.len() < INDEX_PAGES {
                        pages.push(Indexed { hash: hash(page), number });
                    }
                }
                at += read.len() as u64;
            }
            base += at / PAGE as u64;
        }
        pages.sort_unstable();
        Ok(Self { layers, pages })
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
        let first = self.pages.partition_point(|candidate| candidate.hash < hash);
        for candidate in self.pages.iter().skip(first).take_while(|candidate| candidate.hash == hash) {
            let Some((layer, number)) = self.place(candidate.number) else { continue };
            if self.equals(page, layer, number)? {
                return Ok(Some((layer, number)));
            }
        }
        Ok(None)
    }

    /// The layer, and the page in it, that has a number among the pages of all layers.
    fn place(&self, number: u32) -> Option<(u8, u32)> {
        let layer = self.layers.partition_point(|layer| layer.base <= number).checked_sub(1)?;
        let base = self.layers.get(layer)?.base;
        Some((u8::try_from(layer).ok()?, number - base))
    }

    fn equals(&self, page: &[u8], layer: u8, number: u32) -> io::Result<bool> {
        let Some(Layer { file, .. }) = self.layers.get(layer as usize) else { return Ok(false) };
        let mut stored = [0; PAGE];
        let length = read_up_to(file, &mut stored, u64::from(number) * PAGE as u64)?;
        Ok(length == PAGE && stored == page)
    }
}

fn hash(page: &[u8]) -> u32 {
    let mut hasher = DefaultHasher::new();
    page.hash(&mut hasher);
    (hasher.finish() >> 32) as u32
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
