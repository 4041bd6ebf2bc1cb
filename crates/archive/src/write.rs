//! A tree of files to a tar stream.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tar::{EntryType, Header};
use tar_stream::{BLOCK, Part, Time, pax};

use crate::error::At;
use crate::sparse;
use crate::{CHUNK, Error};

/// What is tried of a file before anything of it is written.
const OPEN: &str = "open";
/// Bytes of a name in an ordinary header.
const NAME_BYTES: usize = 100;

/// By what name a tree goes into a stream: the last component of its path. A path that ends with `/.` means what is in
/// the folder, and so do `.`, `..` and `/`: their name is `.`.
#[must_use]
pub fn root_name(path: &Path) -> &OsStr {
    let contents = path.as_os_str().as_bytes().ends_with(b"/.");
    path.file_name().filter(|_| !contents).unwrap_or(OsStr::new("."))
}

/// Writes the file or folder `path`, under its [`root_name`]. If it is a symbolic link, that is followed; those in a folder
/// are kept as they are.
///
/// `flawed` is called for what a copy of a folder is not to fail for: a file of it that cannot be opened, or that is neither
/// file nor folder nor link, which is left out; and one that was cut short while it was read, which ends in zeros. A file
/// that grows meanwhile is written with the size that it had, one that vanishes not at all.
///
/// # Errors
/// If `path` itself is one of these, a folder cannot be listed, or the stream cannot be written.
pub fn write(path: &Path, out: &mut impl Write, mut flawed: impl FnMut(Error)) -> Result<(), Error> {
    let root = fs::canonicalize(path).at("read", path)?;
    let mut pending = vec![(root, PathBuf::from(root_name(path)))];
    let mut is_root = true;
    // Folders come before what is in them: a reader makes them first, and finishes each when it has left it.
    while let Some((path, name)) = pending.pop() {
        let metadata = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.at("read", &path)?,
        };
        match write_entry(&path, &name, &metadata, out) {
            Err(error @ Error::Shrank(_)) => flawed(error),
            Err(error @ (Error::Kind { .. } | Error::File { what: OPEN, .. })) if !is_root => flawed(error),
            written => written?,
        }
        is_root = false;
        if metadata.is_dir() {
            let mut names = fs::read_dir(&path)
                .and_then(|entries| {
                    entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()
                })
                .at("list", &path)?;
            names.sort_unstable_by(|a, b| b.cmp(a));
            pending.extend(names.into_iter().map(|child| (path.join(&child), name.join(&child))));
        }
    }
    out.write_all(&[0; 2 * BLOCK])?;
    Ok(out.flush()?)
}

/// Writes an entry, whole unless it fails before anything of it was written; after [`Error::Shrank`], padded.
fn write_entry(path: &Path, name: &Path, metadata: &Metadata, out: &mut impl Write) -> Result<(), Error> {
    let kind = metadata.file_type();
    let mut entry = Entry::new(name, metadata);
    if kind.is_dir() {
        entry.name.push(b'/');
        entry.write(EntryType::Directory, 0, out)
    } else if kind.is_symlink() {
        entry.target = fs::read_link(path).at("read the link", path)?.into_os_string().into_encoded_bytes();
        entry.write(EntryType::Symlink, 0, out)
    } else if kind.is_file() {
        // It may have become something else since: that is neither followed nor waited for.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            other => File::from(other.at(OPEN, path)?),
        };
        write_file(&file, path, entry, metadata.len(), out)
    } else {
        let what = match kind {
            kind if kind.is_socket() => "a socket",
            kind if kind.is_fifo() => "a named pipe",
            _ => "a device",
        };
        Err(Error::Kind { path: path.to_owned(), what })
    }
}

