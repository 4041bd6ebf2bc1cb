//! Packs as their users meet them: to a file, through a pipe, small ones beside a base, and to and from other OCI tools.
//!
//! The snapshot is one that no engine can run: nothing here forks.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test says is its output")]

mod harness;

#[path = "packs/foreign.rs"]
mod foreign;
#[path = "packs/interrupted.rs"]
mod interrupted;
#[path = "packs/small.rs"]
mod small;

use std::fs;
use std::path::{Path, PathBuf};

use harness::needs::{find_program, say_skipped};
use harness::run::Run;
use harness::{Spore, files};
use hub::testing::{SampleSpec, put_sample};
use store::Store;
use tempfile::TempDir;

/// A user with the snapshots `base:1` and `derived:1`, which share their layers, and a folder for packs.
fn baker() -> (Spore, TempDir) {
    let spore = Spore::new();
    for seed in ["base", "derived"] {
        put(&spore, seed);
    }
    (spore, files::scratch("packs"))
}

fn put(spore: &Spore, seed: &str) -> String {
    let store = Store::open(spore.root()).unwrap();
    let spec = SampleSpec { seed, layer_pages: 300, memory_pages: 30, ..SampleSpec::default() };
    let sample = put_sample(&store, &spec).unwrap();
    store.set_ref(&format!("local/{seed}:1").parse().unwrap(), &sample.digest, None).unwrap();
    sample.digest.to_string()
}

