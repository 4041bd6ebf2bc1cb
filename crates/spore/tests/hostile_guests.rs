//! A guest does what it can against its host and its siblings, as root in it: it floods the channel, lies on it, answers for
//! sessions that are not its own, reads nothing, fills its disk, forks without end. Its supervisor's memory stays bounded, its
//! sibling answers, and `spore kill` ends it.
//!
//! A guest that never acknowledges its identity is in `identity_is_fresh`; lies that need a session to be known by its number are
//! in the tests of the supervisor's mux.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what a test says is its output")]

mod harness;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use harness::needs::{Need, say_skipped, skipped};
use harness::run::{DEADLINE, Run, Running};
use harness::shared::Shared;
use harness::{Spore, files, processes, recipes};
use serde_json::Value;
use tempfile::TempDir;

/// What a supervisor may have of its own while its guest is hostile: what is on its way in both directions, and itself.
const SUPERVISOR_KIB: u64 = 4 << 10;
/// How long `spore kill` may take on a busy machine: more than the times that it gives an engine to end by itself.
const KILL_DEADLINE: Duration = Duration::from_secs(60);

/// Two forks of one snapshot, of which one is hostile.
struct Pair {
    spore: Spore,
    hostile: String,
    sibling: String,
}

impl Pair {
    /// `None`, which is said, if `test` cannot run here.
    fn fork(test: &str, options: &[&str]) -> Option<Self> {
        if skipped(&format!("hostile_guests::{test}"), &[Need::Bake]) {
            return None;
        }
        let spore = Spore::new();
        let (snapshot, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&spore);
        let id = |options: &[&str]| {
            let forked = spore.json([&["fork", &snapshot], options].concat());
            forked["sandboxes"][0]["id"].as_str().expect("an id").to_owned()
        };
        let (sibling, hostile) = (id(&[]), id(options));
        Some(Self { spore, hostile, sibling })
    }

    /// With the program that takes the agent's port; `None`, which is said, if it cannot be built.
    fn with_program(test: &str) -> Option<Self> {
        let program = program().or_else(|| {
            say_skipped(&format!("hostile_guests::{test}"), "no rustc that makes a static program");
            None
        })?;
        let pair = Self::fork(test, &[])?;
        let to = format!("{}:/hostile", pair.hostile);
        pair.spore.run(["cp".as_ref(), program.as_os_str(), to.as_ref()]).succeeds();
        Some(pair)
    }

    /// Something that runs in the hostile guest.
    fn act(&self, words: &[&str]) -> Running {
        self.spore.command([&["exec", &self.hostile, "--"], words].concat()).start()
    }

    fn described(&self, id: &str) -> Value {
        let listed = self.spore.json(["ps", "--all"]);
        let mut all = listed["sandboxes"].as_array().expect("sandboxes").iter();
        all.find(|sandbox| sandbox["id"] == id).cloned().unwrap_or_else(|| panic!("no {id} in {listed}"))
    }

    /// Asserts that the sibling is unharmed, and the supervisor small, if it is there; gives its memory in KiB.
    #[track_caller]
    fn assert_unharmed(&self) -> Option<u64> {
        assert_eq!(self.spore.sh(&self.sibling, "echo here"), "here");
        let hostile = self.described(&self.hostile);
        let is_there = !hostile["status"]["dead"].is_object();
        let supervisor = is_there.then(|| hostile["supervisor_pid"].as_u64().expect("a process"));
        // It may have ended since.
        let own = supervisor.and_then(processes::anonymous_kib_if_there);
        assert!(own.is_none_or(|own| own < SUPERVISOR_KIB), "{own:?} KiB are the supervisor's own");
        own
    }

    /// Looks for some seconds at how it goes.
    #[track_caller]
    fn watch(&self, test: &str) {
        const TIMES: usize = 10;
        let most = (0..TIMES).filter_map(|_| self.assert_unharmed()).max();
        println!("{test}: at most {most:?} KiB are the supervisor's own");
    }

    #[track_caller]
    fn assert_ends_for(&self, reason: &str) {
        let begun = Instant::now();
        loop {
            let status = self.described(&self.hostile)["status"].clone();
            // An engine is gone for a moment before it is noted why.
            if status["dead"]["reason"].as_str().is_some_and(|said| said.contains(reason)) {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "{status}");
        }
    }

    #[track_caller]
    fn kill(self) {
        self.spore.command(["kill", &self.hostile]).deadline(KILL_DEADLINE).finish().succeeds();
        assert_eq!(self.spore.sandboxes(), [self.sibling.as_str()]);
        assert_eq!(self.spore.sh(&self.sibling, "echo here"), "here");
    }
}

