//! A recipe's way from its folder to its users, each step of which is asserted on.
//!
//! ```text
//!  baker's store ──bake──▶ snapshot ──push──▶ hub ──pull──▶ user's store, empty before ──fork──▶ sandboxes, used
//! ```
//!
//! The baker's store is gone before the pull begins. The hub is a real registry where one is installed.
//!
//! `SPORE_TEST_RECIPES` chooses: unset, the marked recipes run, from the snapshots that all tests share; `all`, or names
//! with commas between them, run from nothing, and are measured.

use std::path::Path;
use std::time::{Duration, Instant};

use format::Digest;
use hub::testing::registry::{RealRegistry, RegistryOptions};
use tempfile::TempDir;

use crate::harness::needs::{Need, say_skipped, skipped};
use crate::harness::shared::Shared;
use crate::harness::spore::digest;
use crate::harness::{Spore, files, recipes};
use crate::measure::Measured;

/// For a bake from nothing, or the transfer of a large snapshot, on an emulated machine.
const LONG: Duration = Duration::from_secs(1800);

/// A recipe, and how its forks are used.
pub struct Journey {
    /// Its folder in `recipes/`, which is its name too.
    pub recipe: &'static str,
    /// Whether `make test` runs it.
    pub marked: bool,
    /// How many forks are used side by side.
    pub forks: usize,
    /// The first thing that a user asks of a fork, answered; the time to it is measured.
    pub first_answer: fn(&Spore, &str),
    /// What forks are for, asserted on: each of them, and that none sees another's.
    pub uses: fn(&Spore, &[String]),
}

impl Journey {
    /// Goes all the way, or says why not.
    #[track_caller]
    pub fn run(&self) {
        let name = format!("recipes::{}", self.recipe);
        let Some(choice) = self.choose() else {
            say_skipped(&name, "`make test-recipes` runs all recipes");
            return;
        };
        if skipped(&name, &[Need::Bake]) {
            return;
        }
        let hub = TestHub::start(&name);
        let user = Spore::new();
        let measured = self.bake_and_push(&hub, choice, &user);
        assert_packages(&user, self.recipe);

        let forks = user.fork(self.recipe, self.forks);
        (self.uses)(&user, &forks);
        user.run(["kill", "--all"]).succeeds();
        if let Some(measured) = measured {
            measured.print(self.recipe, &user, self.first_answer);
        }
        user.fsck();
    }

    /// Bakes in a store that does not outlive this, and leaves the snapshot in the user's, by way of the hub.
    #[track_caller]
    fn bake_and_push(&self, hub: &TestHub, choice: Choice, user: &Spore) -> Option<Measured> {
        let baker = Spore::new();
        let recipe = recipes::shipped(self.recipe);
        let (digest, measured) = match choice {
            Choice::Shared => (Shared::of(&recipe).pull_into(&baker).1, None),
            Choice::Measured => bake(&baker, &recipe),
        };
        hub.transfer(&baker, "push", self.recipe);
        drop(baker);
        let pulled = hub.transfer(user, "pull", self.recipe);
        assert_eq!(pulled, digest, "what was pulled is not what was baked");
        measured
    }

    fn choose(&self) -> Option<Choice> {
        match std::env::var("SPORE_TEST_RECIPES") {
            Ok(chosen) if chosen == "all" => Some(Choice::Measured),
            Ok(chosen) if !chosen.is_empty() => {
                chosen.split(',').any(|name| name.trim() == self.recipe).then_some(Choice::Measured)
            }
            _ => self.marked.then_some(Choice::Shared),
        }
    }
}

/// Where the snapshot of a journey comes from.
#[derive(Clone, Copy)]
enum Choice {
    /// From what all tests share.
    Shared,
    /// From nothing.
    Measured,
}

#[track_caller]
fn bake(baker: &Spore, recipe: &Path) -> (Digest, Option<Measured>) {
    let started = Instant::now();
    let bake = baker.command(["bake".as_ref(), recipe.as_os_str(), "--format".as_ref(), "json".as_ref()]);
    let baked = bake.deadline(LONG).finish().succeeds().json();
    (digest(&baked), Some(Measured::bake(started.elapsed(), &baked)))
}

/// Asserts that a snapshot says what it is made of: each package with a version, its source and a licence.
#[track_caller]
fn assert_packages(user: &Spore, snapshot: &str) {
    let shown = user.json(["inspect", snapshot]);
    let packages = shown["config"]["provenance"]["packages"].as_array().expect("a list of packages").clone();
    assert!(!packages.is_empty(), "no packages are listed");
    for package in packages {
        let says = |field: &str| package[field].as_str().is_some_and(|text| !text.is_empty());
        assert!(["name", "version", "source", "source_version"].into_iter().all(says), "{package}");
        assert!(package["licences"].as_array().is_some_and(|licences| !licences.is_empty()), "{package}");
    }
}

/// A hub of one journey.
struct TestHub {
    /// As `--hub` takes it.
    location: String,
    _server: Server,
}

enum Server {
    Registry(#[expect(dead_code, reason = "it serves until it is dropped")] RealRegistry),
    Folder(#[expect(dead_code, reason = "it is there until it is dropped")] TempDir),
}

impl TestHub {
    /// A registry; where none is installed, which is said, a folder.
    fn start(test: &str) -> Self {
        match RealRegistry::start(&format!("{test} by a registry"), &RegistryOptions::default()) {
            Some(registry) => {
                Self { location: format!("oci://{}", registry.host()), _server: Server::Registry(registry) }
            }
            None => {
                let folder = files::scratch("hub");
                Self {
                    location: folder.path().join("hub").display().to_string(),
                    _server: Server::Folder(folder),
                }
            }
        }
    }

    /// `spore VERB --hub HERE RECIPE`, and the digest of what it moved.
    #[track_caller]
    fn transfer(&self, spore: &Spore, verb: &str, recipe: &str) -> Digest {
        let transfer = spore.command([verb, "--hub", &self.location, recipe, "--format", "json"]);
        digest(&transfer.deadline(LONG).finish().succeeds().json())
    }
}
