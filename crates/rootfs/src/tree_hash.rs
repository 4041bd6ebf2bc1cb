//! The digest of a file or folder as far as it decides a layer's bytes: names, kinds, permissions, extended
//! attributes and content, not times and owners.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use format::{Digest, Hasher};

use crate::Error;
use crate::error::IoContext;

/// The largest extended attribute, and list of their names, that Linux allows.
const MAX_ATTRIBUTE: usize = 64 << 10;

/// The digest of what `path` is. Symbolic links below it are not followed.
pub(crate) fn digest(path: &Path) -> Result<Digest, Error> {
    let meta = path.symlink_metadata().io("read", path)?;
    let kind = meta.file_type();
    let mut hasher = Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(&meta.mode().to_le_bytes());
    for (name, value) in attributes(path)? {
        field(&name);
        field(&value);
    }
    field(b"content");
    if kind.is_dir() {
        for name in sorted_names(path)? {
            field(name.as_bytes());
            field(digest(&path.join(&name))?.as_bytes());
        }
    } else if kind.is_symlink() {
        field(fs::read_link(path).io("read", path)?.as_os_str().as_bytes());
    } else if kind.is_file() {
        field(file_digest(path)?.as_bytes());
    } else if kind.is_char_device() || kind.is_block_device() {
        field(&meta.rdev().to_le_bytes());
    }
    Ok(hasher.finish())
}

/// The digest of a file's bytes.
pub(crate) fn file_digest(path: &Path) -> Result<Digest, Error> {
    let mut file = File::open(path).io("open", path)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).io("read", path)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
    }
    Ok(hasher.finish())
}

/// The names in a folder, in the order of their bytes.
pub(crate) fn sorted_names(folder: &Path) -> Result<Vec<std::ffi::OsString>, Error> {
    let entries = fs::read_dir(folder).io("list", folder)?;
    let mut names =
        entries.map(|entry| Ok(entry.io("list", folder)?.file_name())).collect::<Result<Vec<_>, Error>>()?;
    names.sort();
    Ok(names)
}

/// The extended attributes of a file; none where the filesystem has none.
pub(crate) fn attributes(path: &Path) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Error> {
    let mut buffer = vec![0; MAX_ATTRIBUTE];
    let length = match rustix::fs::llistxattr(path, &mut buffer) {
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        length => length.io("read the attributes of", path)?,
    };
    let names = buffer.get(..length).unwrap_or_default().to_vec();
    let mut found = BTreeMap::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let length = rustix::fs::lgetxattr(path, name, &mut buffer).io("read the attributes of", path)?;
        found.insert(name.to_vec(), buffer.get(..length).unwrap_or_default().to_vec());
    }
    Ok(found)
}
