//! Pulls over a link: several parts of a blob at once, resumed at any byte, each byte once.

use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hub::testing::proxy::{Direction, Fault, FaultProxy, Link, Rule};
use hub::testing::registry::{RealRegistry, RegistryOptions};
use hub::testing::{SampleSpec, no_access, put_sample};
use hub::{Event, HubLocation, Progress, Registry, Selector};
use store::Store;

use crate::world::*;

/// Two blobs of 8 MiB and one of 24.
const SPEC: SampleSpec<'static> =
    SampleSpec { seed: "transfers", layers: 2, layer_pages: 2048, memory_pages: 6144 };
const BLOBS: &str = "/v2/team/sample/blobs/";
/// Fast enough for a test, slow enough that little is under way when something breaks.
const LINK: Link = Link { delay: Duration::from_millis(5), rate: Some(25_000_000) };
const DEADLINE: Duration = Duration::from_secs(60);
/// Most bytes that have left a proxy and are in no file when a pull is killed: what sockets and their readers hold.
const IN_FLIGHT: u64 = 4 << 20;
/// Most bytes of answers that bring no blob.
const HEADS: u64 = 16 << 10;

/// A registry that has a sample, behind a proxy.
pub(crate) struct Far {
    _registry: RealRegistry,
    pub(crate) proxy: FaultProxy,
    pub(crate) world: World,
    pub(crate) size: u64,
}

impl Far {
    async fn start(test: &str) -> Option<Self> {
        Self::over(&format!("transfers::{test}"), &SPEC, LINK).await
    }

    /// What is said of it, as a sample, and the link to it.
    pub(crate) async fn over(test: &str, spec: &SampleSpec<'_>, link: Link) -> Option<Self> {
        let registry = RealRegistry::start(test, &RegistryOptions::default())?;
        let proxy = FaultProxy::start(registry.addr(), []);
        let world = World::new(spec);
        world.push_to(open(&proxy)).await.unwrap();
        proxy.set_links(link);
        let size = world.sample.manifest.total_size();
        Some(Self { _registry: registry, proxy, world, size })
    }

    /// Bytes that came from the registry while something was done.
    pub(crate) async fn came<F: Future>(&self, act: F) -> (u64, F::Output) {
        let before = self.proxy.bytes(Direction::ToClient);
        let done = act.await;
        (self.proxy.bytes(Direction::ToClient) - before, done)
    }

    /// Asserts that so many bytes are those of the sample, once: with heads of answers, at most 2 % more.
    #[track_caller]
    pub(crate) fn assert_once(&self, came: u64) {
        assert!(came >= self.size && came * 100 <= self.size * 102, "{came} bytes came for {}", self.size);
    }
}

