//! Whatever is killed, whenever: the store is whole, the same command then succeeds, and nothing runs on unseen.
//!
//! The moments are random and printed; `SPORE_TEST_SEED` repeats them as far as a clock can, `SPORE_TEST_KILLS` says how
//! many there are for each test (`make soak`: 100, of push and pull).

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test says is its output")]
#![allow(unreachable_pub, reason = "modules of a test")]

#[path = "killed/aftermath.rs"]
mod aftermath;
#[path = "killed/chance.rs"]
mod chance;
mod harness;
#[path = "killed/interrupted.rs"]
mod interrupted;
#[path = "killed/places.rs"]
mod places;
#[path = "killed/small_disk.rs"]
mod small_disk;
#[path = "killed/supervisors.rs"]
mod supervisors;
#[path = "killed/transfers.rs"]
mod transfers;
#[path = "killed/victim.rs"]
mod victim;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chance::{Chance, moments};
use harness::needs::{Need, skipped};
use harness::run::Run;
use harness::shared::{Shared, seed_cache};
use harness::{Spore, processes, recipes};
use victim::{Victim, Whom};

/// How long a command may take that nobody disturbs.
const DEADLINE: Duration = Duration::from_secs(240);

/// A host on which one thing after another is killed.
struct Scene {
    test: &'static str,
    chance: Chance,
    spore: Spore,
    output: PathBuf,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn new(test: &'static str) -> Self {
        let folder = harness::files::scratch("killed");
        let output = folder.path().join("output");
        // Whether KVM works is found out by a guest with ten seconds to boot, once for each root: not what is tested here.
        let spore = Spore::new().env("SPORE_ACCEL", "tcg");
        Self { test, chance: Chance::new(test), spore, output, _folder: folder }
    }

    fn root(&self) -> &Path {
        self.spore.root()
    }

    /// Runs a command undisturbed, and says how long it took.
    #[track_caller]
    fn measure(&self, command: Run) -> Duration {
        let started = Instant::now();
        command.deadline(DEADLINE).finish().succeeds();
        started.elapsed()
    }

    /// The same for a command that takes so little time that its first run, with all files cold, says too much.
    #[track_caller]
    fn measure_twice(&self, command: impl Fn(&Spore) -> Run, undo: impl Fn(&Spore)) -> Duration {
        let first = self.measure(command(&self.spore));
        undo(&self.spore);
        first.min(self.measure(command(&self.spore)))
    }

    /// Starts the command, kills one of `whom` at a random moment of the time that it takes, and asserts that the store is
    /// whole.
    #[track_caller]
    fn kill(&mut self, command: Run, whole: Duration, whom: &[Whom]) -> Killed {
        let (moment, whom) = (self.chance.moment(whole), self.chance.one_of(whom));
        let mut victim = Victim::start(command, &self.output);
        victim.until(moment);
        victim.kill(whom, self.root());
        let ending = victim.wait(DEADLINE);
        println!("{}: {whom:?} killed after {moment:?} of {whole:?}: {}", self.test, ending.status);
        let is_its_own = matches!(whom, Whom::Command | Whom::Group | Whom::Everything);
        assert!(!is_its_own || ending.status.success() || ending.was_killed(), "{}", ending.output);
        if !is_its_own && !ending.status.success() {
            // It has lived to see what it needs go, and to tidy up.
            self.spore.assert_no_sandboxes();
            let left = processes::in_folder(self.root());
            assert!(left.is_empty(), "left behind: {left:#?}");
        }
        self.spore.fsck();
        Killed { whom, was_done: ending.status.success() }
    }
}

/// Who was killed, and whether the command had succeeded before, or in spite of it.
struct Killed {
    whom: Whom,
    was_done: bool,
}

/// Those who are killed where nothing is left running on purpose.
const ANYBODY: &[Whom] = &[Whom::Command, Whom::Group, Whom::Everything];

