//! What must be true after anything was killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use format::{Digest, Manifest};
use serde_json::Value;

use crate::harness::{Spore, files, processes};

/// How long what was left may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asserts that sandboxes which are said to run do run, ends all of them, and asserts that nothing else is left.
#[track_caller]
pub fn assert_all_ends(spore: &Spore) {
    let listed = spore.json(["ps", "--all"]);
    for sandbox in listed["sandboxes"].as_array().unwrap() {
        if sandbox["status"] == "running" || sandbox["status"] == "unsupervised" {
            assert_eq!(spore.sh(sandbox["id"].as_str().unwrap(), "echo here"), "here");
        }
    }
    spore.run(["kill", "--all"]).succeeds();
    assert_eq!(spore.sandboxes(), Vec::<String>::new());
    let end = Instant::now() + PATIENCE;
    loop {
        let left = processes::in_folder(spore.root());
        if left.is_empty() {
            break;
        }
        assert!(Instant::now() < end, "left behind: {left:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_no_leftovers(spore.root());
}

/// Asserts that before long no sandbox runs, or else that `count` do. Folders in which nothing runs yet are dead, and say so.
#[track_caller]
pub fn assert_none_runs_or(spore: &Spore, count: usize) {
    let end = Instant::now() + PATIENCE;
    let mut left = alive(spore);
    while !left.is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
        left = alive(spore);
    }
    assert!(left.is_empty() || left.len() == count, "left behind: {left:#?}");
}

/// The sandboxes that are not dead.
#[track_caller]
fn alive(spore: &Spore) -> Vec<Value> {
    let listed = spore.json(["ps"]);
    listed["sandboxes"].as_array().expect("a list").clone()
}

/// Asserts that a store, or a hub in a folder, has nothing unfinished in it, but what a pull can resume.
#[track_caller]
pub fn assert_no_leftovers(root: &Path) {
    for folder in ["tmp", "trash", "leases"].map(|name| root.join(name)) {
        // A store that was never opened, and a hub, lack some of them.
        let left = if folder.is_dir() { files::entries(&folder) } else { Vec::new() };
        assert_eq!(left, Vec::<PathBuf>::new());
    }
}

/// The names of local tags, as files have them.
pub fn tags(spore: &Spore) -> Vec<PathBuf> {
    files::entries(&spore.root().join("refs"))
}

/// Asserts that each blob of a directory hub is what its name says, and that each of its tags has all it leads to.
#[track_caller]
pub fn assert_hub_is_whole(hub: &Path) {
    if !hub.exists() {
        return;
    }
    let blobs = hub.join("blobs/sha256");
    let mut whole = BTreeSet::new();
    for blob in if blobs.is_dir() { files::entries(&blobs) } else { Vec::new() } {
        let name = blob.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(files::digest(&blob).hex(), name);
        whole.insert(name);
    }
    let names = hub.join("v2");
    for path in if names.is_dir() { files::files_below(&names) } else { Vec::new() } {
        let bytes = fs::read(&path).unwrap();
        assert!(whole.contains(&Digest::of(&bytes).hex()), "{} is no blob", path.display());
        for part in Manifest::parse(&bytes).unwrap().blobs() {
            assert!(whole.contains(&part.digest.hex()), "{} needs {}", path.display(), part.digest);
        }
    }
    if let Ok(index) = fs::read(hub.join("index.json")) {
        let index: Value = serde_json::from_slice(&index).unwrap();
        for entry in index["manifests"].as_array().unwrap() {
            let digest: Digest = entry["digest"].as_str().unwrap().parse().unwrap();
            assert!(whole.contains(&digest.hex()), "index.json lists {digest}");
        }
    }
}
