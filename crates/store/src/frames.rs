//! Compresses pages of a file into frame blobs, on many cores and in bounded memory.
//!
//! ```text
//!  reader ──jobs──▶ workers (zstd) ──replies, in the order of the pages──▶ writer: blobs of at most 64 MiB
//! ```
//!
//! The pages lie densely in the blobs' plain streams, in the order of the ranges. With equal pages and the same
//! [`Framing`] the blobs are the same, whatever the number of cores.

use std::borrow::Borrow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use format::PAGE_SIZE;
use format::frame::{BlobBuilder, FrameError};
use format::map::{MapBlob, MapBuilder};
use format::zstd_frame::{Encoder, LEVEL_FAST, LEVEL_LAYER};
use format::{Map, MapError};

use crate::{BlobError, BlobWriter, FileError, Lease, Store};

/// How pages are cut and compressed. The values were measured; they are no part of any identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    level: i32,
    frame_pages: u64,
    /// Threads, at most.
    workers_max: usize,
}

impl Framing {
    /// For layers: read in whole, shared by many snapshots, compressed once for each base. Frames of 4 MiB are 5 % smaller
    /// than those of 1 MiB, and take an encoder of 11 MiB: together with what is on its way, 25 MiB for each thread.
    pub const LAYER: Self = Self { level: LEVEL_LAYER, frame_pages: 1024, workers_max: 4 };
    /// For memory and writable disks: parts of them are replaced by derived snapshots.
    pub const PRIVATE: Self = Self { level: LEVEL_FAST, frame_pages: 64, workers_max: WORKERS_MAX };
}

/// Why pages could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum FramesError {
    /// The pages could not be read or compressed.
    #[error("cannot compress pages: {0}")]
    Io(#[from] io::Error),
    /// A blob could not be written.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A frame is out of bounds.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The pages cannot be mapped.
    #[error(transparent)]
    Map(#[from] MapError),
}

impl From<FileError> for FramesError {
    fn from(error: FileError) -> Self {
        Self::Blob(error.into())
    }
}

struct Job {
    plain: Vec<u8>,
    reply: SyncSender<io::Result<Frame>>,
}

struct Frame {
    compressed: Vec<u8>,
    plain_bytes: usize,
}

/// Frames on their way to the writer, per worker.
const IN_FLIGHT: usize = 2;

/// Threads that compress, decode or hash at a time, at most. Each takes several MiB for its encoder and its frames, and
/// a few of them are as fast as the disk: however many cores there are, they stay far below 100 MiB together.
const WORKERS_MAX: usize = 8;

/// How many threads are to compress, decode or hash on this machine.
pub(crate) fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX)
}

