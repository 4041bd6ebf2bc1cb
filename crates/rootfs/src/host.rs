//! Folders of this host, read as layers: everything belongs to root, since its owners mean nothing in a guest. Those of a recipe
//! have one time, since times of a checkout mean nothing either; those of data keep theirs.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::rc::Rc;

use crate::archive::{Special, Time};
use crate::erofs::{self, Xattrs};
use crate::error::IoContext;
use crate::stack::Stack;
use crate::tree::{Attributes, Content, Folder, Node, Other, memory_of_folder, memory_of_name};
use crate::tree_hash::{attributes, sorted_names};
use crate::{Error, Progress};

/// Most folders that lie in one another.
const MAX_DEPTH: usize = 256;

/// What times files have in a layer.
#[derive(Debug, Clone, Copy)]
enum Times {
    /// All [`erofs::FILE_TIME`].
    One,
    /// Their own.
    Own,
}

/// Reads a folder as a layer. A character device 0:0 hides a name of layers below, and [`erofs::OPAQUE`] all that they have in a folder.
pub(crate) fn layer(folder: &Path, stack: &mut Stack<'_>) -> Result<Folder, Error> {
    let mut root = Folder::new();
    read(folder, &mut root, stack, Times::One, 0)?;
    Ok(root)
}

/// Makes an EROFS image of any folder, `image`, which must not exist: everything belongs to root and keeps its time. On the way
/// the disk holds a copy of its files twice.
///
/// # Errors
/// If something in it cannot be read or is no file, folder, link or device, it has more than some 300,000 files, or the image cannot be
/// written; and if `progress` interrupts it.
pub fn create_data_image(folder: &Path, image: &Path, progress: &dyn Progress) -> Result<(), Error> {
    let mut stack = Stack::new(image.parent().unwrap_or(image), u64::MAX, progress)?;
    let mut root = Folder::new();
    read(folder, &mut root, &mut stack, Times::Own, 0)?;
    erofs::write(&root, &mut stack.spool, image, progress).map(drop)
}

fn read(
    path: &Path,
    folder: &mut Folder,
    stack: &mut Stack<'_>,
    times: Times,
    depth: usize,
) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(refused(path, "is more than 256 folders deep"));
    }
    let meta = path.symlink_metadata().io("read", path)?;
    let mut all = attributes(path)?;
    folder.is_opaque = all.remove(erofs::OPAQUE).is_some_and(|value| value == b"y");
    folder.describe(described(path, &meta, all, times)?);
    for name in sorted_names(path)? {
        let inner = path.join(&name);
        let key = name.as_bytes().into();
        let meta = inner.symlink_metadata().io("read", &inner)?;
        if meta.is_dir() {
            stack.take(&inner, memory_of_folder(name.as_bytes()))?;
            let mut new = Folder::new();
            read(&inner, &mut new, stack, times, depth + 1)?;
            folder.entries.insert(key, Node::Folder(Box::new(new)));
        } else if meta.file_type().is_char_device() && meta.rdev() == 0 {
            stack.take(&inner, memory_of_name(name.as_bytes()))?;
            folder.hidden.insert(key);
        } else {
            let attributes = described(&inner, &meta, attributes(&inner)?, times)?;
            let other = Other { attributes, content: content(&inner, &meta, stack)? };
            stack.take(&inner, memory_of_name(name.as_bytes()) + other.memory())?;
            folder.entries.insert(key, Node::Other(Rc::new(other)));
        }
    }
    Ok(())
}

fn described(
    path: &Path,
    meta: &Metadata,
    mut all: BTreeMap<Vec<u8>, Vec<u8>>,
    times: Times,
) -> Result<Attributes, Error> {
    all.retain(|name, _| erofs::is_kept(name));
    let xattrs = Xattrs::new(&all).map_err(|reason| refused(path, reason))?;
    let of_root = Attributes::of_root(mode(meta));
    let time = match times {
        Times::One => of_root.time,
        // Of nanoseconds there are always less than a second.
        Times::Own => {
            Time { seconds: meta.mtime(), nanoseconds: u32::try_from(meta.mtime_nsec()).unwrap_or_default() }
        }
    };
    Ok(Attributes { xattrs, time, ..of_root })
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
