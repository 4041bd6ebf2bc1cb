//! Push and pull, killed at any moment, with hubs of all kinds in turns; and the pruning of a hub.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hub::testing::{SampleSpec, put_sample};
use store::Store;

use crate::chance::moments;
use crate::harness::needs::{Need, skipped};
use crate::harness::shared::Shared;
use crate::harness::{Spore, files, recipes};
use crate::places::{Kind, Makers, Place};
use crate::victim::Whom;
use crate::{ANYBODY, Scene, aftermath};

#[test]
fn a_killed_push() {
    const TEST: &str = "killed_anywhere::transfers::a_killed_push";
    const KINDS: &[Kind] = &[Kind::Folder, Kind::Registry, Kind::Bucket, Kind::Served, Kind::Ticket];
    if skipped(TEST, &[Need::Bake]) {
        return;
    }
    let mut scene = Scene::new(TEST);
    let makers = Makers::new(TEST, KINDS);
    let (name, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&scene.spore);
    let measure = |kind: &Kind| {
        let place = makers.make(*kind, &scene.spore, &name);
        scene.measure(place.push(&scene.spore, &name))
    };
    let whole: Vec<_> = makers.kinds.iter().map(measure).collect();
    for number in 0..moments() {
        let place = makers.make(makers.kind(number), &scene.spore, &name);
        let command = place.push(&scene.spore, &name);
        scene.kill(command, whole[number as usize % whole.len()], ANYBODY);
        place.assert_is_whole(&name);
        place.push(&scene.spore, &name).finish().succeeds();
        let other = Spore::new();
        place.pull(&other, &name).args(["--no-layout"]).finish().succeeds();
        place.assert_is_whole(&name);
        aftermath::assert_all_ends(&scene.spore);
    }
}

#[test]
fn a_killed_pull() {
    const TEST: &str = "killed_anywhere::transfers::a_killed_pull";
    const KINDS: &[Kind] = &[Kind::Folder, Kind::Registry, Kind::Bucket, Kind::Served];
    if skipped(TEST, &[Need::Bake]) {
        return;
    }
    let mut scene = Scene::new(TEST);
    let shared = Shared::of(&recipes::shipped("tiny"));
    let name = shared.name.as_str();
    let makers = Makers::new(TEST, KINDS);
    let places: Vec<_> = {
        let pusher = Spore::new();
        shared.pull_into(&pusher);
        let filled = |kind: &Kind| {
            let place = makers.make(*kind, &pusher, name);
            place.push(&pusher, name).finish().succeeds();
            place
        };
        makers.kinds.iter().map(filled).collect()
    };
    let forget = |spore: &Spore| {
        spore.run(["rm", name]).succeeds();
        spore.run(["prune"]).succeeds();
        let flat = spore.root().join("flat");
        files::entries(&flat).iter().for_each(|file| fs::remove_file(file).unwrap());
    };
    let measure = |place: &Place| {
        let whole = scene.measure_twice(|spore| place.pull(spore, name), forget);
        forget(&scene.spore);
        whole
    };
    let whole: Vec<_> = places.iter().map(measure).collect();
    for number in 0..moments() {
        let turn = number as usize % places.len();
        let place = &places[turn];
        let command = place.pull(&scene.spore, name);
        let killed = scene.kill(command, whole[turn], ANYBODY);
        if !killed.was_done && aftermath::tags(&scene.spore).is_empty() {
            scene.spore.run(["fork", name]).exits_with(3);
        }
        place.pull(&scene.spore, name).finish().succeeds();
        aftermath::assert_all_ends(&scene.spore);
        let partial = files::entries(&scene.root().join("partial"));
        assert_eq!(partial, Vec::<PathBuf>::new(), "what was resumed is there twice");
        scene.spore.fsck();
        if number + 1 < moments() {
            forget(&scene.spore);
        } else {
            scene.spore.fork(name, 1);
            aftermath::assert_all_ends(&scene.spore);
        }
    }
}

/// Nothing of it needs an engine.
#[test]
fn a_killed_prune_of_a_hub() {
    const TEST: &str = "killed_anywhere::transfers::a_killed_prune_of_a_hub";
    let mut scene = Scene::new(TEST);
    let folder = files::scratch("hub");
    let hub = folder.path().join("hub");
    let hub_text = hub.to_str().unwrap();
    let store = Store::open(scene.root()).unwrap();
    let spec = SampleSpec { layer_pages: 100, memory_pages: 2000, ..SampleSpec::default() };
    for name in ["kept", "gone"] {
        let sample = put_sample(&store, &SampleSpec { seed: name, ..spec }).unwrap();
        store.set_ref(&format!("local/{name}:latest").parse().unwrap(), &sample.digest, None).unwrap();
    }
    let push = |name| scene.spore.command(["push", name, "--hub", hub_text]);
    let prune = |spore: &Spore| spore.command(["hub", "prune", hub_text]);
    push("kept").finish().succeeds();
    let whole = scene.measure_twice(
        |spore| {
            push("gone").finish().succeeds();
            make_garbage(&hub);
            prune(spore)
        },
        |_| (),
    );
    for _ in 0..moments().div_ceil(4) {
        scene.spore.run(["push", "gone", "--hub", hub_text]).succeeds();
        make_garbage(&hub);
        let command = prune(&scene.spore);
        scene.kill(command, whole, &[Whom::Command]);
        aftermath::assert_hub_is_whole(&hub);
        scene.spore.run(["push", "gone", "--hub", hub_text]).succeeds();
        aftermath::assert_hub_is_whole(&hub);
        for name in ["kept", "gone"] {
            let puller = Spore::new();
            puller.run(["pull", name, "--hub", hub_text]).succeeds();
            puller.fsck();
        }
        make_garbage(&hub);
        prune(&scene.spore).finish().succeeds();
        aftermath::assert_hub_is_whole(&hub);
        assert_eq!(scene.spore.json(["hub", "prune", hub_text])["removed"], 0);
    }
}

/// Takes the tag of `gone` away, as docs/hub.md says, and makes all of the hub old enough to be pruned.
fn make_garbage(hub: &Path) {
    fs::remove_file(hub.join("v2/gone/manifests/latest")).unwrap();
    let old = SystemTime::now() - hub::prune::GRACE - Duration::from_secs(3600);
    let is_aged = |path: &PathBuf| path.starts_with(hub.join("blobs")) || path.starts_with(hub.join("v2"));
    for file in files::files_below(hub).into_iter().filter(is_aged) {
        files::open(&file).set_modified(old).unwrap();
    }
}
