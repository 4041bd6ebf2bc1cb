//! The system calls that write to files, as a tracer sees them: what each acts on, and how it is asked for less.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::libc::{self, c_long, user_regs_struct};
use nix::unistd::Pid;

/// Where a call says how much it is to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Length {
    Third,
    Fourth,
    Fifth,
}

impl Length {
    pub fn of(self, registers: &mut user_regs_struct) -> &mut u64 {
        match self {
            Self::Third => &mut registers.rdx,
            Self::Fourth => &mut registers.r10,
            Self::Fifth => &mut registers.r8,
        }
    }
}

/// A folder whose files count, and what it is called.
pub type Watched<'a> = (&'static str, &'a Path);

/// A call that is going to write.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub name: &'static str,
    /// The file: its path in the folder that is watched, without digits that are different each time.
    pub place: String,
    /// Where it says how much; `None` if it is done in whole or not at all.
    pub length: Option<Length>,
}

impl Call {
    /// What a thread has just asked for, if it is in one of the folders. Removals do not count: they need no space, and a
    /// file that stays is what kills leave, too.
    pub fn of(thread: Pid, registers: &user_regs_struct, folders: &[Watched<'_>]) -> Option<Self> {
        let (name, target, length) = target(registers)?;
        let path = match target {
            Target::Open(fd) => opened(thread, fd)?,
            Target::Named(folder, name) => named(thread, folder, name)?,
        };
        let (folder, below) =
            folders.iter().find_map(|(name, folder)| Some((name, path.strip_prefix(folder).ok()?)))?;
        let place = without_random_parts(&format!("{folder}/{}", below.display()));
        Some(Self { name, place, length })
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} of {}", self.name, self.place)
    }
}

/// Digests, the names of temporary files, and the numbers of processes in them, each as a star.
fn without_random_parts(path: &str) -> String {
    const SHORTEST: usize = 16;
    let is_process = |part: &&str| part.len() > 1 && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = path.split('.').map(|part| Some(part).filter(|part| !is_process(part)).unwrap_or("*"));
    let path = parts.collect::<Vec<_>>().join(".");
    let mut short = String::new();
    for run in path.as_bytes().chunk_by(|one, next| one.is_ascii_hexdigit() == next.is_ascii_hexdigit()) {
        let is_random = run.len() >= SHORTEST && run[0].is_ascii_hexdigit();
        short += if is_random { "*" } else { std::str::from_utf8(run).unwrap_or("?") };
    }
    short
}

/// What a call acts on.
enum Target {
    /// What is open under this number.
    Open(u64),
    /// A name at this address, in the folder that is open under this number.
    Named(u64, u64),
}

/// The folder that names are looked up in where none is given.
const HERE: u64 = libc::AT_FDCWD as u64;

fn target(registers: &user_regs_struct) -> Option<(&'static str, Target, Option<Length>)> {
    use Target::{Named, Open};
    let user_regs_struct { rdi, rsi, rdx, r10, .. } = *registers;
    let writes = |flags: u64| flags & (libc::O_CREAT | libc::O_TRUNC | TEMPORARY) as u64 != 0;
    Some(match registers.orig_rax as c_long {
        libc::SYS_write => ("write", Open(rdi), Some(Length::Third)),
        libc::SYS_pwrite64 => ("pwrite64", Open(rdi), Some(Length::Third)),
        // Fewer pieces, as a kernel that has no room for the last ones would write.
        libc::SYS_writev => ("writev", Open(rdi), Some(Length::Third)),
        libc::SYS_pwritev => ("pwritev", Open(rdi), Some(Length::Third)),
        libc::SYS_pwritev2 => ("pwritev2", Open(rdi), Some(Length::Third)),
        libc::SYS_sendfile => ("sendfile", Open(rdi), Some(Length::Fourth)),
        libc::SYS_copy_file_range => ("copy_file_range", Open(rdx), Some(Length::Fifth)),
        libc::SYS_splice => ("splice", Open(rdx), Some(Length::Fifth)),
        libc::SYS_fallocate => ("fallocate", Open(rdi), None),
        libc::SYS_ftruncate => ("ftruncate", Open(rdi), None),
        libc::SYS_fsync => ("fsync", Open(rdi), None),
        libc::SYS_fdatasync => ("fdatasync", Open(rdi), None),
        libc::SYS_syncfs => ("syncfs", Open(rdi), None),
        libc::SYS_fchmod => ("fchmod", Open(rdi), None),
        libc::SYS_ioctl if rsi == libc::FICLONE => ("ioctl FICLONE", Open(rdi), None),
        libc::SYS_open if writes(rsi) => ("open", Named(HERE, rdi), None),
        libc::SYS_openat if writes(rdx) => ("openat", Named(rdi, rsi), None),
        libc::SYS_truncate => ("truncate", Named(HERE, rdi), None),
        libc::SYS_chmod => ("chmod", Named(HERE, rdi), None),
        libc::SYS_fchmodat => ("fchmodat", Named(rdi, rsi), None),
        libc::SYS_mkdir => ("mkdir", Named(HERE, rdi), None),
        libc::SYS_mkdirat => ("mkdirat", Named(rdi, rsi), None),
        libc::SYS_rename => ("rename", Named(HERE, rsi), None),
        libc::SYS_renameat => ("renameat", Named(rdx, r10), None),
        libc::SYS_renameat2 => ("renameat2", Named(rdx, r10), None),
        libc::SYS_link => ("link", Named(HERE, rsi), None),
        libc::SYS_linkat => ("linkat", Named(rdx, r10), None),
        libc::SYS_symlink => ("symlink", Named(HERE, rsi), None),
        libc::SYS_symlinkat => ("symlinkat", Named(rsi, rdx), None),
        _ => return None,
    })
}

/// `O_TMPFILE` without the bit of `O_DIRECTORY` that is in it.
const TEMPORARY: i32 = libc::O_TMPFILE & !libc::O_DIRECTORY;

fn opened(thread: Pid, fd: u64) -> Option<PathBuf> {
    // The kernel takes an `int`, and passes over what is above it.
    let fd = fd as i32;
    let link = if fd == libc::AT_FDCWD { "cwd".to_owned() } else { format!("fd/{fd}") };
    fs::read_link(format!("/proc/{thread}/{link}")).ok()
}

fn named(thread: Pid, folder: u64, address: u64) -> Option<PathBuf> {
    let mut bytes = vec![0; libc::PATH_MAX as usize];
    let memory = File::open(format!("/proc/{thread}/mem")).ok()?;
    let read = memory.read_at(&mut bytes, address).ok()?;
    let length = bytes[..read].iter().position(|byte| *byte == 0)?;
    bytes.truncate(length);
    let name = PathBuf::from(OsString::from_vec(bytes));
    Some(if name.is_absolute() { name } else { opened(thread, folder)?.join(name) })
}
