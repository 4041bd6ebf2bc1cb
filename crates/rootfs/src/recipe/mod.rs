//! Recipes: a folder with a `recipe.toml`, described for people in docs/recipes.md.
//!
//! [`Recipe::load`] is the only way to get one, so a [`Recipe`] is always checked: every key is known, every
//! value in its range, every file of the folder there and inside it.

mod check;
mod image;
mod path;
mod raw;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use format::{Digest, Name, Tag};

pub use image::{ImageReference, ImageSource, RegistryImage};
pub use path::RecipePath;
pub use values::{
    Component, EnvironmentName, GuestPath, Mirror, Mode, Owner, PackageName, Size, Suite, TimeSpan,
};

/// The name of the file that describes a recipe, in its folder.
const FILE_NAME: &str = "recipe.toml";
/// The largest recipe file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// A checked recipe.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The digest of the recipe file.
    pub digest: Digest,
    /// The name the snapshot gets.
    pub name: Name,
    /// The tag the snapshot gets.
    pub version: Tag,
    /// One sentence for lists.
    pub description: Option<String>,
    /// SPDX expression of what the recipe itself adds; packages bring their own.
    pub licenses: Option<String>,
    /// What the root filesystem starts from.
    pub base: Base,
    /// What is added to it, in one layer on top.
    pub files: Vec<FileEntry>,
    /// What is run in the guest before it is warmed.
    pub build: Build,
    /// The virtual machine.
    pub machine: Machine,
    /// The suite that the kernel is taken from.
    pub kernel: Suite,
    /// Variables for the warm process and for every exec.
    pub environment: BTreeMap<EnvironmentName, String>,
    /// The process that is running when the machine is frozen.
    pub warm: Option<Warm>,
    /// What each fork runs before it counts as ready.
    pub on_fork: Option<OnFork>,
}

/// What the root filesystem starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Debian packages: one layer.
    Debian(DebianBase),
    /// Folders of the recipe, lowest first: one layer each.
    Directories(Vec<RecipePath>),
    /// A container image: as many layers as it has, but no more than there may be.
    Image(ImageReference),
    /// A tar archive, compressed by gzip or zstd or not: one layer.
    Tar(RecipePath),
}

/// A base of Debian packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebianBase {
    /// The suite, such as `bookworm`. Its updates and security suites are used too.
    pub suite: Suite,
    /// Which packages there are besides [`Self::packages`] and what they depend on.
    pub variant: Variant,
    /// Packages to add.
    pub packages: Vec<PackageName>,
    /// Components of the archive.
    pub components: Vec<Component>,
    /// The archive, if not Debian's own.
    pub mirror: Option<Mirror>,
    /// The security archive, if not Debian's own.
    pub security_mirror: Option<Mirror>,
}

/// Which packages a Debian base starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// The essential packages and apt, installed.
    #[default]
    Minbase,
    /// Nothing else; packages are unpacked and no script of theirs is run.
    Extract,
}

/// Something added to the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// A file or folder of the recipe.
    pub source: RecipePath,
    /// Where the file, or what the folder holds, is put.
    pub destination: GuestPath,
    /// Permissions, for a file only. Without it 0755 if the source is executable by its owner, else 0644.
    pub mode: Option<Mode>,
    /// Who owns it.
    pub owner: Owner,
}

/// Shell lines that change the guest before it is warmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Lines for `/bin/sh -e`, run one after another as root.
    pub commands: Vec<String>,
    /// Whether they can reach the network.
    pub network: bool,
    /// How long all of them together may take.
    pub timeout: TimeSpan,
}

/// The virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Number of virtual CPUs: 1 to 64.
    pub vcpus: u8,
    /// Memory: 64 MiB to 1 TiB, a multiple of 2 MiB.
    pub memory: Size,
    /// Size of the writable disk: 32 MiB to 15 TiB, a multiple of 1 MiB.
    pub disk: Size,
    /// Whether the kernel wipes pages when they are freed: smaller snapshots, slower guests.
    pub init_on_free: bool,
}

/// The process that is running when the machine is frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warm {
    /// How it is started.
    pub start: WarmStart,
    /// The user it runs as, by name or number. Without it the image's own if the base is one.
    pub user: Option<String>,
    /// Its working directory. Without it the image's own if the base is one, else `/`.
    pub cwd: Option<GuestPath>,
    /// What tells that it is warm.
    pub ready: Ready,
    /// How long it may take until then.
    pub deadline: TimeSpan,
}

/// How the warm process is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WarmStart {
    /// By an argument vector.
    Command(Vec<String>),
    /// By what the image says that the base is: its `ENTRYPOINT` and `CMD`.
    Image,
    /// By a runner that comes with Spore, which runs `script` first and then serves `eval`.
    Runner {
        /// Which one.
        runner: Runner,
        /// The script, a file of the recipe.
        script: RecipePath,
    },
}

/// A runner that comes with Spore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runner {
    /// Python 3.9 or later, the `python3` of the base.
    Python,
    /// Node.js 18 or later, the `node` of the base.
    Node,
    /// An IPython kernel, with the `python3`, ipykernel and jupyter_client of the base.
    Jupyter,
}

/// What tells that the warm process is warm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// The runner says so.
    Runner,
    /// This argument vector exits with 0; it is tried again until it does.
    Command(Vec<String>),
    /// This path exists.
    File(GuestPath),
}

/// What each fork runs before it counts as ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnFork {
    /// The argument vector.
    pub command: Vec<String>,
    /// How long it may take.
    pub deadline: TimeSpan,
}

/// Why a recipe is not usable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// The file cannot be read.
    #[error("cannot read the recipe {file}: {source}", file = file.display())]
    Read {
        /// The recipe file.
        file: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The file is too large to be a recipe.
    #[error("{file} is larger than {MAX_BYTES} bytes: that is no recipe", file = file.display())]
    TooLarge {
        /// The recipe file.
        file: PathBuf,
    },
    /// The file is not TOML, or holds an unknown key or a value of the wrong form.
    #[error("{file}: {message}", file = file.display())]
    Syntax {
        /// The recipe file.
        file: PathBuf,
        /// What is wrong, with the line and the key.
        message: String,
    },
    /// A key's value does not fit, alone or with others.
    #[error("{file}: {key}: {problem}", file = file.display())]
    Value {
        /// The recipe file.
        file: PathBuf,
        /// The key, such as `machine.memory`.
        key: String,
        /// What is wrong and what was expected.
        problem: String,
    },
}

impl Recipe {
    /// Reads and checks the recipe in `folder`.
    ///
    /// # Errors
    /// [`RecipeError`] names file, key and what was expected.
    pub fn load(folder: &Path) -> Result<Self, RecipeError> {
        let file = folder.join(FILE_NAME);
        let text = read(&file)?;
        let raw: raw::Recipe = toml::from_str(&text)
            .map_err(|error| RecipeError::Syntax { file: file.clone(), message: error.to_string() })?;
        let problem =
            |check::Problem { key, problem }| RecipeError::Value { file: file.clone(), key, problem };
        check::recipe(raw, Digest::of(text.as_bytes()), folder).map_err(problem)
    }
}

fn read(file: &Path) -> Result<String, RecipeError> {
    let failed = |source| RecipeError::Read { file: file.to_owned(), source };
    if std::fs::metadata(file).map_err(failed)?.len() > MAX_BYTES {
        return Err(RecipeError::TooLarge { file: file.to_owned() });
    }
    std::fs::read_to_string(file).map_err(failed)
}
