//! Bases and added files, turned into layers.

use std::fs;
use std::path::{Path, PathBuf};

use format::Digest;
use format::limits::LAYERS;
use serde::Serialize;

use crate::error::IoContext;
use crate::files::FilesLayer;
use crate::image::{self, Image, ImageDefaults, ImageOrigin, Registries};
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

/// What a recipe's layers are made of: an image was looked up, and its manifest read.
///
/// Names, owners and devices of images and archives exist in memory and in the layers that are written, byte by byte; no file
/// of this host ever has them. So nobody needs to be root, or to have subordinate ids, to make layers of them, and
/// nothing that they hold can lead anywhere.
#[derive(Debug)]
pub struct BaseSource<'a> {
    recipe: &'a Recipe,
    image: Option<Image<'a>>,
}

impl<'a> BaseSource<'a> {
    /// Looks up what a recipe's base is made of, in `registries` if it is an image in one.
    ///
    /// # Errors
    /// If there is no such image, it is for another platform, or what describes it is damaged.
    pub fn open(recipe: &'a Recipe, registries: &'a dyn Registries) -> Result<Self, Error> {
        Ok(Self { recipe, image: Image::open(recipe, registries)? })
    }

    /// The image that the base is, if it is one.
    #[must_use]
    pub fn image(&self) -> Option<&ImageOrigin> {
        self.image.as_ref().map(Image::origin)
    }

    /// What that image says of the processes in it.
    #[must_use]
    pub fn defaults(&self) -> ImageDefaults {
        self.image.as_ref().map(|image| image.defaults().clone()).unwrap_or_default()
    }

    /// Makes the layers of the recipe in `out`, an existing folder, as `layer-00.erofs` and so on.
    ///
    /// `mirrors` say where this host fetches packages from if the recipe does not; they have no influence on
    /// the bytes.
    ///
    /// # Errors
    /// If a tool is missing or fails, an image is not what its digests say, an archive is refused, or the added files do not
    /// fit the base. `out` is then as it was.
    pub fn build(&self, mirrors: &Mirrors, out: &Path, progress: &dyn Progress) -> Result<BaseImage, Error> {
        let recipe = self.recipe;
        let work = WorkFolder::in_folder(out)?;
        let path = |number: usize| work.path().join(format!("layer-{number:02}.erofs"));
        let mut packages = Vec::new();
        let mut images = match (&recipe.base, &self.image) {
            (Base::Debian(base), _) => {
                let folder = WorkFolder::in_folder(work.path())?;
                packages = debian::build(base, mirrors, folder.path(), &path(0), progress)?;
                vec![path(0)]
            }
            (Base::Directories(directories), _) => {
                for (number, directory) in directories.iter().enumerate() {
                    progress.stage("layer", directory.relative());
                    erofs::from_recipe_folder(directory.absolute(), &path(number))?;
                }
                (0..directories.len()).map(path).collect()
            }
            (Base::Image(_), Some(image)) => {
                let most = LAYERS - usize::from(!recipe.files.is_empty());
                image::build(image, most, work.path(), path, progress)?
            }
            (Base::Image(_), None) => Vec::new(),
            (Base::Tar(archive), _) => {
                progress.stage("layer", archive.relative());
                image::build_tar(archive.absolute(), work.path(), &path(0), progress)?;
                vec![path(0)]
            }
        };
        if !recipe.files.is_empty() {
            progress.stage("layer", "added files");
            let folder = WorkFolder::in_folder(work.path())?;
            let target = path(images.len());
            FilesLayer::stage(&recipe.files, &images, folder.path())?.write(&target)?;
            images.push(target);
        }
        let layers = images.iter().map(|image| publish(image, out)).collect::<Result<_, _>>()?;
        Ok(BaseImage { layers, packages, tools: tool_versions(recipe) })
    }

    /// The digest of all that decides the layers' bytes on this side of the network: the recipe's base and
    /// files with their content, an image's layers by their digests, the tools' versions, this crate's way of making layers.
    ///
    /// What a Debian archive holds changes under an unchanged key: whoever caches by it decides how long.
    ///
    /// # Errors
    /// If a file of the recipe cannot be read.
    pub fn key(&self) -> Result<Digest, Error> {
        #[derive(Serialize)]
        struct Key<'a> {
            layer_version: u32,
            tools: Vec<ToolVersion>,
            debian: Option<DebianKey<'a>>,
            directories: Vec<Digest>,
            #[serde(skip_serializing_if = "Option::is_none")]
            image: Option<Digest>,
            #[serde(skip_serializing_if = "Option::is_none")]
            tar: Option<Digest>,
            files: Vec<FileKey<'a>>,
        }
        let recipe = self.recipe;
        let (mut debian, mut directories, mut tar) = (None, Vec::new(), None);
        match &recipe.base {
            Base::Debian(base) => debian = Some(DebianKey::of(base)),
            Base::Directories(paths) => {
                let digests = paths.iter().map(|path| tree_hash::digest(path.absolute()));
                directories = digests.collect::<Result<_, _>>()?;
            }
            Base::Tar(archive) => tar = Some(erofs::digest(archive.absolute())?.0),
            Base::Image(_) => {}
        }
        let files = recipe.files.iter().map(FileKey::of).collect::<Result<_, _>>()?;
        json_digest(&Key {
            layer_version: LAYER_VERSION,
            tools: tool_versions(recipe),
            debian,
            directories,
            // The config names the layers by what they unpack to. The manifest names them by how they are packed, which
            // is different in each place that has the image, and makes no difference.
            image: self.image().map(|origin| origin.config),
            tar,
            files,
        })
    }
}

fn publish(image: &Path, out: &Path) -> Result<LayerFile, Error> {
    let (digest, size) = erofs::digest(image)?;
    let path = out.join(image.file_name().unwrap_or_default());
    fs::rename(image, &path).io("rename", image)?;
    Ok(LayerFile { path, digest, size })
}

fn tool_versions(recipe: &Recipe) -> Vec<ToolVersion> {
    let used: &[Tool] = match recipe.base {
        Base::Debian(_) => &[Tool::MkfsErofs, Tool::Mmdebstrap],
        Base::Directories(_) => &[Tool::MkfsErofs],
        Base::Image(_) | Base::Tar(_) if !recipe.files.is_empty() => &[Tool::MkfsErofs],
        Base::Image(_) | Base::Tar(_) => &[],
    };
    let version =
        |tool: &Tool| Some(ToolVersion { name: tool.program().to_owned(), version: tool.version()? });
    used.iter().filter_map(version).collect()
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