/// The program in `hostile_guests/`, built for a guest once.
fn program() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<(PathBuf, TempDir)>> = OnceLock::new();
    let build = || {
        let folder = files::scratch("hostile");
        let program = folder.path().join("hostile");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile_guests/root.rs");
        let rustc = Path::new(env!("CARGO")).with_file_name("rustc");
        let options = ["--edition=2024", "-O", "-Ctarget-feature=+crt-static", "-o"];
        let built = Run::new(rustc).args(options).args([&program, &source]).finish();
        built.status.success().then_some((program, folder))
    };
    BUILT.get_or_init(build).as_ref().map(|(program, _)| program.as_path())
}

#[test]
fn a_guest_that_floods() {
    let Some(pair) = Pair::with_program("a_guest_that_floods") else { return };
    let flooding = pair.act(&["/hostile", "flood", "60"]);
    // Its own channel still carries what is asked of it.
    let begun = Instant::now();
    while pair.spore.sh(&pair.hostile, "grep -qs ^/hostile /proc/[0-9]*/cmdline && echo runs || true")
        != "runs"
    {
        assert!(begun.elapsed() < DEADLINE, "it does not flood");
    }
    pair.watch("a_guest_that_floods");
    pair.kill();
    drop(flooding);
}

#[test]
fn a_guest_that_answers_for_others() {
    let Some(pair) = Pair::with_program("a_guest_that_answers_for_others") else { return };
    let mut others = pair.spore.command(["exec", &pair.sibling, "--", "sleep", "3"]).start();
    // It ends its own sessions only, or is ended for what it said of them.
    pair.act(&["/hostile", "others"]).wait(DEADLINE).expect("it ends");
    assert!(others.wait(DEADLINE).expect("it ends").succeeds().stdout.is_empty());
    pair.watch("a_guest_that_answers_for_others");
    pair.kill();
}

#[test]
fn a_guest_that_lies() {
    for lie in ["lengths", "noise"] {
        let Some(pair) = Pair::with_program("a_guest_that_lies") else { return };
        let outcome = pair.act(&["/hostile", lie]).wait(DEADLINE).expect("it ends");
        println!("{lie}: {}", outcome.error().trim());
        pair.assert_ends_for("broke the protocol");
        pair.assert_unharmed();
        pair.kill();
    }
}

/// The agent is frozen with what it has: it reads nothing any more and answers nothing.
#[test]
fn a_guest_that_stalls() {
    const FREEZE: &str = "mkdir /cgroups; mount -t cgroup2 none /cgroups; mkdir /cgroups/frozen
        echo 1 >/cgroups/frozen/cgroup.procs; echo 1 >/cgroups/frozen/cgroup.freeze";
    let Some(pair) = Pair::fork("a_guest_that_stalls", &["--idle", "20s"]) else { return };
    let mut stalled = vec![pair.act(&["/bin/sh", "-ec", FREEZE])];
    let answers = || pair.act(&["true"]).wait(Duration::from_secs(10)).is_some();
    let begun = Instant::now();
    while answers() {
        assert!(begun.elapsed() < DEADLINE, "the agent is not frozen");
    }
    // Far more than is carried to a guest at once, from more clients than that would be enough for.
    let feed =
        || pair.spore.command(["exec", "-i", &pair.hostile, "--", "cat"]).stdin(vec![1; 4 << 20]).start();
    stalled.extend((0..16).map(|_| feed()));
    pair.watch("a_guest_that_stalls");
    assert_eq!(pair.described(&pair.hostile)["status"], "running", "it is not idle: clients wait for it");
    // They go. That the guest does not take note of it keeps nothing.
    drop(stalled);
    pair.assert_ends_for("idle");
    pair.kill();
}

#[test]
fn a_guest_that_fills_its_disk_and_forks_without_end() {
    /// More processes than a guest has that is in order.
    const MANY: u32 = 500;
    let test = "a_guest_that_fills_its_disk_and_forks_without_end";
    let Some(pair) = Pair::fork(test, &[]) else { return };
    let filled = pair.act(&["dd", "if=/dev/zero", "of=/full", "bs=1M"]).wait(DEADLINE).expect("it ends");
    assert!(filled.error().contains("No space left"), "{filled}");
    assert_eq!(pair.spore.sh(&pair.hostile, "echo here"), "here");
    // Its processes may all end at once, of a fork that fails; they are begun anew, and so is the one that begins them.
    let light = || pair.act(&["/bin/sh", "-c", "bomb() { bomb | bomb & }; while :; do bomb; wait; done"]);
    let mut bomb = light();
    // A guest that has no more processes, or no time for one, does not say how many there are.
    let count = || pair.act(&["/bin/sh", "-c", "set -- /proc/[0-9]*; echo $#"]).wait(Duration::from_secs(5));
    let begun = Instant::now();
    while count().is_some_and(|answer| answer.text().parse().is_ok_and(|count: u32| count < MANY)) {
        assert!(begun.elapsed() < DEADLINE, "it does not fork without end");
        if bomb.wait(Duration::ZERO).is_some() {
            bomb = light();
        }
    }
    pair.watch(test);
    pair.kill();
    drop(bomb);
}
