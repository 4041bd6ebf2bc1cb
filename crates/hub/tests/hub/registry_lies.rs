//! A registry that lies about lengths, types, digests and ranges, or falls silent: nothing of it is believed, and no tag is set.

use std::time::Duration;

use hub::testing::SampleSpec;
use hub::testing::no_access;
use hub::testing::proxy::{Fault, Rule};
use hub::{Access, HubError, PullError, Selector};

use crate::registry_faults::{Behind, LARGE};
use crate::world::{
    World, assert_a_moved_tag_changes_nothing, assert_nothing_pulled, assert_pulled, pull, tag,
};

const BLOBS: &str = "/v2/team/sample/blobs/";
const MANIFESTS: &str = "/v2/team/sample/manifests/";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lies_are_named_and_nothing_is_stored() {
    let Some(behind) = Behind::start("lies_are_named_and_nothing_is_stored", []) else { return };
    let world = World::new(&SampleSpec::default());
    world.push_to(behind.good_hub()).await.unwrap();
    let other = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;
    let digest = world.sample.digest;
    let by_digest = Selector::Digest(digest);
    let by_tag = Selector::Tag(tag());
    type Expected = fn(&PullError) -> bool;
    let lies: [(&str, Rule, &Selector, Expected); 6] = [
        (
            "a size that the manifest does not say",
            Rule::always(Fault::answer_with(200, &[], "short")).on("HEAD", BLOBS),
            &by_tag,
            |error| matches!(error, PullError::WrongSize { .. }),
        ),
        (
            "another range than was asked for",
            Rule::always(Fault::answer_with(206, &[("Content-Range", "bytes 7-11/12")], "range"))
                .on("GET", BLOBS),
            &by_tag,
            |error| matches!(error, PullError::Hub(HubError::Malformed { .. })),
        ),
        (
            "less than it said, with an end that looks good",
            Rule::always(Fault::answer_with(200, &[], "few")).on("GET", BLOBS),
            &by_tag,
            |error| matches!(error, PullError::WrongSize { .. } | PullError::Corrupt { .. }),
        ),
        (
            "a page instead of a manifest",
            Rule::always(Fault::answer_with(200, &[("Content-Type", "text/html")], "<html>log in</html>"))
                .on("GET", MANIFESTS),
            &by_tag,
            |error| matches!(error, PullError::Manifest { .. }),
        ),
        (
            "another manifest under a digest, with the digest as its header",
            Rule::always(Fault::answer_with(200, &[("Docker-Content-Digest", &digest.to_string())], other))
                .on("GET", MANIFESTS),
            &by_digest,
            |error| matches!(error, PullError::Hub(HubError::Corrupt { .. })),
        ),
        (
            "more than a manifest may have",
            Rule::always(Fault::answer_with(200, &[], &"x".repeat((4 << 20) + 1))).on("GET", MANIFESTS),
            &by_tag,
            |error| matches!(error, PullError::Hub(HubError::Malformed { .. })),
        ),
    ];
    for (lie, rule, which, is_expected) in lies {
        behind.proxy.set_script([rule]);
        let error = pull(&world.target, behind.hub(), which).await.unwrap_err();
        assert!(is_expected(&error), "{lie}: {error}");
        assert_nothing_pulled(&world);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_moves_during_a_pull_changes_nothing_of_it() {
    let test = "a_tag_that_moves_during_a_pull_changes_nothing_of_it";
    let Some(behind) = Behind::start(test, []) else { return };
    let world = World::new(&SampleSpec::default());
    world.push_to(behind.good_hub()).await.unwrap();
    assert_a_moved_tag_changes_nothing(&world, behind.hub(), behind.good_hub()).await;
}

/// The connection stays open, and nothing more comes: it is given up on, and the rest is asked for anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_and_what_is_left_is_asked_for_anew() {
    let test = "silence_ends_and_what_is_left_is_asked_for_anew";
    let (Some(pulled), Some(pushed)) = (Behind::start(test, []), Behind::start(test, [])) else { return };
    let world = World::new(&LARGE);
    world.push_to(pulled.good_hub()).await.unwrap();
    let frames = format!("{BLOBS}{}", world.digest_of("frames of memory"));
    pulled.proxy.set_script([Rule::once(Fault::StallAnswer { after: 300_000 }).on("GET", &frames)]);
    let which = Selector::Tag(tag());
    let impatient = Access { silence: Duration::from_secs(2), ..no_access() };
    let silent = async {
        while pushed.proxy.count("PUT", BLOBS) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        pushed.proxy.stall(true);
        // Longer than a client waits, what the kernel may hold included: what it had begun is dead by then.
        tokio::time::sleep(Duration::from_secs(12)).await;
        pushed.proxy.stall(false);
    };
    let (pull, push, ()) = tokio::join!(
        pull(&world.target, pulled.hub_as(&impatient), &which),
        world.push_to(pushed.hub_as(&impatient)),
        silent
    );
    pull.unwrap();
    push.unwrap();
    assert_pulled(&world);
    assert!(pulled.proxy.count("GET", &frames) >= 2, "nothing was asked for anew");
    let blobs = world.sample.manifest.blobs().count();
    assert!(pushed.proxy.count("POST", BLOBS) > blobs, "no upload was begun anew");
    let target = world.with_new_target();
    crate::world::pull(&target.target, pushed.good_hub(), &which).await.unwrap();
    assert_pulled(&target);
}
