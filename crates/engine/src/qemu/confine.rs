//! What a QEMU may reach on its host: what it needs to start, and its sandbox's folder.
//!
//! A guest that has taken over its QEMU finds no file of the user there but those of its own sandbox and its data disk, no TCP unless its network is the
//! host's, and nobody to signal. Where the kernel has no Landlock, QEMU's own seccomp filter is what is left.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use host::{Allowed, Confinement};

use super::discover::Found;
use crate::{Disk, EngineError};

/// Where programs, libraries and firmware are installed, and what libraries read at their start.
const SYSTEM: [&str; 14] = [
    "/usr",
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/resolv.conf",
    "/proc/sys/vm",
    "/sys/devices/system",
    "/sys/kernel/mm",
];
/// What a prefix has besides `bin`, which may be in somebody's home.
const PARTS: [&str; 4] = ["lib", "lib64", "libexec", "share"];
const DEVICES: [&str; 4] = ["/dev/kvm", "/dev/null", "/dev/random", "/dev/urandom"];

/// The domain of a QEMU that works in `folder`; `None` where the kernel has none to offer.
pub(super) fn confine(
    found: &Found,
    folder: &Path,
    disks: &[Disk],
    network: bool,
) -> Result<Option<Confinement>, EngineError> {
    // What is installed elsewhere lies beside its program, in its prefix, or where it was said.
    let program = found.program().canonicalize().unwrap_or_else(|_| found.program().to_owned());
    let libraries = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let home = program.parent();
    let prefix = home.filter(|home| home.ends_with("bin")).and_then(Path::parent);
    let beside = prefix.into_iter().flat_map(|prefix| PARTS.map(|part| prefix.join(part)));
    let own: Vec<PathBuf> =
        home.map(Path::to_owned).into_iter().chain(beside).chain(split(&libraries)).collect();
    let own = own.iter().chain(found.data()).map(PathBuf::as_path);
    // What the user has named to be attached.
    let linked = |read_only| {
        let disks = disks.iter().filter(move |disk| disk.read_only == read_only);
        let paths = disks.map(|disk| folder.join(&disk.file)).filter(|path| path.is_symlink());
        paths.filter_map(|path| path.canonicalize().ok()).collect::<Vec<_>>()
    };
    let (read, write) = (linked(true), linked(false));
    let own = own.chain(read.iter().map(PathBuf::as_path));
    let allowed = Allowed {
        read: SYSTEM.iter().map(Path::new).chain(own).collect(),
        write: std::iter::once(folder).chain(write.iter().map(PathBuf::as_path)).collect(),
        devices: DEVICES.iter().map(Path::new).collect(),
        network,
    };
    Confinement::new(&allowed).map_err(EngineError::io("confine QEMU to its folder"))
}

fn split(paths: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(paths).filter(|path| path.is_absolute()).collect()
}
