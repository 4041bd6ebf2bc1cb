//! What waits for the owner of sessions until it reads.
//!
//! A guest decides in how small pieces it sends, and each would take many times its bytes here. So pieces of a stream that wait are
//! joined, and what waits is bounded by the bytes that the owner granted: by what [`Mux`](super::Mux) accounts for. Who reads gets
//! all streams in the order in which they came, unless it is far behind.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use agent_protocol::{Credit, SessionId, Stream};
use tokio::sync::Notify;

/// From so many items on, a piece is joined with what waits of its stream even if other streams came in between.
const IN_ORDER: usize = 256;

/// What an owner hears. What a reply is, depends on the owner.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<R> {
    /// An answer.
    Reply(R),
    /// Output: not empty, and no more than was granted.
    Data(SessionId, Stream, Vec<u8>),
    /// The end of a stream.
    End(SessionId, Stream),
    /// Input may be sent.
    Credit(SessionId, Credit),
}

/// An outbox with its two ends.
pub(crate) fn outbox<R>() -> (Sender<R>, Receiver<R>) {
    let shared = Rc::new(Shared {
        items: RefCell::default(),
        senders: Cell::new(1),
        is_read: Cell::new(true),
        changed: Notify::new(),
    });
    (Sender(Rc::clone(&shared)), Receiver(shared))
}

struct Shared<R> {
    items: RefCell<VecDeque<Item<R>>>,
    senders: Cell<usize>,
    is_read: Cell<bool>,
    changed: Notify,
}

/// Where items are put in.
pub(crate) struct Sender<R>(Rc<Shared<R>>);

/// Where items are taken out. For one that waits.
pub(crate) struct Receiver<R>(Rc<Shared<R>>);

impl<R> Sender<R> {
    /// Puts an item behind those that wait, or into one of them. Whether somebody reads.
    pub(crate) fn send(&self, item: Item<R>) -> bool {
        let Shared { items, is_read, changed, .. } = &*self.0;
        if is_read.get() {
            let mut items = items.borrow_mut();
            let reach = if items.len() < IN_ORDER { 1 } else { usize::MAX };
            let rest = items.iter_mut().rev().take(reach).try_fold(item, |item, waits| waits.join(item));
            items.extend(rest);
            changed.notify_one();
        }
        is_read.get()
    }
}

impl<R> Item<R> {
    /// Joins `next` with this; gives it back if it is something else.
    fn join(&mut self, next: Self) -> Option<Self> {
        match (self, next) {
            (Self::Data(id, stream, held), Self::Data(of, other, bytes)) if (*id, *stream) == (of, other) => {
                held.extend_from_slice(&bytes);
                None
            }
            (Self::Credit(id, held), Self::Credit(of, credit)) if *id == of => {
                held.bytes = held.bytes.saturating_add(credit.bytes);
                None
            }
            (_, next) => Some(next),
        }
    }
}

impl<R> Clone for Sender<R> {
    fn clone(&self) -> Self {
        self.0.senders.update(|senders| senders + 1);
        Self(Rc::clone(&self.0))
    }
}

impl<R> Drop for Sender<R> {
    fn drop(&mut self) {
        self.0.senders.update(|senders| senders.saturating_sub(1));
        self.0.changed.notify_one();
    }
}

impl<R> Receiver<R> {
    /// What has waited the longest; `None` when nothing waits and nobody is left who could send.
    pub(crate) async fn next(&mut self) -> Option<Item<R>> {
        loop {
            if let Some(item) = self.try_next() {
                return Some(item);
            }
            if self.0.senders.get() == 0 {
                return None;
            }
            self.0.changed.notified().await;
        }
    }

    /// What has waited the longest, if anything waits.
    pub(crate) fn try_next(&mut self) -> Option<Item<R>> {
        self.0.items.borrow_mut().pop_front()
    }
}

impl<R> Drop for Receiver<R> {
    fn drop(&mut self) {
        self.0.is_read.set(false);
        self.0.items.take();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const OUT: Stream = Stream::Stdout;
    const ERROR: Stream = Stream::Stderr;

    fn data(id: u32, stream: Stream, bytes: &[u8]) -> Item<()> {
        Item::Data(SessionId(id), stream, bytes.to_vec())
    }

    #[test]
    fn pieces_of_one_stream_are_joined_and_streams_keep_their_order() {
        let (sender, mut receiver) = outbox();
        for item in [data(1, OUT, b"a"), data(1, OUT, b"b"), data(1, ERROR, b"c"), data(1, OUT, b"d")] {
            assert!(sender.send(item));
        }
        for bytes in [2, 3] {
            sender.send(Item::Credit(SessionId(1), Credit { stream: Stream::Stdin, bytes }));
        }
        sender.send(Item::End(SessionId(1), OUT));
        let found: Vec<_> = std::iter::from_fn(|| receiver.try_next()).collect();
        let credit = Item::Credit(SessionId(1), Credit { stream: Stream::Stdin, bytes: 5 });
        let end = Item::End(SessionId(1), OUT);
        assert_eq!(found, [data(1, OUT, b"ab"), data(1, ERROR, b"c"), data(1, OUT, b"d"), credit, end]);
    }

    /// However small the pieces are, and however they alternate.
    #[test]
    fn what_waits_is_no_more_than_the_bytes() {
        let (sender, mut receiver) = outbox();
        let (mut sent, mut found) = (HashMap::<_, Vec<u8>>::new(), HashMap::<_, Vec<u8>>::new());
        for n in 0..100_000_u32 {
            let (id, stream, byte) = (n % 7, if n % 2 == 0 { OUT } else { ERROR }, n.to_le_bytes()[0]);
            sent.entry((SessionId(id), stream)).or_default().push(byte);
            sender.send(data(id, stream, &[byte]));
            sender.send(Item::Credit(SessionId(id), Credit { stream: Stream::Stdin, bytes: 1 }));
        }
        let waiting = sender.0.items.borrow().len();
        assert!(waiting <= IN_ORDER + 3 * 7, "{waiting} items");
        while let Some(item) = receiver.try_next() {
            if let Item::Data(id, stream, bytes) = item {
                found.entry((id, stream)).or_default().extend(bytes);
            }
        }
        assert_eq!(found, sent);
    }

    #[test]
    fn nothing_waits_for_who_has_gone() {
        let (sender, receiver) = outbox();
        drop(receiver);
        assert!(!sender.send(data(1, OUT, b"a")));
        assert!(sender.0.items.borrow().is_empty());
    }

    #[tokio::test]
    async fn the_last_sender_ends_it() {
        let (sender, mut receiver) = outbox();
        let other = sender.clone();
        other.send(data(1, OUT, b"a"));
        drop((sender, other));
        assert_eq!(receiver.next().await, Some(data(1, OUT, b"a")));
        assert_eq!(receiver.next().await, None);
    }
}
