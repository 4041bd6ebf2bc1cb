//! What a hub does not give its mirrors are asked for, by digest; nothing else is theirs to say.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hub::testing::nginx::{Behind, NginxOptions, RealNginx};
use hub::testing::proxy::{Fault, FaultProxy, Rule};
use hub::testing::{SampleSpec, no_access, put_sample};
use hub::{Access, Event, HubLocation, Progress, PullError, Pulled, Registry, Selector, Source, TagAs};

use crate::broken::{self, Broken};
use crate::world::*;

/// What was warned of.
#[derive(Default)]
struct Warnings {
    texts: Mutex<Vec<String>>,
    /// A file that is taken away when the transfer starts.
    goes: Option<PathBuf>,
}

impl Progress for Warnings {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Warning { text } => self.texts.lock().unwrap().push(text.to_owned()),
            Event::Started { .. } => self.goes.iter().for_each(|path| fs::remove_file(path).unwrap()),
            _ => {}
        }
    }
}

impl Warnings {
    /// Asserts that there was one, which says all of this.
    #[track_caller]
    fn assert_says(&self, says: &[&str]) {
        let texts = self.texts.lock().unwrap();
        assert!(texts.iter().any(|text| says.iter().all(|said| text.contains(said))), "{says:?}: {texts:#?}");
    }
}

fn folder(path: &Path) -> Arc<dyn Registry> {
    hub::open(&HubLocation::folder(path).unwrap(), &no_access()).unwrap()
}

/// The sample in a hub and in its mirror.
async fn both() -> (World, PathBuf) {
    let world = World::pushed(&SampleSpec::default()).await;
    let mirror = world.temp.path().join("mirror");
    world.push_to(folder(&mirror)).await.unwrap();
    (world, mirror)
}

async fn pull_from(
    world: &World,
    hubs: [Arc<dyn Registry>; 2],
    which: &Selector,
    warnings: &Arc<Warnings>,
) -> Result<Pulled, PullError> {
    let [hub, mirror] = hubs.map(|registry| Source { registry, name: name() });
    let told = Arc::clone(warnings) as Arc<dyn Progress>;
    let plan = hub::plan_pull_from(&world.target, hub, vec![mirror], which, Arc::clone(&told)).await?;
    plan.execute(Some(&TagAs { name: full_name(), may_move: true }), told).await
}

#[tokio::test]
async fn what_a_hub_lacks_comes_from_its_mirror() {
    let (world, mirror) = both().await;
    for role in ["frames of memory", "memory map", "config"] {
        let digest = world.sample.manifest.config.digest;
        let digest = if role == "config" { digest } else { world.digest_of(role) };
        fs::remove_file(world.hub_blob(&digest)).unwrap();
        let world = world.with_new_target();
        let warnings = Arc::default();
        pull_from(&world, [world.hub(), folder(&mirror)], &Selector::Tag(tag()), &warnings).await.unwrap();
        assert_pulled(&world);
        warnings.assert_says(&[
            &digest.to_string(),
            world.hub_path().to_str().unwrap(),
            &format!("asking {} instead", mirror.display()),
        ]);
        // The hub is where the tag is from.
        let origin = world.target.get_ref(&full_name()).unwrap().unwrap().origin.unwrap();
        assert_eq!(origin, world.hub_path().to_str().unwrap());
    }
    // What neither has is named with both.
    let gone = world.digest_of("frames of memory");
    fs::remove_file(mirror.join("blobs/sha256").join(gone.hex())).unwrap();
    let warnings = Arc::default();
    let error = pull_from(&world, [world.hub(), folder(&mirror)], &Selector::Tag(tag()), &warnings).await;
    let text = error.unwrap_err().to_string();
    for says in [&gone.to_string(), world.hub_path().to_str().unwrap(), mirror.to_str().unwrap()] {
        assert!(text.contains(says), "{says}: {text}");
    }
    assert_nothing_pulled(&world);
}

#[tokio::test]
async fn a_blob_that_vanishes_during_a_pull_comes_from_the_mirror() {
    let (world, mirror) = both().await;
    let digest = world.digest_of("frames of disk layer1");
    let warnings = Arc::new(Warnings { goes: Some(world.hub_blob(&digest)), ..Warnings::default() });
    pull_from(&world, [world.hub(), folder(&mirror)], &Selector::Tag(tag()), &warnings).await.unwrap();
    assert_pulled(&world);
    warnings.assert_says(&["is not complete there", &digest.to_string(), mirror.to_str().unwrap()]);
}

