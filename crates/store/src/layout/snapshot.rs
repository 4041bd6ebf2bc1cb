//! All maps of a snapshot, laid out once and shared by whoever needs them; a blob at a time, so that those which are there
//! are laid out while others arrive.
//!
//! ```text
//! to do ──▶ at work ──▶ done        a blob is there: its frames are written, wherever maps want them
//!   │                     ▲         all of them are, and the layers' pages: synced, renamed
//!   └──▶ elsewhere ───────┘         another process lays it out: waited for at the end
//! ```
//!
//! Nobody but who waits at the end waits for a lock, and who does holds none but that of the memory, and that only if it has pages
//! of layers: so processes that fetch blobs for each other, or lay out the same maps as other parts, never wait in a circle.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::time::Duration;

use format::map::MapBlob;
use format::{Config, Digest, Map, Maps, PAGE_SIZE};

use super::work::Work;
use super::{LayerFile, LayoutError, NEVER, Stop};
use crate::{FlatKey, Lease, Lock, LockKey, Snapshot, Store};

/// How long to wait before looking again whether another process has laid out a map.
const INTERVAL: Duration = Duration::from_millis(20);

/// Where a snapshot's address spaces lie as flat files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flats {
    /// The memory.
    pub memory: FlatKey,
    /// The disks, in the config's order.
    pub disks: Vec<FlatKey>,
}

/// The maps of one snapshot on their way to flat files. Dropped before its end, it leaves those that are whole.
pub struct Layout<'a> {
    store: Store,
    lease: Lease,
    /// The disks' in the config's order, then the memory's, which may have pages of the layers before it.
    items: Vec<Item<'a>>,
    /// The items that a blob belongs to, and its number there.
    uses: HashMap<Digest, Vec<(usize, u32)>>,
    pub(super) stop: Stop<'a>,
}

impl fmt::Debug for Layout<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Layout").field("items", &self.items).finish_non_exhaustive()
    }
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
            let state = self.claim_flat(lease, key)?.map_or(State::ToDo, State::Done);
            items.push(Item { key, map, state });
        }
        let mut uses = HashMap::<_, Vec<_>>::new();
        for (number, item) in items.iter().enumerate().filter(|(_, item)| matches!(item.state, State::ToDo)) {
            for (blob, MapBlob { digest, .. }) in (0..).zip(item.map.blobs()) {
                uses.entry(*digest).or_default().push((number, blob));
            }
        }
        Ok(Layout { store: self.clone(), lease: lease.clone(), items, uses, stop: NEVER })
    }

    /// Lays out every map of a snapshot that is not laid out yet, until `stop` says so. `lease` protects the files.
    ///
    /// # Errors
    /// If there is no room, a blob is damaged, or a layer's content is not what the config declares; and [`LayoutError::Stopped`].
    pub fn lay_out(&self, lease: &Lease, snapshot: &Snapshot, stop: Stop<'_>) -> Result<Flats, LayoutError> {
        let layout = self.layout(lease, &snapshot.config, &snapshot.maps)?;
        self.ensure_space(layout.bytes())?;
        layout.until(stop).finish(&mut || ())
    }
}