impl Store {
    /// Stores the pages `ranges` (first page, pages) of `file` in frame blobs, under `lease`.
    ///
    /// # Errors
    /// If they cannot be read, or the blobs cannot be written.
    pub fn write_frames<Range: Borrow<(u64, u64)>>(
        &self,
        lease: &Lease,
        file: &File,
        ranges: impl IntoIterator<Item = Range, IntoIter: Send>,
        framing: Framing,
    ) -> Result<Vec<MapBlob>, FramesError> {
        let workers = workers().min(framing.workers_max);
        let ranges = ranges.into_iter();
        let (jobs, taken) = sync_channel::<Job>(workers);
        let (ordered, replies) = sync_channel(workers * IN_FLIGHT);
        let taken = Mutex::new(taken);
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || read_frames(file, ranges, framing, &jobs, &ordered));
            for _ in 0..workers {
                scope.spawn(|| compress(&taken, framing));
            }
            let written = self.write_blobs(lease, replies);
            let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // A reader that stopped because the writer did has nothing to say.
            let blobs = written?;
            read?;
            Ok(blobs)
        })
    }

    /// Stores a layer's `pages` pages and gives its map.
    ///
    /// # Errors
    /// See [`Store::write_frames`].
    pub fn write_layer_frames(&self, lease: &Lease, file: &File, pages: u64) -> Result<Map, FramesError> {
        let blobs = self.write_frames(lease, file, [(0, pages)], Framing::LAYER)?;
        let mut builder = MapBuilder::new(pages);
        let mut start = 0;
        for blob in &blobs {
            builder.blob(start, blob.plain_pages, blob, 0)?;
            start += blob.plain_pages;
        }
        Ok(builder.finish()?)
    }

    fn write_blobs(
        &self,
        lease: &Lease,
        replies: Receiver<Receiver<io::Result<Frame>>>,
    ) -> Result<Vec<MapBlob>, FramesError> {
        let mut blobs = Vec::new();
        let mut open: Option<(BlobWriter, BlobBuilder)> = None;
        for reply in replies {
            let frame = reply.recv().map_err(|_| io::Error::other("a compressor has stopped"))??;
            if let Some(full) = open.take_if(|(_, builder)| !builder.fits(frame.compressed.len())) {
                blobs.push(close(full)?);
            }
            let (writer, builder) = match &mut open {
                Some(open) => open,
                None => open.insert((self.blob_writer(lease)?, BlobBuilder::default())),
            };
            builder.push(&frame.compressed, frame.plain_bytes)?;
            writer.append(&frame.compressed)?;
        }
        open.map(|open| close(open).map(|blob| blobs.push(blob))).transpose()?;
        Ok(blobs)
    }
}

fn close((mut writer, builder): (BlobWriter, BlobBuilder)) -> Result<MapBlob, FramesError> {
    let index = builder.finish();
    writer.append(&index.encode())?;
    let (digest, _) = writer.finish(None)?;
    Ok(MapBlob::new(digest, &index))
}

/// Reads the ranges into frames' plain bytes. Ends early, without an error, when the writer has given up.
fn read_frames(
    file: &File,
    ranges: impl Iterator<Item = impl Borrow<(u64, u64)>>,
    framing: Framing,
    jobs: &SyncSender<Job>,
    ordered: &SyncSender<Receiver<io::Result<Frame>>>,
) -> io::Result<()> {
    let frame_bytes = usize::try_from(framing.frame_pages * PAGE_SIZE).unwrap_or(usize::MAX);
    let mut plain = Vec::with_capacity(frame_bytes);
    let send = |plain: Vec<u8>| {
        let (reply, replied) = sync_channel(1);
        ordered.send(replied).is_ok() && jobs.send(Job { plain, reply }).is_ok()
    };
    for range in ranges {
        let (start, pages) = range.borrow();
        let (mut at, end) = (start * PAGE_SIZE, (start + pages) * PAGE_SIZE);
        while at < end {
            let old = plain.len();
            let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(frame_bytes - old);
            plain.resize(old + length, 0);
            file.read_exact_at(plain.get_mut(old..).unwrap_or_default(), at)?;
            at += length as u64;
            if plain.len() == frame_bytes
                && !send(std::mem::replace(&mut plain, Vec::with_capacity(frame_bytes)))
            {
                return Ok(());
            }
        }
    }
    if !plain.is_empty() {
        send(plain);
    }
    Ok(())
}

fn compress(jobs: &Mutex<Receiver<Job>>, framing: Framing) {
    let mut encoder = None;
    loop {
        let Ok(job) = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv() else { return };
        let frame = encode(&mut encoder, framing, &job.plain);
        // The writer may have given up; its own error is told.
        job.reply.send(frame).ok();
    }
}

fn encode(encoder: &mut Option<Encoder>, framing: Framing, plain: &[u8]) -> io::Result<Frame> {
    let encoder = match encoder {
        Some(encoder) => encoder,
        None => encoder.insert(Encoder::new(framing.level)?),
    };
    Ok(Frame { compressed: encoder.encode(plain)?, plain_bytes: plain.len() })
}