#[tokio::test]
async fn who_lies_is_named_and_the_next_is_asked_for_the_same_digest() {
    let (world, mirror) = both().await;
    let digest = world.digest_of("frames of memory");
    let mut bytes = fs::read(world.hub_blob(&digest)).unwrap();
    bytes[10] ^= 1;
    overwrite(&world.hub_blob(&digest), &bytes);
    let which = Selector::Tag(tag());
    for hub in [
        world.hub(),
        Broken::new(world.hub(), broken::Fault::Short(digest, 5)),
        Broken::new(world.hub(), broken::Fault::Endless(digest)),
        Broken::new(world.hub(), broken::Fault::BreaksAt(1)),
    ] {
        let (world, warnings) = (world.with_new_target(), Arc::default());
        pull_from(&world, [hub, folder(&mirror)], &which, &warnings).await.unwrap();
        assert_pulled(&world);
        warnings.assert_says(&[world.hub_path().to_str().unwrap(), "instead"]);
    }
    // A mirror is believed no more than the hub.
    overwrite(&mirror.join("blobs/sha256").join(digest.hex()), &bytes);
    let error = pull_from(&world, [world.hub(), folder(&mirror)], &which, &Arc::default()).await.unwrap_err();
    assert!(matches!(&error, PullError::Corrupt { hub, .. } if *hub == mirror.to_str().unwrap()), "{error}");
    assert_nothing_pulled(&world);
}

#[tokio::test]
async fn what_a_tag_means_a_mirror_says_only_while_the_hub_cannot_be_reached() {
    let (world, mirror) = both().await;
    let other = put_sample(&world.source, &SampleSpec { seed: "other", ..SampleSpec::default() }).unwrap();
    let plan = hub::plan_push(&world.source, &other.digest, folder(&mirror), &name()).await.unwrap();
    plan.execute(Some(&tag()), Arc::new(())).await.unwrap();
    let which = Selector::Tag(tag());
    let warnings = Arc::<Warnings>::default();
    let pulled = pull_from(&world, [world.hub(), folder(&mirror)], &which, &warnings).await.unwrap();
    assert_eq!(pulled.snapshot, world.sample.digest);
    assert_eq!(*warnings.texts.lock().unwrap(), [""; 0]);
    // A tag that the hub has not is one that is not there.
    let missing = Selector::Tag("2.0".parse().unwrap());
    let plan = hub::plan_push(&world.source, &other.digest, folder(&mirror), &name()).await.unwrap();
    plan.execute(Some(&"2.0".parse().unwrap()), Arc::new(())).await.unwrap();
    let error = pull_from(&world, [world.hub(), folder(&mirror)], &missing, &warnings).await.unwrap_err();
    assert!(matches!(error, PullError::NotFound { .. }), "{error}");
    // Out of reach.
    let nowhere = folder(&world.temp.path().join("nowhere"));
    let world = world.with_new_target();
    let pulled = pull_from(&world, [nowhere, folder(&mirror)], &which, &warnings).await.unwrap();
    assert_eq!(pulled.snapshot, other.digest);
    warnings.assert_says(&["the tag 1.0 is", &other.digest.to_string(), mirror.to_str().unwrap()]);
    warnings.assert_says(&["nowhere", "instead"]);
}

#[tokio::test]
async fn a_tag_that_moves_during_a_pull_does_not_change_what_is_pulled() {
    let world = World::pushed(&SampleSpec::default()).await;
    assert_a_moved_tag_changes_nothing(&world, world.hub(), world.hub()).await;
}

/// It takes connections and says nothing; and it falls silent when it has said which snapshot it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_falls_silent_is_named_and_the_mirror_goes_on() {
    let test = "mirrors::who_falls_silent_is_named_and_the_mirror_goes_on";
    let (world, mirror) = both().await;
    let behind = Behind::Folder(&world.hub_path());
    let Some(nginx) = RealNginx::start(test, behind, &NginxOptions::default()) else { return };
    let proxy = FaultProxy::start(nginx.addr(), []);
    let access = Access { silence: Duration::from_secs(2), ..no_access() };
    let silent = || hub::open(&HubLocation::parse(&proxy.url()).unwrap(), &access).unwrap();
    let which = Selector::Tag(tag());
    proxy.stall(true);
    let warnings = Arc::<Warnings>::default();
    pull_from(&world, [silent(), folder(&mirror)], &which, &warnings).await.unwrap();
    assert_pulled(&world);
    let host = proxy.addr().to_string();
    warnings.assert_says(&[&host, "nothing moved", &format!("asking {} instead", mirror.display())]);
    warnings.assert_says(&["the tag 1.0 is", mirror.to_str().unwrap()]);
    proxy.stall(false);
    let frames = world.digest_of("frames of memory");
    let stall = Fault::StallAnswer { after: 0 };
    proxy.set_script([Rule::always(stall).on("GET", &format!("/blobs/sha256/{}", frames.hex()))]);
    let (world, warnings) = (world.with_new_target(), Arc::default());
    pull_from(&world, [silent(), folder(&mirror)], &which, &warnings).await.unwrap();
    assert_pulled(&world);
    warnings.assert_says(&[&host, &frames.to_string(), &format!("asking {} instead", mirror.display())]);
}
