//! Laying out behind whoever brings blobs: it tells of each that is in the store, and of the last.

use std::sync::mpsc::{Receiver, Sender, channel};

use format::Digest;

use super::{Layout, LayoutError};

/// What a layout that follows is told by. Dropped before [`LayoutFeed::all_there`], it ends the layout.
#[derive(Debug)]
pub struct LayoutFeed(Sender<Arrival>);

/// What a layout follows.
#[derive(Debug)]
pub struct Arrivals(Receiver<Arrival>);

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
    (LayoutFeed(sender), Arrivals(receiver))
}

impl LayoutFeed {
    /// A blob is in the store. `false` if nobody follows any more: laying out has failed.
    #[must_use]
    pub fn there(&self, blob: Digest) -> bool {
        self.0.send(Arrival::One(blob)).is_ok()
    }

    /// All blobs are in the store.
    pub fn all_there(self) {
        // Whoever hears it no more has failed, and says so itself.
        self.0.send(Arrival::All).ok();
    }
}

impl Layout<'_> {
    /// Lays out what comes to be there, until all is laid out or nobody is left to say that more is there: what is not whole
    /// then is gone. `on_rest` is called when all blobs are there.
    ///
    /// # Errors
    /// As [`Layout::add`] and [`Layout::finish`].
    pub fn follow(mut self, arrivals: &Arrivals, on_rest: impl FnOnce()) -> Result<(), LayoutError> {
        for arrival in &arrivals.0 {
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