impl<'a> Layout<'a> {
    /// Has it end with [`LayoutError::Stopped`] once `stop` says so, before the next frame.
    #[must_use]
    pub fn until(self, stop: Stop<'a>) -> Self {
        Self { stop, ..self }
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
            item.write(blob, &file, self.stop)?;
        }
        self.settle()
    }

    /// Brings to its end what needs nothing more, without waiting.
    fn settle(&mut self) -> Result<(), LayoutError> {
        let mut layers = Vec::new();
        for item in &mut self.items {
            item.settle(&layers, self.stop)?;
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
        let Self { store, lease, items, stop, .. } = &mut self;
        for item in items.iter_mut() {
            item.begin(store, lease)?;
            item.write_rest(store, *stop)?;
        }
        // What has pages of layers gets them while these are verified and synced.
        let mut layers = Vec::new();
        for item in items.iter_mut() {
            layers.extend(item.written_layer()?);
            item.fill(&layers, *stop)?;
        }
        if items.iter().any(|item| matches!(item.state, State::Elsewhere)) {
            items.iter_mut().for_each(Item::close_if_written);
        }
        // Layers come first: what has pages of one that turns out to be another never becomes visible.
        let (mut layers, mut keys) = (Vec::new(), Vec::new());
        for item in items {
            if let State::Elsewhere = item.state {
                item.wait(store, lease, *stop, on_wait)?;
            }
            let file = item.finish(&layers, *stop)?;
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
        if let Some(file) = store.claim_flat(lease, self.key)? {
            return Ok(State::Done(file));
        }
        let writer = store.flat_writer(lease, self.key)?;
        let content = match self.key {
            FlatKey::Layer(content) => Some(content),
            FlatKey::Map(_) => None,
        };
        Ok(State::AtWork(Work::begin(self.map, writer, lock, content)?))
    }

    fn write(&mut self, number: u32, file: &File, stop: Stop<'_>) -> Result<(), LayoutError> {
        match &mut self.state {
            State::AtWork(work) => work.write(self.map, number, file, stop),
            _ => Ok(()),
        }
    }

    /// Writes what was not written as it came.
    fn write_rest(&mut self, store: &Store, stop: Stop<'_>) -> Result<(), LayoutError> {
        match &mut self.state {
            State::AtWork(work) => work.write_rest(self.map, store, stop),
            _ => Ok(()),
        }
    }

    fn settle(&mut self, layers: &[LayerFile], stop: Stop<'_>) -> Result<(), LayoutError> {
        let State::AtWork(work) = &mut self.state else { return Ok(()) };
        if work.can_close(self.map, layers) {
            work.fill(self.map, layers, stop)?;
            work.close();
        }
        if work.is_closed()
            && let State::AtWork(work) = std::mem::replace(&mut self.state, State::ToDo)
        {
            self.state = State::Done(work.wait()?);
        }
        Ok(())
    }

    /// Waits for the process that lays it out, and does what that has not done.
    fn wait(
        &mut self,
        store: &Store,
        lease: &Lease,
        stop: Stop<'_>,
        on_wait: &mut dyn FnMut(),
    ) -> Result<(), LayoutError> {
        let mut on_wait = Some(on_wait);
        let lock = loop {
            if let Some(lock) = store.try_lock(LockKey::Flat(self.key))? {
                break lock;
            }
            if stop() {
                return Err(LayoutError::Stopped);
            }
            if let Some(on_wait) = on_wait.take() {
                on_wait();
            }
            std::thread::sleep(INTERVAL);
        };
        self.state = self.locked(store, lease, lock)?;
        self.write_rest(store, stop)
    }

    /// A layer that this process has written, or that is there. It may not be verified yet: that goes on by itself.
    fn written_layer(&mut self) -> Result<Option<LayerFile>, LayoutError> {
        let FlatKey::Layer(content) = self.key else { return Ok(None) };
        let file = match &mut self.state {
            State::AtWork(work) => {
                work.close();
                work.file()?
            }
            State::Done(file) => file.try_clone()?,
            State::ToDo | State::Elsewhere => return Ok(None),
        };
        Ok(Some(LayerFile { content, file }))
    }

    /// Has done with what has no pages of layers, all of which is written: its lock ends by itself.
    fn close_if_written(&mut self) {
        if let State::AtWork(work) = &mut self.state
            && self.map.layers().is_empty()
        {
            work.close();
        }
    }

    /// Writes the pages of layers, if these are there.
    fn fill(&mut self, layers: &[LayerFile], stop: Stop<'_>) -> Result<(), LayoutError> {
        match &mut self.state {
            State::AtWork(work) if work.can_close(self.map, layers) => work.fill(self.map, layers, stop),
            _ => Ok(()),
        }
    }

    fn finish(&mut self, layers: &[LayerFile], stop: Stop<'_>) -> Result<File, LayoutError> {
        match std::mem::replace(&mut self.state, State::ToDo) {
            State::Done(file) => Ok(file),
            State::AtWork(mut work) => {
                work.fill(self.map, layers, stop)?;
                work.close();
                work.wait()
            }
            State::ToDo | State::Elsewhere => Err(io::Error::other("a map was not begun").into()),
        }
    }
}
