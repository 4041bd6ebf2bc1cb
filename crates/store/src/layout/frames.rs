//! Writes what a map's extents want from one blob.
//!
//! The extents are cut at the frames' borders, and a bounded number of pieces is in memory at a time: how many a map
//! makes is up to who wrote it. They come sorted by page, so that few frames are decoded for more than one batch.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use format::PAGE_SIZE;
use format::frame::{FrameError, Index, Reader};
use format::map::{Extent, MapBlob};

use super::{LayoutError, Stop, bytes, read_index};
use crate::FileError;
use crate::file::Output;

/// Pages that are written at a time, 32 MiB of them: a layer's frame for each of the workers. Each piece has one page at
/// least. Tests have small maps, and are to see more than one batch.
const BATCH_PAGES: u32 = if cfg!(test) { 50 } else { 1 << 13 };

/// Part of an extent that lies in one frame. A map, a blob and a frame have fewer than 2^32 pages each.
#[derive(Debug, Clone, Copy)]
struct Piece {
    frame: u32,
    /// First page in the frame.
    page: u32,
    pages: u32,
    /// First page in the address space.
    start: u32,
}

/// Writes all pages that `extents`, sorted by page, want from `blob`, which is open as `file`. Of extents that are sorted by where they lie in the
/// address space, too, as those of a layer, `on_written` is told the page up to which they are written.
pub(super) fn write_blob<'a>(
    file: &File,
    blob: &MapBlob,
    extents: impl Iterator<Item = &'a Extent> + Send,
    out: &Output,
    stop: Stop<'_>,
    on_written: &mut (dyn FnMut(u64) + Send),
) -> Result<(), LayoutError> {
    let index = &read_index(file, blob)?;
    let pieces = extents.flat_map(|extent| cut(index, extent));
    let batches = Batches {
        pieces,
        groups: VecDeque::new(),
        open: VecDeque::new(),
        ended: 0,
        is_given_up: false,
        on_written,
    };
    let writer =
        Writer { blob, file, index, out, stop, batches: Mutex::new(batches), writing: Mutex::new(()) };
    let workers = crate::frames::workers().min(index.frames().len());
    std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..workers).map(|_| scope.spawn(|| writer.work())).collect();
        tasks
            .into_iter()
            .map(|task| task.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .fold(Ok(()), Result::and)
    })?;
    // What is laid out is not read again: its memory is of more use to what is being written. That it is not taken back is no
    // harm.
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).ok();
    Ok(())
}

/// The pieces of a blob, a batch of them at a time. Whoever comes when a batch is given away begins the next one: nobody waits for
/// the others.
struct Batches<'a, P> {
    pieces: P,
    /// What is to be written next: its batch, and pieces of one frame.
    groups: VecDeque<(usize, Vec<Piece>)>,
    /// Of each batch that is not written: the page that it ends with, and how many of its groups are left.
    open: VecDeque<(u64, usize)>,
    /// How many batches are written, and all before them.
    ended: usize,
    /// Whether somebody has failed.
    is_given_up: bool,
    on_written: &'a mut (dyn FnMut(u64) + Send),
}

impl<P: Iterator<Item = Result<Piece, FrameError>>> Batches<'_, P> {
    fn next(&mut self) -> Result<Option<(usize, Vec<Piece>)>, FrameError> {
        if self.is_given_up {
            return Ok(None);
        }
        if self.groups.is_empty() {
            self.begin()?;
        }
        Ok(self.groups.pop_front())
    }

    fn begin(&mut self) -> Result<(), FrameError> {
        let (mut batch, mut pages) = (Vec::new(), 0);
        while pages < BATCH_PAGES
            && let Some(piece) = self.pieces.next().transpose()?
        {
            pages += piece.pages;
            batch.push(piece);
        }
        let Some(last) = batch.last().copied() else { return Ok(()) };
        batch.sort_unstable_by_key(|piece| (piece.frame, piece.page));
        let number = self.ended + self.open.len();
        self.groups.extend(batch.chunk_by(|a, b| a.frame == b.frame).map(|group| (number, group.to_vec())));
        self.open.push_back((u64::from(last.start) + u64::from(last.pages), self.groups.len()));
        Ok(())
    }

    /// A group of this batch is written.
    fn written(&mut self, batch: usize) {
        if let Some((_, left)) = self.open.get_mut(batch - self.ended) {
            *left -= 1;
        }
        while let Some((end, 0)) = self.open.front().copied() {
            self.open.pop_front();
            self.ended += 1;
            (self.on_written)(end);
        }
    }
}

