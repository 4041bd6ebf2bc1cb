//! What goes to a hub and comes back is the same, and only what differs is sent.

use std::fs;
use std::sync::{Arc, Mutex};

use format::manifest::media_type;
use hub::testing::{SampleSpec, put_sample};
use hub::{Event, Progress, PullError, RawManifest, Selector, TagAs};
use store::RefError;

use crate::world::*;

#[tokio::test]
async fn a_snapshot_comes_back_as_it_went() {
    let world = World::pushed(&SampleSpec::default()).await;
    let pulled = world.pull().await.unwrap();
    assert_eq!((pulled.snapshot, pulled.moved_from), (world.sample.digest, None));
    assert_pulled(&world);
    let record = world.target.get_ref(&full_name()).unwrap().unwrap();
    assert_eq!(record.origin.as_deref(), Some(world.hub().location()));
    assert_eq!(world.target.fsck(&|_| ()).unwrap().problems.len(), 0);
    // The hub holds the very bytes of the manifest.
    let pushed = fs::read(world.hub_path().join("v2/team/sample/manifests/1.0")).unwrap();
    assert_eq!(pushed, world.source.read_manifest(&world.sample.digest).unwrap().1);
}

#[tokio::test]
async fn only_what_differs_is_sent() {
    let spec = SampleSpec { layer_pages: 300, ..SampleSpec::default() };
    let world = World::pushed(&spec).await;
    world.pull().await.unwrap();
    let child = put_sample(&world.source, &SampleSpec { seed: "child", ..spec }).unwrap();
    let push = hub::plan_push(&world.source, &child.digest, world.hub(), &name()).await.unwrap();
    let roles = |blobs: &[hub::PlannedBlob]| {
        let mut roles: Vec<_> = blobs.iter().map(|blob| blob.role.clone()).collect();
        roles.sort();
        roles
    };
    let new = [
        "config",
        "engine state",
        "frames of disk writable",
        "frames of memory",
        "map of disk writable",
        "memory map",
    ];
    assert_eq!(roles(&push.transfer.missing), new);
    assert!(push.transfer.missing_bytes() < 100_000 && push.transfer.present_bytes() > 600 * 4096);
    assert_eq!(push.transfer.missing.last().unwrap().role, "config");
    push.execute(Some(&"child".parse().unwrap()), Arc::new(())).await.unwrap();
    let which = Selector::Tag("child".parse().unwrap());
    let pull = hub::plan_pull(&world.target, world.hub(), &name(), &which).await.unwrap();
    assert_eq!(roles(&pull.transfer.missing), new);
    assert_eq!(pull.transfer.snapshot, child.digest);
    let text = pull.to_string();
    assert!(text.contains(&format!("6 of 12 blobs, {} bytes", pull.transfer.missing_bytes())), "{text}");
    let json = serde_json::to_value(&pull).unwrap();
    assert_eq!(json["missing"][0]["role"], "config");
    let mut keys: Vec<_> = json.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["arrived_bytes", "flat_bytes", "hub", "missing", "name", "present", "snapshot"]);
    pull.execute(None, Arc::new(())).await.unwrap();
    world.target.load_snapshot(&child.digest).unwrap();
    assert_eq!(world.target.refs().unwrap().len(), 1);
}

#[tokio::test]
async fn a_plan_stores_nothing() {
    let world = World::pushed(&SampleSpec::default()).await;
    drop(hub::plan_pull(&world.target, world.hub(), &name(), &Selector::Tag(tag())).await.unwrap());
    for folder in ["blobs/sha256", "partial", "leases", "refs", "tmp"] {
        assert_eq!(names_in(&world.target.root().join(folder)), [""; 0], "{folder}");
    }
}

#[tokio::test]
async fn missing_parts_of_a_known_snapshot_are_fetched_by_digest() {
    let world = World::pushed(&SampleSpec::default()).await;
    world.pull().await.unwrap();
    for role in ["frames of memory", "map of disk layer0", "frames of disk layer1"] {
        fs::remove_file(world.target.root().join("blobs/sha256").join(world.digest_of(role).hex())).unwrap();
    }
    // Tags of the hub play no part in it.
    fs::remove_file(world.hub_path().join("v2/team/sample/manifests/1.0")).unwrap();
    let digest = world.sample.digest;
    let fetched = hub::fetch_missing(
        &world.target,
        hub::Source { registry: world.hub(), name: name() },
        Vec::new(),
        &digest,
        Arc::new(()),
    )
    .await
    .unwrap();
    assert_eq!(fetched.snapshot, digest);
    assert_pulled(&world);
}

