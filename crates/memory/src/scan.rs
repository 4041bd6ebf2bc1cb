//! Sorts the pages of a sparse file into zero, equal to a layer's, and to be stored.

use std::fs::File;
use std::io;
use std::ops::Range;

use format::limits::MAP_EXTENTS;
use rustix::fs::SeekFrom;

use crate::layers::read_up_to;
use crate::{LayerPages, PAGE, is_zero};

/// Pages that one worker takes at a time: 16 MiB.
const WINDOW_PAGES: u64 = 4096;
/// Bytes read at a time.
const READ_PAGES: usize = 64;
/// Threads at most: reading and comparing is bound by memory, and more of them are no faster.
const WORKERS_MAX: usize = 8;
/// Millions are in memory: see the crate's invariants.
const _: () = assert!(size_of::<Run>() == 16);

/// A run of pages that are not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// First page.
    pub start: u32,
    /// Pages, at least 1.
    pub pages: u32,
    /// What they are.
    pub content: Content,
}

/// What a run's pages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Found nowhere else: to be stored.
    New,
    /// Equal, byte by byte, to a layer's.
    Layer {
        /// Number of the layer.
        layer: u8,
        /// Its first page.
        page: u32,
    },
}

/// Why a file could not be scanned.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The file, or a layer's, could not be read.
    #[error("cannot read the pages: {0}")]
    Io(#[from] io::Error),
    /// There are more runs than a map can have.
    #[error("the pages are in more than {MAP_EXTENTS} pieces: a map cannot hold them")]
    TooManyRuns,
    /// The file is not whole pages, or has more than 2³² − 1.
    #[error("the file has {0} bytes: expected whole pages, less than 16 TiB")]
    Length(u64),
}

/// Sorts the pages of `file`, a memory image or a disk, in parallel. Pages in no run are zero.
///
/// # Errors
/// If a file cannot be read, is not made of whole pages, or is in more pieces than a map can hold.
pub fn scan(file: &File, layers: Option<&LayerPages<'_>>) -> Result<Vec<Run>, ScanError> {
    let length = file.metadata()?.len();
    let pages = u32::try_from(length / PAGE as u64).map_err(|_| ScanError::Length(length))?;
    if !length.is_multiple_of(PAGE as u64) {
        return Err(ScanError::Length(length));
    }
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX) as u64;
    let mut runs: Vec<Run> = Vec::new();
    let mut at = 0;
    while at < u64::from(pages) {
        at = next_data(file, at)?.min(pages.into());
        let windows: Vec<Range<u64>> = (0..workers)
            .map(|n| at + n * WINDOW_PAGES)
            .map(|start| start.min(pages.into())..(start + WINDOW_PAGES).min(pages.into()))
            .collect();
        at = windows.last().map_or(at, |window| window.end);
        let found = std::thread::scope(|scope| {
            let tasks: Vec<_> = windows
                .into_iter()
                .map(|window| scope.spawn(move || scan_window(file, layers, window)))
                .collect();
            tasks
                .into_iter()
                .map(|task| task.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect::<Vec<_>>()
        });
        for window in found {
            for run in window? {
                push(&mut runs, run)?;
            }
        }
    }
    Ok(runs)
}

fn scan_window(
    file: &File,
    layers: Option<&LayerPages<'_>>,
    window: Range<u64>,
) -> Result<Vec<Run>, ScanError> {
    let mut runs: Vec<Run> = Vec::new();
    let mut buffer = vec![0; READ_PAGES * PAGE];
    let mut at = window.start;
    let mut after = None;
    while at < window.end {
        let length = read_up_to(file, &mut buffer, at * PAGE as u64)?;
        let read = buffer.get(..length).unwrap_or(&[]);
        if read.len() < PAGE {
            break;
        }
        for (number, page) in (at..window.end).zip(read.chunks_exact(PAGE)) {
            if is_zero(page) {
                after = None;
                continue;
            }
            after = layers.map_or(Ok(None), |layers| layers.find(page, after))?;
            let content = after.map_or(Content::New, |(layer, page)| Content::Layer { layer, page });
            let start = u32::try_from(number).map_err(|_| ScanError::Length(number))?;
            push(&mut runs, Run { start, pages: 1, content })?;
        }
        at += READ_PAGES as u64;
    }
    Ok(runs)
}

