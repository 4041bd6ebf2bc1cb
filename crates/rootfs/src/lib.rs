//! Recipes, and everything a bake is made of before a virtual machine runs.
//!
//! [`Recipe::load`] reads and checks a recipe folder. [`BaseSource::build`] turns its base and its added files
//! into immutable EROFS layers, [`fetch_kernel`] (or [`Kernel::from_files`]) gives the guest's kernel,
//! [`Initrd::build`] packs agent and drivers, [`create_disk`] makes the empty writable disk. [`create_data_image`] makes an
//! image of a folder that the user names.
//!
//! What holds here:
//! - Equal input and equal tools give equal bytes, for root and for an ordinary user alike. [`BaseSource::key`]
//!   and [`kernel_key`] name the input, so that callers can cache the result.
//! - Nothing of the host reaches a layer: no path, user, host name, mirror or clock.
//! - Of what goes into layers, no file name comes from anywhere but the recipe folder, and none leads out of it. What an
//!   image or an archive holds never becomes a file of this host: see [`BaseSource`].
//! - Everything is written below the folder that the caller passes. What fails leaves nothing there but
//!   what was there before; what is killed leaves a `tmp-…` folder and neither mounts nor processes.
//!
//! All of it blocks. Nothing is printed: see [`Progress`].

mod archive;
mod base;
mod command;
mod cpio;
mod debian;
mod disk;
mod elf;
mod erofs;
mod error;
mod files;
mod host;
mod image;
mod initrd;
mod kernel;
mod key;
mod modules;
mod namespace;
mod recipe;
mod stack;
#[cfg(feature = "testing")]
pub mod testing;
mod tools;
mod tree;
mod tree_hash;
mod work;

pub use archive::ArchiveError;
pub use base::{BaseImage, BaseSource, ToolVersion};
pub use debian::{Mirrors, Package};
pub use disk::create_disk;
pub use error::Error;
pub use host::create_data_image;
pub use image::{
    ImageDefaults, ImageError, ImageOrigin, MadeLayers, NoLayers, NoRegistries, Registries, RegistryError,
    RegistryErrorKind,
};
pub use initrd::{Initrd, InitrdContent};
pub use kernel::{Kernel, fetch_kernel, kernel_key};
pub use modules::GuestModule;
pub use namespace::UserNamespaces;
pub use recipe::{
    Base, Build, Component, DebianBase, EnvironmentName, FileEntry, GuestPath, ImageReference, ImageSource,
    Machine, Mirror, Mode, OnFork, Owner, PackageName, Ready, Recipe, RecipeError, RecipePath, RegistryImage,
    Runner, Size, Suite, TimeSpan, Variant, Warm, WarmStart,
};
pub use stack::LayerFile;
pub use tools::{ToolStatus, tools};
pub use tree::LayerError;

/// Hears what a long act is doing.
pub trait Progress {
    /// A stage has begun or moved on: `name` is one of few short constants, `detail` is free text.
    fn stage(&self, name: &str, detail: &str);

    /// Whether the act is to stop. It is asked often where no other program could be ended instead.
    fn is_interrupted(&self) -> bool {
        false
    }
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _name: &str, _detail: &str) {}
}
