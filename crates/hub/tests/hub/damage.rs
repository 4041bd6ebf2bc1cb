//! What is missing, damaged or a lie is said by name, and nothing of it becomes visible.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use format::manifest::media_type;
use format::{Digest, Manifest};
use hub::testing::SampleSpec;
use hub::{HubError, PullError, PushError, RawManifest, Selector};

use crate::broken::{Broken, Fault};
use crate::world::*;

pub(crate) const LARGE: SampleSpec<'_> =
    SampleSpec { seed: "large", layers: 2, layer_pages: 1000, memory_pages: 1000 };

#[tokio::test]
async fn missing_blobs_are_named_before_anything_is_stored() {
    let world = World::pushed(&SampleSpec::default()).await;
    let roles = ["frames of disk layer1", "frames of memory", "kernel"];
    let missing = roles.map(|role| world.digest_of(role));
    for digest in &missing {
        fs::remove_file(world.hub_blob(digest)).unwrap();
    }
    let error = world.pull().await.unwrap_err();
    let text = error.to_string();
    for (role, digest) in roles.iter().zip(&missing) {
        assert!(text.contains(role) && text.contains(&digest.to_string()), "{role}: {text}");
    }
    let content = world.sample.config.disks[1].content.unwrap();
    assert!(text.contains(&format!("layer1 (content {content})")), "{text}");
    let PullError::Incomplete { parts, .. } = error else { panic!("{error}") };
    assert_eq!(parts.len(), 3);
    assert_eq!(blobs_in(world.target.root()), [""; 0]);
    assert_nothing_pulled(&world);
}

#[tokio::test]
async fn a_missing_map_or_config_is_named_with_all_else_that_is_missing() {
    let world = World::pushed(&SampleSpec::default()).await;
    let (map, frames) = (world.digest_of("map of disk layer0"), world.digest_of("frames of memory"));
    for digest in [map, frames] {
        fs::remove_file(world.hub_blob(&digest)).unwrap();
    }
    let text = world.pull().await.unwrap_err().to_string();
    assert!(text.contains("map of disk layer0") && text.contains("frames of memory"), "{text}");
    let config = world.sample.manifest.config.digest;
    fs::remove_file(world.hub_blob(&config)).unwrap();
    let text = world.pull().await.unwrap_err().to_string();
    assert!(text.contains(&format!("config {config}")) && text.contains(&frames.to_string()), "{text}");
    assert_eq!(blobs_in(world.target.root()), [""; 0]);
}

#[tokio::test]
async fn corrupt_blobs_are_named_and_not_stored() {
    for role in ["frames of memory", "frames of disk layer0", "kernel", "memory map", "config"] {
        let world = World::pushed(&SampleSpec::default()).await;
        let digest = match role {
            "config" => world.sample.manifest.config.digest,
            role => world.digest_of(role),
        };
        let path = world.hub_blob(&digest);
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 1;
        overwrite(&path, &bytes);
        let error = world.pull().await.unwrap_err();
        let PullError::Corrupt { blob, found, .. } = &error else { panic!("{error}") };
        assert!(blob.role.contains(role), "{error}");
        assert_eq!((blob.digest, *found), (digest, Digest::of(&bytes)));
        assert!(!blobs_in(world.target.root()).contains(&digest.hex()));
        assert_nothing_pulled(&world);
    }
}

#[tokio::test]
async fn wrong_lengths_are_errors() {
    for change in [-1, 1] {
        let world = World::pushed(&SampleSpec::default()).await;
        let digest = world.digest_of("frames of memory");
        let path = world.hub_blob(&digest);
        let mut bytes = fs::read(&path).unwrap();
        let expected = bytes.len() as u64;
        bytes.resize(bytes.len().checked_add_signed(change).unwrap(), 0);
        overwrite(&path, &bytes);
        let error = world.pull().await.unwrap_err();
        let PullError::WrongSize { blob, found, .. } = &error else { panic!("{error}") };
        assert_eq!((blob.digest, blob.size, *found), (digest, expected, bytes.len() as u64));
        assert_eq!(blobs_in(world.target.root()), [""; 0]);
    }
}

#[tokio::test]
async fn a_hub_that_sends_more_or_less_than_it_says_is_not_believed() {
    let mut world = World::pushed(&SampleSpec::default()).await;
    for role in ["frames of memory", "memory map"] {
        let digest = world.digest_of(role);
        for fault in [Fault::Short(digest, 100), Fault::Endless(digest)] {
            world = world.with_new_target();
            let error = world.pull_from(Broken::new(world.hub(), fault)).await.unwrap_err();
            let PullError::WrongSize { blob, .. } = &error else { panic!("{error}") };
            assert_eq!(blob.digest, digest);
            assert!(!blobs_in(world.target.root()).contains(&digest.hex()));
            assert_nothing_pulled(&world);
        }
    }
    world.pull().await.unwrap();
    assert_pulled(&world);
}

