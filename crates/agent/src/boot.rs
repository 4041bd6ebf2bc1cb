//! From a bare initrd to the guest's own root, ready to serve. Runs once; any failure is fatal.

mod disks;
mod files;

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use agent_protocol::{
    GUEST_CONFIG_MAX, GUEST_CONFIG_PATH, GuestConfig, GuestConfigError, PORT_NAME, RUN_DIR,
};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, mount, mount_bind, mount_move};

use crate::identity::{BOOT_ID, rewrite};
use crate::network;
use crate::port::Port;

pub(crate) use disks::disk_by_serial;

/// How long devices may take to appear after their drivers were loaded.
const DEVICES: Duration = Duration::from_secs(30);
const NEW_ROOT: &str = "/new";
const OLD_RUNNERS: &str = agent_protocol::RUNNERS_DIR;

/// Why a guest cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    #[error("cannot {what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("{GUEST_CONFIG_PATH}: {0}")]
    Config(#[from] GuestConfigError),
    #[error("no {0} within {DEVICES:?}: is it attached, and its driver among the modules?")]
    Missing(String),
}

/// Names what was tried when something fails.
pub(crate) trait Context<T> {
    fn context(self, what: impl Into<String>) -> Result<T, BootError>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, what: impl Into<String>) -> Result<T, BootError> {
        self.map_err(|source| BootError::Io { what: what.into(), source: source.into() })
    }
}

/// What the running agent keeps of the boot.
pub(crate) struct Booted {
    pub(crate) config: GuestConfig,
    pub(crate) port: Port,
    /// The root folder of the writable disk.
    pub(crate) writable: Option<OwnedFd>,
}

/// Boots the guest.
pub(crate) fn boot() -> Result<Booted, BootError> {
    mount_kernel_file_systems()?;
    let config = read_config()?;
    load_modules(&config)?;
    let disks = disks::mount_all(&config)?;
    let writable = if config.writable { Some(open_folder(disks::WRITABLE)?) } else { None };
    disks::mount_overlay(&config, &disks, NEW_ROOT)?;
    files::copy_runners(OLD_RUNNERS, &format!("{NEW_ROOT}{RUN_DIR}"))?;
    enter_new_root(&config)?;
    files::prepare_etc(&config)?;
    if let Some(cwd) = &config.cwd {
        // An image may name one that none of its layers has, and means that it is made.
        fs::create_dir_all(cwd).context(format!("make the working directory {cwd}"))?;
    }
    bind_boot_id()?;
    network::prepare(config.network.as_ref()).context("configure the network")?;
    let port = wait_for(&format!("virtio-serial port `{PORT_NAME}`"), || {
        Port::open(PORT_NAME).context(format!("open the port {PORT_NAME}"))
    })?;
    Ok(Booted { config, port, writable })
}

/// Repeats `find` until it has found, or time is up.
fn wait_for<T>(what: &str, mut find: impl FnMut() -> Result<Option<T>, BootError>) -> Result<T, BootError> {
    let deadline = Instant::now() + DEVICES;
    loop {
        if let Some(found) = find()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(BootError::Missing(what.to_owned()));
        }
        // There is no event to wait for: devices announce themselves to a device manager, which is not here.
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn mount_kernel_file_systems() -> Result<(), BootError> {
    let exec = MountFlags::NOSUID;
    let none = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount_new("proc", "/proc", none, None)?;
    mount_new("sysfs", "/sys", none, None)?;
    mount_new("devtmpfs", "/dev", exec, None)?;
    mount_new(
        "devpts",
        "/dev/pts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        Some(c"gid=5,mode=620,ptmxmode=666"),
    )?;
    mount_new("tmpfs", "/dev/shm", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=1777"))?;
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        match std::os::unix::fs::symlink(target, format!("/dev/{name}")) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).context(format!("make the link /dev/{name}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Mounts a file system that no disk stands behind; makes the folder.
fn mount_new(kind: &str, target: &str, flags: MountFlags, options: Option<&CStr>) -> Result<(), BootError> {
    fs::create_dir_all(target).context(format!("make the folder {target}"))?;
    mount(kind, target, kind, flags, options).context(format!("mount {kind} on {target}"))
}

fn read_config() -> Result<GuestConfig, BootError> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = File::open(GUEST_CONFIG_PATH).context(format!("open {GUEST_CONFIG_PATH} of the initrd"))?;
    file.take(GUEST_CONFIG_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .context(format!("read {GUEST_CONFIG_PATH}"))?;
    Ok(GuestConfig::parse(&bytes)?)
}

fn load_modules(config: &GuestConfig) -> Result<(), BootError> {
    for path in &config.modules {
        let file = File::open(path).context(format!("open the module {path}"))?;
        match rustix::system::finit_module(&file, c"", 0) {
            Err(rustix::io::Errno::EXIST) => {}
            other => other.context(format!("load the module {path}"))?,
        }
        // Its memory would stay in every snapshot.
        fs::remove_file(path).context(format!("remove the loaded module {path}"))?;
    }
    Ok(())
}

fn open_folder(path: &str) -> Result<OwnedFd, BootError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).context(format!("open {path}"))
}

fn enter_new_root(config: &GuestConfig) -> Result<(), BootError> {
    for folder in ["/proc", "/sys", "/dev"] {
        let target = format!("{NEW_ROOT}{folder}");
        fs::create_dir_all(&target).context(format!("make the folder {target}"))?;
        mount_move(folder, &target).context(format!("move {folder} to {target}"))?;
    }
    let _ = fs::remove_dir_all("/spore");
    std::env::set_current_dir(NEW_ROOT).context("enter the new root")?;
    mount_move(".", "/").context("move the new root to /")?;
    rustix::process::chroot(".").context("change the root")?;
    std::env::set_current_dir("/").context("enter the root")?;
    rustix::system::sethostname(config.hostname.as_str().as_bytes()).context("set the hostname")
}

/// Puts a file of ours over the kernel's boot-id, which cannot be changed otherwise.
fn bind_boot_id() -> Result<(), BootError> {
    const KERNEL: &str = "/proc/sys/kernel/random/boot_id";
    let id = fs::read_to_string(KERNEL).context(format!("read {KERNEL}"))?;
    rewrite(BOOT_ID, id.trim_end()).context(format!("write {BOOT_ID}"))?;
    mount_bind(BOOT_ID, KERNEL).context(format!("bind {BOOT_ID} to {KERNEL}"))
}

fn mount_disk(source: &Path, target: &str, kind: &str, flags: MountFlags) -> Result<(), BootError> {
    fs::create_dir_all(target).context(format!("make the folder {target}"))?;
    mount(source, target, kind, flags, None)
        .context(format!("mount {kind} of {} on {target}", source.display()))
}

fn c_string(text: String) -> Result<CString, BootError> {
    CString::new(text).map_err(io::Error::other).context("pass a mount option")
}
