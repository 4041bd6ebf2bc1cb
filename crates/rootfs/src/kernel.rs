//! Guest kernels: Debian's for cloud machines, or a file of the user's.
//!
//! Debian's is fetched by an apt that shares nothing with the host's: its own sources, state and cache,
//! Debian's keys only. It needs no privileges and installs nothing.

use std::fs;
use std::path::{Path, PathBuf};

use format::Digest;
use serde::Serialize;

use crate::command::Run;
use crate::debian::{KEYRING, licenses_of};
use crate::error::IoContext;
use crate::key::json_digest;
use crate::recipe::{Component, Mirror, Recipe, Suite};
use crate::tools::Tool;
use crate::work::WorkFolder;
use crate::{Base, Error, Mirrors, Package, Progress};

/// The package that depends on the newest kernel of its suite.
const META_PACKAGE: &str = "linux-image-cloud-amd64";
/// What Debian builds its kernels from. Those that it has signed come from a source of their own, which holds signatures
/// only.
const KERNEL_SOURCE: &str = "linux";
/// Raised whenever another kernel is fetched for the same suite and archive.
const KERNEL_VERSION: u32 = 1;
/// Where a boot image has its signature and the place of its version, from which 0x200 is left out
/// (Documentation/arch/x86/boot.rst).
const SIGNATURE_AT: usize = 0x202;
const VERSION_AT: usize = 0x20e;
const VERSION_BASE: usize = 0x200;
/// The largest boot image that is read, in bytes.
const MAX_IMAGE: u64 = 256 << 20;

/// A guest's kernel.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The boot image (bzImage).
    pub image: PathBuf,
    /// The version it says it is, such as `6.1.0-40-cloud-amd64`.
    pub version: String,
    /// The folder of its modules, with `modules.builtin`; without one all drivers are taken to be built in.
    pub modules: Option<PathBuf>,
    /// The package it came in.
    pub package: Option<Package>,
}

impl Kernel {
    /// A boot image given by the user, with its modules folder if it has one.
    ///
    /// # Errors
    /// If `image` is no x86 boot image.
    pub fn from_files(image: &Path, modules: Option<&Path>) -> Result<Self, Error> {
        if fs::metadata(image).io("read", image)?.len() > MAX_IMAGE {
            return Err(Error::TooLarge { what: image.display().to_string(), limit: MAX_IMAGE });
        }
        let bytes = fs::read(image).io("read", image)?;
        let version =
            version_of(&bytes).map_err(|reason| Error::NotAKernel { path: image.to_owned(), reason })?;
        Ok(Self { image: image.to_owned(), version, modules: modules.map(Path::to_owned), package: None })
    }
}

fn version_of(image: &[u8]) -> Result<String, &'static str> {
    let at = |offset: usize| image.get(offset..).unwrap_or_default();
    if !at(SIGNATURE_AT).starts_with(b"HdrS") {
        return Err("it has no boot header");
    }
    let &[low, high, ..] = at(VERSION_AT) else { return Err("its boot header is cut off") };
    let text = at(VERSION_BASE + usize::from(u16::from_le_bytes([low, high])));
    let version: Vec<u8> = text.iter().copied().take(256).take_while(u8::is_ascii_graphic).collect();
    String::from_utf8(version).ok().filter(|version| !version.is_empty()).ok_or("it does not say its version")
}

/// Where a recipe's kernel is fetched from.
struct Origin<'a> {
    suite: &'a Suite,
    archive: Option<&'a Mirror>,
    security: Option<&'a Mirror>,
}

impl<'a> Origin<'a> {
    fn of(recipe: &'a Recipe) -> Self {
        let (archive, security) = match &recipe.base {
            Base::Debian(base) => (base.mirror.as_ref(), base.security_mirror.as_ref()),
            Base::Directories(_) | Base::Image(_) | Base::Tar(_) => (None, None),
        };
        Self { suite: &recipe.kernel, archive, security }
    }
}