fn in_folder(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

/// All that names content in a store, and what is on its way.
fn kept(spore: &Spore) -> Vec<PathBuf> {
    let folders = ["blobs", "flat", "refs", "partial", "tmp", "trash", "leases"];
    folders.iter().flat_map(|folder| files::files_below(&spore.root().join(folder))).collect()
}

#[test]
fn a_pipe_carries_it() {
    let (baker, _) = baker();
    let pack = baker.run(["pack", "base:1"]).succeeds();
    assert_eq!(baker.run(["pack", "base:1", "-o", "-"]).succeeds().stdout, pack.stdout);
    let user = Spore::new();
    let unpack = user.command(["unpack", "-", "--format", "json"]).stdin(pack.stdout.clone());
    let unpacked = unpack.finish().succeeds().json();
    assert_eq!(unpacked["name"], "local/base:1");
    assert_eq!(unpacked["digest"], baker.json(["inspect", "base:1"])["digest"]);
    assert_eq!(user.run(["pack", "base:1"]).succeeds().stdout, pack.stdout);
    user.fsck();
    assert_eq!(user.json(["prune", "--dry-run"])["plan"]["items"].as_array().unwrap().len(), 0);
}

#[test]
fn a_file_is_there_in_whole_or_not_at_all() {
    let (baker, folder) = baker();
    let file = in_folder(&folder, "base.spore");
    let planned = baker.json(["pack", "base:1", "-o", &file, "--dry-run"]);
    assert!(!Path::new(&file).exists());
    let packed = baker.json(["pack", "base:1", "-o", &file]);
    assert_eq!(packed["bytes"], planned["bytes"]);
    assert_eq!(fs::metadata(&file).unwrap().len(), packed["bytes"].as_u64().unwrap());
    let first = fs::read(&file).unwrap();
    baker.run(["pack", "derived:1", "-o", &file]).exits_with(1).says(&["there already", "--force"]);
    assert_eq!(fs::read(&file).unwrap(), first);
    baker.run(["pack", "derived:1", "-o", &file, "--force"]).succeeds();
    assert_ne!(fs::read(&file).unwrap(), first);
    baker.run(["pack", "base:1", "-o", "/dev/null", "--force"]).exits_with(2).says(&["no regular file"]);
    baker.run(["pack", "absent:1", "-o", &in_folder(&folder, "absent")]).exits_with(3);
    baker.run(["pack", "base:1", "-o", &in_folder(&folder, "no/folder")]).exits_with(1);

    // A blob that has changed since it was verified.
    let frames = planned["packed"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap();
    let blob = baker.root().join("blobs").join(frames.replace(':', "/"));
    let mut bytes = fs::read(&blob).unwrap();
    bytes[9] ^= 1;
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, &bytes).unwrap();
    let damaged = baker.run(["pack", "base:1", "-o", &in_folder(&folder, "damaged")]);
    damaged.exits_with(5).says(&["frames of", frames, "is damaged"]);
    assert_eq!(files::entries(folder.path()), [PathBuf::from(file)]);
}

#[test]
fn a_terminal_is_not_filled_with_it() {
    let (baker, _) = baker();
    if find_program("script").is_none() {
        return say_skipped("packs::a_terminal_is_not_filled_with_it", "script is not installed");
    }
    let root = baker.root().to_str().unwrap();
    let line = format!("{} --root {root} pack base:1", files::program().display());
    let on_terminal = Run::new("script").args(["-qec", &line, "/dev/null"]).finish().exits_with(2);
    let shown = String::from_utf8_lossy(&on_terminal.stdout).into_owned();
    assert!(shown.contains("give -o FILE, or a pipe"), "{shown}");
}

#[test]
fn a_name_is_proposed_and_a_tag_is_kept() {
    let (baker, folder) = baker();
    let file = |name: &str| in_folder(&folder, name);
    baker.run(["tag", "base:1", "team/base:2"]).succeeds();
    baker.run(["pack", "team/base:2", "-o", &file("base")]).succeeds();
    baker.run(["tag", "derived:1", "team/base:2", "--force"]).succeeds();
    baker.run(["pack", "team/base:2", "-o", &file("derived")]).succeeds();
    let user = Spore::new();
    assert_eq!(user.json(["unpack", &file("base")])["name"], "local/team/base:2");
    user.run(["unpack", &file("derived")]).exits_with(1).says(&["local/team/base:2", "--force", "--name"]);
    assert_eq!(user.json(["unpack", &file("derived"), "--name", "other"])["name"], "local/other:latest");
    let moved = user.json(["unpack", &file("derived"), "--force"]);
    assert!(moved["moved_from"].is_string(), "{moved}");
    // Whoever packs may propose another one.
    let named = baker.json(["pack", "base:1", "-o", &file("named"), "--name", "numpy:tried"]);
    assert_eq!(named["name"], "numpy:tried");
    assert_eq!(user.json(["unpack", &file("named")])["name"], "local/numpy:tried");
    baker.run(["pack", "base:1", "--dry-run", "--name", "hub.example/x"]).exits_with(2);
    user.run(["unpack", &file("base"), "--name", "hub.example/x"]).exits_with(2);
    user.run(["unpack", &file("absent")]).exits_with(1).says(&["absent"]);
    user.run(["unpack", folder.path().to_str().unwrap()]).exits_with(2).says(&["is a folder"]);
    user.fsck();
}

#[test]
fn nothing_is_laid_out_or_stored_unless_asked_for() {
    let (baker, folder) = baker();
    let file = in_folder(&folder, "base");
    baker.run(["pack", "base:1", "-o", &file]).succeeds();
    let user = Spore::new();
    let checked = user.json(["unpack", &file, "--dry-run"]);
    assert!(checked["pack"]["new_bytes"].as_u64().unwrap() > 0, "{checked}");
    assert!(kept(&user).is_empty());
    user.run(["unpack", &file, "--max-size", "1MiB"]).exits_with(1).says(&["at most 1048576"]);
    assert!(kept(&user).is_empty());
    user.run(["unpack", &file, "--no-layout"]).succeeds();
    assert!(files::files_below(&user.root().join("flat")).is_empty());
    // A dry run reads what is in the pack, whether this host has it or not.
    let right = fs::read(&file).unwrap();
    for at in [right.len() / 2, 5000] {
        let mut flipped = right.clone();
        flipped[at] ^= 1;
        fs::write(&file, flipped).unwrap();
        user.run(["unpack", &file, "--dry-run"]).exits_with(5);
    }
    fs::write(&file, right).unwrap();
    user.run(["unpack", &file, "--dry-run"]).succeeds();
    user.run(["unpack", &file]).succeeds();
    // Memory, writable disk, two layers.
    assert_eq!(files::files_below(&user.root().join("flat")).len(), 4);
}
