//! Ctrl-C: the command says that it was interrupted, and leaves nothing, at once.

use std::path::PathBuf;
use std::time::Duration;

use crate::aftermath;
use crate::chance::{Chance, seed};
use crate::harness::needs::{Need, skipped};
use crate::harness::run::Run;
use crate::harness::shared::{Shared, seed_cache};
use crate::harness::{Spore, files, processes, recipes};
use crate::scene::{DEADLINE, Scene};
use crate::victim::Victim;

/// How long one may have to wait after Ctrl-C on a busy machine with a slow disk.
const PATIENCE: Duration = Duration::from_secs(60);
const MOMENTS: usize = 5;

#[test]
fn an_interrupted_bake() {
    const TEST: &str = "killed_anywhere::an_interrupted_bake";
    if skipped(TEST, &[Need::Bake]) {
        return;
    }
    Shared::of(&recipes::shipped("tiny"));
    let (scene, seed) = (Scene::new(), said_seed(TEST));
    seed_cache(scene.root());
    let recipe = recipes::shipped("tiny");
    let args = ["bake".as_ref(), recipe.as_os_str(), "--name".as_ref(), "baked:latest".as_ref()];
    let whole = scene.measure(scene.spore.command(args));
    for number in 0..MOMENTS {
        scene.spore.run(["rm", "baked"]).succeeds();
        scene.spore.run(["prune"]).succeeds();
        let command = scene.spore.command(args);
        if scene.interrupt(command, Chance::of(seed, TEST, number).moment(whole)) {
            continue;
        }
        assert_eq!(aftermath::tags(&scene.spore), Vec::<PathBuf>::new());
        assert_eq!(files::entries(&scene.root().join("partial")), Vec::<PathBuf>::new());
        scene.spore.fsck();
        scene.spore.command(args).deadline(DEADLINE).finish().succeeds();
    }
}

/// What is waited for longest is the guest: that it becomes warm, for up to its recipe's deadline.
#[test]
fn a_bake_that_waits_is_interrupted_at_once() {
    const TEST: &str = "killed_anywhere::a_bake_that_waits_is_interrupted_at_once";
    if skipped(TEST, &[Need::Bake]) {
        return;
    }
    Shared::of(&recipes::shipped("tiny"));
    let (scene, seed) = (Scene::new(), said_seed(TEST));
    seed_cache(scene.root());
    let never = "[warm]\ncommand = [\"/bin/sleep\", \"1000\"]\n[warm.ready]\nfile = \"/never\"\ndeadline = \"600s\"\n";
    let recipe = recipes::changed("tiny", "never", never);
    let mut victim =
        Victim::start(scene.spore.command(["bake".as_ref(), recipe.path().as_os_str()]), &scene.output);
    victim.wait_for(DEADLINE, || !processes::in_folder(&scene.root().join("tmp")).is_empty());
    let moment = victim.age() + Chance::of(seed, TEST, 0).moment(Duration::from_secs(8));
    victim.until(moment);
    victim.interrupt();
    scene.assert_interrupted(victim, moment);
    assert_eq!(aftermath::tags(&scene.spore), Vec::<PathBuf>::new());
    scene.spore.fsck();
}

#[test]
fn an_interrupted_pull() {
    const TEST: &str = "killed_anywhere::an_interrupted_pull";
    if skipped(TEST, &[Need::Bake]) {
        return;
    }
    let (scene, seed) = (Scene::new(), said_seed(TEST));
    let shared = Shared::of(&recipes::shipped("tiny"));
    let args = ["pull", "--hub", shared.hub.to_str().unwrap(), &shared.name];
    let forget = |spore: &Spore| {
        spore.run(["rm", &shared.name]).succeeds();
        spore.run(["prune"]).succeeds();
    };
    let whole = scene.measure_twice(|spore| spore.command(args), forget);
    for number in 0..2 * MOMENTS {
        forget(&scene.spore);
        let command = scene.spore.command(args);
        scene.interrupt(command, Chance::of(seed, TEST, number).moment(whole));
        // The tag is there only if all that it leads to is: an interruption may come when all was done but the goodbye.
        scene.spore.fsck();
        scene.spore.run(args).succeeds();
    }
}

/// The seed, which is printed.
fn said_seed(test: &str) -> u64 {
    let seed = seed();
    println!("{test}: SPORE_TEST_SEED={seed}");
    seed
}

impl Scene {
    /// Interrupts a command at a moment, and asserts that it says so and leaves nothing. Says whether it was done
    /// before.
    #[track_caller]
    fn interrupt(&self, command: Run, moment: Duration) -> bool {
        let mut victim = Victim::start(command, &self.output);
        victim.until(moment);
        victim.interrupt();
        self.assert_interrupted(victim, moment)
    }

    #[track_caller]
    fn assert_interrupted(&self, victim: Victim, moment: Duration) -> bool {
        let ending = victim.wait(PATIENCE);
        let late = ending.after.saturating_sub(moment);
        println!("  interrupted after {moment:?}: {} after {late:?}", ending.status);
        // Nothing swept yet: it has tidied up by itself, or had not begun.
        aftermath::assert_no_leftovers(self.root());
        let processes = processes::in_folder(self.root());
        assert!(processes.is_empty(), "left behind: {processes:?}");
        if ending.status.success() {
            return true;
        }
        // In its first milliseconds it is ended as any program is.
        if !ending.was_killed() {
            assert_eq!(ending.status.code(), Some(130), "{}", ending.output);
            assert!(ending.output.contains("interrupted"), "{}", ending.output);
        }
        false
    }
}
