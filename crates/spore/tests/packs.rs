//! Packs as their users meet them: to a file, through a pipe, small ones beside a base, and to and from other OCI tools.
//!
//! The snapshot is one that no engine can run: nothing here forks.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test says is its output")]

mod harness;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use harness::needs::{find_program, say_skipped};
use harness::run::{DEADLINE, Run};
use harness::{Spore, files};
use hub::testing::registry::{RealRegistry, RegistryOptions};
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
fn a_small_pack_needs_what_it_leaves_out() {
    let (baker, folder) = baker();
    let hub = in_folder(&folder, "hub");
    baker.json(["push", "base:1", "--hub", &hub]);
    let (without, since) = (in_folder(&folder, "without"), in_folder(&folder, "since"));
    let whole = baker.json(["pack", "derived:1", "--dry-run"])["bytes"].as_u64().unwrap();
    for (file, args) in [(&without, &["--without-layers"][..]), (&since, &["--since", "base:1"])] {
        let packed = baker.json([&["pack", "derived:1", "-o", file], args].concat());
        assert!(packed["bytes"].as_u64().unwrap() < whole / 5, "{packed}");
        let user = Spore::new();
        user.run(["ps"]).succeeds();
        let before = kept(&user);
        let lacking = user.run(["unpack", file]).exits_with(3);
        let lacking = lacking.says(&[
            "frames of disk layer0 (content sha256:",
            "frames of disk layer1",
            "bytes)",
            "--hub",
        ]);
        assert_eq!(lacking.error().matches("frames of disk layer").count(), 2);
        let piped = user.command(["unpack", "-"]).stdin(fs::read(file).unwrap()).finish();
        assert_eq!(piped.exits_with(3).error(), lacking.error());
        user.run(["unpack", file, "--dry-run"]).exits_with(3);
        assert_eq!(kept(&user), before);

        // From a hub that has the base, and nothing of what is in the pack.
        let unpacked = user.json(["unpack", file, "--hub", &hub]);
        assert!(unpacked["fetched_bytes"].as_u64().unwrap() > 2 * 300 * 4096, "{unpacked}");
        user.fsck();
        // And beside a base that is here.
        let other = Spore::new();
        put(&other, "base");
        let unpacked = other.json(["unpack", file]);
        assert_eq!(
            (unpacked["fetched_bytes"].as_u64(), &unpacked["name"]),
            (Some(0), &"local/derived:1".into())
        );
        other.fsck();
    }
    // What has nothing but its manifest is as good as its digest.
    let (name_only, from) = (in_folder(&folder, "name-only"), in_folder(&folder, "all"));
    baker.json(["pack", "derived:1", "-o", &name_only, "--since", "derived:1"]);
    baker.json(["push", "derived:1", "--hub", &from]);
    let user = Spore::new();
    let planned = baker.json(["pack", "derived:1", "--dry-run"]);
    let sizes = planned["packed"].as_array().unwrap().iter().map(|part| part["size"].as_u64().unwrap());
    let limit = sizes.sum::<u64>().to_string();
    let limited = user.run(["unpack", &name_only, "--hub", &from, "--max-size", &limit]).exits_with(1);
    limited.says(&["bytes laid out", &format!("at most {limit}")]);
    assert!(files::files_below(&user.root().join("refs")).is_empty());
    assert_eq!(user.json(["unpack", &name_only, "--hub", &from])["unpacked_bytes"], 0);
    user.fsck();

    let empty = in_folder(&folder, "empty");
    fs::create_dir(&empty).unwrap();
    let user = Spore::new();
    user.run(["unpack", &without, "--hub", &empty]).exits_with(3);
    assert!(kept(&user).is_empty());
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
    user.run(["unpack", &file]).succeeds();
    // Memory, writable disk, two layers.
    assert_eq!(files::files_below(&user.root().join("flat")).len(), 4);
}

/// Killed while it waits for more, an unpack leaves no tag; the next one is as if there had been none.
#[test]
fn a_killed_unpack_leaves_no_tag() {
    let (baker, _) = baker();
    let pack = baker.run(["pack", "base:1"]).succeeds().stdout;
    let user = Spore::new();
    let half = |command: &mut std::process::Command| {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(&pack[..pack.len() / 2]).unwrap();
        let end = Instant::now() + DEADLINE;
        while !user.root().join("blobs/sha256").is_dir() || kept(&user).len() < 5 {
            assert!(Instant::now() < end, "it stores nothing");
            std::thread::sleep(Duration::from_millis(5));
        }
        (child, pipe)
    };
    let (mut child, _pipe) = half(user.command(["unpack", "-"]).command());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(files::entries(&user.root().join("refs")), Vec::<PathBuf>::new());
    user.command(["prune"]).finish().succeeds();
    assert!(kept(&user).is_empty());
    // Told to end, it takes back what it has stored by itself.
    let (mut child, _pipe) = half(user.command(["unpack", "-", "--quiet"]).command());
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(kept(&user).is_empty(), "{:?}", kept(&user));
    user.command(["unpack", "-"]).stdin(pack).finish().succeeds();
    user.fsck();
}

#[test]
fn skopeo_takes_it_to_a_registry_and_back() {
    let test = "packs::skopeo_takes_it_to_a_registry_and_back";
    if find_program("skopeo").is_none() {
        return say_skipped(test, "skopeo is not installed");
    }
    let Some(registry) = RealRegistry::start(test, &RegistryOptions::default()) else { return };
    let skopeo = |args: &[&str]| {
        Run::new("skopeo").args(["--insecure-policy", "copy"]).args(args).finish().succeeds();
    };
    let (baker, folder) = baker();
    let (file, back) = (in_folder(&folder, "base.spore"), in_folder(&folder, "back.tar"));
    let digest = baker.json(["pack", "base:1", "-o", &file])["digest"].clone();
    let there = format!("docker://{}/team/base:1", registry.host());
    skopeo(&["--dest-tls-verify=false", &format!("oci-archive:{file}"), &there]);
    let user = Spore::new().env("XDG_RUNTIME_DIR", "/nonexistent");
    let pulled = user.json(["pull", "team/base:1", "--hub", &format!("oci+http://{}", registry.host())]);
    assert_eq!(pulled["digest"], digest);

    skopeo(&["--src-tls-verify=false", &there, &format!("oci-archive:{back}:team/base:1")]);
    let other = Spore::new();
    let unpacked = other.json(["unpack", &back]);
    assert_eq!((&unpacked["digest"], unpacked["name"].as_str()), (&digest, Some("local/team/base:1")));
    other.fsck();
    // It writes blobs first, which only a file can be read in.
    let piped = Spore::new().command(["unpack", "-"]).stdin(fs::read(&back).unwrap()).finish();
    piped.exits_with(2).says(&["give the pack as a file"]);
}