fn write_file(
    file: &File,
    path: &Path,
    mut entry: Entry,
    size: u64,
    out: &mut impl Write,
) -> Result<(), Error> {
    let mut parts = sparse::parts(file, size).at("find the holes of", path)?;
    let is_whole = size == 0 || parts == [Part { offset: 0, length: size }];
    let mut map = Vec::new();
    if !is_whole {
        if parts.last().and_then(|part| part.end()) != Some(size) {
            // By this GNU tar knows how long a file is that ends with a hole.
            parts.push(Part { offset: size, length: 0 });
        }
        map = sparse_map(&parts);
        let real_name = std::mem::replace(&mut entry.name, b"GNUSparseFile.0/file".to_vec());
        let real_size = size.to_string();
        let records: [(&str, &[u8]); 4] = [
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", &real_name),
            ("GNU.sparse.realsize", real_size.as_bytes()),
        ];
        records.iter().for_each(|(key, value)| pax::push(&mut entry.records, key, value));
    }
    let data: u64 = parts.iter().map(|part| part.length).sum();
    entry.write(EntryType::Regular, map.len() as u64 + data, out)?;
    out.write_all(&map)?;
    let mut buffer = vec![0; CHUNK];
    let mut is_whole = true;
    for part in &parts {
        is_whole &= copy(file, path, *part, &mut buffer, out)?;
    }
    pad(data, out)?;
    if is_whole { Ok(()) } else { Err(Error::Shrank(path.to_owned())) }
}

/// A file's parts in GNU's format 1.0: decimal numbers on lines, padded to whole blocks.
fn sparse_map(parts: &[Part]) -> Vec<u8> {
    let mut map = format!("{}\n", parts.len());
    for Part { offset, length } in parts {
        map.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

/// Writes exactly this part: what the file has lost of it meanwhile is zero. Gives whether it had all of it.
fn copy(
    file: &File,
    path: &Path,
    part: Part,
    buffer: &mut [u8],
    out: &mut impl Write,
) -> Result<bool, Error> {
    let (mut done, mut is_whole) = (0, true);
    while done < part.length {
        let left = usize::try_from(part.length - done).unwrap_or(usize::MAX).min(buffer.len());
        let chunk = buffer.get_mut(..left).unwrap_or_default();
        let count = match file.read_at(chunk, part.offset + done).at("read", path)? {
            0 => {
                is_whole = false;
                chunk.fill(0);
                chunk.len()
            }
            count => count,
        };
        out.write_all(chunk.get(..count).unwrap_or_default())?;
        done += count as u64;
    }
    Ok(is_whole)
}

fn pad(length: u64, out: &mut impl Write) -> Result<(), Error> {
    let missing = usize::try_from(length.next_multiple_of(BLOCK as u64) - length).unwrap_or(0);
    Ok(out.write_all([0; BLOCK].get(..missing).unwrap_or_default())?)
}

/// What is said of a file before its content.
struct Entry {
    name: Vec<u8>,
    target: Vec<u8>,
    records: Vec<u8>,
    header: Header,
    time: Time,
}

impl Entry {
    fn new(name: &Path, metadata: &Metadata) -> Self {
        let mut header = Header::new_ustar();
        header.set_mode(metadata.mode() & 0o7777);
        header.set_uid(metadata.uid().into());
        header.set_gid(metadata.gid().into());
        let time = Time {
            seconds: metadata.mtime(),
            nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or_default(),
        };
        header.set_mtime(u64::try_from(time.seconds).unwrap_or_default());
        let name = name.as_os_str().as_bytes().to_vec();
        Entry { name, target: Vec::new(), records: Vec::new(), header, time }
    }

    fn write(mut self, kind: EntryType, size: u64, out: &mut impl Write) -> Result<(), Error> {
        if self.time.nanoseconds != 0 || self.time.seconds < 0 {
            pax::push(&mut self.records, "mtime", self.time.to_text().as_bytes());
        }
        for (key, value) in [("path", &self.name), ("linkpath", &self.target)] {
            if value.len() > NAME_BYTES {
                pax::push(&mut self.records, key, value);
            }
        }
        if !self.records.is_empty() {
            let mut header = Header::new_ustar();
            header.set_mode(0o644);
            let length = self.records.len() as u64;
            finish(&mut header, EntryType::XHeader, b"PaxHeaders/0", &[], length);
            out.write_all(header.as_bytes())?;
            out.write_all(&self.records)?;
            pad(length, out)?;
        }
        finish(&mut self.header, kind, &self.name, &self.target, size);
        Ok(out.write_all(self.header.as_bytes())?)
    }
}

/// Names that are too long are cut: a record has all of them.
fn finish(header: &mut Header, kind: EntryType, name: &[u8], target: &[u8], size: u64) {
    header.set_entry_type(kind);
    header.set_size(size);
    let fields = header.as_old_mut();
    fields.name.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
    fields.linkname.iter_mut().zip(target).for_each(|(to, from)| *to = *from);
    header.set_cksum();
}
