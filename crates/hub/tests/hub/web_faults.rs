//! A web server, and what is between it and us, that stalls, breaks, lies, or changes meanwhile: success or a named error, and
//! nothing is stored that is not what it should be.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hub::testing::nginx::{Behind, NginxOptions, RealNginx};
use hub::testing::proxy::{Direction, Fault, FaultProxy, Rule};
use hub::testing::{SampleSpec, no_access};
use hub::{Access, HubError, HubLocation, PullError, Registry, Selector, TagAs};

use crate::damage::LARGE;
use crate::world::*;

/// The sample in a folder that nginx gives out, and a proxy before it.
struct Web {
    world: World,
    proxy: FaultProxy,
    _nginx: RealNginx,
}

impl Web {
    async fn start(test: &str, spec: &SampleSpec<'_>) -> Option<Self> {
        let world = World::pushed(spec).await;
        let behind = Behind::Folder(&world.hub_path());
        let nginx = RealNginx::start(&format!("web_faults::{test}"), behind, &NginxOptions::default())?;
        let proxy = FaultProxy::start(nginx.addr(), []);
        Some(Self { world, proxy, _nginx: nginx })
    }

    fn hub(&self) -> Arc<dyn Registry> {
        self.hub_that_may_be_silent(no_access().silence)
    }

    fn hub_that_may_be_silent(&self, silence: Duration) -> Arc<dyn Registry> {
        let location = HubLocation::parse(&self.proxy.url()).unwrap();
        hub::open(&location, &Access { silence, ..no_access() }).unwrap()
    }

    /// Nothing of what was wrong is in the way of the next pull.
    async fn assert_pulls_after_all(&self) {
        self.proxy.set_script([]);
        self.world.pull_from(self.hub()).await.unwrap();
        assert_pulled(&self.world);
    }