#[tokio::test]
async fn a_broken_transfer_is_resumed_where_it_broke() {
    let world = World::pushed(&LARGE).await;
    let at = 1 << 20;
    let error = world.pull_from(Broken::new(world.hub(), Fault::BreaksAt(at))).await.unwrap_err();
    assert!(matches!(error, PullError::BrokeOff { .. }), "{error}");
    assert_nothing_pulled(&world);
    let partial = world.target.root().join("partial");
    let kept: u64 =
        names_in(&partial).iter().map(|name| fs::metadata(partial.join(name)).unwrap().len()).sum();
    assert!(kept >= at, "{kept}");
    let counting = Broken::new(world.hub(), Fault::None);
    let plan = hub::plan_pull(&world.target, counting.clone(), &name(), &Selector::Tag(tag())).await.unwrap();
    let missing = plan.transfer.missing_bytes();
    world.pull_from(counting.clone()).await.unwrap();
    assert_pulled(&world);
    // The plan reads config and maps, twice here, which is far less than what was kept.
    let asked = counting.asked.load(Ordering::Relaxed) as u64;
    assert!(asked < missing - kept + 10_000, "{asked} bytes were asked for, {missing} missing, {kept} kept");
}

#[tokio::test]
async fn what_an_earlier_try_left_is_not_believed() {
    let world = World::pushed(&SampleSpec::default()).await;
    let digest = world.digest_of("frames of memory");
    let size = fs::metadata(world.hub_blob(&digest)).unwrap().len();
    for left in [100, size, size + 100] {
        let partial = world.target.root().join("partial").join(digest.hex());
        fs::write(&partial, vec![0; usize::try_from(left).unwrap()]).unwrap();
        fs::remove_file(world.target.root().join("blobs/sha256").join(digest.hex())).ok();
        world.pull().await.unwrap();
        assert_pulled(&world);
        assert!(!partial.exists());
    }
}

#[tokio::test]
async fn a_manifest_that_is_not_the_one_asked_for_is_refused() {
    let world = World::pushed(&SampleSpec::default()).await;
    let asked = Digest::of(b"another snapshot");
    let (_, bytes) = world.source.read_manifest(&world.sample.digest).unwrap();
    let lying = Broken::new(world.hub(), Fault::Manifest(RawManifest::new(bytes).unwrap()));
    let error = pull(&world.target, lying, &Selector::Digest(asked)).await.unwrap_err();
    assert!(
        matches!(&error, PullError::Hub(HubError::Corrupt { digest, .. }) if *digest == asked),
        "{error}"
    );
    assert_nothing_pulled(&world);
}

#[tokio::test]
async fn a_layer_whose_map_is_none_of_a_layer_is_refused_by_its_name() {
    let world = World::pushed(&SampleSpec::default()).await;
    let mut config = world.sample.config.clone();
    let unused = std::mem::replace(&mut config.disks[0].map, config.memory.map);
    let config = config.encode().unwrap();
    let mut manifest = world.sample.manifest.clone();
    manifest.layers.retain(|blob| blob.digest != unused);
    manifest.config.digest = Digest::of(&config);
    manifest.config.size = config.len() as u64;
    fs::write(world.hub_blob(&manifest.config.digest), &config).unwrap();
    let raw = RawManifest::new(manifest.encode().unwrap()).unwrap();
    let which = Selector::Digest(raw.digest());
    let lying = Broken::new(world.hub(), Fault::Manifest(raw));
    let error = pull(&world.target, lying, &which).await.unwrap_err();
    let memory = world.sample.config.memory.map;
    assert!(matches!(&error, PullError::Map { blob, .. } if blob.digest == memory), "{error}");
    assert!(error.to_string().contains("whole blobs in order"), "{error}");
    assert_nothing_pulled(&world);
}

