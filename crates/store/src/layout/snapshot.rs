//! All maps of a snapshot, laid out once and shared by whoever needs them; a blob at a time, so that those which are there
//! are laid out while others arrive.
//!
//! ```text
//! to do ──▶ at work ──▶ done        a blob is there: its frames are written, wherever maps want them
//!   │                     ▲         all of them are, and the layers' pages: synced, renamed
//!   └──▶ elsewhere ───────┘         another process lays it out: waited for at the end
//! ```
//!
//! A layer is hashed behind what is written, on a thread of its own. Nobody but who waits at the end waits for a lock, so that
//! processes which fetch blobs for each other never wait in a circle.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use format::map::{MapBlob, Source};
use format::{Config, Digest, Hasher, Map, Maps, PAGE_SIZE};

use super::{BySource, LayerFile, LayoutError, copy_layers, write_blob};
use crate::{FlatKey, FlatWriter, Lease, Lock, LockKey, Snapshot, Store};

/// Where a snapshot's address spaces lie as flat files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flats {
    /// The memory.
    pub memory: FlatKey,
    /// The disks, in the config's order.
    pub disks: Vec<FlatKey>,
}

/// The maps of one snapshot on their way to flat files. Dropped before its end, it leaves those that are whole.
#[derive(Debug)]
pub struct Layout<'a> {
    store: Store,
    lease: Lease,
    /// The disks' in the config's order, then the memory's, which may have pages of the layers before it.
    items: Vec<Item<'a>>,
    /// The items that a blob belongs to, and its number there.
    uses: HashMap<Digest, Vec<(usize, u32)>>,
}

/// One map.
#[derive(Debug)]
struct Item<'a> {
    key: FlatKey,
    map: &'a Map,
    state: State,
}

#[derive(Debug)]
enum State {
    ToDo,
    Elsewhere,
    AtWork(Work),
    Done(File),
}

impl Store {
    /// Begins to lay out every map of a snapshot that is not laid out yet. `lease` protects the files.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn layout<'a>(
        &self,
        lease: &Lease,
        config: &Config,
        maps: &'a Maps,
    ) -> Result<Layout<'a>, LayoutError> {
        let disks = config.disks.iter().zip(&maps.disks);
        let disks =
            disks.map(|(disk, map)| (disk.content.map_or(FlatKey::Map(disk.map), FlatKey::Layer), map));
        let memory = (FlatKey::Map(config.memory.map), &maps.memory);
        let mut items = Vec::new();
        for (key, map) in disks.chain([memory]) {
            lease.protect(key.digest())?;
            let state = self.open_flat(key)?.map_or(State::ToDo, State::Done);
            items.push(Item { key, map, state });
        }
        let mut uses = HashMap::<_, Vec<_>>::new();
        for (number, item) in items.iter().enumerate().filter(|(_, item)| matches!(item.state, State::ToDo)) {
            for (blob, MapBlob { digest, .. }) in (0..).zip(item.map.blobs()) {
                uses.entry(*digest).or_default().push((number, blob));
            }
        }
        Ok(Layout { store: self.clone(), lease: lease.clone(), items, uses })
    }

    /// Lays out every map of a snapshot that is not laid out yet. `lease` protects the files.
    ///
    /// `on_wait` is called when another command is laying out the same map, before waiting for it.
    ///
    /// # Errors
    /// If there is no room, a blob is damaged, or a layer's content is not what the config declares.
    pub fn lay_out(
        &self,
        lease: &Lease,
        snapshot: &Snapshot,
        on_wait: &mut dyn FnMut(),
    ) -> Result<Flats, LayoutError> {
        let layout = self.layout(lease, &snapshot.config, &snapshot.maps)?;
        self.ensure_space(layout.bytes())?;
        layout.finish(on_wait)
    }
}

