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

/// A user with `name:latest`, its pack, and the same without layers; and the hub that has these.
fn packed(test: &'static str, folder: &Path) -> (Scene, [PathBuf; 3]) {
    let scene = Scene::new(test);
    let store = Store::open(scene.root()).unwrap();
    let spec = SampleSpec { layer_pages: 2000, memory_pages: 3000, ..SampleSpec::default() };
    let sample = put_sample(&store, &spec).unwrap();
    store.set_ref(&"local/sample:latest".parse().unwrap(), &sample.digest, None).unwrap();
    let [whole, small, hub] = ["whole.spore", "small.spore", "hub"].map(|name| folder.join(name));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    scene.spore.run(["push", "sample", "--hub", &text(&hub)]).succeeds();
    scene.spore.run(["pack", "sample", "-o", &text(&whole)]).succeeds();
    scene.spore.run(["pack", "sample", "-o", &text(&small), "--without-layers"]).succeeds();
    (scene, [whole, small, hub])
}

/// Nothing of it needs an engine. The folder has a whole pack or what was there before, and nothing else.
#[test]
fn a_killed_pack() {
    const TEST: &str = "killed_anywhere::transfers::a_killed_pack";
    let folder = files::scratch("packs");
    let (mut scene, [whole, ..]) = packed(TEST, folder.path());
    let (right, out) = (files::digest(&whole), folder.path().join("out"));
    fs::create_dir(&out).unwrap();
    let file = out.join("packed.spore");
    let pack = |spore: &Spore| {
        spore.command([
            "pack".as_ref(),
            "sample".as_ref(),
            "--force".as_ref(),
            "-o".as_ref(),
            file.as_os_str(),
        ])
    };
    let took = scene.measure_twice(pack, |_| ());
    for number in 0..moments() {
        if number % 2 == 0 {
            fs::remove_file(&file).unwrap();
        }
        let command = pack(&scene.spore);
        let was_there = file.exists();
        let killed = scene.kill(command, took, &[Whom::Command]);
        assert!(file.exists() || !was_there && !killed.was_done);
        let left = files::entries(&out);
        assert!(left.iter().all(|left| *left == file && files::digest(left) == right), "{left:?}");
        pack(&scene.spore).finish().succeeds();
        assert_eq!(files::digest(&file), right);
    }
}

/// From a file, and with the hub that has what is left out.
#[test]
fn a_killed_unpack() {
    const TEST: &str = "killed_anywhere::transfers::a_killed_unpack";
    let folder = files::scratch("packs");
    let (mut scene, [whole, small, hub]) = packed(TEST, folder.path());
    let unpacks = [vec![whole], vec![small, "--hub".into(), hub]];
    let forget = |spore: &Spore| {
        spore.run(["rm", "sample"]).succeeds();
        spore.run(["prune", "--all"]).succeeds();
    };
    let unpack = |spore: &Spore, args: &[PathBuf]| spore.command(["unpack"]).args(args);
    let took = unpacks.each_ref().map(|args| {
        forget(&scene.spore);
        scene.measure_twice(|spore| unpack(spore, args), forget)
    });
    for number in 0..moments() {
        let turn = number as usize % unpacks.len();
        forget(&scene.spore);
        let command = unpack(&scene.spore, &unpacks[turn]);
        let killed = scene.kill(command, took[turn], &[Whom::Command]);
        // The tag is there only if all that it leads to is.
        assert!(!killed.was_done || aftermath::tags(&scene.spore).len() == 1);
        unpack(&scene.spore, &unpacks[turn]).finish().succeeds();
        aftermath::assert_no_leftovers(scene.root());
        scene.spore.fsck();
        let left = scene.spore.json(["prune", "--dry-run"]);
        assert_eq!(left["plan"]["items"], serde_json::json!([]), "what was stored is there twice");
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
