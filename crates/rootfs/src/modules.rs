//! The drivers a guest needs, in the order in which they are loaded.
//!
//! A driver is built into the kernel (`modules.builtin` lists those), or a module file somewhere below the
//! modules folder. What a module depends on is written in its own `.modinfo`; `modules.dep`, which says the
//! same, is made when a kernel package is installed, and here it is only unpacked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::Run;
use crate::error::IoContext;
use crate::tools::Tool;
use crate::{Error, Kernel, elf};

/// The drivers, and whether a guest cannot do without. The checksums come first: file systems ask for them by
/// request_module, which finds no modprobe in the initrd. Then what is required, so that what it shares with
/// the rest is required too.
const DRIVERS: [(&str, bool); 12] = [
    ("crc32c_generic", false),
    ("crc32c_intel", false),
    ("virtio_pci", true),
    ("virtio_blk", true),
    ("virtio_console", true),
    ("erofs", true),
    ("ext4", true),
    ("overlay", true),
    ("virtio_rng", false),
    ("virtio_net", false),
    ("vmgenid", false),
    ("vmw_vsock_virtio_transport", false),
];
/// The largest module that is read, in bytes.
const MAX_MODULE: u64 = 64 << 20;
/// Modules lie at most so many folders deep.
const MAX_DEPTH: usize = 16;

/// A driver to be loaded by the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestModule {
    /// The module's name, with underscores.
    pub name: String,
    /// Whether the guest cannot do without: the kernel may refuse the others.
    pub required: bool,
    content: Vec<u8>,
}

impl GuestModule {
    /// Where the initrd has it, such as `/modules/virtio_blk.ko`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/modules/{}.ko", self.name)
    }

    pub(crate) fn content(&self) -> &[u8] {
        &self.content
    }
}

/// What a kernel has.
struct Inventory {
    kernel: String,
    folder: PathBuf,
    built_in: BTreeSet<String>,
    files: BTreeMap<String, PathBuf>,
}

/// The modules that a guest with `kernel` loads, in this order. None for a kernel without a modules folder,
/// which is taken to have all drivers built in.
pub(crate) fn select(kernel: &Kernel) -> Result<Vec<GuestModule>, Error> {
    let Some(folder) = &kernel.modules else { return Ok(Vec::new()) };
    let inventory = Inventory::read(&kernel.version, folder)?;
    let (mut visited, mut selected) = (BTreeSet::new(), Vec::new());
    for (name, required) in DRIVERS {
        let is_here = inventory.built_in.contains(name) || inventory.files.contains_key(name);
        if required || is_here {
            inventory.visit(name, required, &mut visited, &mut selected)?;
        }
    }
    Ok(selected)
}

impl Inventory {
    fn read(kernel: &str, folder: &Path) -> Result<Self, Error> {
        let list = folder.join("modules.builtin");
        let built_in = fs::read_to_string(&list).io("read", &list)?;
        let built_in = built_in.lines().filter_map(|path| module_name(Path::new(path))).collect();
        let mut files = BTreeMap::new();
        find_modules(folder, 0, &mut files)?;
        Ok(Self { kernel: kernel.to_owned(), folder: folder.to_owned(), built_in, files })
    }

    /// Appends the module, after what it depends on. `visited` ends what would go in circles.
    fn visit(
        &self,
        name: &str,
        required: bool,
        visited: &mut BTreeSet<String>,
        selected: &mut Vec<GuestModule>,
    ) -> Result<(), Error> {
        if self.built_in.contains(name) || !visited.insert(name.to_owned()) {
            return Ok(());
        }
        let path = self.files.get(name).ok_or_else(|| Error::ModuleMissing {
            kernel: self.kernel.clone(),
            module: name.to_owned(),
            folder: self.folder.display().to_string(),
        })?;
        let content = read_module(path)?;
        let needs = elf::module_depends(&content)
            .map_err(|reason| Error::NotAModule { path: path.clone(), reason })?;
        for need in needs {
            self.visit(&need, required, visited, selected)?;
        }
        selected.push(GuestModule { name: name.to_owned(), required, content });
        Ok(())
    }
}

