//! Laying out behind whoever brings blobs: it tells of each that is in the store, and of the last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use format::Digest;

use super::{Layout, LayoutError};

/// What a layout that follows is told by. Dropped, it ends the layout, whatever that has still to do: whoever wants all of it keeps
/// the feed until then.
#[derive(Debug)]
pub struct LayoutFeed {
    sender: Sender<Arrival>,
    is_dropped: Arc<AtomicBool>,
}

/// What a layout follows.
#[derive(Debug)]
pub struct Arrivals {
    receiver: Receiver<Arrival>,
    is_given_up: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Arrival {
    /// A blob is in the store.
    One(Digest),
    /// All of them are.
    All,
}

/// Both ends.
#[must_use]
pub fn layout_feed() -> (LayoutFeed, Arrivals) {
    let (sender, receiver) = channel();
    let is_given_up = Arc::<AtomicBool>::default();
    (LayoutFeed { sender, is_dropped: Arc::clone(&is_given_up) }, Arrivals { receiver, is_given_up })
}

impl LayoutFeed {
    /// A blob is in the store. `false` if nobody follows any more: laying out has failed.
    #[must_use]
    pub fn there(&self, blob: Digest) -> bool {
        self.sender.send(Arrival::One(blob)).is_ok()
    }

    /// All blobs are in the store.
    pub fn all_there(&self) {
        // Whoever hears it no more has failed, and says so itself.
        self.sender.send(Arrival::All).ok();
    }
}

impl Drop for LayoutFeed {
    fn drop(&mut self) {
        self.is_dropped.store(true, Ordering::Relaxed);
    }
}

impl Layout<'_> {
    /// Lays out what comes to be there, until all is laid out or nobody is left to say that more is there: what is not whole
    /// then is gone. `on_rest` is called when all blobs are there.
    ///
    /// # Errors
    /// As [`Layout::add`] and [`Layout::finish`].
    pub fn follow(self, arrivals: &Arrivals, on_rest: impl FnOnce()) -> Result<(), LayoutError> {
        let (asked, Arrivals { receiver, is_given_up }) = (self.stop, arrivals);
        let is_given_up = || is_given_up.load(Ordering::Relaxed);
        let stop = || asked() || is_given_up();
        match self.until(&stop).follow_to_the_end(receiver, on_rest) {
            Err(LayoutError::Stopped) if is_given_up() && !asked() => Ok(()),
            result => result,
        }
    }

    fn follow_to_the_end(
        mut self,
        arrivals: &Receiver<Arrival>,
        on_rest: impl FnOnce(),
    ) -> Result<(), LayoutError> {
        for arrival in arrivals {
            match arrival {
                Arrival::One(blob) => self.add(&blob)?,
                Arrival::All => {
                    on_rest();
                    return self.finish(&mut || ()).map(drop);
                }
            }
        }
        Ok(())
    }
}
