//! Small packs, and the hubs that have what they leave out.

use std::fs;
use std::path::Path;

use hub::testing::registry::{RealRegistry, RegistryOptions};
use serde_json::Value;
use store::{LockKey, Store};
use tempfile::TempDir;

use crate::harness::{Spore, files};
use crate::{baker, in_folder, kept, put};

#[test]
fn it_needs_what_it_leaves_out() {
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
        assert_eq!(lacking.error().lines().filter(|line| line.contains("frames of disk layer")).count(), 2);
        let listed = user.command(["unpack", file, "--format", "json"]).finish().exits_with(3);
        let listed: Value = serde_json::from_str(&listed.error()).unwrap();
        let parts = listed["error"]["parts"].as_array().unwrap();
        let is_frames = |part: &&Value| part["role"].as_str().unwrap().contains("frames of disk layer");
        assert_eq!(parts.iter().filter(is_frames).count(), 2, "{listed}");
        assert!(parts.iter().all(|part| part["digest"].is_string() && part["size"].is_u64()), "{listed}");
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

/// A registry keeps the blobs of each name apart: which is asked is said, and neither the local name nor the pack's matters.
#[test]
fn a_registry_is_asked_for_what_is_in_a_repository() {
    let test = "packs::small::a_registry_is_asked_for_what_is_in_a_repository";
    let Some(registry) = RealRegistry::start(test, &RegistryOptions::default()) else { return };
    let (baker, folder) = baker();
    let baker = baker.env("XDG_RUNTIME_DIR", "/nonexistent");
    let since = in_folder(&folder, "since");
    let (host, hub) = (registry.host(), format!("oci+http://{}", registry.host()));
    baker.json(["push", "base:1", "team/base:1", "--hub", &hub]);
    baker.json(["pack", "derived:1", "-o", &since, "--since", "base:1"]);
    let user = || Spore::new().env("XDG_RUNTIME_DIR", "/nonexistent");

    let one = user();
    one.run(["unpack", &since, "--hub", &hub])
        .exits_with(2)
        .says(&["keeps the blobs of each name apart", "/NAME"]);
    // Nothing is under the pack's own name.
    let lacking = one.run(["unpack", &since, "--hub", &format!("{hub}/derived")]).exits_with(3);
    lacking.says(&["frames of disk layer0", "derived@sha256:"]);
    assert!(kept(&one).is_empty(), "{:?}", kept(&one));
    one.json(["unpack", &since, "--hub", &format!("{hub}/team/base")]);
    one.fsck();
    // As references name it.
    let two = user();
    let unpacked = two.json(["unpack", &since, "--hub", &format!("{host}/team/base"), "--name", "tried"]);
    assert_eq!(unpacked["name"], "local/tried:latest");
    // By an alias for a part of the registry.
    let three = user();
    let config = in_folder(&folder, "config.toml");
    fs::write(&config, format!("[hubs]\nteam = \"{hub}/team\"\n")).unwrap();
    let three = three.env("SPORE_CONFIG", &config);
    three.run(["unpack", &since, "--hub", "team"]).exits_with(2).says(&["--hub team/NAME"]);
    three.json(["unpack", &since, "--hub", "team/base"]);
    three.fsck();
}

/// A folder with a hub of `base:1` of which the last blob that a pull asks for is damaged.
fn damaged_hub(baker: &Spore, folder: &TempDir) -> String {
    let hub = in_folder(folder, "damaged");
    baker.json(["push", "base:1", "--hub", &hub]);
    let plan = baker.json(["pack", "base:1", "--dry-run"]);
    let is_of_layer1 = |part: &&Value| part["role"].as_str().unwrap().contains("layer1");
    let frames = plan["packed"].as_array().unwrap().iter().rfind(is_of_layer1);
    let digest = frames.unwrap()["digest"].as_str().unwrap().replace("sha256:", "");
    let blob = Path::new(&hub).join("blobs/sha256").join(digest);
    let mut bytes = fs::read(&blob).unwrap();
    bytes[9] ^= 1;
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, bytes).unwrap();
    hub
}

/// Also what the hub has given before it failed.
#[test]
fn what_was_fetched_in_vain_is_taken_back() {
    let (baker, folder) = baker();
    let (file, hub) = (in_folder(&folder, "without"), damaged_hub(&baker, &folder));
    baker.json(["pack", "derived:1", "-o", &file, "--without-layers"]);
    let user = Spore::new();
    user.run(["ps"]).succeeds();
    let before = kept(&user);
    user.run(["unpack", &file, "--hub", &hub]).exits_with(5).says(&["corrupt"]);
    assert_eq!(kept(&user), before);

    // While a collector is at work nobody waits for it, and what is left is said.
    let store = Store::open(user.root()).unwrap();
    let lock = store.lock(LockKey::Collector, &mut || ()).unwrap();
    let left = user.run(["unpack", &file, "--hub", &hub]).exits_with(5);
    left.says(&["corrupt", "left to `spore prune`", "another prune is at work"]);
    drop((lock, store));
    assert!(files::files_below(&user.root().join("refs")).is_empty());
    user.fsck();
    user.run(["prune"]).succeeds();
    assert_eq!(kept(&user), before);
}

/// What is laid out behind a fetch is there once.
#[test]
fn what_a_hub_completes_is_laid_out() {
    let (baker, folder) = baker();
    let (file, hub) = (in_folder(&folder, "without"), in_folder(&folder, "hub"));
    baker.json(["push", "base:1", "--hub", &hub]);
    baker.json(["pack", "derived:1", "-o", &file, "--without-layers"]);
    for args in [&["unpack", &file, "--hub", &hub][..], &["unpack", "-", "--hub", &hub]] {
        let user = Spore::new();
        let mut run = user.command(args);
        if args[1] == "-" {
            run = run.stdin(fs::read(&file).unwrap());
        }
        run.finish().succeeds();
        assert_eq!(files::files_below(&user.root().join("flat")).len(), 4);
        user.fsck();
    }
}

/// What stands in the way is said before anything is fetched, and a plan fetches nothing.
#[test]
fn nothing_is_fetched_in_vain_to_be_packed() {
    let (baker, folder) = baker();
    let (hub, file) = (in_folder(&folder, "hub"), in_folder(&folder, "base.spore"));
    baker.json(["push", "base:1", "--hub", &hub]);
    let user = Spore::new();
    user.json(["pull", "base:1", "--hub", &hub, "--no-layout"]);
    let blobs = user.root().join("blobs/sha256");
    let largest = |path: &std::path::PathBuf| fs::metadata(path).unwrap().len();
    let lost = files::entries(&blobs).into_iter().max_by_key(largest).unwrap();
    fs::remove_file(&lost).unwrap();
    user.run(["pack", "base:1", "--dry-run"]).exits_with(3).says(&["not complete"]);
    fs::write(&file, "mine").unwrap();
    user.run(["pack", "base:1", "-o", &file]).exits_with(1).says(&["there already"]);
    assert!(!lost.exists());
    user.run(["pack", "base:1", "-o", &file, "--force"]).succeeds();
    assert!(lost.exists());
    assert_eq!(fs::read(&file).unwrap(), baker.run(["pack", "base:1"]).succeeds().stdout);
}
