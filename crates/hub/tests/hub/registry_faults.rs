//! What goes wrong between us and a registry: each ends in success or in an error that names it, and leaves both sides whole.

use std::sync::Arc;
use std::time::Duration;

use hub::credentials::Credentials;
use hub::testing::nginx::{self, NginxOptions, RealNginx};
use hub::testing::proxy::{Direction, Fault, FaultProxy, Rule};
use hub::testing::registry::{Auth, RealRegistry, RegistryOptions};
use hub::testing::token::TokenOptions;
use hub::testing::{SampleSpec, no_access};
use hub::{Access, HubError, HubLocation, PullError, PushError, Registry, Selector};

use crate::registries;
use crate::world::{World, assert_nothing_pulled, assert_pulled, pull, tag};

/// An open registry behind a proxy.
pub(crate) struct Behind {
    pub(crate) registry: RealRegistry,
    pub(crate) proxy: FaultProxy,
}

impl Behind {
    pub(crate) fn start(test: &str, rules: impl IntoIterator<Item = Rule>) -> Option<Self> {
        let registry = RealRegistry::start(&format!("registry_faults::{test}"), &RegistryOptions::default())?;
        let proxy = FaultProxy::start(registry.addr(), rules);
        Some(Self { registry, proxy })
    }

    pub(crate) fn hub(&self) -> Arc<dyn Registry> {
        self.hub_as(&no_access())
    }

    pub(crate) fn hub_as(&self, access: &Access) -> Arc<dyn Registry> {
        let location = HubLocation::parse(&format!("oci://{}", self.proxy.addr())).unwrap();
        hub::open(&location, access).unwrap()
    }

    /// Without faults.
    pub(crate) fn good_hub(&self) -> Arc<dyn Registry> {
        let location = HubLocation::parse(&format!("oci://{}", self.registry.addr())).unwrap();
        hub::open(&location, &no_access()).unwrap()
    }
}

fn busy(status: u16) -> Fault {
    Fault::answer(status, &[("Retry-After", "0")])
}