    fn path_of(&self, role: &str) -> String {
        format!("/blobs/sha256/{}", self.world.digest_of(role).hex())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lies_are_named_and_nothing_is_stored() {
    let test = "lies_are_named_and_nothing_is_stored";
    let Some(web) = Web::start(test, &SampleSpec::default()).await else { return };
    let (frames, manifests) = (web.path_of("frames of memory"), "/v2/team/sample/manifests/");
    let digest = web.world.sample.digest;
    let (by_tag, by_digest) = (Selector::Tag(tag()), Selector::Digest(digest));
    let size = web.world.source.blob_size(&web.world.digest_of("frames of memory")).unwrap();
    let longer = "x".repeat(usize::try_from(size).unwrap() + 10);
    let lying_range = format!("bytes 7-{}/{}", size + 6, size + 7);
    let other = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;
    type Expected = fn(&PullError) -> bool;
    let lies: [(&str, Rule, &Selector, Expected); 8] = [
        (
            "a size that the manifest does not say",
            Rule::always(Fault::answer_with(200, &[], "short")).on("HEAD", &frames),
            &by_tag,
            |error| matches!(error, PullError::WrongSize { .. }),
        ),
        ("no size", Rule::always(Fault::answer_with(204, &[], "")).on("HEAD", &frames), &by_tag, |error| {
            matches!(error, PullError::Hub(HubError::Malformed { .. }))
        }),
        (
            "less than the blob, with an end that looks good",
            Rule::always(Fault::answer_with(200, &[], "few")).on("GET", &frames),
            &by_tag,
            |error| matches!(error, PullError::WrongSize { .. } | PullError::Corrupt { .. }),
        ),
        (
            "more than the blob",
            Rule::always(Fault::answer_with(200, &[], &longer)).on("GET", &frames),
            &by_tag,
            |error| matches!(error, PullError::WrongSize { .. } | PullError::Corrupt { .. }),
        ),
        (
            "another range than was asked for",
            Rule::always(Fault::answer_with(206, &[("Content-Range", &lying_range)], &longer))
                .on("GET", &frames),
            &by_tag,
            |error| matches!(error, PullError::Hub(HubError::Malformed { .. })),
        ),
        (
            "a part without saying which",
            Rule::always(Fault::answer_with(206, &[], &longer)).on("GET", &frames),
            &by_tag,
            |error| matches!(error, PullError::Hub(HubError::Malformed { .. })),
        ),
        (
            "another manifest under a digest",
            Rule::always(Fault::answer_with(200, &[], other)).on("GET", manifests),
            &by_digest,
            |error| matches!(error, PullError::Hub(HubError::Corrupt { .. })),
        ),
        (
            "more than a manifest may have",
            Rule::always(Fault::answer_with(200, &[], &"x".repeat((4 << 20) + 1))).on("GET", manifests),
            &by_tag,
            |error| matches!(error, PullError::Hub(HubError::Malformed { .. })),
        ),
    ];
    for (lie, rule, which, is_expected) in lies {
        web.proxy.set_script([rule]);
        let error = pull(&web.world.target, web.hub(), which).await.expect_err(lie);
        assert!(is_expected(&error), "{lie}: {error:?}");
        assert_nothing_pulled(&web.world);
    }
    web.assert_pulls_after_all().await;
}

/// A range that is right at first and another one where it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_range_behind_a_break_is_named() {
    let Some(web) = Web::start("a_wrong_range_behind_a_break_is_named", &LARGE).await else { return };
    let frames = web.path_of("frames of memory");
    let size = web.world.source.blob_size(&web.world.digest_of("frames of memory")).unwrap();
    let later = format!("bytes 300001-{}/{size}", size - 1);
    web.proxy.set_script([
        Rule::once(Fault::TruncateAnswer { after: 300_000 }).on("GET", &frames),
        Rule::always(Fault::answer_with(206, &[("Content-Range", &later)], "not from there"))
            .on("GET", &frames),
    ]);
    let error = web.world.pull_from(web.hub()).await.unwrap_err();
    assert!(error.to_string().contains("another part than that from byte"), "{error}");
    assert_nothing_pulled(&web.world);
    web.assert_pulls_after_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stalls_is_given_up_and_resumed() {
    let Some(web) = Web::start("what_stalls_is_given_up_and_resumed", &LARGE).await else { return };
    let stall = |after| Fault::StallAnswer { after };
    web.proxy.set_script([
        Rule::once(stall(10)).on("GET", "/oci-layout"),
        Rule::once(stall(100)).on("GET", "/v2/"),
        Rule::once(stall(0)).on("HEAD", "/blobs/"),
        Rule::once(stall(500_000)).on("GET", &web.path_of("frames of memory")),
        Rule::once(stall(0)).on("GET", &web.path_of("frames of disk layer0")),
    ]);
    let size = web.world.sample.manifest.total_size();
    let before = web.proxy.bytes(Direction::ToClient);
    let start = Instant::now();
    web.world.pull_from(web.hub_that_may_be_silent(Duration::from_secs(2))).await.unwrap();
    assert_pulled(&web.world);
    assert!(start.elapsed() >= Duration::from_secs(2), "nothing has stalled");
    let came = web.proxy.bytes(Direction::ToClient) - before;
    assert!(came * 100 <= size * 102, "{came} bytes came for {size}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_says_anything_is_named() {
    let test = "who_never_says_anything_is_named";
    let Some(web) = Web::start(test, &SampleSpec::default()).await else { return };
    web.proxy.stall(true);
    let hub = web.hub_that_may_be_silent(Duration::from_millis(200));
    let pulled = tokio::time::timeout(Duration::from_secs(60), web.world.pull_from(hub)).await;
    let error = pulled.expect("a wait has an end").unwrap_err();
    assert!(matches!(error, PullError::Hub(HubError::Unavailable { .. })), "{error}");
    assert!(error.to_string().contains(&web.proxy.addr().to_string()), "{error}");
    assert_nothing_pulled(&web.world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_moves_during_a_pull_changes_nothing_of_it() {
    let test = "a_tag_that_moves_during_a_pull_changes_nothing_of_it";
    let Some(web) = Web::start(test, &SampleSpec::default()).await else { return };
    let world = &web.world;
    let newer = assert_a_moved_tag_changes_nothing(world, web.hub(), world.hub()).await;
    // Who asks by now gets what it leads to by now.
    let later = world.with_new_target();
    assert_eq!(later.pull_from(web.hub()).await.unwrap().snapshot, newer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pruned_during_a_pull_is_named() {
    let test = "what_is_pruned_during_a_pull_is_named";
    let Some(web) = Web::start(test, &SampleSpec::default()).await else { return };
    let world = &web.world;
    let plan = hub::plan_pull(&world.target, web.hub(), &name(), &Selector::Tag(tag())).await.unwrap();
    fs::remove_file(world.hub_path().join("v2/team/sample/manifests/1.0")).unwrap();
    let hub = world.hub();
    let pruned = hub::plan_prune(&*hub, Duration::ZERO).await.unwrap().execute().await.unwrap();
    assert!(pruned.removed > 5, "{pruned:?}");
    let as_named = TagAs { name: full_name(), may_move: true };
    let error = plan.execute(Some(&as_named), Arc::new(())).await.unwrap_err();
    assert!(matches!(error, PullError::Incomplete { .. } | PullError::NotFound { .. }), "{error}");
    assert!(error.to_string().contains("sha256:"), "{error}");
    assert_nothing_pulled(world);
}
