//! From hub to hub: byte for byte, only what is missing, and nothing half.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use format::manifest::media_type;
use hub::testing::proxy::{FaultProxy, Rule};
use hub::testing::registry::{RealRegistry, RegistryOptions};
use hub::testing::{SampleSpec, no_access, put_sample};
use hub::{
    CopyEnd, CopyError, CopyPlan, Delivered, Event, HubLocation, Progress, RawManifest, Registry, Selector,
    plan_copy,
};

use crate::damage::LARGE;
use crate::world::{World, assert_blobs_are_whole, blobs_in, name, names_in, overwrite, tag};

fn end(registry: Arc<dyn Registry>, name: &str) -> CopyEnd {
    CopyEnd { registry, name: name.parse().unwrap() }
}

fn folder(path: &Path) -> Arc<dyn Registry> {
    hub::open(&HubLocation::folder(path).unwrap(), &no_access()).unwrap()
}

fn registry_at(address: &str) -> Arc<dyn Registry> {
    hub::open(&HubLocation::parse(&format!("oci://{address}")).unwrap(), &no_access()).unwrap()
}

async fn plan(source: &CopyEnd, target: &CopyEnd) -> Result<CopyPlan, CopyError> {
    plan_copy(source, &Selector::Tag(tag()), target).await
}

async fn copy(source: &CopyEnd, target: &CopyEnd) -> Result<Delivered, CopyError> {
    plan(source, target).await?.execute(Some(&tag()), Arc::new(())).await
}

