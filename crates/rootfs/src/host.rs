//! Folders of a recipe, read as layers: everything belongs to root and has one time, since owners and times of a checkout mean
//! nothing.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::rc::Rc;

use crate::Error;
use crate::archive::Special;
use crate::erofs::{self, Xattrs};
use crate::error::IoContext;
use crate::stack::Stack;
use crate::tree::{Attributes, Content, Folder, Node, Other, memory_of_folder, memory_of_name};
use crate::tree_hash::{attributes, sorted_names};

/// Most folders that lie in one another.
const MAX_DEPTH: usize = 256;

/// Reads a folder as a layer. A character device 0:0 hides a name of layers below, and [`erofs::OPAQUE`] all that they have in a folder.
pub(crate) fn layer(folder: &Path, stack: &mut Stack<'_>) -> Result<Folder, Error> {
    let mut root = Folder::new();
    read(folder, &mut root, stack, 0)?;
    Ok(root)
}

fn read(path: &Path, folder: &mut Folder, stack: &mut Stack<'_>, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(refused(path, "is more than 256 folders deep"));
    }
    let meta = path.symlink_metadata().io("read", path)?;
    let mut all = attributes(path)?;
    folder.is_opaque = all.remove(erofs::OPAQUE).is_some_and(|value| value == b"y");
    folder.describe(described(path, &meta, all)?);
    for name in sorted_names(path)? {
        let inner = path.join(&name);
        let key = name.as_bytes().into();
        let meta = inner.symlink_metadata().io("read", &inner)?;
        if meta.is_dir() {
            stack.take(&inner, memory_of_folder(name.as_bytes()))?;
            let mut new = Folder::new();
            read(&inner, &mut new, stack, depth + 1)?;
            folder.entries.insert(key, Node::Folder(Box::new(new)));
        } else if meta.file_type().is_char_device() && meta.rdev() == 0 {
            stack.take(&inner, memory_of_name(name.as_bytes()))?;
            folder.hidden.insert(key);
        } else {
            let attributes = described(&inner, &meta, attributes(&inner)?)?;
            let other = Other { attributes, content: content(&inner, &meta, stack)? };
            stack.take(&inner, memory_of_name(name.as_bytes()) + other.memory())?;
            folder.entries.insert(key, Node::Other(Rc::new(other)));
        }
    }
    Ok(())
}

fn described(path: &Path, meta: &Metadata, mut all: BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Attributes, Error> {
    all.retain(|name, _| erofs::is_kept(name));
    let xattrs = Xattrs::new(&all).map_err(|reason| refused(path, reason))?;
    Ok(Attributes { xattrs, ..Attributes::of_root(mode(meta)) })
}

/// Permission bits.
fn mode(meta: &Metadata) -> u16 {
    u16::try_from(meta.mode() & 0o7777).unwrap_or_default()
}

/// The content of what is no folder. That of a file goes into the spool.
pub(crate) fn content(path: &Path, meta: &Metadata, stack: &mut Stack<'_>) -> Result<Content, Error> {
    let kind = meta.file_type();
    if kind.is_symlink() {
        let target = fs::read_link(path).io("read", path)?;
        return Ok(Content::Symlink(target.into_os_string().into_vec().into()));
    }
    if kind.is_file() {
        let file = File::open(path).io("open", path)?;
        let wrong = |source| Error::Layer { path: path.to_owned(), source: Box::new(source) };
        stack.allowance.take_content(meta.len()).map_err(wrong)?;
        let (place, size) = stack.spool.copy(file, stack.progress).map_err(wrong)?;
        return Ok(Content::File { place: Cell::new(place), size });
    }
    let (major, minor) = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    Ok(Content::Special(if kind.is_fifo() {
        Special::Fifo
    } else if kind.is_char_device() {
        Special::Character { major, minor }
    } else if kind.is_block_device() {
        Special::Block { major, minor }
    } else {
        return Err(refused(path, "is neither file, folder, link nor device"));
    }))
}

fn refused(path: &Path, reason: &'static str) -> Error {
    Error::Unfit { path: path.to_owned(), reason }
}

impl Stack<'_> {
    /// Takes memory for what a recipe has at `path`.
    pub(crate) fn take(&mut self, path: &Path, bytes: u64) -> Result<(), Error> {
        let wrong = |source| Error::Layer { path: path.to_owned(), source: Box::new(source) };
        self.allowance.take_memory(bytes).map_err(wrong)
    }
}
