//! Buckets as hubs: a real Garage, and who may do what with it.

use std::sync::Arc;

use format::Digest;
use format::manifest::media_type;
use hub::testing::garage::{self, Bucket, Permission, RealGarage};
use hub::testing::{MemorySource, SampleSpec, put_sample};
use hub::{Access, HubError, HubLocation, PullError, PushError, Registry, Selector, Upload};
use tokio::io::AsyncReadExt;

use crate::world::{World, assert_pulled, name, pull, tag};

/// A bucket that is named after a test.
pub(crate) fn bucket(module: &str, test: &str) -> Option<Bucket> {
    let garage = RealGarage::shared(&format!("{module}::{test}"))?;
    Some(garage.bucket(&test.replace('_', "-").chars().take(60).collect::<String>()))
}

/// The hub in it, to whoever has its key.
pub(crate) fn open(bucket: &Bucket) -> Arc<dyn Registry> {
    open_as(bucket, &bucket.access())
}

fn open_as(bucket: &Bucket, access: &Access) -> Arc<dyn Registry> {
    hub::open(&bucket.location("team/hub"), access).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conform() {
    let Some(garage) = RealGarage::shared("buckets::conform") else { return };
    let bucket = garage.bucket("conform");
    for prefix in ["", "below/it"] {
        let hub = hub::open(&bucket.location(prefix), &bucket.access()).unwrap();
        let scope = "conformance".parse().unwrap();
        let report = hub::conformance::run(hub, &scope, &garage.version()).await.unwrap();
        println!("{report}\nthe real server was {}", garage.version());
        assert!(report.unsupported.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_comes_back_as_it_went() {
    let Some(bucket) = bucket("buckets", "a_snapshot_comes_back_as_it_went") else { return };
    let world = World::new(&SampleSpec::default());
    world.push_to(open(&bucket)).await.unwrap();
    pull(&world.target, open(&bucket), &Selector::Tag(tag())).await.unwrap();
    assert_pulled(&world);
    let record = world.target.get_ref(&crate::world::full_name()).unwrap().unwrap();
    assert_eq!(record.origin.unwrap(), bucket.location("team/hub").to_string());
}

/// What a web server or a CDN gives of it, with the types that OCI clients and browsers go by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_read_over_plain_http() {
    let Some(bucket) = bucket("buckets", "it_is_read_over_plain_http") else { return };
    let world = World::new(&SampleSpec::default());
    let hub = hub::open(&bucket.location(""), &bucket.access()).unwrap();
    world.push_to(Arc::clone(&hub)).await.unwrap();
    hub.site().unwrap().put_page(hub::Page::Html, b"<!doctype html>".to_vec()).await.unwrap();
    let (addr, host) = bucket.publish();
    let manifest = world.source.read_manifest(&world.sample.digest).unwrap().1;
    let (hex, map) = (world.sample.digest.hex(), world.digest_of("memory map"));
    let map_bytes = world.source.read_blob(&map, 1 << 20).unwrap();
    for (path, kind, cache, bytes) in [
        ("v2/team/sample/manifests/1.0".to_owned(), media_type::MANIFEST, "no-cache", Some(&manifest)),
        (
            format!("v2/team/sample/manifests/sha256:{hex}"),
            media_type::MANIFEST,
            "immutable",
            Some(&manifest),
        ),
        (format!("blobs/sha256/{hex}"), media_type::MANIFEST, "immutable", Some(&manifest)),
        (format!("blobs/sha256/{}", map.hex()), "application/octet-stream", "immutable", Some(&map_bytes)),
        ("index.json".to_owned(), media_type::INDEX, "no-cache", None),
        ("index.html".to_owned(), "text/html; charset=utf-8", "no-cache", None),
    ] {
        let request = reqwest::Client::new().get(format!("http://{addr}/{path}")).header("host", &host);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let header = |name: &str| answer.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), kind, "{path}");
        assert!(header("cache-control").contains(cache), "{path}");
        let body = answer.bytes().await.unwrap();
        assert!(bytes.is_none_or(|bytes| *bytes == body), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_is_told() {
    let Some(garage) = RealGarage::shared("buckets::who_may_not_is_told") else { return };
    let bucket = garage.bucket("who-may-not-is-told");
    let world = World::new(&SampleSpec::default());
    world.push_to(open(&bucket)).await.unwrap();
    let reader = garage.key("reader");
    bucket.allow(&reader, Permission::Read);
    let reads = open_as(&bucket, &garage::access(Some(&reader)));
    let other = put_sample(&world.source, &SampleSpec { seed: "other", ..SampleSpec::default() }).unwrap();
    let push = async |hub: Arc<dyn Registry>| {
        let plan = hub::plan_push(&world.source, &other.digest, hub, &name()).await?;
        plan.execute(Some(&tag()), Arc::new(())).await.map(drop)
    };
    let denied = |error: PushError, secret: &str| {
        let text = error.to_string();
        assert!(matches!(error, PushError::Hub(HubError::Denied { .. })), "{text}");
        assert!(text.contains("permission denied") && !text.contains(secret), "{text}");
        text
    };
    let text = denied(push(Arc::clone(&reads)).await.unwrap_err(), &reader.secret);
    assert!(text.contains("write team/hub/blobs/sha256/"), "{text}");
    pull(&world.target, reads, &Selector::Tag(tag())).await.unwrap();
    assert_pulled(&world);
    let stranger = garage.key("stranger");
    denied(push(open_as(&bucket, &garage::access(Some(&stranger)))).await.unwrap_err(), &stranger.secret);
    let wrong = garage::Key { secret: "0".repeat(64), ..stranger };
    denied(push(open_as(&bucket, &garage::access(Some(&wrong)))).await.unwrap_err(), &wrong.secret);
    let text = denied(push(open_as(&bucket, &garage::access(None))).await.unwrap_err(), &wrong.secret);
    assert!(text.contains("without credentials"), "{text}");
    let error = pull(&world.target, open_as(&bucket, &garage::access(None)), &Selector::Tag(tag())).await;
    assert!(matches!(error, Err(PullError::Hub(HubError::Denied { .. }))), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_says_so() {
    let Some(bucket) = bucket("buckets", "a_full_store_says_so") else { return };
    bucket.set_quota(100_000);
    let error = World::new(&crate::damage::LARGE).push_to(open(&bucket)).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, PushError::Hub(HubError::NoSpace { .. })), "{error:?}");
    assert!(text.contains("no space left in the quota to write team/hub/blobs/sha256/"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_hub_is_named() {
    let Some(bucket) = bucket("buckets", "what_is_no_hub_is_named") else { return };
    let world = World::new(&SampleSpec::default());
    let missing = bucket.location("").to_string().replace("s3://what-", "s3://which-");
    let missing = hub::open(&HubLocation::parse(&missing).unwrap(), &bucket.access()).unwrap();
    let error = world.push_to(missing).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, PushError::Hub(HubError::NotAHub { push_makes_one: false, .. })), "{text}");
    assert!(text.contains("no bucket which-is-no-hub-is-named"), "{text}");
    let empty = open(&bucket).tags(&name()).await;
    assert!(matches!(empty, Err(HubError::NotAHub { push_makes_one: true, .. })), "{empty:?}");
    // What lies below a prefix is in the way of a hub above it, and not the other way round.
    world.push_to(open(&bucket)).await.unwrap();
    let above = hub::open(&bucket.location(""), &bucket.access()).unwrap();
    let error = world.push_to(above).await.unwrap_err();
    assert!(error.to_string().contains("it holds \"team\" and no oci-layout"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_of_two_pushers_has_the_tag() {
    let Some(bucket) = bucket("buckets", "the_last_of_two_pushers_has_the_tag") else { return };
    let worlds =
        ["one", "two", "three"].map(|seed| World::new(&SampleSpec { seed, ..SampleSpec::default() }));
    let pushes = worlds.iter().map(|world| world.push_to(open(&bucket)));
    for pushed in futures_util::future::join_all(pushes).await {
        pushed.unwrap();
    }
    let hub = open(&bucket);
    let found = hub.get_manifest(&name(), &Selector::Tag(tag())).await.unwrap().unwrap();
    assert!(worlds.iter().any(|world| world.sample.digest == found.digest()));
    for world in &worlds {
        let which = Selector::Digest(world.sample.digest);
        pull(&world.target, Arc::clone(&hub), &which).await.unwrap();
        assert_pulled(world);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_blobs_go_in_parts_and_wrong_ones_not_at_all() {
    let Some(bucket) = bucket("buckets", "large_blobs_go_in_parts_and_wrong") else { return };
    let hub = open(&bucket);
    let bytes: Vec<u8> = (0..21_u32 << 20).map(|n| n.to_le_bytes()[(n % 3) as usize]).collect();
    let digest = Digest::of(&bytes);
    let put = async |bytes: Vec<u8>, fails| {
        let source = MemorySource { bytes, fails };
        hub.put_blob(&name(), &Upload { digest, size: 21 << 20, source: &source, mount_from: &[] }).await
    };
    let mut changed = bytes.clone();
    changed[20 << 20] ^= 1;
    for (wrong, fails) in
        [(changed, false), (bytes[..20 << 20].to_vec(), false), (bytes[..20 << 20].to_vec(), true)]
    {
        let error = put(wrong, fails).await.unwrap_err();
        let is_named = matches!(error, HubError::Corrupt { .. } | HubError::Source { .. });
        assert!(is_named, "{error}");
        assert_eq!(hub.blob_size(&name(), &digest).await.unwrap(), None);
    }
    assert_eq!(hub.storage().unwrap().stored().await.unwrap(), [], "an upload was not aborted");
    assert_eq!(put(bytes.clone(), false).await.unwrap(), hub::Put::Sent);
    assert_eq!(put(bytes.clone(), false).await.unwrap(), hub::Put::There);
    let mut found = Vec::new();
    let reader = hub.get_blob(&name(), &digest, 1..21 << 20).await.unwrap();
    reader.unwrap().read_to_end(&mut found).await.unwrap();
    assert!(found == bytes[1..]);
}