pub(crate) const LARGE: SampleSpec<'static> = crate::damage::LARGE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storms_pass() {
    let rules = [
        Rule::times(3, busy(429)).on("HEAD", "/v2/"),
        Rule::times(2, busy(503)).on("POST", "/v2/"),
        Rule::times(2, busy(502)).on("PUT", "/v2/"),
        Rule::times(3, busy(429)).on("GET", "/v2/"),
    ];
    let Some(behind) = Behind::start("storms_pass", rules) else { return };
    let world = World::new(&SampleSpec::default());
    world.push_to(behind.hub()).await.unwrap();
    pull(&world.target, behind.hub(), &Selector::Tag(tag())).await.unwrap();
    assert_pulled(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_without_end_is_named() {
    let Some(behind) = Behind::start("a_storm_without_end_is_named", [Rule::always(busy(429))]) else {
        return;
    };
    let world = World::new(&SampleSpec::default());
    let error = world.push_to(behind.hub()).await.unwrap_err();
    assert!(matches!(error, PushError::Hub(HubError::Unavailable { .. })), "{error}");
    assert!(error.to_string().contains("429"), "{error}");
    assert_eq!(behind.registry.blobs(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_and_lying_downloads_end_well() {
    let good = || Rule::once(Fault::IgnoreRange).on("GET", "/v2/team/sample/blobs/");
    let Some(behind) = Behind::start("broken_and_lying_downloads_end_well", [good()]) else { return };
    let mut world = World::new(&LARGE);
    world.push_to(behind.good_hub()).await.unwrap();
    for fault in [
        Fault::IgnoreRange,
        Fault::TruncateAnswer { after: 300_000 },
        Fault::TruncateAnswer { after: 1 },
        Fault::LoseAnswer,
    ] {
        let shown = format!("{fault:?}");
        behind.proxy.set_script([Rule::times(4, fault).on("GET", "/v2/team/sample/blobs/")]);
        world = world.with_new_target();
        pull(&world.target, behind.hub(), &Selector::Tag(tag()))
            .await
            .unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_pulled(&world);
    }
    // A connection that breaks in the middle of a large blob is taken up where it broke.
    behind.proxy.set_script([]);
    world = world.with_new_target();
    let before = behind.proxy.bytes(Direction::ToClient);
    behind.proxy.cut(Direction::ToClient, 2 << 20);
    pull(&world.target, behind.hub(), &Selector::Tag(tag())).await.unwrap();
    assert_pulled(&world);
    let moved = behind.proxy.bytes(Direction::ToClient) - before;
    let size: u64 = world.sample.manifest.blobs().map(|blob| blob.size).sum();
    assert!(moved < size + (1 << 20), "{moved} bytes came for {size}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrupt_downloads_are_refused() {
    let Some(behind) = Behind::start("corrupt_downloads_are_refused", []) else { return };
    let world = World::new(&SampleSpec::default());
    world.push_to(behind.good_hub()).await.unwrap();
    for path in ["/v2/team/sample/blobs/", "/v2/team/sample/manifests/"] {
        behind.proxy.set_script([Rule::always(Fault::CorruptAnswer { at: 40 }).on("GET", path)]);
        let error = pull(&world.target, behind.hub(), &Selector::Tag(tag())).await.unwrap_err();
        assert!(
            matches!(
                error,
                PullError::Corrupt { .. } | PullError::Manifest { .. } | PullError::NotFound { .. }
            ),
            "{path}: {error}"
        );
        assert_nothing_pulled(&world);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_break_are_sent_again() {
    for (index, fault) in
        [Fault::CutRequest { after: 100_000 }, Fault::LoseAnswer, busy(500)].into_iter().enumerate()
    {
        let rule = Rule::times(2, fault).on("PUT", "/v2/team/sample/blobs/");
        let Some(behind) = Behind::start("uploads_that_break_are_sent_again", [rule]) else { return };
        let world = World::new(&LARGE);
        world.push_to(behind.hub()).await.unwrap_or_else(|error| panic!("{index}: {error}"));
        pull(&world.target, behind.good_hub(), &Selector::Tag(tag())).await.unwrap();
        assert_pulled(&world);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_refuses_large_requests_gets_chunks() {
    let test = "a_registry_that_refuses_large_requests_gets_chunks";
    let spec = SampleSpec { seed: "chunks", layers: 1, layer_pages: 3500, memory_pages: 10 };
    for (rules, chunk) in [
        ("client_max_body_size 5m;", 4 << 20),
        ("client_max_body_size 7m; add_header OCI-Chunk-Min-Length 6291456 always;", 6 << 20),
    ] {
        let Some(behind) = Behind::start(test, []) else { return };
        let server = nginx::Behind::Server { addr: behind.proxy.addr(), rules };
        let Some(nginx) = RealNginx::start(test, server, &NginxOptions::default()) else { return };
        let location = HubLocation::parse(&format!("oci://{}", nginx.addr())).unwrap();
        let world = World::new(&spec);
        world.push_to(hub::open(&location, &no_access()).unwrap()).await.unwrap();
        pull(&world.target, behind.good_hub(), &Selector::Tag(tag())).await.unwrap();
        assert_pulled(&world);
        let requests = behind.proxy.requests();
        let ranges = requests.iter().filter(|seen| seen.method == "PATCH").map(|seen| {
            let (first, last) = seen.header("content-range").unwrap().split_once('-').unwrap();
            first.parse::<u64>().unwrap()..last.parse::<u64>().unwrap() + 1
        });
        let ranges: Vec<_> = ranges.collect();
        let largest = world.sample.manifest.blobs().map(|blob| blob.size).max().unwrap();
        // All but the last of a blob have that length, and are where the one before ended.
        assert!(ranges.contains(&(chunk..(2 * chunk).min(largest))), "{ranges:?} of {largest}");
        let is_last = |end: u64| world.sample.manifest.blobs().any(|blob| blob.size == end);
        assert!(
            ranges.iter().all(|range| range.end - range.start == chunk || is_last(range.end)),
            "{ranges:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_credential_follows_a_redirect_to_another_host() {
    let options = RegistryOptions { auth: Auth::Basic, tls: false };
    let test = "registry_faults::no_credential_follows_a_redirect_to_another_host";
    let Some(registry) = RealRegistry::start(test, &options) else { return };
    let (_folder, good) = registries::open(&registry, hub::testing::PASSWORD);
    let world = World::new(&SampleSpec::default());
    world.push_to(good).await.unwrap();
    let elsewhere = FaultProxy::start(registry.addr(), []);
    let redirect = Rule::always(Fault::Redirect { to: elsewhere.addr() }).on("GET", "/v2/team/sample/blobs/");
    let proxy = FaultProxy::start(registry.addr(), [redirect]);
    let (_folder, hub) = registries::open_at(&proxy.addr().to_string(), hub::testing::PASSWORD);
    let error = pull(&world.target, hub, &Selector::Tag(tag())).await.unwrap_err();
    assert!(matches!(error, PullError::Hub(HubError::Denied { .. })), "{error}");
    assert!(!elsewhere.requests().is_empty());
    assert!(elsewhere.requests().iter().all(|request| request.header("authorization").is_none()));
    assert!(proxy.requests().iter().any(|request| request.header("authorization").is_some()));
    // Nor to a token server that the other host names.
    let thief = FaultProxy::start(registry.addr(), []);
    let challenge = format!("Bearer realm=\"{}/token\"", thief.url());
    elsewhere.add(Rule::always(Fault::answer(401, &[("WWW-Authenticate", &challenge)])));
    let (_folder, hub) = registries::open_at(&proxy.addr().to_string(), hub::testing::PASSWORD);
    let error = pull(&world.target, hub, &Selector::Tag(tag())).await.unwrap_err();
    assert!(matches!(error, PullError::Hub(HubError::Denied { .. })), "{error}");
    assert_eq!(thief.requests().len(), 0);
}

/// Neither a password nor a refresh token, which is in a body, goes where a token server leads to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_credential_follows_a_token_server_elsewhere() {
    let options = RegistryOptions { auth: Auth::Token(TokenOptions::default()), tls: false };
    let test = "registry_faults::no_credential_follows_a_token_server_elsewhere";
    let Some(registry) = RealRegistry::start(test, &options) else { return };
    let tokens = FaultProxy::start(registry.tokens().unwrap().addr(), []);
    let other = FaultProxy::start(registry.addr(), []);
    let challenge = format!("Bearer realm=\"{}/token\",service=\"registry\"", tokens.url());
    let unknown = Rule::always(Fault::answer(401, &[("WWW-Authenticate", &challenge)]));
    let proxy = FaultProxy::start(registry.addr(), [unknown]);
    let host = proxy.addr().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auth.json");
    for (method, entry) in
        [("GET", r#"{"auth": "c3BvcmU6aHVzaA=="}"#), ("POST", r#"{"auth": "", "identitytoken": "hush"}"#)]
    {
        std::fs::write(&file, format!(r#"{{"auths": {{"{host}": {entry}}}}}"#)).unwrap();
        let access = Access::of(Credentials::from_files(vec![file.clone()]));
        for status in [301, 302, 303, 307, 308] {
            let before = tokens.count(method, "/token");
            let to = format!("{}/elsewhere", other.url());
            tokens.set_script([Rule::always(Fault::answer(status, &[("Location", &to)]))]);
            let location = HubLocation::parse(&format!("oci://{host}")).unwrap();
            let hub = hub::open(&location, &access).unwrap();
            let error = hub.tags(&crate::world::name()).await.unwrap_err().to_string();
            assert!(error.contains("credentials go nowhere but to") && !error.contains("hush"), "{error}");
            assert_eq!(tokens.count(method, "/token"), before + 1, "{method} {status}");
            assert_eq!(other.requests(), [], "{method} {status}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_end_during_a_push_are_fetched_anew() {
    let lifetime = Duration::from_secs(2);
    let options =
        RegistryOptions { auth: Auth::Token(TokenOptions { lifetime, anonymous_pull: false }), tls: false };
    let test = "registry_faults::tokens_that_end_during_a_push_are_fetched_anew";
    let Some(registry) = RealRegistry::start(test, &options) else { return };
    let proxy = FaultProxy::start(registry.addr(), []);
    // Slow enough for several lifetimes.
    proxy.set_links(hub::testing::proxy::Link { delay: Duration::from_millis(100), rate: Some(2 << 20) });
    let world = World::new(&LARGE);
    let (_folder, hub) = registries::open_at(&proxy.addr().to_string(), hub::testing::PASSWORD);
    world.push_to(hub).await.unwrap();
    assert!(registry.tokens().unwrap().requests().len() > 2);
    let (_folder, good) = registries::open(&registry, hub::testing::PASSWORD);
    pull(&world.target, good, &Selector::Tag(tag())).await.unwrap();
    assert_pulled(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushers_at_once_leave_a_whole_snapshot_under_the_tag() {
    let test = "pushers_at_once_leave_a_whole_snapshot_under_the_tag";
    let Some(behind) = Behind::start(test, []) else { return };
    let world = World::new(&LARGE);
    let mut digests = vec![world.sample.digest];
    let mut leases = Vec::new();
    for seed in ["second", "third"] {
        let sample = hub::testing::put_sample(&world.source, &SampleSpec { seed, ..LARGE }).unwrap();
        digests.push(sample.digest);
        leases.push(sample.lease);
    }
    // Two of each: equal blobs, equal manifests, one tag.
    let pushes = digests.iter().chain(&digests).map(|digest| {
        let (store, hub, digest) = (world.source.clone(), behind.hub(), *digest);
        tokio::spawn(async move {
            let plan = hub::plan_push(&store, &digest, hub, &crate::world::name()).await?;
            plan.execute(Some(&tag()), Arc::new(())).await
        })
    });
    for push in pushes.collect::<Vec<_>>() {
        push.await.unwrap().unwrap();
    }
    let tagged = pull(&world.target, behind.good_hub(), &Selector::Tag(tag())).await.unwrap();
    assert!(digests.contains(&tagged.snapshot));
    for digest in &digests {
        pull(&world.target, behind.good_hub(), &Selector::Digest(*digest)).await.unwrap();
        world.target.load_snapshot(digest).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_registry_is_named_and_moves_no_tag() {
    for (status, said) in [(507, "no space"), (500, "500"), (413, "at once")] {
        let full = Rule::always(busy(status)).on("PUT", "/v2/team/sample/blobs/");
        let Some(behind) = Behind::start("a_full_registry_is_named_and_moves_no_tag", [full.clone()]) else {
            return;
        };
        // A proxy before a registry may refuse pieces, too.
        behind.proxy.add(Rule::always(busy(status)).on("PATCH", "/v2/team/sample/blobs/"));
        let world = World::new(&SampleSpec::default());
        let error = world.push_to(behind.hub()).await.unwrap_err();
        assert!(matches!(error, PushError::Hub(_)) && error.to_string().contains(said), "{error}");
        let tags = behind.good_hub().tags(&crate::world::name()).await.unwrap();
        assert_eq!((tags, behind.registry.blobs()), (Vec::new(), Vec::new()));
    }
}

/// As docker-registry does when another pusher writes the same manifest at this moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_reads_a_digest_wrong_is_asked_again() {
    let wrong = Fault::Answer {
        status: 400,
        headers: Vec::new(),
        body: r#"{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match"}]}"#
            .to_owned(),
    };
    let rules = ["/v2/team/sample/manifests/", "/v2/team/sample/blobs/"]
        .map(|path| Rule::times(2, wrong.clone()).on("PUT", path));
    let Some(behind) = Behind::start("a_registry_that_reads_a_digest_wrong_is_asked_again", rules) else {
        return;
    };
    let world = World::new(&SampleSpec::default());
    world.push_to(behind.hub()).await.unwrap();
    pull(&world.target, behind.good_hub(), &Selector::Tag(tag())).await.unwrap();
    assert_pulled(&world);
}