impl Layout<'_> {
    /// Bytes that are going to be written, at most.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let to_do = self.items.iter().filter(|item| matches!(item.state, State::ToDo));
        to_do.fold(0, |sum, item| sum.saturating_add(item.map.covered_pages() * PAGE_SIZE))
    }

    /// Lays out what maps have from a blob that is in the store.
    ///
    /// # Errors
    /// If it is damaged, or a file cannot be written.
    pub fn add(&mut self, blob: &Digest) -> Result<(), LayoutError> {
        let Some(uses) = self.uses.remove(blob) else { return Ok(()) };
        let file = self.store.open_blob(blob)?;
        for (number, blob) in uses {
            let Some(item) = self.items.get_mut(number) else { continue };
            item.begin(&self.store, &self.lease)?;
            item.write(blob, &file)?;
        }
        self.settle()
    }

    /// Brings to its end what needs nothing more, without waiting.
    fn settle(&mut self) -> Result<(), LayoutError> {
        let mut layers = Vec::new();
        for item in &mut self.items {
            item.settle(&layers)?;
            if let (FlatKey::Layer(content), State::Done(file)) = (item.key, &item.state) {
                layers.push(LayerFile { content, file: file.try_clone()? });
            }
        }
        Ok(())
    }

    /// Lays out the rest. All blobs are in the store.
    ///
    /// `on_wait` is called when another command is laying out the same map, before waiting for it.
    ///
    /// # Errors
    /// If a blob is missing or damaged, or a layer's content is not what the config declares.
    pub fn finish(mut self, on_wait: &mut dyn FnMut()) -> Result<Flats, LayoutError> {
        let Self { store, lease, items, .. } = &mut self;
        for item in items.iter_mut() {
            item.begin(store, lease)?;
            item.write_rest(store)?;
        }
        let (mut layers, mut keys) = (Vec::new(), Vec::new());
        for item in items {
            let file = item.finish(store, lease, &layers, on_wait)?;
            if let FlatKey::Layer(content) = item.key {
                layers.push(LayerFile { content, file });
            }
            keys.push(item.key);
        }
        let memory = keys.pop().ok_or_else(|| io::Error::other("a snapshot has a memory"))?;
        Ok(Flats { memory, disks: keys })
    }
}

impl Item<'_> {
    /// Begins, unless somebody else has.
    fn begin(&mut self, store: &Store, lease: &Lease) -> Result<(), LayoutError> {
        if matches!(self.state, State::ToDo) {
            self.state = match store.try_lock(LockKey::Flat(self.key))? {
                Some(lock) => self.locked(store, lease, lock)?,
                None => State::Elsewhere,
            };
        }
        Ok(())
    }

    /// The state once this process has the lock.
    fn locked(&self, store: &Store, lease: &Lease, lock: Lock) -> Result<State, LayoutError> {
        if let Some(file) = store.open_flat(self.key)? {
            return Ok(State::Done(file));
        }
        let writer = store.flat_writer(lease, self.key)?;
        writer.file().set_len(self.map.bytes())?;
        let content = match self.key {
            FlatKey::Layer(content) => Some(content),
            FlatKey::Map(_) => None,
        };
        Ok(State::AtWork(Work::begin(self.map, writer, lock, content)?))
    }

    fn write(&mut self, number: u32, file: &File) -> Result<(), LayoutError> {
        match &mut self.state {
            State::AtWork(work) => work.write(self.map, number, file),
            _ => Ok(()),
        }
    }

    /// Writes what was not written as it came.
    fn write_rest(&mut self, store: &Store) -> Result<(), LayoutError> {
        let State::AtWork(work) = &mut self.state else { return Ok(()) };
        for (number, blob) in (0..).zip(self.map.blobs()) {
            if !work.written.contains(&number) {
                work.write(self.map, number, &store.open_blob(&blob.digest)?)?;
            }
        }
        Ok(())
    }

    fn settle(&mut self, layers: &[LayerFile]) -> Result<(), LayoutError> {
        let State::AtWork(work) = &mut self.state else { return Ok(()) };
        if work.can_close(self.map, layers) {
            work.close(self.map, layers)?;
        }
        if work.is_closed()
            && let State::AtWork(work) = std::mem::replace(&mut self.state, State::ToDo)
        {
            self.state = State::Done(work.wait()?);
        }
        Ok(())
    }

    fn finish(
        &mut self,
        store: &Store,
        lease: &Lease,
        layers: &[LayerFile],
        on_wait: &mut dyn FnMut(),
    ) -> Result<File, LayoutError> {
        if matches!(self.state, State::Elsewhere) {
            let lock = store.lock(LockKey::Flat(self.key), on_wait)?;
            self.state = self.locked(store, lease, lock)?;
            self.write_rest(store)?;
        }
        match std::mem::replace(&mut self.state, State::ToDo) {
            State::Done(file) => Ok(file),
            State::AtWork(mut work) => {
                work.close(self.map, layers)?;
                work.wait()
            }
            State::ToDo | State::Elsewhere => Err(io::Error::other("a map was not begun").into()),
        }
    }
}

