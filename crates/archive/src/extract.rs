//! A tar stream to files in one folder, and nowhere else.
//!
//! Names are walked component by component from a descriptor of the folder, with `O_NOFOLLOW` at each: neither a link in the
//! stream nor one that lay there before can lead out. What is made is a [draft](crate::draft) until it is whole, and replaces files
//! and links only.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use tar_stream::Time;

use crate::Error;
use crate::draft::{Draft, FileDraft, check_replaceable, refuse_open_file};
use crate::error::At;
use crate::read::{Entry, Kind, Reader};

/// Which bits of a file's mode are taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modes {
    /// All of them.
    All,
    /// Only who may read, write and execute, as far as this process's umask leaves it: from a stream that is not trusted.
    Permissions,
}

/// Where a tree is made.
#[derive(Debug)]
pub struct Destination {
    folder: OwnedFd,
    root: Root,
    /// The folder's name, for people.
    path: PathBuf,
    /// The root was asked for as a folder: `name/`.
    folder_only: bool,
}

/// What becomes of the first component of the names in a stream.
#[derive(Debug, PartialEq, Eq)]
enum Root {
    /// It stays.
    Kept,
    /// It becomes this one, whatever it was.
    Named(OsString),
    /// It goes: what is below it is made in the folder itself.
    Dropped,
}

