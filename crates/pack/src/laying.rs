//! Laying out flat files behind what is read: on a thread of its own, a blob at a time, as each comes to be in the store.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use format::{Config, Digest, Maps};
use store::{LayoutError, Lease, Store};

use crate::UnpackError;

/// What the thread is told.
enum Step {
    /// A blob is in the store.
    There(Digest),
    /// All of them are.
    AllThere,
}

/// Tells the thread, if there is one.
pub(crate) struct Told(Option<Sender<Step>>);

impl Told {
    /// A blob is in the store. `false` if there is nothing more to do: laying out has failed.
    #[must_use]
    pub(crate) fn there(&self, digest: Digest) -> bool {
        self.0.as_ref().is_none_or(|steps| steps.send(Step::There(digest)).is_ok())
    }

    /// All blobs are in the store.
    pub(crate) fn all_there(&self) {
        if let Some(steps) = &self.0 {
            // Whoever hears it no more has failed, and says so itself.
            steps.send(Step::AllThere).ok();
        }
    }
}

/// What the thread needs.
pub(crate) struct Layer<'a> {
    pub(crate) store: &'a Store,
    pub(crate) lease: &'a Lease,
    pub(crate) parts: &'a (Config, Maps),
}

impl Layer<'_> {
    /// It ends when all is laid out, when it fails, or when nobody is left to tell it of blobs.
    fn run(&self, steps: &Receiver<Step>) -> Result<(), LayoutError> {
        let (config, maps) = self.parts;
        let mut layout = self.store.layout(self.lease, config, maps)?;
        for step in steps {
            match step {
                Step::There(digest) => layout.add(&digest)?,
                Step::AllThere => return layout.finish(&mut || ()).map(drop),
            }
        }
        Ok(())
    }
}

/// Runs `receive` beside the thread, if there is to be one, and waits for both. What is wrong with the flat files is said first: it
/// ends the receiving.
pub(crate) fn beside<T>(
    layer: Option<Layer<'_>>,
    receive: impl FnOnce(&Told) -> Result<T, UnpackError>,
) -> Result<T, UnpackError> {
    let Some(layer) = layer else { return receive(&Told(None)) };
    thread::scope(|scope| {
        let (sender, steps) = channel();
        let thread = scope.spawn(move || layer.run(&steps));
        let received = receive(&Told(Some(sender)));
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        received
    })
}
