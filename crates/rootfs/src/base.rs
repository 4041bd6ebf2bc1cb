//! Bases and added files, turned into layers.

use std::fs::{self, File};
use std::path::Path;

use format::Digest;
use format::limits::LAYERS;
use serde::Serialize;

use crate::archive::Role;
use crate::error::IoContext;
use crate::image::{Image, ImageDefaults, ImageOrigin, MadeLayers, Registries, Watched, read_tar};
use crate::key::{DebianKey, FileKey, LAYER_VERSION, json_digest};
use crate::recipe::{Base, DebianBase, Recipe, RecipePath, WarmStart};
use crate::stack::{LayerFile, Stack};
use crate::tools::Tool;
use crate::tree::{Folder, MAX_SIZE};
use crate::work::WorkFolder;
use crate::{Error, ImageError, Mirrors, Package, Progress, debian, files, host, tree_hash};

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
    base: Opened<'a>,
}

/// A recipe's base; an image with what was found out about it.
#[derive(Debug)]
enum Opened<'a> {
    Debian(&'a DebianBase),
    Directories(&'a [RecipePath]),
    Image(Box<Image<'a>>),
    Tar(&'a RecipePath),
}

impl<'a> BaseSource<'a> {
    /// Looks up what a recipe's base is made of, in `registries` if it is an image in one.
    ///
    /// # Errors
    /// If there is no such image, it is for another platform, what describes it is damaged, or it does not say the process that the
    /// recipe leaves to it.
    pub fn open(recipe: &'a Recipe, registries: &'a dyn Registries) -> Result<Self, Error> {
        let base = match &recipe.base {
            Base::Debian(base) => Opened::Debian(base),
            Base::Directories(directories) => Opened::Directories(directories),
            Base::Image(reference) => Opened::Image(Box::new(Image::open(reference, registries)?)),
            Base::Tar(archive) => Opened::Tar(archive),
        };
        let source = Self { recipe, base };
        let leaves_it = recipe.warm.as_ref().is_some_and(|warm| matches!(warm.start, WarmStart::Image));
        if leaves_it && source.defaults().command.is_empty() {
            let image = source.image().map(|image| image.reference.clone()).unwrap_or_default();
            return Err(Error::Image { image, source: Box::new(ImageError::NoCommand) });
        }
        Ok(source)
    }

    /// The image that the base is, if it is one.
    #[must_use]
    pub fn image(&self) -> Option<&ImageOrigin> {
        if let Opened::Image(image) = &self.base { Some(image.origin()) } else { None }
    }

    /// What that image says of the processes in it.
    #[must_use]
    pub fn defaults(&self) -> ImageDefaults {
        if let Opened::Image(image) = &self.base {
            image.defaults().clone()
        } else {
            ImageDefaults::default()
        }
    }

    /// Makes the layers of the recipe in `out`, an existing folder, as `layer-00.erofs` and so on.
    ///
    /// `mirrors` say where this host fetches packages from if the recipe does not; they have no influence on
    /// the bytes. `max_size` is how many bytes the base may unpack to, 64 GiB if it is not given. What is in `made` is not
    /// made, and of images not fetched, again.
    ///
    /// # Errors
    /// If a tool is missing or fails, an image is not what its digests say, an archive is refused, it is too large, or the added files
    /// do not fit the base. `out` is then as it was.
    pub fn build(
        &self,
        mirrors: &Mirrors,
        max_size: Option<u64>,
        made: &dyn MadeLayers,
        out: &Path,
        progress: &dyn Progress,
    ) -> Result<BaseImage, Error> {
        let recipe = self.recipe;
        let work = WorkFolder::in_folder(out)?;
        let mut stack = Stack::new(work.path(), max_size.unwrap_or(MAX_SIZE), progress)?;
        let mut packages = Vec::new();
        match &self.base {
            Opened::Debian(base) => {
                let folder = WorkFolder::in_folder(work.path())?;
                let (archive, found) = debian::build(base, mirrors, folder.path(), progress)?;
                packages = found;
                push_tar(&archive, &mut stack)?;
            }
            Opened::Directories(directories) => {
                for directory in *directories {
                    progress.stage("layer", directory.relative());
                    let layer = host::layer(directory.absolute(), &mut stack)?;
                    push(layer, directory.absolute(), &mut stack)?;
                }
            }
            Opened::Image(image) => {
                image.stack(LAYERS - usize::from(!recipe.files.is_empty()), made, &mut stack)?;
            }
            Opened::Tar(archive) => {
                progress.stage("layer", archive.relative());
                push_tar(archive.absolute(), &mut stack)?;
            }
        }
        if !recipe.files.is_empty() {
            progress.stage("layer", "added files");
            let layer = files::layer(&recipe.files, &mut stack)?;
            push(layer, Path::new("[[files]]"), &mut stack)?;
        }
        let layers = stack.finish().into_iter().map(|layer| publish(layer, out)).collect::<Result<_, _>>()?;
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
        match &self.base {
            Opened::Debian(base) => debian = Some(DebianKey::of(base)),
            Opened::Directories(paths) => {
                let digests = paths.iter().map(|path| tree_hash::digest(path.absolute()));
                directories = digests.collect::<Result<_, _>>()?;
            }
            Opened::Tar(archive) => tar = Some(tree_hash::file_digest(archive.absolute())?),
            Opened::Image(_) => {}
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

/// Puts what a tar archive holds on a stack.
fn push_tar(archive: &Path, stack: &mut Stack<'_>) -> Result<(), Error> {
    let file = File::open(archive).io("open", archive)?;
    let wrong = |source| Error::Layer { path: archive.to_owned(), source: Box::new(source) };
    let (layer, _) =
        read_tar(&mut Watched::new(file, stack.progress, None), Role::File, stack).map_err(wrong)?;
    push(layer, archive, stack)
}

/// Puts a layer, which comes from `path`, on a stack.
fn push(mut layer: Folder, path: &Path, stack: &mut Stack<'_>) -> Result<(), Error> {
    let wrong = |source| Error::Layer { path: path.to_owned(), source: Box::new(source) };
    stack.settle(&mut layer).map_err(wrong)?;
    stack.push(layer)
}

fn publish(mut layer: LayerFile, out: &Path) -> Result<LayerFile, Error> {
    if !layer.is_new {
        return Ok(layer);
    }
    let path = out.join(layer.path.file_name().unwrap_or_default());
    fs::rename(&layer.path, &path).io("rename", &layer.path)?;
    layer.path = path;
    Ok(layer)
}

fn tool_versions(recipe: &Recipe) -> Vec<ToolVersion> {
    let used: &[Tool] = match recipe.base {
        Base::Debian(_) => &[Tool::Mmdebstrap],
        Base::Directories(_) | Base::Image(_) | Base::Tar(_) => &[],
    };
    let version =
        |tool: &Tool| Some(ToolVersion { name: tool.program().to_owned(), version: tool.version()? });
    used.iter().filter_map(version).collect()
}
