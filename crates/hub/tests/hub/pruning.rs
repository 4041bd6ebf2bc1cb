//! Prune, in folders and in buckets: what a tag leads to stays, and what somebody pushes meanwhile.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use format::manifest::media_type;
use format::{Digest, Name};
use hub::prune::{GRACE, StoredObject};
use hub::testing::{Sample, SampleSpec, put_sample};
use hub::{BlobReader, BlobSource, PruneError, RawManifest, Registry, Selector, Upload, plan_prune};

use crate::buckets;
use crate::world::{World, assert_pulled, name, names_in, pull, tag};

const HOUR: Duration = Duration::from_secs(3600);

/// The sample has been pushed and has lost its tag to another one.
async fn overtaken(hub: &Arc<dyn Registry>) -> (World, Sample) {
    let world = World::new(&SampleSpec::default());
    world.push_to(Arc::clone(hub)).await.unwrap();
    let other = put_sample(&world.source, &SampleSpec { seed: "other", ..SampleSpec::default() }).unwrap();
    push(&world, hub, &other.digest).await;
    (world, other)
}

async fn push(world: &World, hub: &Arc<dyn Registry>, digest: &Digest) {
    let plan = hub::plan_push(&world.source, digest, Arc::clone(hub), &name()).await.unwrap();
    plan.execute(Some(&tag()), Arc::new(())).await.unwrap();
}

async fn has(hub: &Arc<dyn Registry>, digest: &Digest) -> bool {
    hub.blob_size(&name(), digest).await.unwrap().is_some()
}

fn folder(world: &Path) -> Arc<dyn Registry> {
    let location = hub::HubLocation::folder(&world.join("hub")).unwrap();
    hub::open(&location, &hub::testing::no_access()).unwrap()
}