/// A folder that was made, and gets its mode and time when all in it was made.
struct Unfinished {
    name: PathBuf,
    folder: OwnedFd,
    mode: Mode,
    time: Time,
}

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Destination {
    /// The folder `path`, in which names of a stream stay as they are.
    ///
    /// # Errors
    /// If there is no such folder.
    pub fn folder(path: &Path) -> Result<Self, Error> {
        Self::new(path, Root::Kept)
    }

    /// For the tree with the root `name`, as `cp` would: in `path` if that is a folder, else as `path`. The name in the
    /// stream plays no part. With the name `.`, what is in the tree's folder is made in `path`.
    ///
    /// # Errors
    /// If there is no folder for it.
    pub fn named(path: &Path, name: &OsStr) -> Result<Self, Error> {
        let contents = name == ".";
        if path.is_dir() {
            let root = if contents { Root::Dropped } else { Root::Named(one_component(name)?) };
            return Self::new(path, root);
        }
        let name = path.file_name().ok_or_else(|| Error::NotAFolder(path.to_owned()))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut destination = Self::new(parent, Root::Named(name.to_owned()))?;
        destination.folder_only = path.as_os_str().as_bytes().ends_with(b"/");
        // Before anything is asked of who sends the stream.
        refuse_open_file(parent, path)?;
        check_replaceable(destination.folder.as_fd(), name, path)?;
        Ok(destination)
    }

    fn new(path: &Path, root: Root) -> Result<Self, Error> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
        let folder = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
            Err(Errno::NOTDIR) => return Err(Error::NotAFolder(path.to_owned())),
            other => other.at("open the folder", path)?,
        };
        Ok(Destination { folder, root, path: path.to_owned(), folder_only: false })
    }

    /// Makes what the stream holds. Files that are there are replaced, each when the new one is whole; folders that are there
    /// stay as they are.
    ///
    /// # Errors
    /// At the first thing that cannot be made or must not be; what was made before stays.
    pub fn extract(&self, input: impl Read, modes: Modes) -> Result<(), Error> {
        let mask = match modes {
            Modes::All => Mode::from_raw_mode(0o7777),
            Modes::Permissions => (Mode::RWXU | Mode::RWXG | Mode::RWXO) - umask(),
        };
        let mut unfinished = Vec::new();
        let made = self.make_all(input, mask, &mut unfinished);
        // Also of half a tree: until then only we could look into it.
        let finished = unfinished.into_iter().rev().map(Unfinished::finish).fold(Ok(()), Result::and);
        made.and(finished).map_err(|error| error.below(&self.path))
    }

    fn make_all(&self, input: impl Read, mask: Mode, unfinished: &mut Vec<Unfinished>) -> Result<(), Error> {
        let mut reader = Reader::new(input);
        while let Some(entry) = reader.next()? {
            let name = self.place(&entry.name)?;
            while unfinished.last().is_some_and(|folder| !name.starts_with(&folder.name)) {
                unfinished.pop().map_or(Ok(()), Unfinished::finish)?;
            }
            self.check_root(&entry.kind, &name)?;
            unfinished.extend(self.make(&mut reader, entry, name, mask)?);
        }
        Ok(())
    }

    /// Refuses what no honest writer puts at the root of a tree that was asked for: a link there would lead the next copy
    /// of the same tree to wherever it points.
    fn check_root(&self, kind: &Kind, name: &Path) -> Result<(), Error> {
        let is_root = matches!(self.root, Root::Named(_)) && name.components().count() == 1;
        match kind {
            Kind::Folder => Ok(()),
            Kind::File { .. } if is_root && self.folder_only => Err(Error::NotAFolder(self.path.join(name))),
            Kind::Symlink(_) | Kind::HardLink(_) if is_root => Err(Error::Root(self.path.join(name))),
            _ => Ok(()),
        }
    }

    /// Where a name of the stream leads, from the folder; empty: to the folder itself.
    fn place(&self, name: &[u8]) -> Result<PathBuf, Error> {
        let path = Path::new(OsStr::from_bytes(name));
        let mut components = path.components();
        let mut place = PathBuf::new();
        match &self.root {
            Root::Kept => {}
            Root::Named(root) => {
                components.next();
                place.push(root);
            }
            Root::Dropped => {
                components.next();
            }
        }
        for component in path.components() {
            match component {
                Component::Normal(_) | Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(Error::Outside(path.to_owned()));
                }
            }
        }
        // Only the first one can be `.`.
        place.extend(components.filter(|component| *component != Component::CurDir));
        if name.contains(&0) { Err(Error::Outside(path.to_owned())) } else { Ok(place) }
    }

    fn make<R: Read>(
        &self,
        reader: &mut Reader<R>,
        entry: Entry,
        name: PathBuf,
        mask: Mode,
    ) -> Result<Option<Unfinished>, Error> {
        let Entry { kind, mode, time, .. } = entry;
        let Some(last) = name.file_name() else {
            return match kind {
                Kind::Folder => Ok(None),
                _ => Err(Error::InTheWay { path: PathBuf::new(), is_folder: true }),
            };
        };
        let mode = Mode::from_raw_mode(mode) & mask;
        let parent = self.parent_of(&name, true)?;
        let parent = parent.as_fd();
        if kind != Kind::Folder {
            check_replaceable(parent, last, &name)?;
        }
        match kind {
            Kind::Folder => {
                let made = make_folder(parent, last, &name)?;
                return Ok(made.map(|folder| Unfinished { name, folder, mode, time }));
            }
            Kind::File { size, parts } => {
                let draft = FileDraft::new(parent).at("make", &name)?;
                // Refused here if no file may be that long, before anything of it has come.
                draft.file().set_len(size).at("give its length to", &name)?;
                reader.copy_to(draft.file(), &parts, |source| Error::File {
                    what: "write",
                    path: name.clone(),
                    source,
                })?;
                finish(draft.file(), mode, time).at("set the mode and time of", &name)?;
                draft.replace(last).at("replace", &name)?;
            }
            Kind::Symlink(target) => {
                let draft = Draft::new(parent, |name| {
                    rustix::fs::symlinkat(OsStr::from_bytes(&target), parent, name)
                })
                .at("make the link", &name)?;
                let times = timestamps(time);
                rustix::fs::utimensat(parent, draft.name(), &times, AtFlags::SYMLINK_NOFOLLOW)
                    .at("set the time of", &name)?;
                draft.replace(last).at("replace", &name)?;
            }
            Kind::HardLink(target) => {
                let target = self.place(&target)?;
                let Some(target_last) = target.file_name().filter(|_| target != name) else {
                    return Err(Error::Outside(target));
                };
                let from = self.parent_of(&target, false)?;
                let link =
                    |name: &OsStr| rustix::fs::linkat(&from, target_last, parent, name, AtFlags::empty());
                let draft = Draft::new(parent, link).at("make the hard link", &name)?;
                draft.replace(last).at("replace", &name)?;
            }
            Kind::Other(what) => return Err(Error::Kind { path: name, what }),
        }
        Ok(None)
    }

    /// The folder that the last component of `name` is in. What is missing of it may be made: not every stream names all
    /// folders.
    fn parent_of(&self, name: &Path, make: bool) -> Result<OwnedFd, Error> {
        let mut folder = self.folder.try_clone().at("open the folder of", name)?;
        for component in name.parent().into_iter().flat_map(Path::components) {
            let open = || {
                let flags = FOLDER | OFlags::PATH;
                rustix::fs::openat(&folder, component.as_os_str(), flags, Mode::empty())
            };
            let opened = match open() {
                Err(Errno::NOENT) if make => {
                    let mode = Mode::from_raw_mode(0o777);
                    match rustix::fs::mkdirat(&folder, component.as_os_str(), mode) {
                        Ok(()) | Err(Errno::EXIST) => open(),
                        Err(error) => Err(error),
                    }
                }
                other => other,
            };
            folder = match opened {
                Err(Errno::NOTDIR | Errno::LOOP) => return Err(Error::Through(name.to_owned())),
                other => other.at("open the folder of", name)?,
            };
        }
        Ok(folder)
    }
}

