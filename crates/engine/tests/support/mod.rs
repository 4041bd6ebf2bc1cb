//! A guest from what the host offers: a kernel with its modules, and a static busybox.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use engine::AGENT_SOCKET;
use engine::conformance::{Failure, GuestDriver};
use host::Deadline;

/// In the order in which they need each other; those that a kernel has built in are not there.
const MODULES: &str = "virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk \
    virtio_console virtio-rng failover net_failover virtio_net";

/// Answers each line by what it writes when run, on one line.
const INIT: &str = r#"#!/bin/busybox sh
busybox mount -t proc proc /proc; busybox mount -t sysfs sys /sys; busybox mount -t devtmpfs dev /dev
for m in MODULES; do [ -f /modules/$m.ko ] && busybox insmod /modules/$m.ko; done
busybox --install -s /bin; export PATH=/bin
echo 'guest is up' >/dev/ttyS0
exec 3<>/dev/vport0p1 || exec 3<>/dev/$(ls /sys/class/virtio-ports | head -n 1)
while :; do
  if read -r line <&3; then echo "$(eval "$line" 2>&1 | tr '\n' ' ')" >&3; else usleep 5000; fi
done
"#;

/// A kernel and an initrd in a folder.
pub(crate) struct TestGuest {
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
}

impl TestGuest {
    /// `SPORE_TEST_KERNEL` with `SPORE_TEST_MODULES` (a `lib/modules/RELEASE`), else the host's own newest.
    ///
    /// # Errors
    /// What is missing.
    pub(crate) fn make(folder: &Path) -> Result<Self, String> {
        let (kernel, modules) = kernel()?;
        let busybox = Path::new("/bin/busybox");
        let is_static = fs::read(busybox).map(|bytes| !contains(&bytes, b"/lib64/ld-linux")).unwrap_or(false);
        if !is_static {
            return Err("no static /bin/busybox (Debian: busybox-static)".to_owned());
        }
        let mut archive = Cpio::default();
        for name in ["bin", "modules", "proc", "sys", "dev"] {
            archive.add(name, 0o040_755, b"");
        }
        archive.add("init", 0o100_755, INIT.replace("MODULES", MODULES).as_bytes());
        archive.add("bin/busybox", 0o100_755, &fs::read(busybox).map_err(|error| error.to_string())?);
        for name in MODULES.split_whitespace() {
            if let Some(bytes) = module(&modules, name)? {
                archive.add(&format!("modules/{name}.ko"), 0o100_644, &bytes);
            }
        }
        let initrd = folder.join("initrd");
        fs::write(&initrd, archive.finish()).map_err(|error| error.to_string())?;
        Ok(Self { kernel, initrd })
    }
}

fn kernel() -> Result<(PathBuf, PathBuf), String> {
    let set = |name| std::env::var_os(name).map(PathBuf::from);
    if let Some(kernel) = set("SPORE_TEST_KERNEL") {
        let modules = set("SPORE_TEST_MODULES").ok_or("SPORE_TEST_KERNEL without SPORE_TEST_MODULES")?;
        return Ok((kernel, modules));
    }
    let mut found: Vec<(PathBuf, PathBuf)> = fs::read_dir("/boot")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let modules = Path::new("/lib/modules").join(name.strip_prefix("vmlinuz-")?);
            modules.is_dir().then(|| (entry.path(), modules))
        })
        .collect();
    found.sort();
    found.pop().ok_or_else(|| "no kernel with modules in /boot, and no SPORE_TEST_KERNEL".to_owned())
}

fn module(modules: &Path, name: &str) -> Result<Option<Vec<u8>>, String> {
    let mut folders = vec![modules.join("kernel")];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?.flatten()
        {
            let path = entry.path();
            let file = entry.file_name().into_string().unwrap_or_default();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if file == format!("{name}.ko") {
                return fs::read(&path).map(Some).map_err(|error| error.to_string());
            } else if file == format!("{name}.ko.xz") {
                let output = Command::new("xz").arg("-dc").arg(&path).output();
                return output.map(|output| Some(output.stdout)).map_err(|error| format!("xz: {error}"));
            }
        }
    }
    Ok(None)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A cpio archive as the kernel unpacks it ("newc").
#[derive(Default)]
struct Cpio {
    bytes: Vec<u8>,
    files: u32,
}

impl Cpio {
    fn add(&mut self, name: &str, mode: u32, data: &[u8]) {
        self.files += 1;
        let fields = [self.files, mode, 0, 0, 1, 0, u32::try_from(data.len()).unwrap(), 0, 0, 0, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(format!("{:08x}{:08x}{name}\0", name.len() + 1, 0).bytes());
        self.pad();
        self.bytes.extend(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, b"");
        self.bytes
    }
}

/// Talks to [`INIT`].
#[derive(Default)]
pub(crate) struct ShellDriver {
    stream: Option<BufReader<UnixStream>>,
    asked: u32,
}

impl GuestDriver for ShellDriver {
    fn ready(&mut self, folder: &Path, deadline: Deadline) -> Result<(), Failure> {
        self.stream = Some(BufReader::new(host::socket::connect_in(folder, AGENT_SOCKET)?));
        self.ask("true", deadline).map(drop)
    }

    fn ask(&mut self, line: &str, deadline: Deadline) -> Result<String, Failure> {
        self.asked += 1;
        let mark = format!("answer-{}:", self.asked);
        let stream = self.stream.as_mut().ok_or("not connected")?;
        let question = format!("echo {mark}; {{ {line}; }}\n");
        stream.get_mut().write_all(question.as_bytes())?;
        loop {
            let left = deadline.remaining().ok_or("no answer in time")?;
            stream.get_mut().set_read_timeout(Some(left))?;
            let mut answer = String::new();
            if stream.read_line(&mut answer)? == 0 {
                return Err(format!("the guest is gone, asked: {line}").into());
            }
            if let Some(answer) = answer.strip_prefix(&mark) {
                return Ok(answer.trim().to_owned());
            }
        }
    }

    fn quiet(&mut self, _: Deadline) -> Result<(), Failure> {
        // It writes only when it is asked, and it has answered.
        self.stream = None;
        Ok(())
    }
}
