//! Snapshots that all tests share. A bake costs from ten seconds to minutes, so each recipe is baked once for
//! each build of the executable, and pushed to a hub in `target/tmp/shared`, from which tests pull.
//!
//! ```text
//! target/tmp/shared/lock             held while something is baked
//! target/tmp/shared/cache/           layers and kernels, laid out as in a store's root; any executable's
//! target/tmp/shared/hubs/NAME-KEY/   a directory hub, complete; KEY is of executable and recipe
//! ```

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use format::{Digest, Hasher};
use tempfile::TempDir;

use super::files::{self, entries, files_below};
use super::spore::{Spore, digest};

/// A snapshot in a directory hub.
#[derive(Debug, Clone)]
pub struct Shared {
    pub hub: PathBuf,
    /// Its name there, which has the tag `latest`.
    pub name: String,
}

impl Shared {
    /// The snapshot of a recipe, baked if no test has needed it yet.
    #[track_caller]
    pub fn of(recipe: &Path) -> Self {
        let folder = files::workspace_temp().join("shared");
        fs::create_dir_all(folder.join("hubs")).expect("the shared folder can be made");
        let name = recipe_name(recipe);
        let hub = folder.join("hubs").join(format!("{}-{}", name.replace('/', "+"), key(recipe)));
        let lock = File::create(folder.join("lock")).expect("the lock can be made");
        // Held until here ends: another test binary that needs the same snapshot waits for it.
        lock.lock().expect("the lock can be had");
        if !hub.is_dir() {
            remove_stale(&hub);
            bake(recipe, &name, &hub);
        }
        Self { hub, name }
    }

    /// Pulls it into a root; gives the name to fork it by, and its digest.
    #[track_caller]
    pub fn pull_into(&self, spore: &Spore) -> (String, Digest) {
        let pulled =
            spore.json(["pull".as_ref(), "--hub".as_ref(), self.hub.as_os_str(), self.name.as_ref()]);
        (self.name.clone(), digest(&pulled))
    }
}

/// Bakes into the hub, which appears when all of it is there.
#[track_caller]
fn bake(recipe: &Path, name: &str, hub: &Path) {
    let spore = Spore::new();
    seed_cache(spore.root());
    spore.bake(recipe);
    let scratch: TempDir = files::scratch("hub");
    let new = scratch.path().join("hub");
    spore.run(["push".as_ref(), name.as_ref(), "--hub".as_ref(), new.as_os_str()]).succeeds();
    keep_cache(spore.root());
    fs::rename(&new, hub).expect("the hub can be renamed");
}

/// Hubs of the same recipe that an earlier executable, or another version of the recipe, has left.
fn remove_stale(hub: &Path) {
    let prefix = |path: &Path| path.file_name()?.to_str()?.rsplit_once('-').map(|(name, _)| name.to_owned());
    for stale in entries(hub.parent().expect("hubs lie in a folder")) {
        if prefix(&stale) == prefix(hub) {
            fs::remove_dir_all(&stale).ok();
        }
    }
}

/// Gives the root of a store what was baked before: layers and kernels.
#[track_caller]
pub fn seed_cache(root: &Path) {
    copy_cache(&files::workspace_temp().join("shared/cache"), root);
}

fn keep_cache(root: &Path) {
    copy_cache(root, &files::workspace_temp().join("shared/cache"));
}

/// Copies what is missing, since a hard link would look like a user of the file. What appears is complete,
/// wherever this is killed.
#[track_caller]
fn copy_cache(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a cache can be made");
    let scratch =
        tempfile::tempdir_in(to.parent().expect("a root lies in a folder")).expect("a scratch folder");
    let is_cache = |name: &str, group| group != "flat" || name.starts_with("layer-");
    for group in ["flat", "cache/kernels", "cache/bases"] {
        fs::create_dir_all(to.join(group)).expect("a cache can be made");
        let there = if from.join(group).is_dir() { entries(&from.join(group)) } else { Vec::new() };
        for entry in there {
            let name = entry.file_name().and_then(|name| name.to_str()).expect("an entry has a name");
            let kept = to.join(group).join(name);
            if is_cache(name, group) && !kept.exists() {
                files::copy(&entry, &scratch.path().join(name)).expect("a cache can be copied");
                fs::rename(scratch.path().join(name), kept).expect("a cache can be copied");
            }
        }
    }
}

/// Names what is baked: by the executable and all that the recipe's folder holds.
#[track_caller]
fn key(recipe: &Path) -> String {
    let mut hasher = Hasher::new();
    hasher.update(files::digest(&files::program()).hex().as_bytes());
    for path in files_below(recipe) {
        let metadata = fs::symlink_metadata(&path).expect("a recipe's file can be examined");
        let content = match fs::read_link(&path) {
            Ok(target) => target.display().to_string(),
            Err(_) => files::digest(&path).hex(),
        };
        let name = path.strip_prefix(recipe).expect("it lies below").display();
        hasher.update(format!("{name}\0{:o}\0{content}\n", metadata.permissions().mode()).as_bytes());
    }
    hasher.finish().hex()[..16].to_owned()
}

/// The name that a recipe gives its snapshot.
#[track_caller]
fn recipe_name(recipe: &Path) -> String {
    rootfs::Recipe::load(recipe)
        .unwrap_or_else(|error| panic!("{}: {error}", recipe.display()))
        .name
        .to_string()
}
