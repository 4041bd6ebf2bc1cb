//! One map on its way to a flat file: what blobs hold is written as they come, and a thread of its own makes the file visible
//! in the end.
//!
//! A layer is hashed by that thread, behind what is written. A file whose content is not what the config declares never
//! becomes visible, nor one that is given up.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use format::map::Source;
use format::{Digest, Hasher, Map, PAGE_SIZE};

use super::{BySource, LayerFile, LayoutError, Stop, copy_layers, write_blob};
use crate::file::Output;
use crate::{FlatWriter, Lock, Store};

/// A map that this process lays out.
#[derive(Debug)]
pub(super) struct Work {
    out: Output,
    order: BySource,
    /// Numbers of the blobs that are written.
    written: BTreeSet<u32>,
    /// Whether the blobs are the pages in order.
    is_layer: bool,
    /// Told of what is written; nobody once all is.
    progress: Option<Sender<Progress>>,
    /// Whether nobody needs the file any more.
    given_up: Arc<AtomicBool>,
    /// Makes the file visible in the end; `None` once that was waited for.
    closer: Option<JoinHandle<Result<(), LayoutError>>>,
}

/// What the thread is told that closes a file.
#[derive(Debug)]
enum Progress {
    /// So many pages are written without a gap.
    Pages(u64),
    /// Something is written.
    Some,
    /// All is.
    All,
}

impl Work {
    pub(super) fn begin(
        map: &Map,
        writer: FlatWriter,
        lock: Lock,
        content: Option<Digest>,
    ) -> Result<Self, LayoutError> {
        let (out, whole) = (writer.output()?, writer.output()?);
        out.set_len(map.bytes())?;
        let (progress, written) = channel();
        let (bytes, is_layer) = (map.bytes(), content.is_some());
        let given_up = Arc::new(AtomicBool::new(false));
        let is_given_up = Arc::clone(&given_up);
        let close = move || {
            let _held = lock;
            close(writer, &whole, bytes, content, &written, &is_given_up)
        };
        let closer = Some(thread::Builder::new().name("layout".to_owned()).spawn(close)?);
        let (order, written, progress) = (BySource::new(map), BTreeSet::new(), Some(progress));
        Ok(Self { out, order, written, is_layer, progress, given_up, closer })
    }

    pub(super) fn write(
        &mut self,
        map: &Map,
        number: u32,
        file: &File,
        stop: Stop<'_>,
    ) -> Result<(), LayoutError> {
        let Some(blob) = map.blobs().get(number as usize).filter(|_| !self.written.contains(&number)) else {
            return Ok(());
        };
        // What is written follows on what was, if the blobs before it are there.
        let is_next = self.is_layer && (0..number).all(|before| self.written.contains(&before));
        let told = |page| self.tell(if is_next { Progress::Pages(page) } else { Progress::Some });
        let extents = self.order.of(map, Source::Blob(number));
        write_blob(file, blob, extents, &self.out, stop, &mut |page| told(page))?;
        self.written.insert(number);
        if self.is_layer {
            let without_gap = (0..).zip(map.blobs()).take_while(|(number, _)| self.written.contains(number));
            self.tell(Progress::Pages(without_gap.map(|(_, blob)| blob.plain_pages).sum()));
        }
        Ok(())
    }

    /// Writes what was not written as it came.
    pub(super) fn write_rest(&mut self, map: &Map, store: &Store, stop: Stop<'_>) -> Result<(), LayoutError> {
        for (number, blob) in (0..).zip(map.blobs()) {
            if !self.written.contains(&number) {
                self.write(map, number, &store.open_blob(&blob.digest)?, stop)?;
            }
        }
        Ok(())
    }

    fn tell(&self, progress: Progress) {
        if let Some(closer) = &self.progress {
            // It stops hearing only when it is done or fails, which it says in the end.
            closer.send(progress).ok();
        }
    }

    /// Whether nothing is missing that [`Work::close`] needs.
    pub(super) fn can_close(&self, map: &Map, layers: &[LayerFile]) -> bool {
        let is_there = |content: &Digest| layers.iter().any(|layer| layer.content == *content);
        self.progress.is_some()
            && self.written.len() == map.blobs().len()
            && map.layers().iter().all(is_there)
    }

    /// All blobs are written: the pages of layers, which are written and may not be verified yet. Once is enough.
    pub(super) fn fill(
        &mut self,
        map: &Map,
        layers: &[LayerFile],
        stop: Stop<'_>,
    ) -> Result<(), LayoutError> {
        if self.progress.is_some() {
            copy_layers(map, &self.order, layers, &self.out, stop)?;
            self.order = BySource::default();
            self.tell(Progress::Some);
        }
        Ok(())
    }

    /// All is written: the file can become visible. To be called once the layers are verified that it has pages of.
    pub(super) fn close(&mut self) {
        self.tell(Progress::All);
        self.progress = None;
    }

    pub(super) fn file(&self) -> Result<File, LayoutError> {
        Ok(self.out.try_clone()?)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closer.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Waits until the file is visible.
    pub(super) fn wait(mut self) -> Result<File, LayoutError> {
        if let Some(closer) = self.closer.take() {
            closer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        self.file()
    }
}

impl Drop for Work {
    /// Nothing of it is left when this returns.
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
        self.progress = None;
        if let Some(closer) = self.closer.take() {
            closer.join().ok();
        }
    }
}

/// Hashes what is written, if it has an identity to show, and makes the file visible when all of it is written.
fn close(
    writer: FlatWriter,
    out: &Output,
    bytes: u64,
    content: Option<Digest>,
    written: &Receiver<Progress>,
    is_given_up: &AtomicBool,
) -> Result<(), LayoutError> {
    let (mut hasher, mut hashed) = (Hasher::new(), 0);
    let mut buffer = vec![0; 256 << 10];
    let mut is_whole = false;
    while let Ok(progress) = written.recv() {
        // The disk has something to do while the rest is decoded.
        out.begin_writeback();
        let end = match progress {
            Progress::Pages(pages) => pages * PAGE_SIZE,
            Progress::Some => 0,
            Progress::All => bytes,
        };
        while content.is_some() && hashed < end {
            if is_given_up.load(Ordering::Relaxed) {
                return Ok(());
            }
            let length = buffer.len().min(usize::try_from(end - hashed).unwrap_or(usize::MAX));
            let chunk = buffer.get_mut(..length).unwrap_or_default();
            out.read_back(chunk, hashed)?;
            hasher.update(chunk);
            hashed += length as u64;
        }
        is_whole = end == bytes;
        if is_whole {
            break;
        }
    }
    if !is_whole {
        // Given up: the file goes with its writer.
        return Ok(());
    }
    let found = hasher.finish();
    match content.filter(|expected| *expected != found) {
        Some(expected) => Err(LayoutError::Content { found, expected }),
        None => Ok(writer.commit()?),
    }
}
