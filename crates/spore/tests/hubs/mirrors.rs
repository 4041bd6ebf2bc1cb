//! Mirrors of other kinds than their hub, by the configuration file.

use std::fs;
use std::path::Path;

use crate::harness::hubs::{Hub, NAME, NAME_1, bake, configure, user};
use crate::harness::run::Outcome;
use crate::harness::{Spore, files};

/// Nobody listens there.
const DEAD: &str = "oci://127.0.0.1:1";

/// Somebody who knows these as `team`, and has nothing yet.
fn reader(hubs: &[&Hub], locations: &[&str]) -> Spore {
    let spore = user(hubs.iter().copied());
    configure(&spore, &format!("[hubs]\nteam = {locations:?}\n"));
    spore
}

/// Pulls from `team`, and asserts on what comes.
#[track_caller]
fn assert_pulls(spore: &Spore, digest: &str) -> Outcome {
    let pulled = spore.run(["pull", &format!("team/{NAME_1}")]).succeeds();
    assert!(pulled.text().contains(digest), "{pulled}");
    spore.fsck();
    pulled
}

#[test]
fn while_the_hub_is_dead_its_mirrors_are_asked() {
    const TEST: &str = "hubs_of_all_kinds::mirrors::while_the_hub_is_dead_its_mirrors_are_asked";
    let (Some(bucket), Some(registry)) = (Hub::bucket(TEST), Hub::registry(TEST)) else { return };
    let baker = user([&bucket]);
    let digest = bake(&baker, "sample");
    bucket.push(&baker, "sample");
    let all = [DEAD, &bucket.location, &registry.location];
    let spore = reader(&[&bucket], &all);
    let said = format!("the tag 1 is {digest} by what the mirror {} says", bucket.location);
    let asked = format!("asking {} instead", bucket.location);
    let pulled = assert_pulls(&spore, &digest).says(&[DEAD, "refused", &asked, &said]);
    assert!(!pulled.error().contains(&registry.location), "it was not needed: {pulled}");

    // A push is for the hub alone.
    let push = ["push", &format!("team/{NAME_1}"), &format!("team/{NAME}:2")];
    let refused = spore.run(push).exits_with(1).says(&[DEAD, "refused"]);
    assert!(!refused.error().contains("instead"), "{refused}");
    assert_eq!(spore.json(["images", "--hub", &bucket.location])["images"].as_array().unwrap().len(), 1);
    assert_eq!(spore.json(["images", "--hub", &registry.location])["images"], serde_json::json!([]));

    let none = reader(&[], &[DEAD, "http://127.0.0.1:1"]);
    none.run(["pull", &format!("team/{NAME_1}")]).exits_with(1).says(&["http://127.0.0.1:1", "refused"]);
}

#[test]
fn a_part_that_the_hub_lacks_comes_from_a_mirror() {
    const TEST: &str = "hubs_of_all_kinds::mirrors::a_part_that_the_hub_lacks_comes_from_a_mirror";
    let (Some(bucket), Some(web)) = (Hub::bucket(TEST), Hub::web(TEST)) else { return };
    let (baker, folder) = (user([&bucket]), Hub::folder());
    let digest = bake(&baker, "sample");
    for hub in [&folder, &web] {
        hub.push(&baker, "sample");
    }
    // It has the layers, which both samples share, and nothing else of this one.
    bake(&baker, "other");
    bucket.push(&baker, "other");
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    let blobs = files::entries(&folder.path().join("blobs/sha256"));
    let lost = blobs.iter().max_by_key(|path| size(path)).unwrap();
    fs::remove_file(lost).unwrap();

    let spore = reader(&[&bucket], &[&folder.location, &bucket.location, &web.location]);
    let instead = [&bucket, &web].map(|hub| format!("asking {} instead", hub.location));
    let lost = lost.file_name().unwrap().to_str().unwrap();
    assert_pulls(&spore, &digest).says(&[&folder.location, lost, &instead[0], &instead[1]]);

    // What a tag means the hub says, and no mirror; what a digest means, anybody.
    fs::remove_file(folder.path().join("v2/team/sample/manifests/1")).unwrap();
    let spore = reader(&[&bucket], &[&folder.location, &bucket.location, &web.location]);
    let absent = spore.run(["pull", &format!("team/{NAME_1}")]);
    let absent = absent.exits_with(3).says(&[NAME_1, &folder.location]);
    assert!(!absent.error().contains("instead"), "{absent}");
    let pulled = spore.run(["pull", &format!("team/{NAME}@{digest}")]).succeeds();
    pulled.says(&[&instead[0], &instead[1]]);
    spore.fsck();

    // A push fills the hub, and leaves the mirrors to others.
    let spore = reader(&[&bucket], &[&folder.location, &bucket.location, &web.location]);
    bake(&spore, "third");
    assert_eq!(spore.json(["push", "third:1", "team/third"])["hub"], folder.location);
    for mirror in [&bucket, &web] {
        let listed = spore.json(["images", "--hub", &mirror.location]);
        assert_eq!(listed["images"].as_array().unwrap().len(), 1, "{listed}");
    }
}
