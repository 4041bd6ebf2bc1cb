//! Laying out flat files while blobs arrive: on a thread of its own, a blob at a time, as each comes to be there.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use format::{Config, Digest, Maps};
use store::{LayoutError, Lease, Store, WholeBlob};
use tokio::task::JoinHandle;

use crate::{Event, Progress};

/// Blobs that are held open for the thread, at most: there may be more of them than a process may have files.
const OPEN: usize = 16;

/// What is told to the thread.
pub(super) struct Laying {
    steps: Sender<Step>,
    open: Arc<AtomicUsize>,
}

enum Step {
    /// A blob has all its bytes.
    Whole(Digest, File),
    /// A blob is in the store.
    There(Digest),
    /// All of them are.
    AllThere,
}

impl Laying {
    /// A blob has all its bytes, and the disk is still to be waited for. Says whether the thread will see to it.
    pub(super) fn whole(&self, digest: Digest, blob: &WholeBlob) -> bool {
        let is_taken = self.open.fetch_add(1, Ordering::Relaxed) < OPEN;
        if is_taken && let Ok(file) = blob.file() {
            self.tell(Step::Whole(digest, file));
            return true;
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// A blob is in the store.
    pub(super) fn there(&self, digest: Digest) {
        self.tell(Step::There(digest));
    }

    /// All blobs are there.
    pub(super) fn all_there(self) {
        self.tell(Step::AllThere);
    }

    fn tell(&self, step: Step) {
        // The thread stops hearing only when it fails, which ends the pull.
        self.steps.send(step).ok();
    }
}

/// What the thread needs.
pub(super) struct Layer {
    pub(super) store: Store,
    pub(super) lease: Lease,
    pub(super) parts: Arc<(Config, Maps)>,
    pub(super) progress: Arc<dyn Progress>,
}

impl Layer {
    /// Starts the thread. It ends when all is laid out, when it fails, or when nobody is left to tell it of blobs.
    pub(super) fn start(self) -> (Laying, JoinHandle<Result<(), LayoutError>>) {
        let (steps, told) = channel();
        let laying = Laying { steps, open: Arc::default() };
        let open = Arc::clone(&laying.open);
        (laying, tokio::task::spawn_blocking(move || self.run(&told, &open)))
    }

    fn run(self, steps: &Receiver<Step>, open: &AtomicUsize) -> Result<(), LayoutError> {
        let (config, maps) = &*self.parts;
        let mut layout = self.store.layout(&self.lease, config, maps)?;
        for step in steps {
            match step {
                Step::Whole(digest, file) => {
                    layout.add_hashed(&digest, &file)?;
                    drop(file);
                    open.fetch_sub(1, Ordering::Relaxed);
                }
                Step::There(digest) => layout.add(&digest)?,
                Step::AllThere => {
                    self.progress.event(Event::LayingOut);
                    return layout.finish(&mut || ()).map(drop);
                }
            }
        }
        Ok(())
    }
}
