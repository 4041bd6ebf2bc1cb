//! What a transfer tells while it runs.

use format::Digest;

/// Something that happened to a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// It begins; this comes first and once.
    Started {
        /// Blobs to transfer.
        blobs: usize,
        /// Bytes of them all.
        bytes: u64,
    },
    /// A blob begins, or begins anew after an error.
    BlobStarted {
        /// The blob.
        digest: Digest,
        /// What it is for, for people: `frames of memory`.
        role: &'a str,
        /// Its bytes.
        size: u64,
        /// Bytes that are there from an earlier try.
        offset: u64,
    },
    /// Bytes of a blob have moved.
    Moved {
        /// The blob.
        digest: Digest,
        /// How many more.
        bytes: u64,
    },
    /// A hub failed, lied or lacks something, and a mirror is asked; or a mirror says what a tag means.
    Warning {
        /// What, and who is asked instead: for people.
        text: &'a str,
    },
    /// All blobs are there, and flat files are still being laid out.
    LayingOut,
    /// Another process transfers this blob: this one waits for it.
    Waiting {
        /// The blob.
        digest: Digest,
    },
    /// A blob is there, whole and verified, whoever transferred it.
    BlobDone {
        /// The blob.
        digest: Digest,
    },
}

/// Whoever wants to know how a transfer goes. It is called from several threads, and should be quick.
pub trait Progress: Send + Sync {
    /// Takes notice.
    fn event(&self, event: Event<'_>);
}

/// Nobody wants to know.
impl Progress for () {
    fn event(&self, _: Event<'_>) {}
}