/// The digest of what decides which kernel [`fetch_kernel`] fetches, on this side of the network: what a
/// suite holds changes under an unchanged key.
///
/// # Errors
/// If the key cannot be encoded, which no recipe brings about.
pub fn kernel_key(recipe: &Recipe) -> Result<Digest, Error> {
    #[derive(Serialize)]
    struct Key<'a>(u32, &'a Suite, Option<&'a Mirror>, Option<&'a Mirror>);
    let origin = Origin::of(recipe);
    json_digest(&Key(KERNEL_VERSION, origin.suite, origin.archive, origin.security))
}

/// Fetches the newest cloud kernel of the recipe's kernel suite into `out`, an existing folder, as `vmlinuz`
/// and `modules`. `mirrors` say where this host fetches from if the recipe does not.
///
/// # Errors
/// If apt cannot reach or does not trust the archive, or it has no such kernel. `out` is then as it was.
pub fn fetch_kernel(
    recipe: &Recipe,
    mirrors: &Mirrors,
    out: &Path,
    progress: &dyn Progress,
) -> Result<Kernel, Error> {
    let origin = Origin::of(recipe);
    let work = WorkFolder::in_folder(out)?;
    let apt = Apt::prepare(work.path(), origin.suite, &mirrors.unless(origin.archive, origin.security))?;
    progress.stage("kernel", &format!("reading the packages of {}", origin.suite));
    apt.run(Tool::AptGet, "reading lists of packages")?.args(["update", "--error-on=any"]).finish()?;
    let package = apt.newest_image()?;
    progress.stage("kernel", &format!("fetching {} {}", package.name, package.version));
    let wanted = format!("{}={}", package.name, package.version);
    apt.run(Tool::AptGet, format!("fetching {wanted}"))?.args(["download", &wanted]).finish()?;
    let tree = work.path().join("tree");
    let act = format!("unpacking {wanted}");
    Run::new(Tool::DpkgDeb, act)?.arg("-x").arg(only_deb(work.path())?).arg(&tree).finish()?;
    publish(&tree, out, package)
}

/// A private apt, whose folder is also where it downloads to.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn prepare(folder: &Path, suite: &Suite, mirrors: &Mirrors) -> Result<Self, Error> {
        for name in ["apt/etc/preferences.d", "apt/lists/partial", "apt/cache/archives/partial"] {
            let path = folder.join(name);
            fs::create_dir_all(&path).io("make", &path)?;
        }
        let main: Vec<Component> = "main".parse().into_iter().collect();
        let sources = mirrors.sources(suite, &main, &format!("[signed-by={KEYRING}] "));
        for (name, content) in [("apt/etc/sources.list", sources.as_str()), ("apt/status", "")] {
            let path = folder.join(name);
            fs::write(&path, content).io("write", &path)?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// Options instead of a configuration file: a value's text needs no quoting there. They cannot keep apt
    /// from reading the host's configuration first, which `APT_CONFIG` does.
    fn run(&self, tool: Tool, act: impl Into<String>) -> Result<Run, Error> {
        let config = self.folder.join("apt/config");
        let text = "Dir::Etc::main \"/dev/null\";\nDir::Etc::parts \"/dev/null\";\n";
        fs::write(&config, text).io("write", &config)?;
        let mut run = Run::new(tool, act)?.env("APT_CONFIG", config).current_dir(&self.folder);
        for (name, path) in [
            ("Dir::Etc", "apt/etc"),
            ("Dir::State", "apt"),
            ("Dir::State::lists", "apt/lists"),
            ("Dir::State::status", "apt/status"),
            ("Dir::Cache", "apt/cache"),
        ] {
            let mut option = std::ffi::OsString::from(format!("-o{name}="));
            option.push(self.folder.join(path));
            run = run.arg(option);
        }
        Ok(run.args([
            "-q",
            "-oAPT::Architecture=amd64",
            "-oAPT::Sandbox::User=root",
            "-oAcquire::Languages=none",
        ]))
    }

    /// The package that the meta package stands for.
    fn newest_image(&self) -> Result<Package, Error> {
        let act = format!("looking for {META_PACKAGE}");
        let run = self.run(Tool::AptCache, act.as_str())?;
        let answer = run.args(["show", "--no-all-versions", META_PACKAGE]).answer()?;
        let answer = String::from_utf8_lossy(&answer);
        let unexpected = || Error::ToolAnswer {
            program: Tool::AptCache.program(),
            act,
            answer: answer.chars().take(400).collect(),
        };
        image_of_meta(&answer).ok_or_else(unexpected)
    }
}