#[tokio::test]
async fn a_manifest_that_lists_more_or_less_than_the_snapshot_is_refused() {
    let world = World::pushed(&SampleSpec::default()).await;
    type Change = fn(&mut Manifest);
    let add: Change = |manifest| {
        let first = manifest.layers[0].clone();
        manifest.layers.push(format::Descriptor { digest: Digest::of(b"extra"), size: 5, ..first });
    };
    let drop_last: Change = |manifest| drop(manifest.layers.pop());
    let swap: Change = |manifest| manifest.layers.swap(0, 1);
    let drop_maps: Change = |manifest| manifest.layers.retain(|blob| blob.media_type != media_type::MAP);
    fs::write(world.hub_blob(&Digest::of(b"extra")), "extra").unwrap();
    let undeclared = "is not declared";
    for (change, expected) in
        [(add, "nothing needs it"), (drop_last, undeclared), (swap, "not in order"), (drop_maps, undeclared)]
    {
        let mut manifest = world.sample.manifest.clone();
        change(&mut manifest);
        let manifest = RawManifest::new(manifest.encode().unwrap()).unwrap();
        world.hub().put_tag(&name(), &tag(), &manifest).await.unwrap();
        let error = world.pull().await.unwrap_err();
        assert!(matches!(error, PullError::Inconsistent { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(blobs_in(world.target.root()), [""; 0]);
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_with_what_is() {
    let world = World::pushed(&SampleSpec::default()).await;
    let other = Selector::Tag("2.0".parse().unwrap());
    let text = pull(&world.target, world.hub(), &other).await.unwrap_err().to_string();
    assert!(text.contains("has no team/sample:2.0: its tags are 1.0"), "{text}");
    let name = "other/name".parse().unwrap();
    let error = hub::plan_pull(&world.target, world.hub(), &name, &other).await.unwrap_err();
    assert!(error.to_string().contains("has no other/name:2.0: it has nothing under this name"), "{error}");
}

#[tokio::test]
async fn a_hub_that_is_not_there_is_no_empty_hub() {
    let world = World::pushed(&SampleSpec::default()).await;
    let path = world.temp.path().join("nowhere");
    let nowhere = hub::open(&hub::HubLocation::folder(&path).unwrap(), &hub::testing::no_access()).unwrap();
    let error = pull(&world.target, nowhere.clone(), &Selector::Tag(tag())).await.unwrap_err();
    assert!(matches!(error, PullError::Hub(HubError::NotAHub { .. })), "{error}");
    assert!(error.to_string().contains("nowhere: no such folder"), "{error}");
    // What a snapshot that is known here lacks is named all the same.
    world.pull().await.unwrap();
    let gone = world.digest_of("frames of memory");
    fs::remove_file(world.target.root().join("blobs/sha256").join(gone.hex())).unwrap();
    let known = Selector::Digest(world.sample.digest);
    let error = pull(&world.target, nowhere.clone(), &known).await.unwrap_err();
    let PullError::NoHub { parts, .. } = &error else { panic!("{error}") };
    assert_eq!(parts.len(), 1);
    for says in ["frames of memory", &gone.to_string(), "nowhere: no such folder"] {
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    let plan = hub::plan_push(&world.source, &world.sample.digest, nowhere, &name()).await.unwrap();
    assert_eq!(plan.transfer.present, []);
    assert!(!path.exists());
    plan.execute(Some(&tag()), Arc::new(())).await.unwrap();
    assert!(path.join("oci-layout").exists());
}

#[tokio::test]
async fn a_folder_of_something_else_is_refused_before_a_push_is_shown() {
    let world = World::new(&SampleSpec::default());
    fs::create_dir(world.hub_path()).unwrap();
    fs::write(world.hub_path().join("thesis.txt"), "").unwrap();
    let planned = hub::plan_push(&world.source, &world.sample.digest, world.hub(), &name()).await;
    let error = planned.unwrap_err();
    assert!(matches!(error, PushError::Hub(HubError::NotAHub { push_makes_one: false, .. })), "{error}");
}

#[tokio::test]
async fn what_a_hub_collects_during_a_push_is_sent_again() {
    let world = World::pushed(&SampleSpec::default()).await;
    let blob = world.hub_blob(&world.digest_of("frames of memory"));
    let collecting = Broken::new(world.hub(), Fault::Collects(blob.clone()));
    let plan = hub::plan_push(&world.source, &world.sample.digest, collecting, &name()).await.unwrap();
    assert_eq!(plan.transfer.missing, []);
    plan.execute(Some(&tag()), Arc::new(())).await.unwrap();
    assert!(blob.exists());
    world.pull().await.unwrap();
    assert_pulled(&world);
}

#[tokio::test]
async fn a_damaged_local_blob_stops_the_push() {
    for role in ["frames of disk layer1", "engine state", "memory map"] {
        let world = World::new(&SampleSpec::default());
        let path = world.source.root().join("blobs/sha256").join(world.digest_of(role).hex());
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        overwrite(&path, &bytes);
        let text = world.push().await.unwrap_err().to_string();
        assert!(text.contains("is damaged") && text.contains(&Digest::of(&bytes).to_string()), "{text}");
        assert_nothing_pushed(&world);
        bytes.pop();
        overwrite(&path, &bytes);
        world.push().await.unwrap_err();
        assert_nothing_pushed(&world);
    }
}

#[tokio::test]
async fn a_snapshot_that_is_not_here_in_whole_is_not_pushed() {
    let world = World::new(&SampleSpec::default());
    let digest = world.digest_of("frames of disk layer0");
    fs::remove_file(world.source.root().join("blobs/sha256").join(digest.hex())).unwrap();
    let error = world.push().await.unwrap_err();
    assert!(matches!(error, PushError::Snapshot(store::LoadError::Missing { .. })), "{error}");
    assert!(error.to_string().contains(&digest.to_string()), "{error}");
    assert!(!world.hub_path().exists());
}
