//! Bake: a recipe becomes a snapshot of a warm VM.
//!
//! ```text
//!  recipe ─▶ base layers ─▶ kernel, initrd, empty disk ─▶ build commands (a VM of their own)
//!                                                               │
//!   tag ◀─ manifest ◀─ frames, maps ◀─ freeze ◀─ warm process ready ◀─ boot
//! ```
//!
//! All work is done in one folder of the store's `tmp/`, in which the engine runs and with which everything goes if the bake
//! fails or is killed. What is expensive and the same each time, layers and kernels, is kept in the store's cache.
//! The tag is set last.

mod base;
mod capture;
mod full_disk;
mod guest;
mod machine;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::{Engine, NetworkMode};
use format::config::Accelerator;
use format::{Digest, FullName, HubName, Name, Tag};
use rootfs::{Mirrors, Progress, Recipe};
use serde::Serialize;
use store::Store;

use crate::Error;
use crate::error::At;
use crate::probe::probe;

/// What a bake needs besides the recipe.
#[derive(Debug)]
pub struct BakeOptions<'a> {
    /// Instead of the recipe's own name.
    pub name: Option<Name>,
    /// The only tag, instead of the recipe's own version and the default one.
    pub tag: Option<Tag>,
    /// A kernel and its modules folder instead of Debian's.
    pub kernel: Option<(PathBuf, Option<PathBuf>)>,
    /// Bytes that the base may unpack to, if not 64 GiB.
    pub max_base: Option<u64>,
    /// Where packages come from on this host.
    pub mirrors: Mirrors,
    /// Where images in registries come from.
    pub registries: &'a dyn rootfs::Registries,
    /// Makes layers and fetches the kernel again even if they are cached.
    pub refresh: bool,
    /// The agent's executable.
    pub agent: &'a [u8],
    /// The agent's version.
    pub agent_version: &'a str,
    /// The runners that come with Spore, by file name.
    pub runners: &'a [(&'a str, &'a [u8])],
    /// RFC 3339: when the bake was begun.
    pub created_at: String,
}

/// What a bake made.
#[derive(Debug, Clone, Serialize)]
pub struct Baked {
    /// The snapshot.
    pub digest: Digest,
    /// Its local names.
    pub names: Vec<String>,
    /// Bytes of all its blobs.
    pub size: u64,
    /// Where its bytes are.
    pub parts: Parts,
}

/// How many bytes the parts of a snapshot have, compressed, and what they were made of.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Parts {
    /// Frames of the memory.
    pub memory: u64,
    /// Memory pages that are stored.
    pub memory_pages: u64,
    /// Memory pages that are a layer's.
    pub layer_pages: u64,
    /// Frames of the layers.
    pub layers: u64,
    /// Frames of the writable disk.
    pub writable: u64,
}

/// A bake: what its stages work with.
#[derive(Clone, Copy)]
pub struct Bake<'a> {
    /// Where the snapshot and the caches go.
    pub store: &'a Store,
    /// What is baked.
    pub recipe: &'a Recipe,
    /// How.
    pub options: &'a BakeOptions<'a>,
    /// Hears of each stage.
    pub progress: &'a dyn Progress,
    /// Once set, it stops.
    pub interrupted: &'a AtomicBool,
}

impl Bake<'_> {
    /// Bakes the recipe. The engine is asked first which accelerators work.
    ///
    /// # Errors
    /// If any stage fails, or `interrupted` is set: nothing but caches is left, and no tag is moved.
    pub fn run(&self, engine: &mut dyn Engine) -> Result<Baked, Error> {
        // A tool or a guest that was ended by the interruption fails in its own way: why is not its to know.
        self.stages(engine).map_err(|error| if self.is_interrupted() { Error::Interrupted } else { error })
    }

    fn stages(&self, engine: &mut dyn Engine) -> Result<Baked, Error> {
        let Self { store, recipe, options, progress, .. } = *self;
        let lease = store.lease()?;
        progress.stage("base", "looking for cached layers");
        let base = base::layers(self, &lease)?;
        self.proceed()?;
        let held = base::kernel(self)?;
        self.proceed()?;
        let work = store.work_folder()?;
        progress.stage("guest", "packing the initrd");
        guest::write_files(work.path(), recipe, options, &held.kernel, &base)?;
        // It is copied: other bakes need not wait any longer.
        let kernel = held.release();
        base::link_layers(store, &base, work.path())?;
        probe(store, engine, |folder, names| {
            for (name, file) in names.into_iter().zip([guest::KERNEL_FILE, guest::INITRD_FILE]) {
                let path = folder.join(name);
                fs::hard_link(work.path().join(file), &path).at("link", &path)?;
            }
            Ok(())
        })?;
        self.proceed()?;
        // The guest may write to all of its memory, which is a file here: a full disk then ends the engine without a word.
        store.ensure_space(recipe.machine.memory.bytes())?;
        let frozen = machine::Frozen::make(self, &*engine, work.path(), &base);
        let vm = full_disk::named(store, frozen)?;
        self.proceed()?;
        let captured = capture::Capture { bake: self, lease: &lease, base: &base, kernel: &kernel, vm: &vm };
        let (digest, size, parts) = captured.commit(work.path())?;
        self.proceed()?;
        let names = self.full_names();
        for name in &names {
            store.set_ref(name, &digest, None)?;
        }
        Ok(Baked { digest, names: names.iter().map(ToString::to_string).collect(), size, parts })
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn proceed(&self) -> Result<(), Error> {
        if self.is_interrupted() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// The tag that was asked for; else the recipe's version and the default tag, which names without a tag mean.
    fn full_names(&self) -> Vec<FullName> {
        let Self { recipe, options, .. } = self;
        let name = options.name.as_ref().unwrap_or(&recipe.name);
        let mut tags = match &options.tag {
            Some(tag) => vec![tag.clone()],
            None => vec![recipe.version.clone(), Tag::default()],
        };
        tags.dedup();
        tags.into_iter().map(|tag| FullName { hub: HubName::local(), name: name.clone(), tag }).collect()
    }
}

/// The best accelerator of an engine.
fn accelerator(engine: &dyn Engine) -> Accelerator {
    engine.capabilities().accelerators.first().copied().unwrap_or(Accelerator::Tcg)
}

/// What a bake's guest is connected to.
fn network(enabled: bool) -> NetworkMode {
    if enabled { NetworkMode::User } else { NetworkMode::None }
}

/// The last lines of a log, for errors.
fn tail(path: &std::path::Path) -> String {
    const BYTES: u64 = 2000;
    let read = || -> std::io::Result<String> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
        let mut bytes = Vec::new();
        file.take(BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    read().unwrap_or_else(|error| format!("({} cannot be read: {error})", path.display()))
}