/// All that a folder holds of blobs and manifests is in another one, and the other way round.
fn assert_equal(one: &Path, other: &Path) {
    assert_eq!(blobs_in(one), blobs_in(other));
    assert_blobs_are_whole(other);
    let tag_file = |root: &Path, name: &str| fs::read(root.join(format!("v2/{name}/manifests/1.0"))).unwrap();
    assert_eq!(tag_file(one, "team/sample"), tag_file(other, "back/again"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_goes_through_a_registry_and_back_byte_for_byte() {
    let test = "copies::a_snapshot_goes_through_a_registry_and_back_byte_for_byte";
    let Some(registry) = RealRegistry::start(test, &RegistryOptions::default()) else { return };
    let proxy = FaultProxy::start(registry.addr(), []);
    let world = World::pushed(&LARGE).await;
    let back = world.temp.path().join("back");
    let (here, there) =
        (end(world.hub(), "team/sample"), end(registry_at(&proxy.addr().to_string()), "carried/there"));
    let shown = plan(&here, &there).await.unwrap();
    let all = world.sample.manifest.total_size();
    assert_eq!((shown.transfer.missing_bytes(), shown.transfer.snapshot), (all, world.sample.digest));
    assert_eq!(registry.blobs(), [], "a plan sends nothing");
    let sent = Delivered { sent_bytes: all, ..Delivered::default() };
    assert_eq!(copy(&here, &there).await.unwrap(), sent);
    assert_eq!(copy(&there, &end(folder(&back), "back/again")).await.unwrap(), sent);
    assert_equal(&world.hub_path(), &back);
    // What is there is not sent again, nor what the registry has under another name.
    let skipped = Delivered { skipped_bytes: all, ..Delivered::default() };
    assert_eq!(copy(&here, &there).await.unwrap(), skipped);
    let before = proxy.count("PUT", "/v2/carried/here/blobs/");
    let mounted = Delivered { mounted_bytes: all, ..Delivered::default() };
    assert_eq!(copy(&there, &end(Arc::clone(&there.registry), "carried/here")).await.unwrap(), mounted);
    assert_eq!(proxy.count("PUT", "/v2/carried/here/blobs/"), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_goes_with_all_that_it_lists() {
    let test = "copies::an_index_goes_with_all_that_it_lists";
    let Some(registry) = RealRegistry::start(test, &RegistryOptions::default()) else { return };
    let world = World::pushed(&SampleSpec::default()).await;
    let hub = world.hub();
    let other = put_sample(&world.source, &SampleSpec { seed: "other", ..SampleSpec::default() }).unwrap();
    let push = hub::plan_push(&world.source, &other.digest, Arc::clone(&hub), &name()).await.unwrap();
    push.execute(None, Arc::new(())).await.unwrap();
    let entries = [world.sample.digest, other.digest].map(|digest| {
        let size = fs::metadata(world.hub_blob(&digest)).unwrap().len();
        serde_json::json!({ "mediaType": media_type::MANIFEST, "digest": digest, "size": size })
    });
    let index =
        serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries });
    let index = RawManifest::new(index.to_string().into_bytes()).unwrap();
    hub.put_manifest(&name(), &index).await.unwrap();
    hub.put_tag(&name(), &tag(), &index).await.unwrap();

    let there = end(registry_at(&registry.addr().to_string()), "variants/sample");
    copy(&end(hub, "team/sample"), &there).await.unwrap();
    let back = world.temp.path().join("back");
    copy(&there, &end(folder(&back), "back/again")).await.unwrap();
    assert_equal(&world.hub_path(), &back);
    // One of them, by its digest.
    let which = Selector::Digest(other.digest);
    let single = plan_copy(&there, &which, &end(folder(&back), "single/sample")).await.unwrap();
    assert_eq!((single.transfer.missing.len(), single.manifests.as_slice()), (0, &[other.digest][..]));
    // Without the tag's name, none is set.
    single.execute(None, Arc::new(())).await.unwrap();
    assert_eq!(folder(&back).tags(&"single/sample".parse().unwrap()).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_missing_or_no_snapshot_is_refused_by_name() {
    let test = "copies::what_is_damaged_missing_or_no_snapshot_is_refused_by_name";
    let Some(registry) = RealRegistry::start(test, &RegistryOptions::default()) else { return };
    let world = World::pushed(&SampleSpec::default()).await;
    let (here, there) =
        (end(world.hub(), "team/sample"), end(registry_at(&registry.addr().to_string()), "copied/sample"));
    let nothing = async || there.registry.tags(&there.name).await.unwrap();
    let absent = plan(&end(world.hub(), "no/such"), &there).await.unwrap_err();
    assert!(matches!(absent, CopyError::NotFound { .. }), "{absent}");

    let frames = world.digest_of("frames of memory");
    let good = fs::read(world.hub_blob(&frames)).unwrap();
    let mut bad = good.clone();
    bad[100] ^= 1;
    overwrite(&world.hub_blob(&frames), &bad);
    let error = copy(&here, &there).await.unwrap_err();
    let CopyError::Corrupt { hub, blob, .. } = &error else { panic!("{error}") };
    assert_eq!((hub.as_str(), blob.digest), (world.hub().location(), frames));
    assert!(!registry.blobs().contains(&frames) && nothing().await.is_empty());

    fs::remove_file(world.hub_blob(&frames)).unwrap();
    let error = plan(&here, &there).await.unwrap_err();
    assert!(matches!(&error, CopyError::Incomplete { blobs, .. } if blobs.len() == 1), "{error}");
    assert!(error.to_string().contains(&frames.to_string()), "{error}");

    overwrite(&world.hub_path().join("v2/team/sample/manifests/1.0"), b"{\"schemaVersion\":2}");
    let error = plan(&here, &there).await.unwrap_err();
    assert!(matches!(error, CopyError::Manifest { .. }), "{error}");
    assert!(nothing().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_breaks_is_gone_on_with() {
    let test = "copies::a_source_that_breaks_is_gone_on_with";
    let Some(registry) = RealRegistry::start(test, &RegistryOptions::default()) else { return };
    let proxy = FaultProxy::start(registry.addr(), []);
    let world = World::new(&LARGE);
    world.push_to(registry_at(&registry.addr().to_string())).await.unwrap();
    let truncated = hub::testing::proxy::Fault::TruncateAnswer { after: 300_000 };
    proxy.set_script([Rule::times(4, truncated).on("GET", "/v2/team/sample/blobs/")]);
    let there = end(registry_at(&proxy.addr().to_string()), "team/sample");
    copy(&there, &end(world.hub(), "team/sample")).await.unwrap();
    world.pull().await.unwrap();
    crate::world::assert_pulled(&world);
}

/// Tells the process that runs this one each step, so that it can be killed between any two.
struct Steps;

impl Progress for Steps {
    fn event(&self, _: Event<'_>) {
        rustix::io::write(rustix::stdio::stderr(), b".").ok();
    }
}

/// Not a test: what the next one runs in a process of its own, and kills.
#[test]
fn child() {
    let Ok(source) = std::env::var("HUB_TEST_COPY_FROM") else { return };
    let target = std::env::var("HUB_TEST_COPY_TO").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (source, target) =
            (end(folder(source.as_ref()), "team/sample"), end(registry_at(&target), "copied/sample"));
        plan(&source, &target).await.unwrap().execute(Some(&tag()), Arc::new(Steps)).await.unwrap();
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_copy_leaves_no_tag_and_goes_on_when_repeated() {
    let test = "copies::a_killed_copy_leaves_no_tag_and_goes_on_when_repeated";
    let Some(registry) = RealRegistry::start(test, &RegistryOptions::default()) else { return };
    let world = World::pushed(&LARGE).await;
    let there = end(registry_at(&registry.addr().to_string()), "copied/sample");
    let mut killed = 0;
    loop {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "copies::child"])
            .env("HUB_TEST_COPY_FROM", world.hub_path())
            .env("HUB_TEST_COPY_TO", registry.addr().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that gets to its end between a step and its death was killed all the same.
        let is_there = child.stderr.take().unwrap().read_exact(&mut vec![0; 6 + 5 * killed]).is_ok();
        child.kill().unwrap();
        if child.wait().unwrap().success() && !is_there {
            break;
        }
        killed += 1;
        let tagged = there.registry.get_manifest(&there.name, &Selector::Tag(tag())).await.unwrap();
        if tagged.is_some() {
            break;
        }
        assert!(killed < 40, "no progress");
    }
    assert!(killed > 0);
    let back = world.temp.path().join("back");
    copy(&there, &end(folder(&back), "back/again")).await.unwrap();
    assert_equal(&world.hub_path(), &back);
    assert_eq!(names_in(&back.join("tmp")), [""; 0]);
}
