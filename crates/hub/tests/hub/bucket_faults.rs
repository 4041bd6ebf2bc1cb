//! A bucket behind a network that fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hub::bucket::AwsEnvironment;
use hub::testing::garage::Bucket;
use hub::testing::nginx::{self, NginxOptions, RealNginx};
use hub::testing::proxy::{Direction, Fault, FaultProxy, Rule};
use hub::testing::{SampleSpec, no_access};
use hub::{Access, HubError, HubLocation, PullError, PushError, Registry, Selector};

use tokio::io::AsyncReadExt;

use crate::buckets::bucket;
use crate::damage::LARGE;
use crate::world::{World, assert_pulled, pull, tag};

fn behind(bucket: &Bucket, proxy: &FaultProxy) -> Arc<dyn Registry> {
    hub::open(&bucket.location_at("", proxy.addr()), &bucket.access()).unwrap()
}

fn direct(bucket: &Bucket) -> Arc<dyn Registry> {
    hub::open(&bucket.location(""), &bucket.access()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_store_is_asked_again() {
    let Some(bucket) = bucket("bucket_faults", "a_busy_store_is_asked_again") else { return };
    let slow_down = Fault::Answer {
        status: 503,
        headers: vec![("Retry-After".to_owned(), "1".to_owned())],
        body: "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
            .to_owned(),
    };
    let proxy = FaultProxy::start(
        bucket.addr(),
        [Rule::times(3, slow_down), Rule::times(3, Fault::answer(429, &[])).on("PUT", "")],
    );
    let world = World::new(&SampleSpec::default());
    let start = Instant::now();
    world.push_to(behind(&bucket, &proxy)).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1), "the store's Retry-After was not heeded");
    pull(&world.target, behind(&bucket, &proxy), &Selector::Tag(tag())).await.unwrap();
    assert_pulled(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_off_goes_on() {
    let Some(bucket) = bucket("bucket_faults", "what_breaks_off_goes_on") else { return };
    let proxy = FaultProxy::start(bucket.addr(), []);
    let world = World::new(&LARGE);
    for after in [300, 40_000, 1_000_000] {
        proxy.cut(Direction::ToServer, after);
    }
    proxy.add(Rule::once(Fault::CutRequest { after: 1000 }).on("PUT", ""));
    proxy.add(Rule::once(Fault::LoseAnswer).on("PUT", "").after(3));
    world.push_to(behind(&bucket, &proxy)).await.unwrap();
    let sent = proxy.bytes(Direction::ToClient);
    let blobs = format!("/{}/blobs/", bucket.name());
    proxy.set_script([
        Rule::times(3, Fault::TruncateAnswer { after: 100_000 }).on("GET", &blobs),
        Rule::times(2, Fault::TruncateAnswer { after: 0 }).on("GET", &blobs).after(2),
    ]);
    pull(&world.target, behind(&bucket, &proxy), &Selector::Tag(tag())).await.unwrap();
    assert_pulled(&world);
    let received = proxy.bytes(Direction::ToClient) - sent;
    let size = world.sample.manifest.total_size();
    assert!(
        received < size + size / 10,
        "{received} bytes came for {size}: what had come was asked for again"
    );
}

/// As registries and web servers: each blob comes in whole then, once, and from a broken connection on what lacks. What a
/// request with a signature asks for cannot be changed on its way; one without can, as by a CDN before a public bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_ignores_ranges_gives_whole_blobs() {
    let test = "bucket_faults::a_store_that_ignores_ranges_gives_whole_blobs";
    let mut world = World::pushed(&LARGE).await;
    let path = world.hub_path();
    let bucket = path.file_name().unwrap().to_str().unwrap();
    let folder = nginx::Behind::Folder(path.parent().unwrap());
    let Some(nginx) = RealNginx::start(test, folder, &NginxOptions::default()) else { return };
    let proxy = FaultProxy::start(nginx.addr(), []);
    let location = format!("s3://{bucket}?endpoint={}&region=any", proxy.url());
    let open = || hub::open(&HubLocation::parse(&location).unwrap(), &no_access()).unwrap();
    let ignored = || Rule::always(Fault::IgnoreRange).on("GET", &format!("/{bucket}/blobs/"));
    proxy.set_script([ignored()]);
    let before = proxy.bytes(Direction::ToClient);
    pull(&world.target, open(), &Selector::Tag(tag())).await.unwrap();
    assert_pulled(&world);
    let came = proxy.bytes(Direction::ToClient) - before;
    println!("{came} bytes came for {}", world.sample.manifest.total_size());
    let hub = open();
    let (name, digest) = (crate::world::name(), world.digest_of("frames of memory"));
    let size = hub.blob_size(&name, &digest).await.unwrap().unwrap();
    let part = hub.get_blob(&name, &digest, 1..size).await;
    assert!(matches!(part.err(), Some(HubError::Unsupported { .. })));
    let mut reader = hub.get_blob(&name, &digest, 0..9).await.unwrap().unwrap();
    let mut start = Vec::new();
    reader.read_to_end(&mut start).await.unwrap();
    assert_eq!(start, world.source.read_blob(&digest, 64 << 20).unwrap()[..9]);
    // What has come is not lost where a connection breaks.
    world = world.with_new_target();
    proxy.set_script([ignored()]);
    proxy.cut(Direction::ToClient, 1 << 20);
    pull(&world.target, open(), &Selector::Tag(tag())).await.unwrap();
    assert_pulled(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_corrupted_is_found() {
    let Some(bucket) = bucket("bucket_faults", "what_is_corrupted_is_found") else { return };
    let world = World::new(&SampleSpec::default());
    world.push_to(direct(&bucket)).await.unwrap();
    let frames = format!("/{}/blobs/sha256/{}", bucket.name(), world.digest_of("frames of memory").hex());
    let proxy =
        FaultProxy::start(bucket.addr(), [Rule::always(Fault::CorruptAnswer { at: 5 }).on("GET", &frames)]);
    let error = pull(&world.target, behind(&bucket, &proxy), &Selector::Tag(tag())).await.unwrap_err();
    assert!(matches!(error, PullError::Corrupt { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_error_shows_a_url_or_a_key() {
    let Some(bucket) = bucket("bucket_faults", "no_error_shows_a_url_or_a_key") else { return };
    let world = World::new(&SampleSpec::default());
    for (status, body, said) in [
        (400, "<Error><Code>InvalidRequest</Code><Message>no</Message></Error>", "write oci-layout"),
        (403, "", "permission denied to write oci-layout"),
        (301, "<Error><Code>PermanentRedirect</Code></Error>", "set region="),
        (200, "<Error><Code>Strange</Code></Error>", "200 Strange"),
    ] {
        let answer = Fault::Answer { status, headers: Vec::new(), body: body.to_owned() };
        let proxy = FaultProxy::start(bucket.addr(), [Rule::always(answer).on("PUT", "")]);
        let hub = behind(&bucket, &proxy);
        let pushed = tokio::time::timeout(Duration::from_secs(100), world.push_to(hub)).await.unwrap();
        let PushError::Hub(error) = pushed.unwrap_err() else { panic!("{status}: not the hub's error") };
        let text = error.to_string();
        assert!(text.contains(said), "{text}");
        assert!(!text.contains("/oci-layout?") && !text.contains("X-Amz"), "{text}");
        assert!(!text.contains(&bucket.key().secret) && !text.contains(&bucket.key().id), "{text}");
    }
}

/// Credentials of S3 are more headers than one: none of them goes where the store leads to, and the error says what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_follows_a_redirect() {
    let Some(bucket) = bucket("bucket_faults", "nothing_follows_a_redirect") else { return };
    let (proxy, other) = (FaultProxy::start(bucket.addr(), []), FaultProxy::start(bucket.addr(), []));
    let key = bucket.key();
    let variables = [
        ("AWS_ACCESS_KEY_ID", key.id.clone()),
        ("AWS_SECRET_ACCESS_KEY", key.secret.clone()),
        ("AWS_SESSION_TOKEN", "hush".to_owned()),
    ];
    let access = Access { aws: AwsEnvironment::from_variables(variables), ..bucket.access() };
    let world = World::new(&SampleSpec::default());
    world.push_to(direct(&bucket)).await.unwrap();
    for status in [301, 302, 303, 307, 308] {
        let to = format!("{}/elsewhere", other.url());
        proxy.set_script([Rule::always(Fault::answer(status, &[("Location", &to)]))]);
        let hub = hub::open(&bucket.location_at("", proxy.addr()), &access).unwrap();
        let pulled = pull(&world.target, Arc::clone(&hub), &Selector::Tag(tag())).await.unwrap_err();
        let pushed = world.push_to(hub).await.unwrap_err();
        for error in [pulled.to_string(), pushed.to_string()] {
            assert!(error.contains("set region=… or endpoint=…") && !error.contains("hush"), "{error}");
        }
        assert_eq!(other.requests(), [], "{status}");
    }
    assert!(proxy.requests().iter().all(|request| request.header("x-amz-security-token") == Some("hush")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_with_an_authority_of_its_own_is_trusted_by_whoever_is_told() {
    let test = "a_store_with_an_authority_of_its_own_is_trusted_by_whoever_is_told";
    let Some(bucket) = bucket("bucket_faults", test) else { return };
    let server = nginx::Behind::Server { addr: bucket.addr(), rules: "" };
    let options = NginxOptions { tls: true, ..NginxOptions::default() };
    let Some(nginx) = RealNginx::start(test, server, &options) else { return };
    let text = format!("s3://{}/team?endpoint={}&region=garage", bucket.name(), nginx.url());
    let location = HubLocation::parse(&text).unwrap();
    let mut access = bucket.access();
    let world = World::new(&LARGE);
    let stranger = hub::open(&location, &access).unwrap();
    let begun = Instant::now();
    let error = world.push_to(stranger).await.unwrap_err();
    assert!(matches!(error, PushError::Hub(HubError::Unavailable { .. })), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5), "it was tried again: {:?}", begun.elapsed());
    access.trust(&nginx.ca().unwrap()).unwrap();
    let hub = hub::open(&location, &access).unwrap();
    world.push_to(Arc::clone(&hub)).await.unwrap();
    pull(&world.target, hub, &Selector::Tag(tag())).await.unwrap();
    assert_pulled(&world);
}
