//! Push and pull, with hubs of all kinds.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::chance::Chance;
use crate::harness::needs::{Need, skipped};
use crate::harness::shared::Shared;
use crate::harness::{Spore, files, recipes};
use crate::places::{Kind, Makers, Place};
use crate::scene::{ANYBODY, Scene};
use crate::{Trial, aftermath};

struct Push {
    scene: Scene,
    makers: Makers,
    name: String,
    /// How long it takes, by kind.
    whole: Vec<Duration>,
}

pub fn push(test: &'static str) -> Option<Box<dyn Trial>> {
    const KINDS: &[Kind] = &[Kind::Folder, Kind::Registry, Kind::Bucket, Kind::Served, Kind::Ticket];
    if skipped(test, &[Need::Bake]) {
        return None;
    }
    let (scene, makers) = (Scene::new(), Makers::new(test, KINDS));
    let (name, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&scene.spore);
    let measure = |kind: &Kind| {
        let place = makers.make(*kind, &scene.spore, &name);
        scene.measure(place.push(&scene.spore, &name))
    };
    let whole = makers.kinds.iter().map(measure).collect();
    Some(Box::new(Push { scene, makers, name, whole }))
}

impl Trial for Push {
    fn kill(&mut self, _: usize, chance: &mut Chance) {
        let (spore, name) = (&self.scene.spore, &self.name);
        let kind = chance.below(self.makers.kinds.len());
        let place = self.makers.make(self.makers.kinds[kind], spore, name);
        self.scene.kill(chance, place.push(spore, name), self.whole[kind], ANYBODY);
        place.assert_is_whole(name);
        place.push(spore, name).finish().succeeds();
        place.pull(&Spore::new(), name).args(["--no-layout"]).finish().succeeds();
        place.assert_is_whole(name);
        aftermath::assert_all_ends(spore);
    }
}

struct Pull {
    scene: Scene,
    shared: Shared,
    /// Where it is pulled from, and how long that takes.
    places: Vec<(Place, Duration)>,
}

pub fn pull(test: &'static str) -> Option<Box<dyn Trial>> {
    const KINDS: &[Kind] = &[Kind::Folder, Kind::Registry, Kind::Bucket, Kind::Served];
    if skipped(test, &[Need::Bake]) {
        return None;
    }
    let shared = Shared::of(&recipes::shipped("tiny"));
    let (scene, makers) = (Scene::new(), Makers::new(test, KINDS));
    let pusher = Spore::new();
    shared.pull_into(&pusher);
    let fill = |kind: &Kind| {
        let place = makers.make(*kind, &pusher, &shared.name);
        place.push(&pusher, &shared.name).finish().succeeds();
        let pull = |spore: &Spore| place.pull(spore, &shared.name);
        let whole = scene.measure_twice(pull, |spore| forget(spore, &shared.name));
        forget(&scene.spore, &shared.name);
        (place, whole)
    };
    let places = makers.kinds.iter().map(fill).collect();
    Some(Box::new(Pull { scene, shared, places }))
}

/// As if it had never been pulled.
fn forget(spore: &Spore, name: &str) {
    spore.run(["rm", name]).succeeds();
    spore.run(["prune"]).succeeds();
    let flat = spore.root().join("flat");
    files::entries(&flat).iter().for_each(|file| fs::remove_file(file).unwrap());
}

impl Trial for Pull {
    fn kill(&mut self, turn: usize, chance: &mut Chance) {
        let (spore, name) = (&self.scene.spore, &self.shared.name);
        let (place, whole) = &self.places[chance.below(self.places.len())];
        let killed = self.scene.kill(chance, place.pull(spore, name), *whole, ANYBODY);
        if !killed.was_done() && aftermath::tags(spore).is_empty() {
            spore.run(["fork", name]).exits_with(3);
        }
        place.pull(spore, name).finish().succeeds();
        aftermath::assert_all_ends(spore);
        let partial = files::entries(&spore.root().join("partial"));
        assert_eq!(partial, Vec::<PathBuf>::new(), "what was resumed is there twice");
        spore.fsck();
        if turn % 4 == 3 {
            spore.fork(name, 1);
            aftermath::assert_all_ends(spore);
        }
        forget(spore, name);
    }
}
