//! Laying out flat files while blobs arrive: on a thread of its own, a blob at a time, as each comes to be there.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use format::{Config, Digest, Maps};
use store::{LayoutError, Lease, Store};
use tokio::task::JoinHandle;

use crate::{Event, Progress};

/// What is told to the thread.
pub(super) struct Laying(Sender<Step>);

enum Step {
    /// A blob is in the store.
    There(Digest),
    /// All of them are.
    AllThere,
}

impl Laying {
    /// A blob is in the store.
    pub(super) fn there(&self, digest: Digest) {
        self.tell(Step::There(digest));
    }

    /// All blobs are in the store.
    pub(super) fn all_there(self) {
        self.tell(Step::AllThere);
    }

    fn tell(&self, step: Step) {
        // The thread stops hearing only when it fails, which ends the pull.
        self.0.send(step).ok();
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
        let (sender, steps) = channel();
        (Laying(sender), tokio::task::spawn_blocking(move || self.run(&steps)))
    }

    fn run(self, steps: &Receiver<Step>) -> Result<(), LayoutError> {
        let (config, maps) = &*self.parts;
        let mut layout = self.store.layout(&self.lease, config, maps)?;
        for step in steps {
            match step {
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