#[test]
fn a_killed_bake() {
    if skipped("killed_anywhere::a_killed_bake", &[Need::Bake]) {
        return;
    }
    Shared::of(&recipes::shipped("tiny"));
    let mut scene = Scene::new("killed_anywhere::a_killed_bake");
    seed_cache(scene.root());
    let recipe = recipes::shipped("tiny");
    let bake = |spore: &Spore| {
        spore.command(["bake".as_ref(), recipe.as_os_str(), "--name".as_ref(), "baked:latest".as_ref()])
    };
    let whole = scene.measure(bake(&scene.spore));
    for number in 0..moments() {
        // Each second kill meets what the one before it has left: only then is it shown that the command puts that right,
        // which takes the longest of all that is done here.
        let is_second = number % 2 == 1;
        if !is_second {
            scene.spore.run(["rm", "baked"]).succeeds();
            scene.spore.run(["prune"]).succeeds();
        }
        let command = bake(&scene.spore);
        let was_done = scene.kill(command, whole, &[ANYBODY, &[Whom::Detached]].concat()).was_done;
        assert!(aftermath::tags(&scene.spore).len() <= 1);
        if is_second && !was_done {
            bake(&scene.spore).deadline(DEADLINE).finish().succeeds();
        }
        aftermath::assert_all_ends(&scene.spore);
    }
    bake(&scene.spore).deadline(DEADLINE).finish().succeeds();
    scene.spore.fork("baked", 1);
    aftermath::assert_all_ends(&scene.spore);
}

#[test]
fn a_killed_fork() {
    const COUNT: usize = 3;
    if skipped("killed_anywhere::a_killed_fork", &[Need::Bake]) {
        return;
    }
    let mut scene = Scene::new("killed_anywhere::a_killed_fork");
    let (name, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&scene.spore);
    let args = ["fork", &name, "-n", &COUNT.to_string()];
    let whole = scene.measure_twice(|spore| spore.command(args), aftermath::assert_all_ends);
    aftermath::assert_all_ends(&scene.spore);
    for number in 0..moments() {
        if number % 4 == 0 {
            // With what is to be laid out gone again.
            let flat = scene.root().join("flat");
            harness::files::entries(&flat).iter().for_each(|file| fs::remove_file(file).unwrap());
        }
        let command = scene.spore.command(args);
        let killed = scene.kill(command, whole, &[ANYBODY, &[Whom::Detached, Whom::Supervisors]].concat());
        if matches!(killed.whom, Whom::Command | Whom::Group) && !killed.was_done {
            // Nobody has seen their names: they end by themselves, unless it had just let go of all of them.
            aftermath::assert_none_runs_or(&scene.spore, COUNT);
            aftermath::assert_all_ends(&scene.spore);
        }
        assert_eq!(scene.spore.fork(&name, COUNT).len(), COUNT);
        aftermath::assert_all_ends(&scene.spore);
    }
}

#[test]
fn a_killed_rm_and_prune() {
    if skipped("killed_anywhere::a_killed_rm_and_prune", &[Need::Bake]) {
        return;
    }
    let mut scene = Scene::new("killed_anywhere::a_killed_rm_and_prune");
    let recipe = recipes::changed("tiny", "other", "");
    let (kept, other) = (Shared::of(&recipes::shipped("tiny")), Shared::of(recipe.path()));
    let (kept, _) = kept.pull_into(&scene.spore);
    let running = scene.spore.fork(&kept, 1);
    let (rm, prune) = (["rm", other.name.as_str()], ["prune"]);
    let make_garbage = |spore: &Spore| {
        other.pull_into(spore);
        let ids = spore.fork(&other.name, 1);
        spore.run(["kill", &ids[0]]).succeeds();
    };
    make_garbage(&scene.spore);
    let rm_time = scene.measure(scene.spore.command(rm));
    let prune_time = scene.measure(scene.spore.command(prune));
    for _ in 0..moments() {
        make_garbage(&scene.spore);
        let command = scene.spore.command(rm);
        scene.kill(command, rm_time, &[Whom::Command]);
        let again = scene.spore.run(rm);
        // It may have been done already: that is said.
        assert!(matches!(again.status.code(), Some(0 | 3)), "{again}");
        assert_eq!(aftermath::tags(&scene.spore).len(), 1);
        let command = scene.spore.command(prune);
        scene.kill(command, prune_time, &[Whom::Command]);
        scene.spore.run(prune).succeeds();
        let left = scene.spore.json(["prune", "--dry-run"]);
        assert_eq!(left["plan"]["items"], serde_json::json!([]));
        aftermath::assert_no_leftovers(scene.root());
        // What is in use, and shares nearly all with what went, was left alone.
        assert_eq!(scene.spore.sh(&running[0], "echo here"), "here");
    }
    scene.spore.fork(&kept, 1);
    aftermath::assert_all_ends(&scene.spore);
}
