//! Push and pull, stopped anywhere: no tag, no manifest, nothing visible that is not whole; the next try succeeds.

use std::future::Future;
use std::io::Read;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::Poll;

use hub::testing::SampleSpec;
use hub::{Event, Progress, Selector, TagAs};
use store::Store;
use tokio::runtime::{Builder, Runtime};

use crate::world::*;

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Polls `future` at most `polls` times, then drops it.
async fn poll_at_most<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Drops what `act` does after 1, 2, 3 … polls, each time in a new world, until it gets through. The runtime is ended
/// with it, so that whatever blocking step was under way has come to its end.
fn at_every_poll<F: Future>(
    make: impl Fn() -> World,
    act: impl Fn(Arc<World>) -> F,
    check: impl Fn(&World),
) -> usize {
    for polls in 1.. {
        let world = Arc::new(make());
        let runtime = runtime();
        let done = runtime.block_on(poll_at_most(act(Arc::clone(&world)), polls)).is_some();
        drop(runtime);
        if done {
            return polls;
        }
        check(&world);
    }
    unreachable!()
}

#[test]
fn a_pull_that_is_dropped_leaves_nothing_and_can_be_repeated() {
    let pushed = runtime().block_on(World::pushed(&SampleSpec::default()));
    let polls = at_every_poll(
        || pushed.with_new_target(),
        |world| async move { world.pull().await.unwrap() },
        |world| {
            // The last blocking step sets the tag: it is then set in whole.
            if world.target.refs().unwrap().is_empty() {
                assert_blobs_are_whole(world.target.root());
            } else {
                assert_pulled(world);
            }
            assert_eq!(names_in(&world.target.root().join("leases")), [""; 0]);
            assert_eq!(world.target.fsck(&|_| ()).unwrap().problems.len(), 0);
            runtime().block_on(world.pull()).unwrap();
            assert_pulled(world);
        },
    );
    assert!(polls > 10, "{polls}");
}

#[test]
fn a_push_that_is_dropped_leaves_nothing_and_can_be_repeated() {
    let new = World::new(&SampleSpec::default());
    let polls = at_every_poll(
        || new.with_new_hub(),
        |world| async move { world.push().await.unwrap() },
        |world| {
            assert_blobs_are_whole(&world.hub_path());
            assert_eq!(names_in(&world.hub_path().join("tmp")), [""; 0]);
            let is_tagged = world.hub_path().join("v2/team/sample/manifests").join(tag().as_str()).exists();
            if !is_tagged {
                runtime().block_on(world.push()).unwrap();
            }
            // With a tag there is all that it leads to.
            runtime().block_on(world.pull()).unwrap();
            assert_pulled(world);
        },
    );
    assert!(polls > 10, "{polls}");
}

const LARGE: SampleSpec<'_> = SampleSpec { seed: "large", layers: 2, layer_pages: 2000, memory_pages: 2000 };

/// Tells the process that runs this one each step, so that it can be killed between any two.
struct Steps;

impl Progress for Steps {
    fn event(&self, _: Event<'_>) {
        // Past the test harness, which keeps what is printed.
        rustix::io::write(rustix::stdio::stderr(), b".").ok();
    }
}

/// Not a test: what the next two run in a process of its own, and kill.
#[test]
fn child() {
    let Ok(act) = std::env::var("HUB_TEST_ACT") else { return };
    let path = |name: &str| std::env::var_os(name).map(std::path::PathBuf::from).unwrap();
    let store = Store::open(&path("HUB_TEST_STORE")).unwrap();
    let hub =
        hub::open(&hub::HubLocation::folder(&path("HUB_TEST_HUB")).unwrap(), &hub::testing::no_access())
            .unwrap();
    let digest = std::env::var("HUB_TEST_DIGEST").unwrap().parse().unwrap();
    runtime().block_on(async {
        if act == "push" {
            let plan = hub::plan_push(&store, &digest, hub, &name()).await.unwrap();
            plan.execute(Some(&tag()), Arc::new(Steps)).await.unwrap();
        } else {
            let plan = hub::plan_pull(&store, hub, &name(), &Selector::Tag(tag())).await.unwrap();
            plan.execute(Some(&TagAs { name: full_name(), may_move: true }), Arc::new(Steps)).await.unwrap();
        }
    });
}

/// Runs [`child`] and kills it after `steps`; says whether it had done its work in fewer.
fn run_and_kill(world: &World, act: &str, store: &Store, steps: usize) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "interrupted::child"])
        .env("HUB_TEST_ACT", act)
        .env("HUB_TEST_STORE", store.root())
        .env("HUB_TEST_HUB", world.hub_path())
        .env("HUB_TEST_DIGEST", world.sample.digest.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Ends early if the child does. One that gets to its end between a step and its death was killed all the same.
    let is_there = child.stderr.take().unwrap().read_exact(&mut vec![0; steps]).is_ok();
    child.kill().unwrap();
    child.wait().unwrap().success() && !is_there
}

/// Kills `act` after ever more steps until it gets through; `check` sees what each left.
fn kill_at_many_steps(act: &str, store: impl Fn(&World) -> &Store, check: impl Fn(&World)) {
    let pushed = runtime().block_on(World::pushed(&LARGE));
    let mut killed = 0;
    loop {
        let world = if act == "push" { pushed.with_new_hub() } else { pushed.with_new_target() };
        if run_and_kill(&world, act, store(&world), 1 + 5 * killed) {
            break;
        }
        killed += 1;
        check(&world);
    }
    assert!(killed > 2, "{act} was killed {killed} times only");
}

#[test]
fn a_killed_pull_leaves_nothing_and_can_be_repeated() {
    kill_at_many_steps(
        "pull",
        |world| &world.target,
        |world| {
            let store = Store::open(world.target.root()).unwrap();
            if store.refs().unwrap().is_empty() {
                assert_blobs_are_whole(store.root());
            } else {
                assert_pulled(world);
            }
            assert_eq!(store.fsck(&|_| ()).unwrap().problems.len(), 0);
            runtime().block_on(world.pull()).unwrap();
            assert_pulled(world);
        },
    );
}

#[test]
fn a_killed_push_leaves_nothing_and_can_be_repeated() {
    kill_at_many_steps(
        "push",
        |world| &world.source,
        |world| {
            assert_blobs_are_whole(&world.hub_path());
            runtime().block_on(world.push()).unwrap();
            runtime().block_on(world.pull()).unwrap();
            assert_pulled(world);
        },
    );
}
