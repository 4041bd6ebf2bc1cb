//! What a registry has under another name is not sent: the wire shows it, byte for byte.

use std::sync::Arc;
use std::time::Duration;

use format::{Digest, Name};
use hub::testing::proxy::{Direction, Fault, FaultProxy, Rule};
use hub::testing::registry::{Auth, RealRegistry, RegistryOptions, Untagged};
use hub::testing::token::TokenOptions;
use hub::testing::{PASSWORD, Sample, SampleSpec, put_sample};
use hub::{Delivered, PushPlan, Registry, Selector, plan_pull, plan_push};

use crate::registries::open_at;
use crate::world::{World, name, tag};

const BASE: SampleSpec<'_> = SampleSpec { seed: "base", layers: 2, layer_pages: 300, memory_pages: 30 };

/// A registry that counts, a snapshot in it, and another one that shares its layers and is not there yet.
struct Shared {
    registry: RealRegistry,
    proxy: FaultProxy,
    hub: Arc<dyn Registry>,
    world: World,
    derived: Sample,
    other: Name,
    _folder: tempfile::TempDir,
}

impl Shared {
    async fn new(test: &str, auth: Auth) -> Option<Self> {
        let registry =
            RealRegistry::start(&format!("mounts::{test}"), &RegistryOptions { auth, tls: false })?;
        let proxy = FaultProxy::start(registry.addr(), []);
        let (folder, hub) = open_at(&proxy.addr().to_string(), PASSWORD);
        let world = World::new(&BASE);
        world.push_to(Arc::clone(&hub)).await.unwrap();
        let derived = put_sample(&world.source, &SampleSpec { seed: "derived", ..BASE }).unwrap();
        let other = "other/derived".parse().unwrap();
        Some(Self { registry, proxy, hub, world, derived, other, _folder: folder })
    }

    async fn plan(&self) -> PushPlan {
        let Self { hub, world, derived, other, .. } = self;
        plan_push(&world.source, &derived.digest, Arc::clone(hub), other).await.unwrap()
    }

    /// What the bodies of requests say that they have, of those that send blobs to the other name.
    fn bytes_sent(&self) -> u64 {
        let path = format!("/v2/{}/blobs/uploads/", self.other);
        let requests = self.proxy.requests();
        let puts = requests.iter().filter(|request| request.is("PUT", &path));
        puts.map(|put| put.header("content-length").unwrap().parse::<u64>().unwrap()).sum()
    }

    fn mounts(&self) -> usize {
        self.proxy.count("POST", &format!("/v2/{}/blobs/uploads/?mount=", self.other))
    }