/// What those share who write one blob's pieces.
struct Writer<'a, P> {
    blob: &'a MapBlob,
    file: &'a File,
    index: &'a Index,
    out: &'a Output,
    stop: Stop<'a>,
    batches: Mutex<Batches<'a, P>>,
    /// The kernel lets one write to a file at a time, and who waits for that burns a core: the others decode meanwhile.
    writing: Mutex<()>,
}

impl<'a, P: Iterator<Item = Result<Piece, FrameError>>> Writer<'a, P> {
    /// Writes until nothing is left, or somebody has failed.
    fn work(&self) -> Result<(), LayoutError> {
        self.write_all().inspect_err(|_| self.batches().is_given_up = true)
    }

    fn write_all(&self) -> Result<(), LayoutError> {
        let Self { blob, file, index, out, stop, .. } = *self;
        let at_blob = |source| LayoutError::Frame { blob: blob.digest, source };
        let (mut reader, mut compressed, mut plain) = (Reader::new()?, Vec::new(), Vec::new());
        while let Some((batch, pieces)) = self.next().map_err(at_blob)? {
            if stop() {
                return Err(LayoutError::Stopped);
            }
            let Some(frame) = pieces.first().map(|piece| piece.frame as usize) else { continue };
            let Some(entry) = index.frames().get(frame) else { continue };
            compressed.resize(entry.compressed as usize, 0);
            file.read_exact_at(&mut compressed, entry.offset)
                .map_err(|source| LayoutError::Read { digest: blob.digest, source })?;
            reader.decode(index, frame, &compressed, &mut plain).map_err(at_blob)?;
            let held = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            for piece in pieces {
                let from = bytes(piece.page.into());
                let to = from + bytes(piece.pages.into());
                write_sparse(out, plain.get(from..to).unwrap_or_default(), piece.start.into())?;
            }
            drop(held);
            self.batches().written(batch);
        }
        Ok(())
    }

    /// What is to be written next. Nothing is held when this returns.
    fn next(&self) -> Result<Option<(usize, Vec<Piece>)>, FrameError> {
        self.batches().next()
    }

    fn batches(&self) -> MutexGuard<'_, Batches<'a, P>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An extent cut at the frames' borders.
fn cut(index: &Index, extent: &Extent) -> impl Iterator<Item = Result<Piece, FrameError>> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done >= extent.pages() {
            return None;
        }
        let first = extent.page() + done;
        let frame = match index.frame_of(first) {
            Ok(frame) => frame,
            Err(error) => {
                done = extent.pages();
                return Some(Err(error));
            }
        };
        let entry = index.frames().get(frame)?;
        let page = first - entry.first_page;
        let pages = (entry.pages() - page).min(extent.pages() - done);
        let start = extent.start() + done;
        done += pages;
        Some(Ok(Piece {
            frame: narrow(frame as u64),
            page: narrow(page),
            pages: narrow(pages),
            start: narrow(start),
        }))
    })
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Writes whole pages, leaving holes where they are zero.
fn write_sparse(out: &Output, plain: &[u8], start: u64) -> Result<(), FileError> {
    let page = bytes(1);
    let zero = |page: &[u8]| page.iter().all(|byte| *byte == 0);
    let mut at = start;
    for run in plain.chunks(page).collect::<Vec<_>>().chunk_by(|a, b| zero(a) == zero(b)) {
        let (from, length) = (bytes(at - start), run.iter().map(|page| page.len()).sum::<usize>());
        if !run.first().is_some_and(|page| zero(page)) {
            out.write_at(plain.get(from..from + length).unwrap_or_default(), at * PAGE_SIZE)?;
        }
        at += run.len() as u64;
    }
    Ok(())
}