#[tokio::test]
async fn what_no_tag_leads_to_goes_from_a_folder() {
    let temp = tempfile::tempdir().unwrap();
    goes(folder(temp.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_tag_leads_to_goes_from_a_bucket() {
    let Some(bucket) = buckets::bucket("pruning", "what_no_tag_leads_to_goes_from_a_bucket") else { return };
    goes(buckets::open(&bucket)).await;
}

async fn goes(hub: Arc<dyn Registry>) {
    let (world, other) = overtaken(&hub).await;
    assert_eq!(plan_prune(&*hub, HOUR).await.unwrap().unneeded, []);
    let plan = plan_prune(&*hub, Duration::ZERO).await.unwrap();
    let planned: Vec<_> = plan.unneeded.iter().map(|stored| stored.object.clone()).collect();
    let old = world.sample.digest;
    let theirs: Vec<_> = other.manifest.blobs().map(|blob| blob.digest).collect();
    let own = world.sample.manifest.blobs().map(|blob| blob.digest).filter(|digest| !theirs.contains(digest));
    let mut expected: Vec<_> = own.chain([old]).map(StoredObject::Blob).collect();
    expected.push(StoredObject::Manifest(name(), old));
    expected.sort();
    assert_eq!(planned, expected);
    let pruned = plan.execute().await.unwrap();
    assert_eq!((pruned.removed, pruned.kept), (expected.len(), 0));
    assert!(!has(&hub, &world.digest_of("memory map")).await && !has(&hub, &old).await);
    assert_eq!(hub.get_manifest(&name(), &Selector::Digest(old)).await.unwrap(), None);
    pull(&world.target, Arc::clone(&hub), &Selector::Tag(tag())).await.unwrap();
    world.target.load_snapshot(&other.digest).unwrap();
    assert_eq!(plan_prune(&*hub, Duration::ZERO).await.unwrap().unneeded, []);
}

#[tokio::test]
async fn variants_of_an_index_stay_in_a_folder() {
    let temp = tempfile::tempdir().unwrap();
    variants_stay(folder(temp.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variants_of_an_index_stay_in_a_bucket() {
    let Some(bucket) = buckets::bucket("pruning", "variants_of_an_index_stay_in_a_bucket") else { return };
    variants_stay(buckets::open(&bucket)).await;
}

async fn variants_stay(hub: Arc<dyn Registry>) {
    let (world, other) = overtaken(&hub).await;
    let entry = |digest: &Digest| serde_json::json!({ "mediaType": media_type::MANIFEST, "digest": digest, "size": 1 });
    let put = async |entries: serde_json::Value| {
        let index =
            serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries });
        let index = RawManifest::new(index.to_string().into_bytes()).unwrap();
        hub.put_manifest(&name(), &index).await.unwrap();
        hub.put_tag(&name(), &tag(), &index).await.unwrap();
    };
    put(serde_json::json!([entry(&world.sample.digest), entry(&other.digest)])).await;
    assert_eq!(plan_prune(&*hub, Duration::ZERO).await.unwrap().unneeded, []);
    // One of them is not there: what it needs is not known.
    put(serde_json::json!([entry(&world.sample.digest), entry(&Digest::of(b"missing"))])).await;
    let Err(error) = plan_prune(&*hub, Duration::ZERO).await else { panic!("it was planned") };
    assert!(matches!(error, PruneError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("is listed by an image index and not there"), "{error}");
}

#[tokio::test]
async fn a_tag_that_nobody_can_read_stops_it() {
    let temp = tempfile::tempdir().unwrap();
    let hub = folder(temp.path());
    let (world, _) = overtaken(&hub).await;
    std::fs::write(temp.path().join("hub/v2/team/sample/manifests/broken"), "{").unwrap();
    let Err(error) = plan_prune(&*hub, Duration::ZERO).await else { panic!("it was planned") };
    assert!(error.to_string().contains("team/sample:broken"), "{error}");
    assert!(has(&hub, &world.digest_of("memory map")).await);
}

/// Makes all of a folder's blobs and manifests as old as an abandoned push's, and takes the tag away.
fn age(root: &Path) {
    let manifests = root.join("v2/team/sample/manifests");
    std::fs::remove_file(manifests.join("1.0")).unwrap();
    let old = SystemTime::now() - GRACE - HOUR;
    for folder in [root.join("blobs/sha256"), manifests] {
        for file in names_in(&folder) {
            File::open(folder.join(file)).unwrap().set_modified(old).unwrap();
        }
    }
}

#[tokio::test]
async fn a_push_between_plan_and_execution_loses_nothing() {
    let world = World::pushed(&SampleSpec::default()).await;
    age(&world.hub_path());
    let hub = world.hub();
    let plan = plan_prune(&*hub, GRACE).await.unwrap();
    let count = plan.unneeded.len();
    assert!(count > 10, "{count}");
    world.push().await.unwrap();
    let pruned = plan.execute().await.unwrap();
    assert_eq!((pruned.removed, pruned.kept), (0, count));
    world.pull().await.unwrap();
    assert_pulled(&world);
}

/// A hub that is pruned when somebody has sent all blobs for the first time and is about to put the manifest.
#[derive(Debug)]
struct Pruned {
    hub: Arc<dyn Registry>,
    grace: Duration,
    /// Nothing, until it has been pruned.
    removed: OnceLock<usize>,
}

impl Pruned {
    fn new(hub: Arc<dyn Registry>, grace: Duration) -> Arc<Self> {
        Arc::new(Self { hub, grace, removed: OnceLock::new() })
    }
}

#[async_trait::async_trait]
impl Registry for Pruned {
    fn location(&self) -> &str {
        self.hub.location()
    }

    async fn check_writable(&self, name: &Name) -> Result<(), hub::HubError> {
        self.hub.check_writable(name).await
    }

    async fn get_manifest(
        &self,
        name: &Name,
        which: &Selector,
    ) -> Result<Option<RawManifest>, hub::HubError> {
        self.hub.get_manifest(name, which).await
    }

    async fn put_manifest(&self, name: &Name, manifest: &RawManifest) -> Result<(), hub::HubError> {
        // Once: a grace that is too short takes what is sent again, too.
        if self.removed.get().is_none() {
            let pruned = plan_prune(&*self.hub, self.grace).await.unwrap().execute().await.unwrap();
            self.removed.set(pruned.removed).unwrap();
        }
        self.hub.put_manifest(name, manifest).await
    }

    async fn put_tag(
        &self,
        name: &Name,
        tag: &format::Tag,
        manifest: &RawManifest,
    ) -> Result<(), hub::HubError> {
        assert_eq!(plan_prune(&*self.hub, GRACE).await.unwrap().unneeded, []);
        self.hub.put_tag(name, tag, manifest).await
    }

    async fn blob_size(&self, name: &Name, digest: &Digest) -> Result<Option<u64>, hub::HubError> {
        self.hub.blob_size(name, digest).await
    }

    async fn get_blob(
        &self,
        name: &Name,
        digest: &Digest,
        range: std::ops::Range<u64>,
    ) -> Result<Option<BlobReader>, hub::HubError> {
        self.hub.get_blob(name, digest, range).await
    }

    async fn put_blob(&self, name: &Name, blob: &Upload<'_>) -> Result<hub::Put, hub::HubError> {
        self.hub.put_blob(name, blob).await
    }

    async fn tags(&self, name: &Name) -> Result<Vec<format::Tag>, hub::HubError> {
        self.hub.tags(name).await
    }

    async fn names(&self) -> Result<Vec<Name>, hub::HubError> {
        self.hub.names().await
    }

    async fn refresh_blob(&self, name: &Name, digest: &Digest) -> Result<(), hub::HubError> {
        self.hub.refresh_blob(name, digest).await
    }
}

#[tokio::test]
async fn what_a_push_skips_is_young_again() {
    let world = World::pushed(&SampleSpec::default()).await;
    age(&world.hub_path());
    let hub = Pruned::new(world.hub(), GRACE);
    world.push_to(hub.clone()).await.unwrap();
    // The old manifest, under its digest and among the blobs.
    assert_eq!(hub.removed.get(), Some(&2));
    world.pull().await.unwrap();
    assert_pulled(&world);
}

/// Times in a bucket are the store's own, so that the grace is one that nobody should give while others push: what a push skips
/// is due, and goes. The push finds out, and sends it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_push_skipped_and_prune_took_is_sent_again_to_a_bucket() {
    let test = "what_a_push_skipped_and_prune_took_is_sent_again_to_a_bucket";
    let Some(bucket) = buckets::bucket("pruning", test) else { return };
    let grace = Duration::from_secs(3);
    let hub = buckets::open(&bucket);
    let (world, other) = overtaken(&hub).await;
    let storage = hub.storage().unwrap();
    let last = storage.modified(&StoredObject::Manifest(name(), other.digest)).await.unwrap().unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while storage.now().await.unwrap() <= last + grace + Duration::from_secs(1) {
        assert!(std::time::Instant::now() < deadline, "the store's clock stands still");
    }
    let pruned = Pruned::new(Arc::clone(&hub), grace);
    world.push_to(pruned.clone()).await.unwrap();
    // What is the other one's too, which has the tag, has stayed.
    let removed = pruned.removed.get();
    assert!(removed > Some(&5), "{removed:?}");
    pull(&world.target, Arc::clone(&hub), &Selector::Tag(tag())).await.unwrap();
    assert_pulled(&world);
    for blob in world.sample.manifest.blobs() {
        assert_eq!(hub.blob_size(&name(), &blob.digest).await.unwrap(), Some(blob.size));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_of_a_bucket_becomes_young_again() {
    let Some(bucket) = buckets::bucket("pruning", "a_blob_of_a_bucket_becomes_young_again") else { return };
    let hub = buckets::open(&bucket);
    let world = World::new(&SampleSpec::default());
    world.push_to(Arc::clone(&hub)).await.unwrap();
    let (digest, storage) = (world.digest_of("memory map"), hub.storage().unwrap());
    let object = StoredObject::Blob(digest);
    let before = storage.modified(&object).await.unwrap().unwrap();
    // Stores count in seconds.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while storage.now().await.unwrap() <= before + Duration::from_secs(1) {
        assert!(std::time::Instant::now() < deadline, "the store's clock stands still");
    }
    hub.refresh_blob(&name(), &digest).await.unwrap();
    assert_eq!(storage.modified(&object).await.unwrap(), Some(before), "it was young");
    let hub::HubLocation::Bucket(location) = bucket.location("team/hub") else { panic!("no bucket") };
    hub::testing::renew_blob(&location, &bucket.access(), &digest).await.unwrap();
    assert!(storage.modified(&object).await.unwrap().unwrap() > before);
    assert_eq!(
        hub.blob_size(&name(), &digest).await.unwrap(),
        Some(world.source.blob_size(&digest).unwrap())
    );
}

/// A source that stops giving after some bytes.
struct Stuck(Vec<u8>);

#[async_trait::async_trait]
impl BlobSource for Stuck {
    async fn open(&self) -> std::io::Result<BlobReader> {
        let bytes = std::io::Cursor::new(self.0.clone());
        let (writer, never) = tokio::io::duplex(1);
        std::mem::forget(writer);
        Ok(Box::pin(tokio::io::AsyncReadExt::chain(bytes, never)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_of_a_killed_push_is_aborted() {
    let Some(bucket) = buckets::bucket("pruning", "an_upload_of_a_killed_push_is_aborted") else { return };
    let hub = buckets::open(&bucket);
    let digest = Digest::of(b"never all of it");
    let pusher = Arc::clone(&hub);
    let killed = Box::pin(async move {
        let source = Stuck(vec![1; 17 << 20]);
        let name = name();
        let blob = Upload { digest, size: 30 << 20, source: &source, mount_from: &[] };
        drop(pusher.put_blob(&name, &blob).await);
    });
    let unfinished = async || {
        let stored = hub.storage().unwrap().stored().await.unwrap_or_default();
        stored.into_iter().filter(|stored| matches!(stored.object, StoredObject::Unfinished { .. })).count()
    };
    let mut killed = Some(killed);
    tokio::select! {
        () = killed.as_mut().unwrap() => panic!("a source that is stuck was read"),
        () = async { while unfinished().await == 0 {} } => {}
    }
    // As if its process had been killed: nothing of it runs any more, not even what it does when it is dropped.
    std::mem::forget(killed.take());
    assert!(!has(&hub, &digest).await);
    assert_eq!(plan_prune(&*hub, HOUR).await.unwrap().unneeded, []);
    let pruned = plan_prune(&*hub, Duration::ZERO).await.unwrap().execute().await.unwrap();
    assert_eq!((pruned.removed, unfinished().await), (1, 0));
}