#[tokio::test]
async fn a_tag_that_leads_elsewhere_moves_only_when_it_may() {
    let world = World::pushed(&SampleSpec::default()).await;
    let other = put_sample(&world.target, &SampleSpec { seed: "other", ..SampleSpec::default() }).unwrap();
    world.target.set_ref(&full_name(), &other.digest, None).unwrap();
    let before = blobs_in(world.target.root());
    let plan = || async {
        hub::plan_pull(&world.target, world.hub(), &name(), &Selector::Tag(tag())).await.unwrap()
    };
    let new = TagAs { name: full_name(), may_move: false };
    let error = plan().await.execute(Some(&new), Arc::new(())).await.unwrap_err();
    assert!(matches!(error, PullError::Ref(RefError::Exists { .. })), "{error}");
    assert_eq!(blobs_in(world.target.root()), before, "it was to fail before anything was transferred");
    let moved = plan().await.execute(Some(&TagAs { may_move: true, ..new }), Arc::new(())).await.unwrap();
    assert_eq!(moved.moved_from, Some(other.digest));
    assert_pulled(&world);
}

#[tokio::test]
async fn an_image_index_leads_to_its_one_snapshot() {
    let world = World::pushed(&SampleSpec::default()).await;
    let entry = |digest: &str, kind: &str| serde_json::json!({ "mediaType": media_type::MANIFEST, "artifactType": kind, "digest": digest, "size": 1 });
    let (digest, other) = (world.sample.digest.to_string(), format::Digest::of(b"other").to_string());
    let foreign = entry(&other, "application/vnd.example.signature");
    let put = async |entries: Vec<serde_json::Value>| {
        let index =
            serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries });
        let index = RawManifest::new(index.to_string().into_bytes()).unwrap();
        world.hub().put_tag(&name(), &tag(), &index).await.unwrap();
        world.pull().await
    };
    let snapshot = entry(&digest, media_type::SNAPSHOT);
    let error =
        put(vec![snapshot.clone(), entry(&other, media_type::SNAPSHOT)]).await.unwrap_err().to_string();
    assert!(error.contains(&digest) && error.contains(&other), "{error}");
    let error = put(vec![foreign.clone()]).await.unwrap_err().to_string();
    assert!(error.contains("an image index without snapshots"), "{error}");
    put(vec![foreign, snapshot]).await.unwrap();
    assert_pulled(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_pushers_and_pullers_at_once() {
    let world = Arc::new(World::new(&SampleSpec { layer_pages: 700, ..SampleSpec::default() }));
    let worlds = || (0..4).map(|_| Arc::clone(&world));
    let pushes: Vec<_> =
        worlds().map(|world| tokio::spawn(async move { world.push().await.unwrap() })).collect();
    for push in pushes {
        push.await.unwrap();
    }
    assert_eq!(names_in(&world.hub_path().join("tmp")), [""; 0]);
    let pulls: Vec<_> =
        worlds().map(|world| tokio::spawn(async move { world.pull().await.unwrap() })).collect();
    for pull in pulls {
        drop(pull.await.unwrap());
    }
    assert_pulled(&world);
    assert_eq!(names_in(&world.target.root().join("partial")), [""; 0]);
}

#[derive(Default)]
struct Sums(Mutex<Counts>);

#[derive(Default, Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    announced: u64,
    moved: u64,
    done: usize,
}

impl Progress for Sums {
    fn event(&self, event: Event<'_>) {
        let mut counts = self.0.lock().unwrap();
        match event {
            Event::Started { bytes, .. } => counts.announced = bytes,
            Event::Moved { bytes, .. } => counts.moved += bytes,
            Event::BlobDone { .. } => counts.done += 1,
            _ => {}
        }
    }
}

#[tokio::test]
async fn progress_adds_up() {
    let world = World::new(&SampleSpec::default());
    let blobs = world.sample.manifest.blobs().count();
    let expected = Counts {
        announced: world.sample.manifest.total_size(),
        moved: world.sample.manifest.total_size(),
        done: blobs,
    };
    let push = hub::plan_push(&world.source, &world.sample.digest, world.hub(), &name()).await.unwrap();
    let sums = Arc::new(Sums::default());
    push.execute(Some(&tag()), sums.clone()).await.unwrap();
    assert_eq!(*sums.0.lock().unwrap(), expected);
    let pull = hub::plan_pull(&world.target, world.hub(), &name(), &Selector::Tag(tag())).await.unwrap();
    let sums = Arc::new(Sums::default());
    pull.execute(None, sums.clone()).await.unwrap();
    assert_eq!(*sums.0.lock().unwrap(), expected);
}