/// Appends a run, joined with the last one where it continues it.
fn push(runs: &mut Vec<Run>, run: Run) -> Result<(), ScanError> {
    if let Some(last) = runs.last_mut().filter(|last| continues(last, &run)) {
        last.pages += run.pages;
        return Ok(());
    }
    if runs.len() == MAP_EXTENTS {
        return Err(ScanError::TooManyRuns);
    }
    runs.push(run);
    Ok(())
}

fn continues(before: &Run, run: &Run) -> bool {
    let touches = before.start + before.pages == run.start;
    touches
        && match (before.content, run.content) {
            (Content::New, Content::New) => true,
            (Content::Layer { layer: a, page }, Content::Layer { layer: b, page: next }) => {
                a == b && page + before.pages == next
            }
            _ => false,
        }
}

/// The first page from `page` on that may not be a hole.
fn next_data(file: &File, page: u64) -> io::Result<u64> {
    match rustix::fs::seek(file, SeekFrom::Data(page * PAGE as u64)) {
        Ok(byte) => Ok(byte / PAGE as u64),
        Err(rustix::io::Errno::NXIO) => Ok(u64::MAX),
        // A file system without holes.
        Err(rustix::io::Errno::INVAL) => Ok(page),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn file(pages: &[(u64, u8)], length: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(length * PAGE as u64).unwrap();
        for (page, byte) in pages {
            file.write_all_at(&[*byte; PAGE], page * PAGE as u64).unwrap();
        }
        file
    }

    fn new(start: u32, pages: u32) -> Run {
        Run { start, pages, content: Content::New }
    }

    fn layer(start: u32, pages: u32, layer: u8, page: u32) -> Run {
        Run { start, pages, content: Content::Layer { layer, page } }
    }

    #[test]
    fn written_zeros_are_as_good_as_holes() {
        let file = file(&[(0, 1), (1, 0), (2, 3), (3, 3), (40_000, 0), (50_000, 5)], 60_000);
        assert_eq!(scan(&file, None).unwrap(), [new(0, 1), new(2, 2), new(50_000, 1)]);
        assert_eq!(scan(&self::file(&[], 60_000), None).unwrap(), []);
    }

    #[test]
    fn runs_join_across_windows() {
        let all: Vec<_> = (4090..4100).map(|page| (page, 1)).collect();
        assert_eq!(scan(&file(&all, 10_000), None).unwrap(), [new(4090, 10)]);
    }

    #[test]
    fn pages_of_layers_are_found_and_followed() {
        let low = file(&[(0, 9), (1, 8), (2, 9), (3, 7)], 4);
        let high = file(&[(5, 6)], 6);
        let layers = LayerPages::index(vec![&low, &high]).unwrap();
        let memory = file(&[(10, 9), (11, 7), (12, 6), (20, 8), (21, 9), (22, 7), (30, 77)], 40);
        let runs = scan(&memory, Some(&layers)).unwrap();
        assert_eq!(
            runs,
            [layer(10, 1, 0, 0), layer(11, 1, 0, 3), layer(12, 1, 1, 5), layer(20, 3, 0, 1), new(30, 1)]
        );
    }

    #[test]
    fn half_pages_are_refused() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(5000).unwrap();
        assert!(matches!(scan(&file, None), Err(ScanError::Length(5000))));
    }

    #[test]
    fn zero_is_zero_to_the_last_byte() {
        for length in [0, 1, 63, 64, 65, PAGE] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes));
            if let Some(last) = bytes.last_mut() {
                *last = 1;
                assert!(!is_zero(&bytes));
            }
        }
    }
}