fn find_modules(folder: &Path, depth: usize, files: &mut BTreeMap<String, PathBuf>) -> Result<(), Error> {
    for name in crate::tree_hash::sorted_names(folder)? {
        let path = folder.join(name);
        // Links, such as `build`, lead to sources.
        let meta = path.symlink_metadata().io("read", &path)?;
        if meta.is_dir() && depth < MAX_DEPTH {
            find_modules(&path, depth + 1, files)?;
        } else if let Some(name) = meta.is_file().then(|| module_name(&path)).flatten() {
            files.entry(name).or_insert(path);
        }
    }
    Ok(())
}

/// `virtio-rng.ko.xz` is the module virtio_rng.
fn module_name(path: &Path) -> Option<String> {
    let (name, rest) = path.file_name()?.to_str()?.split_once(".ko")?;
    matches!(rest, "" | ".xz" | ".zst" | ".gz").then(|| name.replace('-', "_"))
}

fn read_module(path: &Path) -> Result<Vec<u8>, Error> {
    let unpack = |tool| {
        let run = Run::new(tool, format!("unpacking {}", path.display()))?;
        run.args(["-d", "-c", "--"]).arg(path).answer()
    };
    let content = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => unpack(Tool::Xz)?,
        Some("gz") => unpack(Tool::Gzip)?,
        Some("zst") => {
            let packed = fs::read(path).io("read", path)?;
            zstd::stream::decode_all(packed.as_slice()).io("unpack", path)?
        }
        _ => fs::read(path).io("read", path)?,
    };
    if content.len() as u64 > MAX_MODULE {
        return Err(Error::TooLarge { what: path.display().to_string(), limit: MAX_MODULE });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::tests::module;

    /// A kernel of the shape of Debian's 6.1: ext4 is built in, drivers are modules that share others.
    fn kernel(folder: &Path, leave_out: &str) -> Kernel {
        fs::write(
            folder.join("modules.builtin"),
            "kernel/fs/ext4/ext4.ko\nkernel/crypto/crc32c_generic.ko\n",
        )
        .unwrap();
        for (name, depends) in [
            ("crypto/crc32c-intel", ""),
            ("virtio/virtio", ""),
            ("virtio/virtio_ring", "virtio"),
            ("virtio/virtio_pci", "virtio-ring,virtio"),
            ("block/virtio_blk", "virtio,virtio_ring"),
            ("char/virtio_console", "virtio_ring"),
            ("net/virtio_net", "net_failover"),
            ("net/net_failover", "failover"),
            ("net/failover", "net_failover"),
            ("fs/erofs", "libcrc32c"),
            ("lib/libcrc32c", ""),
            ("fs/overlay", ""),
            ("fs/unrelated", "overlay"),
        ] {
            let path = folder.join("kernel").join(name).with_extension("ko");
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if !name.ends_with(leave_out) {
                fs::write(path, module(depends)).unwrap();
            }
        }
        Kernel {
            image: PathBuf::new(),
            version: "6.1-test".into(),
            modules: Some(folder.into()),
            package: None,
        }
    }

    #[test]
    fn modules_come_after_what_they_depend_on() {
        let folder = tempfile::tempdir().unwrap();
        let selected = select(&kernel(folder.path(), "none")).unwrap();
        let names: Vec<_> = selected.iter().map(|module| (module.name.as_str(), module.required)).collect();
        assert_eq!(
            names,
            [
                ("crc32c_intel", false),
                ("virtio", true),
                ("virtio_ring", true),
                ("virtio_pci", true),
                ("virtio_blk", true),
                ("virtio_console", true),
                ("libcrc32c", true),
                ("erofs", true),
                ("overlay", true),
                ("failover", false),
                ("net_failover", false),
                ("virtio_net", false),
            ]
        );
        assert_eq!(selected[0].path(), "/modules/crc32c_intel.ko");
    }

    #[test]
    fn a_missing_driver_is_named() {
        for missing in ["virtio_blk", "libcrc32c"] {
            let folder = tempfile::tempdir().unwrap();
            let error = select(&kernel(folder.path(), missing)).unwrap_err().to_string();
            let start = format!("kernel 6.1-test has no driver {missing}, neither built in nor below /");
            assert!(error.starts_with(&start), "{error}");
        }
    }
}