/// A map that this process lays out.
#[derive(Debug)]
struct Work {
    out: File,
    order: BySource,
    /// Numbers of the blobs that are written.
    written: BTreeSet<u32>,
    /// Whether the blobs are the pages in order.
    is_layer: bool,
    /// Told of what is written; nobody once all is.
    progress: Option<Sender<Progress>>,
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
    fn begin(map: &Map, writer: FlatWriter, lock: Lock, content: Option<Digest>) -> io::Result<Self> {
        let out = writer.file().try_clone()?;
        let (progress, written) = channel();
        let (bytes, is_layer) = (map.bytes(), content.is_some());
        let close = move || {
            let _held = lock;
            close(writer, bytes, content, &written)
        };
        let closer = Some(thread::Builder::new().name("layout".to_owned()).spawn(close)?);
        let (order, written, progress) = (BySource::new(map), BTreeSet::new(), Some(progress));
        Ok(Self { out, order, written, is_layer, progress, closer })
    }

    fn write(&mut self, map: &Map, number: u32, file: &File) -> Result<(), LayoutError> {
        let Some(blob) = map.blobs().get(number as usize).filter(|_| !self.written.contains(&number)) else {
            return Ok(());
        };
        // What is written follows on what was, if the blobs before it are there.
        let is_next = self.is_layer && (0..number).all(|before| self.written.contains(&before));
        let told = |page| self.tell(if is_next { Progress::Pages(page) } else { Progress::Some });
        write_blob(file, blob, self.order.of(map, Source::Blob(number)), &self.out, &mut |page| told(page))?;
        self.written.insert(number);
        if self.is_layer {
            let without_gap = (0..).zip(map.blobs()).take_while(|(number, _)| self.written.contains(number));
            self.tell(Progress::Pages(without_gap.map(|(_, blob)| blob.plain_pages).sum()));
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
    fn can_close(&self, map: &Map, layers: &[LayerFile]) -> bool {
        let is_there = |content: &Digest| layers.iter().any(|layer| layer.content == *content);
        self.progress.is_some()
            && self.written.len() == map.blobs().len()
            && map.layers().iter().all(is_there)
    }

    /// All blobs are written: the pages of layers, then the file can become visible.
    fn close(&mut self, map: &Map, layers: &[LayerFile]) -> Result<(), LayoutError> {
        if self.progress.is_some() {
            copy_layers(map, &self.order, layers, &self.out)?;
            self.order = BySource::default();
            self.tell(Progress::All);
            self.progress = None;
        }
        Ok(())
    }

    fn is_closed(&self) -> bool {
        self.closer.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Waits until the file is visible.
    fn wait(mut self) -> Result<File, LayoutError> {
        if let Some(closer) = self.closer.take() {
            closer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(self.out.try_clone()?)
    }
}

impl Drop for Work {
    /// Nothing of it is left when this returns.
    fn drop(&mut self) {
        self.progress = None;
        if let Some(closer) = self.closer.take() {
            closer.join().ok();
        }
    }
}

/// Hashes what is written, if it has an identity to show, and makes the file visible when all of it is written.
fn close(
    writer: FlatWriter,
    bytes: u64,
    content: Option<Digest>,
    written: &Receiver<Progress>,
) -> Result<(), LayoutError> {
    let (mut hasher, mut hashed) = (Hasher::new(), 0);
    let mut buffer = vec![0; 256 << 10];
    let mut is_whole = false;
    let mut next = written.recv();
    while let Ok(progress) = next {
        let end = match progress {
            Progress::Pages(pages) => pages * PAGE_SIZE,
            Progress::Some => 0,
            Progress::All => bytes,
        };
        while content.is_some() && hashed < end {
            let length = buffer.len().min(usize::try_from(end - hashed).unwrap_or(usize::MAX));
            let chunk = buffer.get_mut(..length).unwrap_or_default();
            writer.file().read_exact_at(chunk, hashed)?;
            hasher.update(chunk);
            hashed += length as u64;
        }
        is_whole = end == bytes;
        if is_whole {
            break;
        }
        next = match written.try_recv() {
            Ok(progress) => Ok(progress),
            Err(_) => {
                // The disk begins with what is there, while the rest is being decoded.
                writer.file().sync_data()?;
                written.recv()
            }
        };
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
