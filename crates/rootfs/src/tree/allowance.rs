//! What a base may hold: bounds that hold over all its layers together.

use super::{Content, Folder, LayerError, Node, Other};
use crate::archive::EntryName;

/// Most bytes of memory for the names and attributes of one base: some 300,000 files. With the largest window of zstd and all else
/// of a process that stays below 200 MB.
const MAX_MEMORY: u64 = 96 << 20;
/// Most bytes that a base may unpack to, unless the caller says otherwise.
pub(crate) const MAX_SIZE: u64 = 64 << 30;

/// What a node takes beside its texts, that of its inode while it is written included; measured by the test
/// `memory_is_bounded`.
const OTHER: u64 = 288;
const FOLDER: u64 = 480;
/// What a second name of a file takes, or a hidden name.
const NAME: u64 = 128;

/// What is left.
#[derive(Debug)]
pub(crate) struct Allowance {
    memory: u64,
    content: u64,
    limit: u64,
}

impl Allowance {
    /// Of a base that may unpack to `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self { memory: MAX_MEMORY, content: limit, limit }
    }

    #[cfg(test)]
    pub(crate) fn with_memory(memory: u64) -> Self {
        Self { memory, ..Self::new(MAX_SIZE) }
    }

    /// Takes memory for names and attributes.
    pub(crate) fn take_memory(&mut self, bytes: u64) -> Result<(), LayerError> {
        let what = "bytes of names and attributes in memory, which a base of some 300,000 files takes: leave some out";
        self.memory =
            self.memory.checked_sub(bytes).ok_or(LayerError::TooMuch { what, limit: MAX_MEMORY })?;
        Ok(())
    }

    /// Takes bytes of files.
    pub(crate) fn take_content(&mut self, bytes: u64) -> Result<(), LayerError> {
        self.content = self.content.checked_sub(bytes).ok_or_else(|| self.too_large())?;
        Ok(())
    }

    /// Bytes that the files may still have.
    pub(crate) fn content(&self) -> u64 {
        self.content
    }

    /// Of a base that unpacks to more than it may.
    pub(crate) fn too_large(&self) -> LayerError {
        let what = "bytes when it is unpacked: --max-size allows more";
        LayerError::TooMuch { what, limit: self.limit }
    }

    /// Gives back what upper layers have replaced: `tree` is all that is left in memory.
    pub(crate) fn count_again(&mut self, tree: &Folder) {
        self.memory = MAX_MEMORY.saturating_sub(tree.memory());
    }
}

/// What a name takes.
pub(crate) fn name(name: &[u8]) -> u64 {
    NAME + name.len() as u64
}

/// What a folder with this name takes, its attributes apart.
pub(crate) fn folder(name: &[u8]) -> u64 {
    FOLDER + name.len() as u64
}

impl Other {
    /// What it takes without a name.
    pub(crate) fn memory(&self) -> u64 {
        let target = if let Content::Symlink(target) = &self.content { target.len() } else { 0 };
        OTHER - NAME + (target + self.attributes.xattrs.memory()) as u64
    }
}

impl Folder {
    /// What it and all in it take.
    pub(crate) fn memory(&self) -> u64 {
        let hidden: u64 = self.hidden.iter().map(|hidden| name(hidden)).sum();
        let of_entry = |(key, node): (&EntryName, &Node)| match node {
            Node::Folder(inner) => folder(key) + inner.memory(),
            Node::Other(other) => name(key) + other.memory() / std::rc::Rc::strong_count(other) as u64,
        };
        let entries: u64 = self.entries.iter().map(of_entry).sum();
        entries + hidden + self.attributes.xattrs.memory() as u64
    }
}
