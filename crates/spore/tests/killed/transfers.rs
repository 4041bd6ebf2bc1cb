//! Push and pull, killed at any moment: with a hub in a folder and with a registry, in turns.

use std::fs;
use std::path::PathBuf;

use hub::testing::registry::{RealRegistry, RegistryOptions};

use crate::chance::moments;
use crate::harness::needs::{Need, skipped};
use crate::harness::run::Run;
use crate::harness::shared::Shared;
use crate::harness::{Spore, files, recipes};
use crate::{ANYBODY, Scene, aftermath};

/// Where something is pushed to.
enum Place<'a> {
    Folder(PathBuf),
    /// A name of its own for each push: a registry has what was pushed under another one apart.
    Registry(&'a RealRegistry, u32),
}

impl Place<'_> {
    fn push(&self, spore: &Spore, name: &str) -> Run {
        match self {
            Self::Folder(hub) => {
                spore.command(["push".as_ref(), name.as_ref(), "--hub".as_ref(), hub.as_os_str()])
            }
            Self::Registry(..) => spore.command(["push", name, &self.reference(name)]),
        }
    }

    fn pull(&self, spore: &Spore, name: &str) -> Run {
        match self {
            Self::Folder(hub) => {
                spore.command(["pull".as_ref(), "--hub".as_ref(), hub.as_os_str(), name.as_ref()])
            }
            Self::Registry(..) => spore.command(["pull", &self.reference(name)]),
        }
    }

    fn reference(&self, name: &str) -> String {
        match self {
            Self::Folder(_) => name.to_owned(),
            Self::Registry(registry, number) => format!("{}/{name}-{number}:latest", registry.host()),
        }
    }

    /// Asserts that what can be seen there is whole.
    fn assert_is_whole(&self, name: &str) {
        match self {
            Self::Folder(hub) => aftermath::assert_hub_is_whole(hub),
            // It verifies digests itself; a tag is to have all that it leads to.
            Self::Registry(..) => {
                let planned = self.pull(&Spore::new(), name).args(["--dry-run"]).finish();
                assert!(matches!(planned.status.code(), Some(0 | 3)), "{planned}");
                assert!(!planned.error().contains("not complete"), "{planned}");
            }
        }
    }
}

#[test]
fn a_killed_push() {
    const TEST: &str = "killed_anywhere::transfers::a_killed_push";
    if skipped(TEST, &[Need::Bake]) {
        return;
    }
    let mut scene = Scene::new(TEST);
    let registry = RealRegistry::start(TEST, &RegistryOptions::default());
    let (name, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&scene.spore);
    let hub = scene.root().with_file_name("hub");
    let place = |number: u32| match &registry {
        Some(registry) if number % 2 == 1 => Place::Registry(registry, number),
        _ => {
            fs::remove_dir_all(&hub).ok();
            Place::Folder(hub.clone())
        }
    };
    let kinds = [moments(), moments() + 1];
    let whole = kinds.map(|number| (number % 2, scene.measure(place(number).push(&scene.spore, &name))));
    for number in 0..moments() {
        let place = place(number);
        let (_, whole) = whole[usize::from(whole[0].0 != number % 2)];
        let command = place.push(&scene.spore, &name);
        scene.kill(command, whole, ANYBODY);
        place.assert_is_whole(&name);
        place.push(&scene.spore, &name).finish().succeeds();
        place.assert_is_whole(&name);
        let other = Spore::new();
        place.pull(&other, &name).args(["--no-layout"]).finish().succeeds();
        aftermath::assert_all_ends(&scene.spore);
    }
}

#[test]
fn a_killed_pull() {
    const TEST: &str = "killed_anywhere::transfers::a_killed_pull";
    if skipped(TEST, &[Need::Bake]) {
        return;
    }
    let mut scene = Scene::new(TEST);
    let registry = RealRegistry::start(TEST, &RegistryOptions::default());
    let shared = Shared::of(&recipes::shipped("tiny"));
    let name = shared.name.as_str();
    let folder = Place::Folder(shared.hub.clone());
    if let Some(registry) = &registry {
        let other = Spore::new();
        shared.pull_into(&other);
        Place::Registry(registry, 0).push(&other, name).finish().succeeds();
    }
    let in_registry = registry.as_ref().map(|registry| Place::Registry(registry, 0));
    let place = |number: u32| in_registry.as_ref().filter(|_| number % 2 == 1).unwrap_or(&folder);
    let forget = |spore: &Spore, place: &Place<'_>| {
        spore.run(["rm", &place.reference(name)]).succeeds();
        spore.run(["prune"]).succeeds();
        let flat = spore.root().join("flat");
        files::entries(&flat).iter().for_each(|file| fs::remove_file(file).unwrap());
    };
    let whole = [0, 1].map(|number| {
        let (pull, undo) =
            (|spore: &Spore| place(number).pull(spore, name), |spore: &Spore| forget(spore, place(number)));
        let whole = scene.measure_twice(pull, undo);
        forget(&scene.spore, place(number));
        whole
    });
    for number in 0..moments() {
        let place = place(number);
        let command = place.pull(&scene.spore, name);
        let killed = scene.kill(command, whole[usize::from(number % 2 == 1)], ANYBODY);
        if !killed.was_done && aftermath::tags(&scene.spore).is_empty() {
            scene.spore.run(["fork", &place.reference(name)]).exits_with(3);
        }
        place.pull(&scene.spore, name).finish().succeeds();
        aftermath::assert_all_ends(&scene.spore);
        let partial = files::entries(&scene.root().join("partial"));
        assert_eq!(partial, Vec::<PathBuf>::new(), "what was resumed is there twice");
        scene.spore.fsck();
        if number + 1 < moments() {
            forget(&scene.spore, place);
        }
    }
    scene.spore.fork(&place(moments() - 1).reference(name), 1);
    aftermath::assert_all_ends(&scene.spore);
}
