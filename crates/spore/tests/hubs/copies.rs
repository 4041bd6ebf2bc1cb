//! `spore hub copy` from one kind of hub to another.

use std::fs;

use crate::harness::Spore;
use crate::harness::hubs::{Hub, NAME_1, bake, missing_bytes, user};

/// Copies what was pushed to `from`, twice, by somebody who has no store.
#[track_caller]
fn assert_copies(from: &Hub, to: &Hub, digest: &str) {
    let spore = user([from, to]);
    let copy = ["hub", "copy", "--from", &from.location, "--to", &to.location, NAME_1];
    let plan = spore.json(copy.iter().chain(&["--dry-run"]));
    let planned = missing_bytes(&plan);
    assert!(planned > 400 * 4096, "{plan}");
    let copied = spore.json(copy);
    assert_eq!((&copied["digest"], &copied["tag"]), (&digest.into(), &"1".into()));
    assert_eq!((&copied["sent_bytes"], &copied["skipped_bytes"]), (&planned.into(), &0.into()));
    let again = spore.json(copy);
    assert_eq!((&again["sent_bytes"], &again["mounted_bytes"]), (&0.into(), &0.into()), "{again}");
    assert_eq!(again["skipped_bytes"], planned);
    assert!(!spore.root().exists(), "a copy made a store");
    to.assert_gives(digest);
}

#[test]
fn from_a_bucket_to_a_registry_and_from_there_to_a_bucket() {
    const TEST: &str = "hubs_of_all_kinds::copies::from_a_bucket_to_a_registry_and_from_there_to_a_bucket";
    let (Some(bucket), Some(registry)) = (Hub::bucket(TEST), Hub::registry(TEST)) else { return };
    let baker = user([&bucket]);
    let digest = bake(&baker, "sample");
    bucket.push(&baker, "sample");
    assert_copies(&bucket, &registry, &digest);
    let Some(other) = Hub::bucket(TEST) else { return };
    assert_copies(&registry, &other, &digest);
}

#[test]
fn from_a_web_server_to_a_folder() {
    let Some(web) = Hub::web("hubs_of_all_kinds::copies::from_a_web_server_to_a_folder") else { return };
    let (baker, folder) = (user([]), Hub::folder());
    let digest = bake(&baker, "sample");
    web.push(&baker, "sample");
    assert_copies(&web, &folder, &digest);
    let tag = |hub: &Hub| fs::read(hub.path().join("v2/team/sample/manifests/1")).unwrap();
    assert_eq!(tag(&web), tag(&folder));
    assert_eq!(web.assert_blobs_are_whole(), folder.assert_blobs_are_whole());
}

#[test]
fn from_a_served_folder_to_a_registry_and_back() {
    let test = "hubs_of_all_kinds::copies::from_a_served_folder_to_a_registry_and_back";
    let Some(registry) = Hub::registry(test) else { return };
    let (baker, served, back) = (user([]), Hub::served(), Hub::served());
    let digest = bake(&baker, "sample");
    served.push(&baker, "sample");
    assert_copies(&served, &registry, &digest);
    assert_copies(&registry, &back, &digest);
    assert_eq!(served.assert_blobs_are_whole(), back.assert_blobs_are_whole());
}

#[test]
fn what_cannot_be_copied_says_why() {
    let test = "hubs_of_all_kinds::copies::what_cannot_be_copied_says_why";
    let (baker, folder, empty) = (user([]), Hub::folder(), Hub::folder());
    bake(&baker, "sample");
    folder.push(&baker, "sample");
    let spore = Spore::new();
    let copy = |from: &str, to: &str, what: &[&str]| {
        spore.run(["hub", "copy", "--from", from, "--to", to].iter().chain(what))
    };
    let (from, to) = (&*folder.location, &*empty.location);
    copy(from, to, &["team/sample:2"]).exits_with(3).says(&["team/sample:2", from]);
    copy(from, to, &["team/other"]).exits_with(3).says(&["team/other:latest", from]);
    copy(to, from, &[NAME_1]).exits_with(3).says(&[to, "no such folder"]);
    copy("oci://127.0.0.1:1", to, &[NAME_1]).exits_with(1).says(&["127.0.0.1:1", "refused"]);
    copy(from, "oci://127.0.0.1:1", &[NAME_1]).exits_with(1).says(&["127.0.0.1:1", "refused"]);
    let by_digest = copy(from, to, &[NAME_1, &format!("team/sample@sha256:{}", "0".repeat(64))]);
    by_digest.exits_with(2).says(&["a destination has no digest"]);
    assert!(!empty.path().exists());
    let Some(web) = Hub::web(test) else { return };
    let read_only = ["only gives it out", "the folder or the bucket"];
    copy(from, &web.location, &[NAME_1]).exits_with(1).says(&read_only);
    // Neither where nothing would have to be sent but the tag.
    web.push(&baker, "sample");
    copy(&web.location, &web.location, &[NAME_1, "team/sample:2"]).exits_with(1).says(&read_only);
    copy(&web.location, to, &["team/sample:2"]).exits_with(3).says(&["team/sample:2", &web.location]);
}
