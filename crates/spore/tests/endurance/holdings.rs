//! What a process of this host holds, what lies in a folder, and what could be left where no folder of the test is.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use host::ProcessId;

use crate::harness::files;
use crate::sample::Things;

/// What a process has open, how many threads it has, and how much memory is its own.
#[derive(Debug)]
pub struct Holding {
    /// How many descriptors there are of each thing, without the numbers of anonymous ones.
    pub descriptors: Things,
    /// An engine has some for reading and writing, which end when they were idle for a while.
    pub threads: usize,
    pub anonymous_kib: u64,
    pub dirty_kib: u64,
}

impl Holding {
    #[track_caller]
    pub fn of(pid: u32) -> Self {
        let process = ProcessId::of(pid).unwrap_or_else(|error| panic!("{error}"));
        let usage = host::usage(process).unwrap_or_else(|error| panic!("{error}"));
        Self {
            descriptors: counted(descriptors(pid).into_iter().map(|target| without_number(&target))),
            threads: entries(&format!("/proc/{pid}/task")),
            anonymous_kib: usage.anonymous >> 10,
            dirty_kib: usage.private_dirty >> 10,
        }
    }

    pub fn open(&self) -> usize {
        self.descriptors.values().sum()
    }
}

/// How often each comes.
pub fn counted(items: impl IntoIterator<Item = String>) -> Things {
    let mut counts = Things::new();
    items.into_iter().for_each(|item| *counts.entry(item).or_default() += 1);
    counts
}

/// What the descriptors of a process lead to.
fn descriptors(pid: u32) -> Vec<String> {
    let folder = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    // One that was closed meanwhile is none.
    entries
        .filter_map(|entry| Some(fs::read_link(entry.ok()?.path()).ok()?.to_string_lossy().into_owned()))
        .collect()
}

/// `socket:[123]` is a socket.
pub fn without_number(target: &str) -> String {
    match target.split_once(":[") {
        Some((kind, number)) if number.trim_end_matches(']').bytes().all(|byte| byte.is_ascii_digit()) => {
            kind.to_owned()
        }
        _ => target.to_owned(),
    }
}

/// All that lies below a folder, as lines: names, kinds, links, and lengths but of what running sandboxes write.
#[track_caller]
pub fn listing(folder: &Path) -> Vec<String> {
    let line = |path: &Path| {
        let metadata = fs::symlink_metadata(path).ok()?;
        let kind = metadata.file_type();
        let name = path.strip_prefix(folder).expect("it lies below").display();
        let is_written = path.components().any(|part| part.as_os_str() == "sandboxes");
        Some(match () {
            () if kind.is_socket() => format!("socket {name}"),
            () if !kind.is_file() => format!("{kind:?} {name}"),
            () if is_written => format!("file {name}, {} links", metadata.nlink()),
            () => format!("file {name}, {} links, {} bytes", metadata.nlink(), metadata.len()),
        })
    };
    files::files_below(folder).iter().filter_map(|path| line(path)).collect()
}

/// What commands have left in a store for whoever opens it next: leases, temporary files, trash.
#[track_caller]
pub fn unfinished(root: &Path) -> Vec<PathBuf> {
    ["leases", "tmp", "trash"].iter().flat_map(|folder| files::entries(&root.join(folder))).collect()
}

/// What anybody on this host may make, so that it can be compared in number only.
#[derive(Debug, Clone, Copy)]
pub struct Common {
    /// Files and folders of ours where temporary files lie, and shared memory.
    pub temporary: usize,
    /// Unix sockets that are called like a sandbox's.
    pub sockets: usize,
}

impl Common {
    pub fn count() -> Self {
        let own = rustix::process::geteuid().as_raw();
        let is_ours = |entry: &fs::DirEntry| entry.metadata().is_ok_and(|metadata| metadata.uid() == own);
        let temporary = ["/tmp", "/var/tmp", "/dev/shm"].map(|folder| {
            fs::read_dir(folder).map_or(0, |entries| entries.flatten().filter(is_ours).count())
        });
        let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
        // They are bound by a name in a folder, so that the name's end is all that tells.
        let is_sandboxes = |line: &&str| {
            let name = line.rsplit(['/', ' ']).next().unwrap_or_default();
            ["qmp", "agent", "control"].contains(&name)
        };
        Self { temporary: temporary.iter().sum(), sockets: sockets.lines().filter(is_sandboxes).count() }
    }
}

fn entries(folder: &str) -> usize {
    fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}")).count()
}