fn one_component(name: &OsStr) -> Result<OsString, Error> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(one)), None) => Ok(OsString::from_vec(one.as_bytes().to_vec())),
        _ => Err(Error::Outside(PathBuf::from(name))),
    }
}

/// Makes a folder, to which only we have access until it is finished; `None` if it was there.
fn make_folder(parent: impl AsFd, last: &OsStr, name: &Path) -> Result<Option<OwnedFd>, Error> {
    let parent = parent.as_fd();
    let made = rustix::fs::mkdirat(parent, last, Mode::RWXU);
    let opened = match made {
        Ok(()) | Err(Errno::EXIST) => {
            rustix::fs::openat(parent, last, FOLDER | OFlags::RDONLY, Mode::empty())
        }
        Err(error) => Err(error),
    };
    match (made, opened) {
        (Ok(()), opened) => Ok(Some(opened.at("open the folder", name)?)),
        (Err(_), Err(Errno::NOTDIR | Errno::LOOP)) => {
            Err(Error::InTheWay { path: name.to_owned(), is_folder: false })
        }
        // One that we may not read is a folder nevertheless.
        (Err(Errno::EXIST), Ok(_) | Err(Errno::ACCESS)) => Ok(None),
        (Err(_), opened) => opened.at("make the folder", name).map(|_| None),
    }
}

/// The bits that this process's user does not want in modes of new files. Looked up: asking the kernel for it sets it.
fn umask() -> Mode {
    /// What is usual, should the kernel not tell.
    const USUAL: u32 = 0o022;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    let mask = line.and_then(|digits| u32::from_str_radix(digits.trim(), 8).ok());
    Mode::from_raw_mode(mask.unwrap_or(USUAL))
}

impl Unfinished {
    fn finish(self) -> Result<(), Error> {
        finish(&self.folder, self.mode, self.time).at("set the mode and time of", &self.name)
    }
}

fn finish(file: impl AsFd, mode: Mode, time: Time) -> rustix::io::Result<()> {
    let file = file.as_fd();
    rustix::fs::fchmod(file, mode)?;
    rustix::fs::futimens(file, &timestamps(time))
}

fn timestamps(time: Time) -> Timestamps {
    let Time { seconds: tv_sec, nanoseconds } = time;
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec, tv_nsec: nanoseconds.into() },
    }
}