    /// In whole, in the registry as it is.
    async fn assert_there(&self) {
        let target = self.world.with_new_target().target;
        let which = Selector::Tag(tag());
        let plan = plan_pull(&target, Arc::clone(&self.hub), &self.other, &which).await.unwrap();
        plan.execute(None, Arc::new(())).await.unwrap();
        target.load_snapshot(&self.derived.digest).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shared_is_mounted_and_the_plan_says_what_is_sent() {
    let test = "what_is_shared_is_mounted_and_the_plan_says_what_is_sent";
    let Some(shared) = Shared::new(test, Auth::Open).await else { return };
    // Somebody who has the base only pulls what is new.
    let target = shared.world.with_new_target().target;
    let base = plan_pull(&target, Arc::clone(&shared.hub), &name(), &Selector::Tag(tag())).await.unwrap();
    base.execute(None, Arc::new(())).await.unwrap();

    let before = shared.proxy.bytes(Direction::ToServer);
    let plan = shared.plan().await;
    let (sent, mounted) = (plan.transfer.missing_bytes(), plan.transfer.mountable_bytes());
    assert!(mounted > 2 * 300 * 4096 && plan.transfer.present.is_empty(), "{plan}");
    assert!(plan.to_string().contains(&format!("{sent} bytes; ")), "{plan}");
    let (new, old) = (plan.transfer.missing.clone(), plan.transfer.mountable.len());
    let delivered = plan.execute(Some(&tag()), Arc::new(())).await.unwrap();
    assert_eq!(delivered, Delivered { sent_bytes: sent, mounted_bytes: mounted, skipped_bytes: 0 });
    assert_eq!((shared.bytes_sent(), shared.mounts()), (sent, old));
    let wire = shared.proxy.bytes(Direction::ToServer) - before;
    assert!(wire < sent + 100_000, "{wire} bytes went for {sent}");
    shared.assert_there().await;

    let before = shared.proxy.bytes(Direction::ToClient);
    let pull =
        plan_pull(&target, Arc::clone(&shared.hub), &shared.other, &Selector::Tag(tag())).await.unwrap();
    let digests = |blobs: &[hub::PlannedBlob]| {
        let mut digests: Vec<Digest> = blobs.iter().map(|blob| blob.digest).collect();
        digests.sort_unstable();
        digests
    };
    assert_eq!(digests(&pull.transfer.missing), digests(&new));
    pull.execute(None, Arc::new(())).await.unwrap();
    let wire = shared.proxy.bytes(Direction::ToClient) - before;
    assert!((sent..sent + 100_000).contains(&wire), "{wire} bytes came for {sent}");
    target.load_snapshot(&shared.derived.digest).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_for_a_mount_opens_both_names() {
    let options = TokenOptions { lifetime: Duration::from_secs(300), anonymous_pull: false };
    let Some(shared) = Shared::new("a_token_for_a_mount_opens_both_names", Auth::Token(options)).await else {
        return;
    };
    let plan = shared.plan().await;
    let mountable = plan.transfer.mountable_bytes();
    assert!(mountable > 0);
    let delivered = plan.execute(Some(&tag()), Arc::new(())).await.unwrap();
    assert_eq!(delivered.mounted_bytes, mountable);
    let asked = shared.registry.tokens().unwrap().requests();
    let both = ["repository:other/derived:pull,push", "repository:team/sample:pull"];
    assert!(asked.iter().any(|request| request.scopes == both), "{asked:?}");
    shared.assert_there().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_hints_cost_requests_and_nothing_else() {
    let Some(shared) = Shared::new("wrong_hints_cost_requests_and_nothing_else", Auth::Open).await else {
        return;
    };
    let source = &shared.world.source;
    // It was here, and is there no more.
    source
        .add_origin(&shared.world.sample.digest, shared.hub.location(), &"no/such".parse().unwrap())
        .unwrap();
    let elsewhere = shared.world.sample.manifest.blobs().map(|blob| shared.registry.blob_path(&blob.digest));
    elsewhere.for_each(|path| std::fs::remove_file(path).unwrap());
    let plan = shared.plan().await;
    assert_eq!((plan.transfer.mountable.len(), plan.transfer.present.len()), (0, 0));
    // The registry says that it has them, when asked; asked to mount them it has not.
    let lies = shared.world.sample.manifest.blobs().map(|blob| {
        let answer = Fault::Answer {
            status: 200,
            headers: Vec::new(),
            body: "x".repeat(usize::try_from(blob.size).unwrap()),
        };
        Rule::once(answer).on("HEAD", &format!("/v2/team/sample/blobs/{}", blob.digest))
    });
    shared.proxy.set_script(lies);
    let plan = shared.plan().await;
    let all = plan.transfer.missing_bytes() + plan.transfer.mountable_bytes();
    assert!(plan.transfer.mountable_bytes() > 0);
    let mountable = plan.transfer.mountable.len();
    let delivered = plan.execute(Some(&tag()), Arc::new(())).await.unwrap();
    assert_eq!(delivered, Delivered { sent_bytes: all, ..Delivered::default() });
    // The session that it began instead is the one that was used.
    let sessions = shared.proxy.count("POST", "/v2/other/derived/blobs/uploads/");
    assert_eq!((shared.mounts(), sessions), (mountable, shared.derived.manifest.blobs().count()));
    assert_eq!(shared.bytes_sent(), all);
    shared.assert_there().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mount_that_is_refused_or_a_lie_is_made_up_for() {
    let test = "a_mount_that_is_refused_or_a_lie_is_made_up_for";
    for status in [403, 404, 405, 201] {
        let Some(shared) = Shared::new(test, Auth::Open).await else { return };
        let refuses = Rule::always(Fault::answer(status, &[("Location", "/v2/other/derived/blobs/x")]));
        shared.proxy.set_script([refuses.on("POST", "/v2/other/derived/blobs/uploads/?mount=")]);
        let plan = shared.plan().await;
        let all = plan.transfer.missing_bytes() + plan.transfer.mountable_bytes();
        let delivered = plan.execute(Some(&tag()), Arc::new(())).await;
        let delivered = delivered.unwrap_or_else(|error| panic!("{status}: {error}"));
        assert!(shared.mounts() > 0);
        assert_eq!(delivered, Delivered { sent_bytes: all, ..Delivered::default() }, "{status}");
        shared.assert_there().await;
    }
}

/// Collected in the middle of a push: what was there, what was mounted, and what was just sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_real_collection_takes_during_a_push_is_sent_again() {
    let test = "what_a_real_collection_takes_during_a_push_is_sent_again";
    let Some(shared) = Shared::new(test, Auth::Open).await else { return };
    let plan = shared.plan().await;
    let all = plan.transfer.missing_bytes() + plan.transfer.mountable_bytes();
    // The base's manifest goes, so that nothing of it is needed any more, once all of the new one was brought.
    let manifest = format!("/v2/other/derived/manifests/{}", shared.derived.digest);
    shared.proxy.set_script([Rule::once(Fault::answer(503, &[("Retry-After", "10")])).on("PUT", &manifest)]);
    let latest = tag();
    let pushing = plan.execute(Some(&latest), Arc::new(()));
    let collecting = async {
        while shared.proxy.count("PUT", &manifest) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let client = reqwest::Client::new();
        let base = &shared.world.sample.digest;
        let url = format!("{}/v2/team/sample/manifests/{base}", shared.registry.url());
        assert_eq!(client.delete(url).send().await.unwrap().status(), reqwest::StatusCode::ACCEPTED);
        tokio::task::block_in_place(|| shared.registry.garbage_collect(Untagged::Delete));
        assert_eq!(shared.registry.blobs(), []);
    };
    let (delivered, ()) = tokio::join!(pushing, collecting);
    let delivered = delivered.unwrap();
    assert!(delivered.sent_bytes >= all, "{delivered:?} of {all} bytes");
    shared.assert_there().await;
}