/// Reads `Depends: linux-image-6.1.0-40-cloud-amd64 (= 6.1.153-1)`.
fn image_of_meta(paragraph: &str) -> Option<Package> {
    let depends = paragraph.lines().find_map(|line| line.strip_prefix("Depends: "))?;
    let dependency = depends.split(',').map(str::trim).find(|name| name.starts_with("linux-image-"))?;
    let (name, version) = dependency.split_once(" (= ")?;
    let version = version.strip_suffix(')')?;
    Some(Package {
        name: name.to_owned(),
        version: version.to_owned(),
        source: KERNEL_SOURCE.to_owned(),
        source_version: version.to_owned(),
        licenses: Vec::new(),
    })
}

/// The one package file in a folder.
fn only_deb(folder: &Path) -> Result<PathBuf, Error> {
    let names = crate::tree_hash::sorted_names(folder)?;
    let deb = names
        .into_iter()
        .map(|name| folder.join(name))
        .find(|path| path.extension().is_some_and(|e| e == "deb"));
    deb.ok_or_else(|| Error::ToolAnswer {
        program: Tool::AptGet.program(),
        act: "fetching the kernel".to_owned(),
        answer: "no package file".to_owned(),
    })
}

fn publish(tree: &Path, out: &Path, mut package: Package) -> Result<Kernel, Error> {
    let version = package.name.trim_start_matches("linux-image-").trim_end_matches("-unsigned").to_owned();
    package.licenses = licenses_of(&package.name, tree)?;
    let image = tree.join(format!("boot/vmlinuz-{version}"));
    let found = Kernel::from_files(&image, None)?;
    // From Debian 13 on it is below usr.
    let modules = ["usr/lib/modules", "lib/modules"].map(|folder| tree.join(folder).join(&version));
    let [first, second] = &modules;
    let modules = if first.is_dir() { first } else { second };
    let (image_path, modules_path) = (out.join("vmlinuz"), out.join("modules"));
    if modules_path.exists() {
        fs::remove_dir_all(&modules_path).io("remove", &modules_path)?;
    }
    fs::rename(modules, &modules_path).io("rename", modules)?;
    fs::rename(&image, &image_path).io("rename", &image)?;
    Ok(Kernel { image: image_path, modules: Some(modules_path), package: Some(package), ..found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meta_package_names_the_kernel() {
        let meta = "Package: linux-image-cloud-amd64\nVersion: 6.1.192-2\n\
                    Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)\nDescription: x\n";
        let package = image_of_meta(meta).unwrap();
        assert_eq!(
            (package.name.as_str(), package.version.as_str()),
            ("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2")
        );
        assert!(image_of_meta("Package: x\nDepends: linux-image-1\n").is_none());
    }

    #[test]
    fn boot_images_say_their_version() {
        let mut image = vec![0; 0x400];
        image[SIGNATURE_AT..][..4].copy_from_slice(b"HdrS");
        image[VERSION_AT..][..2].copy_from_slice(&0x100_u16.to_le_bytes());
        image[0x300..0x30c].copy_from_slice(b"6.1.0-x (me)");
        assert_eq!(version_of(&image).as_deref(), Ok("6.1.0-x"));
        assert!(version_of(&image[..0x203]).is_err());
        assert!(version_of(&image[..0x20f]).is_err());
        assert!(version_of(&image[..0x300]).is_err());
        assert!(version_of(b"").is_err());
    }
}
