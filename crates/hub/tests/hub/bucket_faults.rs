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

/// A public bucket behind a web server that gives all of a file to whoever asks for a part of it.
struct Whole {
    world: World,
    proxy: FaultProxy,
    location: HubLocation,
    blobs: String,
    _nginx: RealNginx,
}

impl Whole {
    async fn start(test: &str) -> Option<Self> {
        let world = World::pushed(&LARGE).await;
        let path = world.hub_path();
        let bucket = path.file_name().unwrap().to_str().unwrap();
        let folder = nginx::Behind::Folder(path.parent().unwrap());
        let options = NginxOptions { no_parts: true, ..NginxOptions::default() };
        let nginx = RealNginx::start(&format!("bucket_faults::{test}"), folder, &options)?;
        let proxy = FaultProxy::start(nginx.addr(), []);
        let text = format!("s3://{bucket}?endpoint={}&region=any", proxy.url());
        let location = HubLocation::parse(&text).unwrap();
        Some(Self { world, proxy, location, blobs: format!("/{bucket}/blobs/sha256/"), _nginx: nginx })
    }

    /// As nobody, whom stores ask for no signature.
    fn hub(&self) -> Arc<dyn Registry> {
        hub::open(&self.location, &no_access()).unwrap()
    }
}

/// As of registries and web servers: each blob is asked for in whole then, and again where the connection breaks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_ignores_ranges_gives_whole_blobs() {
    let Some(mut whole) = Whole::start("a_store_that_ignores_ranges_gives_whole_blobs").await else { return };
    let before = whole.proxy.bytes(Direction::ToClient);
    pull(&whole.world.target, whole.hub(), &Selector::Tag(tag())).await.unwrap();
    assert_pulled(&whole.world);
    // Once, and at most once in parts before that was found out.
    let (came, size) =
        (whole.proxy.bytes(Direction::ToClient) - before, whole.world.sample.manifest.total_size());
    assert!(came < size * 2, "{came} bytes came for {size}");
    let hub = whole.hub();
    let (name, digest) = (crate::world::name(), whole.world.digest_of("frames of memory"));
    let size = hub.blob_size(&name, &digest).await.unwrap().unwrap();
    let part = hub.get_blob(&name, &digest, 1..size).await;
    assert!(matches!(part.err(), Some(HubError::Unsupported { .. })));
    let mut reader = hub.get_blob(&name, &digest, 0..9).await.unwrap().unwrap();
    let mut start = Vec::new();
    reader.read_to_end(&mut start).await.unwrap();
    assert_eq!(start, whole.world.source.read_blob(&digest, 64 << 20).unwrap()[..9]);
    whole.world = whole.world.with_new_target();
    for after in [1 << 20, 2 << 20] {
        whole.proxy.cut(Direction::ToClient, after);
    }
    pull(&whole.world.target, whole.hub(), &Selector::Tag(tag())).await.unwrap();
    assert_pulled(&whole.world);
}

/// Bytes that were there before are no progress.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_gives_the_same_beginning_for_ever_is_given_up_on() {
    let test = "a_store_that_gives_the_same_beginning_for_ever_is_given_up_on";
    let Some(whole) = Whole::start(test).await else { return };
    let (name, digest) = (crate::world::name(), whole.world.digest_of("frames of memory"));
    let hub = whole.hub();
    let size = hub.blob_size(&name, &digest).await.unwrap().unwrap();
    let cut = |rule: fn(Fault) -> Rule, after| {
        rule(Fault::TruncateAnswer { after }).on("GET", &format!("{}{}", whole.blobs, digest.hex()))
    };
    // It is asked for twice before it comes: as a part that happens to be all, and as all.
    whole.proxy.set_script([cut(Rule::once, 1_000_000).after(1), cut(Rule::always, 900_000).after(1)]);
    let mut reader = hub.get_blob(&name, &digest, 0..size).await.unwrap().unwrap();
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(120), reader.read_to_end(&mut bytes)).await;
    read.expect("a wait has an end").unwrap_err();
    assert_eq!(bytes.len(), 1_000_000);
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
    assert!(begun.elapsed() < Duration::from_secs(30), "it was tried again: {:?}", begun.elapsed());
    access.trust(&nginx.ca().unwrap()).unwrap();
    let hub = hub::open(&location, &access).unwrap();
    world.push_to(Arc::clone(&hub)).await.unwrap();
    pull(&world.target, hub, &Selector::Tag(tag())).await.unwrap();
    assert_pulled(&world);
}
