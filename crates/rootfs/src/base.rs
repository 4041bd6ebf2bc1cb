//! Bases and added files, turned into layers.

use std::fs;
use std::path::{Path, PathBuf};

use format::Digest;
use serde::Serialize;

use crate::error::IoContext;
use crate::files::FilesLayer;
use crate::recipe::{Base, FileEntry, Recipe};
use crate::tools::Tool;
use crate::work::WorkFolder;
use crate::{Error, Mirrors, Package, Progress, debian, erofs, tree_hash};

/// Raised whenever this crate makes other bytes of the same input.
const LAYER_VERSION: u32 = 1;

/// The layers that a recipe's base and files make.
#[derive(Debug, Clone)]
pub struct BaseImage {
    /// Lowest first: at least one, at most [`format::limits::LAYERS`], that of the added files included.
    pub layers: Vec<LayerFile>,
    /// What a Debian base was made of.
    pub packages: Vec<Package>,
    /// What the layers were made with.
    pub tools: Vec<ToolVersion>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerFile {
    /// The EROFS image.
    pub path: PathBuf,
    /// The digest of its bytes, which is the layer's identity.
    pub digest: Digest,
    /// Its size in bytes, a multiple of 4096.
    pub size: u64,
}

/// A program and its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToolVersion {
    /// The program.
    pub name: String,
    /// The version it says it is.
    pub version: String,
}

/// Makes the layers of a recipe in `out`, an existing folder, as `layer-00.erofs` and so on.
///
/// `mirrors` say where this host fetches packages from if the recipe does not; they have no influence on
/// the bytes.
///
/// # Errors
/// If a tool is missing or fails, or the added files do not fit the base. `out` is then as it was.
pub fn build_base(
    recipe: &Recipe,
    mirrors: &Mirrors,
    out: &Path,
    progress: &dyn Progress,
) -> Result<BaseImage, Error> {
    let work = WorkFolder::in_folder(out)?;
    let image = |number: usize| work.path().join(format!("layer-{number:02}.erofs"));
    let (mut images, mut packages) = (Vec::new(), Vec::new());
    match &recipe.base {
        Base::Debian(base) => {
            let folder = WorkFolder::in_folder(work.path())?;
            packages = debian::build(base, mirrors, folder.path(), &image(0), progress)?;
            images.push(image(0));
        }
        Base::Directories(directories) => {
            for (number, directory) in directories.iter().enumerate() {
                progress.stage("layer", directory.relative());
                erofs::from_recipe_folder(directory.absolute(), &image(number))?;
                images.push(image(number));
            }
        }
    }
    if !recipe.files.is_empty() {
        progress.stage("layer", "added files");
        let folder = WorkFolder::in_folder(work.path())?;
        let target = image(images.len());
        FilesLayer::stage(&recipe.files, &images, folder.path())?.write(&target)?;
        images.push(target);
    }
    let layers = images.iter().map(|image| publish(image, out)).collect::<Result<_, _>>()?;
    Ok(BaseImage { layers, packages, tools: tool_versions(&recipe.base) })
}

fn publish(image: &Path, out: &Path) -> Result<LayerFile, Error> {
    let (digest, size) = erofs::digest(image)?;
    let path = out.join(image.file_name().unwrap_or_default());
    fs::rename(image, &path).io("rename", image)?;
    Ok(LayerFile { path, digest, size })
}

fn tool_versions(base: &Base) -> Vec<ToolVersion> {
    let used: &[Tool] = match base {
        Base::Debian(_) => &[Tool::MkfsErofs, Tool::Mmdebstrap],
        Base::Directories(_) => &[Tool::MkfsErofs],
    };
    let version =
        |tool: &Tool| Some(ToolVersion { name: tool.program().to_owned(), version: tool.version()? });
    used.iter().filter_map(version).collect()
}

/// The digest of all that decides the layers' bytes on this side of the network: the recipe's base and
/// files with their content, the tools' versions, this crate's way of making layers.
///
/// What a Debian archive holds changes under an unchanged key: whoever caches by it decides how long.
///
/// # Errors
/// If a file of the recipe cannot be read.
pub fn base_key(recipe: &Recipe) -> Result<Digest, Error> {
    #[derive(Serialize)]
    struct Key<'a> {
        layer_version: u32,
        tools: Vec<ToolVersion>,
        debian: Option<DebianKey<'a>>,
        directories: Vec<Digest>,
        files: Vec<FileKey<'a>>,
    }
    let (debian, directories) = match &recipe.base {
        Base::Debian(base) => (Some(DebianKey::of(base)), Vec::new()),
        Base::Directories(directories) => (
            None,
            directories.iter().map(|path| tree_hash::digest(path.absolute())).collect::<Result<_, _>>()?,
        ),
    };
    let files = recipe.files.iter().map(FileKey::of).collect::<Result<_, _>>()?;
    let tools = tool_versions(&recipe.base);
    json_digest(&Key { layer_version: LAYER_VERSION, tools, debian, directories, files })
}

#[derive(Serialize)]
struct DebianKey<'a> {
    suite: &'a str,
    variant: crate::Variant,
    packages: &'a [crate::PackageName],
    components: &'a [crate::recipe::Component],
    mirror: Option<&'a crate::Mirror>,
    security_mirror: Option<&'a crate::Mirror>,
}

impl<'a> DebianKey<'a> {
    fn of(base: &'a crate::DebianBase) -> Self {
        Self {
            suite: base.suite.as_str(),
            variant: base.variant,
            packages: &base.packages,
            components: &base.components,
            mirror: base.mirror.as_ref(),
            security_mirror: base.security_mirror.as_ref(),
        }
    }
}

#[derive(Serialize)]
struct FileKey<'a> {
    content: Digest,
    destination: &'a crate::GuestPath,
    mode: Option<crate::Mode>,
    owner: crate::Owner,
}

impl<'a> FileKey<'a> {
    fn of(entry: &'a FileEntry) -> Result<Self, Error> {
        let content = tree_hash::digest(entry.source.absolute())?;
        Ok(Self { content, destination: &entry.destination, mode: entry.mode, owner: entry.owner })
    }
}

/// The digest of a value's JSON text, which is canonical here: structs keep their order, no maps, no floats.
pub(crate) fn json_digest(value: &impl Serialize) -> Result<Digest, Error> {
    serde_json::to_vec(value).map(|text| Digest::of(&text)).io("encode", Path::new("a cache key"))
}