pub(crate) fn open(proxy: &FaultProxy) -> Arc<dyn Registry> {
    hub::open(&HubLocation::parse(&format!("oci://{}", proxy.addr())).unwrap(), &no_access()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_a_blob_come_at_once_and_each_byte_once() {
    let Some(far) = Far::start("parts_of_a_blob_come_at_once_and_each_byte_once").await else { return };
    let connections = far.proxy.connections();
    let requests = far.proxy.requests().len();
    let (came, _) = far.came(async { far.world.pull_from(open(&far.proxy)).await.unwrap() }).await;
    assert_pulled(&far.world);
    far.assert_once(came);
    let connections = far.proxy.connections() - connections;
    assert!((4..=16).contains(&connections), "{connections} connections");
    let requests = &far.proxy.requests()[requests..];
    let memory = format!("{BLOBS}{}", far.world.digest_of("frames of memory"));
    let mut ranges: Vec<_> = requests
        .iter()
        .filter(|request| request.is("GET", &memory))
        .map(|request| request.header("range").unwrap().to_owned())
        .collect();
    ranges.sort();
    ranges.dedup();
    assert_eq!(ranges.len(), 4, "{ranges:?}");
    // What is read for the plan anyway is not asked for apart.
    let asked = |role: &str| {
        let path = format!("{BLOBS}{}", far.world.digest_of(role));
        requests.iter().filter(|request| request.is("HEAD", &path)).count()
    };
    assert_eq!((asked("memory map"), asked("frames of memory")), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_new_blobs_cross_the_wire_and_the_plan_says_how_many_bytes() {
    let test = "only_new_blobs_cross_the_wire_and_the_plan_says_how_many_bytes";
    let Some(far) = Far::start(test).await else { return };
    far.world.pull_from(open(&far.proxy)).await.unwrap();
    // The layers are the same, all else is not.
    let child = put_sample(&far.world.source, &SampleSpec { seed: "child", ..SPEC }).unwrap();
    let to_registry = far.proxy.bytes(Direction::ToServer);
    let push = hub::plan_push(&far.world.source, &child.digest, open(&far.proxy), &name()).await.unwrap();
    let planned = push.transfer.missing_bytes();
    push.execute(None, Arc::new(())).await.unwrap();
    let sent = far.proxy.bytes(Direction::ToServer) - to_registry;
    assert!(sent >= planned && sent * 100 <= planned * 102, "{sent} bytes went, {planned} were planned");
    let which = Selector::Digest(child.digest);
    let pulled = far.came(async {
        let plan = hub::plan_pull(&far.world.target, open(&far.proxy), &name(), &which).await.unwrap();
        let planned = plan.transfer.missing_bytes();
        plan.execute(None, Arc::new(())).await.unwrap();
        planned
    });
    let (came, planned) = pulled.await;
    assert!(planned < far.size * 2 / 3, "{planned}");
    assert!(came >= planned && came * 100 <= planned * 102, "{came} bytes came, {planned} were planned");
}

/// Drops all connections whenever another tenth of the bytes has come.
struct Cutter {
    proxy: Arc<FaultProxy>,
    tenth: u64,
    moved: AtomicU64,
}

impl Progress for Cutter {
    fn event(&self, event: Event<'_>) {
        if let Event::Moved { bytes, .. } = event {
            let before = self.moved.fetch_add(bytes, Ordering::Relaxed);
            if before / self.tenth != (before + bytes) / self.tenth {
                self.proxy.drop_connections();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drop_at_each_tenth_of_the_bytes_costs_none() {
    let Some(mut far) = Far::start("a_drop_at_each_tenth_of_the_bytes_costs_none").await else { return };
    let proxy = Arc::new(std::mem::replace(&mut far.proxy, FaultProxy::start(far._registry.addr(), [])));
    let before = proxy.bytes(Direction::ToClient);
    let plan = hub::plan_pull(&far.world.target, open(&proxy), &name(), &Selector::Tag(tag())).await.unwrap();
    let cutter = Cutter { proxy: Arc::clone(&proxy), tenth: far.size / 10, moved: AtomicU64::new(0) };
    let tag = hub::TagAs { name: full_name(), may_move: true };
    plan.execute(Some(&tag), Arc::new(cutter)).await.unwrap();
    assert_pulled(&far.world);
    far.assert_once(proxy.bytes(Direction::ToClient) - before);
}

/// Not a test: what the next one runs in a process of its own, and kills.
#[test]
fn child() {
    let Ok(hub) = std::env::var("HUB_TEST_PULL_FROM") else { return };
    let store = Store::open(std::env::var_os("HUB_TEST_STORE").unwrap().as_ref()).unwrap();
    let hub = hub::open(&HubLocation::parse(&hub).unwrap(), &no_access()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(async {
        let plan = hub::plan_pull(&store, hub, &name(), &Selector::Tag(tag())).await.unwrap();
        plan.with_layout().await.unwrap().execute(None, Arc::new(())).await.unwrap();
    });
}

/// Bytes of the blobs in a store that are on its disk, in whole or in part.
fn allocated(store: &Store) -> u64 {
    let files = ["partial", "blobs/sha256"].map(|folder| std::fs::read_dir(store.root().join(folder)));
    let files = files.into_iter().flatten().flatten();
    files.map(|file| file.unwrap().metadata().unwrap().blocks() * 512).sum()
}

/// A pull in a process of its own.
fn start_child(far: &Far, store: &Store) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "transfers::child"])
        .env("HUB_TEST_PULL_FROM", format!("oci://{}", far.proxy.addr()))
        .env("HUB_TEST_STORE", store.root())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_pull_transfers_only_the_rest_when_it_is_started_again() {
    let test = "a_killed_pull_transfers_only_the_rest_when_it_is_started_again";
    let Some(far) = Far::start(test).await else { return };
    for tenths in [1, 4, 7, 8] {
        far.assert_resumes(tenths).await;
    }
}

impl Far {
    /// Kills a pull after so many tenths of the bytes, and asserts that the next one costs what is not in the store by then,
    /// and 2 % more at most: by what has passed the proxy, whatever the plans say.
    pub(crate) async fn assert_resumes(&self, tenths: u64) {
        let world = self.world.with_new_target();
        let before = self.proxy.bytes(Direction::ToClient);
        let mut child = start_child(self, &world.target);
        let start = Instant::now();
        // Killed when it has read about what was sent to it: on a busy machine the kernel may hold much of that.
        let lags = || {
            let passed = self.proxy.bytes(Direction::ToClient) - before;
            passed < self.size * tenths / 10 || passed > allocated(&world.target) + IN_FLIGHT / 2
        };
        while lags() {
            assert!(start.elapsed() < DEADLINE && child.try_wait().unwrap().is_none());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        self.proxy.drop_connections();
        while self.proxy.open_connections() > 0 {
            assert!(start.elapsed() < DEADLINE, "connections do not end");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let first = self.proxy.bytes(Direction::ToClient) - before;
        assert_blobs_are_whole(world.target.root());
        let arrived = allocated(&world.target);
        world.pull_from(open(&self.proxy)).await.unwrap();
        assert_pulled(&world);
        let again = self.proxy.bytes(Direction::ToClient) - before - first;
        // What was on its way when the process died has passed the proxy and never arrived.
        let (rest, lost) = (self.size.saturating_sub(arrived), first.saturating_sub(arrived));
        println!("killed after {first} of {} bytes: {rest} had not arrived, {again} came", self.size);
        let most = rest * 102 / 100 + HEADS;
        assert!(again <= most, "{again} bytes came for the {rest} that had not arrived");
        assert!(lost <= IN_FLIGHT, "{lost} bytes of the first try are lost");
        // What a kill leaves beside is swept at the next start.
        let store = Store::open(world.target.root()).unwrap();
        assert_eq!(store.fsck(&|_| ()).unwrap().problems.len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gives_no_parts_is_asked_for_the_whole() {
    let Some(far) = Far::start("who_gives_no_parts_is_asked_for_the_whole").await else { return };
    far.proxy.set_script([Rule::always(Fault::IgnoreRange).on("GET", BLOBS)]);
    let (came, pulled) = far.came(far.world.pull_from(open(&far.proxy))).await;
    pulled.unwrap();
    assert_pulled(&far.world);
    // Found out at the cost of what was under way; a request for each part would have brought all of it each time.
    assert!(came < far.size * 3 / 2, "{came} bytes came for {}", far.size);
    // What a broken pull has left is of use all the same.
    let world = far.world.with_new_target();
    let frames = far.world.digest_of("frames of memory");
    let bytes = far.world.source.read_blob(&frames, 64 << 20).unwrap();
    std::fs::write(world.target.root().join("partial").join(frames.hex()), &bytes[..20 << 20]).unwrap();
    world.pull_from(open(&far.proxy)).await.unwrap();
    assert_pulled(&world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stalls_is_given_up_and_resumed() {
    let Some(far) = Far::start("a_body_that_stalls_is_given_up_and_resumed").await else { return };
    far.proxy.set_script([Rule::once(Fault::StallAnswer { after: 1 << 20 }).on("GET", BLOBS).after(5)]);
    let (came, pulled) = far.came(far.world.pull_from(open(&far.proxy))).await;
    pulled.unwrap();
    assert_pulled(&far.world);
    far.assert_once(came);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flat_files_are_there_when_a_pull_has_ended() {
    let Some(far) = Far::start("flat_files_are_there_when_a_pull_has_ended").await else { return };
    let store = &far.world.target;
    let plan = hub::plan_pull(store, open(&far.proxy), &name(), &Selector::Tag(tag())).await.unwrap();
    assert_eq!(plan.flat_bytes, None);
    let plan = plan.with_layout().await.unwrap();
    assert!(plan.flat_bytes.unwrap() > 24 << 20);
    let pulled = plan.execute(None, Arc::new(())).await.unwrap();
    assert_eq!(store.flat_files().unwrap().len(), 4);
    assert_eq!(store.fsck(&|_| ()).unwrap().problems.len(), 0);
    let snapshot = store.load_snapshot(&pulled.snapshot).unwrap();
    assert_eq!(store.layout(&pulled.lease, &snapshot.config, &snapshot.maps).unwrap().bytes(), 0);
}
