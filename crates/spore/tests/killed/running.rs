//! What a running sandbox consists of: its supervisor, which the next command replaces, and its engine, whose end is the
//! sandbox's.

use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::exec::sandbox;
use crate::harness::needs::{Need, skipped};
use crate::harness::processes::{self, Process};
use crate::harness::run::Run;
use crate::harness::shared::Shared;
use crate::harness::{files, qemu, recipes};
use crate::scene::{DEADLINE, Scene};
use crate::victim::{Victim, Whom};
use crate::{Trial, aftermath};

/// What an exec runs that is to be disturbed: it takes a while, and ends.
const PROGRAM: &str = "i=0; while [ $i -lt 20 ]; do echo $i; sleep 0.05; i=$((i+1)); done";
/// What a Spore's own failure makes `exec` exit with.
const SPORE_FAILED: i32 = 125;
/// How long it may take until a sandbox is known to be dead.
const PATIENCE: Duration = Duration::from_secs(60);

fn exec(scene: &Scene, id: &str) -> Run {
    scene.spore.command(["exec", id, "--", "/bin/sh", "-c", PROGRAM])
}

fn prepared(test: &'static str) -> Option<(Scene, String)> {
    if skipped(test, &[Need::Bake]) {
        return None;
    }
    let scene = Scene::new();
    let (name, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&scene.spore);
    Some((scene, name))
}

/// Killed beside an exec, and while an exec replaces one that was killed before.
struct Supervisor {
    scene: Scene,
    id: String,
    whole: Duration,
}

pub fn supervisor(test: &'static str) -> Option<Box<dyn Trial>> {
    let (scene, name) = prepared(test)?;
    let id = scene.spore.fork(&name, 1).remove(0);
    scene.spore.sh(&id, "echo kept >/tmp/kept");
    let whole = scene.measure_twice(|_| exec(&scene, &id), |_| ());
    Some(Box::new(Supervisor { scene, id, whole }))
}

impl Trial for Supervisor {
    fn kill(&mut self, turn: usize, chance: &mut Chance) {
        let (scene, id) = (&self.scene, &self.id);
        if turn % 2 == 1 {
            let supervisors = processes::in_folder(scene.root()).into_iter().filter(|one| !one.is_engine());
            processes::kill(&supervisors.collect::<Vec<_>>());
        }
        let killed = scene.kill(chance, exec(scene, id), self.whole, &[Whom::Supervisors]);
        if !killed.was_done() {
            assert_eq!(killed.ending.status.code(), Some(SPORE_FAILED), "{}", killed.ending.output);
            let output = &killed.ending.output;
            // Of the sandbox, or of the new supervisor.
            let says_what_to_do = output.contains("repeat") || output.contains("try again");
            assert!(output.contains(id) && says_what_to_do, "{output}");
        }
        let status = sandbox(scene)["status"].clone();
        assert!(status == "running" || status == "unsupervised", "{status}");
        exec(scene, id).finish().succeeds();
        assert_eq!(scene.spore.sh(id, "cat /tmp/kept"), "kept");
        assert_eq!(sandbox(scene)["status"], "running");
        let running = processes::in_folder(scene.root());
        assert_eq!(running.len(), 2, "an engine and a supervisor: {running:#?}");
        aftermath::assert_no_leftovers(scene.root());
    }
}

/// Killed beside an exec.
struct Engine {
    scene: Scene,
    name: String,
    whole: Duration,
}

pub fn engine(test: &'static str) -> Option<Box<dyn Trial>> {
    let (scene, name) = prepared(test)?;
    let id = scene.spore.fork(&name, 1).remove(0);
    let whole = scene.measure_twice(|_| exec(&scene, &id), |_| ());
    scene.spore.run(["kill", &id]).succeeds();
    Some(Box::new(Engine { scene, name, whole }))
}

impl Trial for Engine {
    fn kill(&mut self, _: usize, chance: &mut Chance) {
        let scene = &self.scene;
        let id = scene.spore.fork(&self.name, 1).remove(0);
        let killed = scene.kill(chance, exec(scene, &id), self.whole, &[Whom::Engines]);
        let output = &killed.ending.output;
        if !killed.was_done() {
            assert_eq!(killed.ending.status.code(), Some(SPORE_FAILED), "{output}");
            assert!(output.contains(&id), "{output}");
        }
        let end = Instant::now() + PATIENCE;
        while !sandbox(scene)["status"]["dead"].is_object() {
            assert!(Instant::now() < end, "{}", sandbox(scene));
        }
        let again = exec(scene, &id).finish().exits_with(SPORE_FAILED);
        again.says(&[&id, "not running", "spore logs", "spore kill"]);
        scene.spore.run(["kill", &id]).succeeds();
        scene.assert_nothing_runs();
        let id = scene.spore.fork(&self.name, 1).remove(0);
        exec(scene, &id).finish().succeeds();
        aftermath::assert_all_ends(&scene.spore);
    }
}

/// The worst moment: its engine runs already, and no record names it yet.
#[test]
fn a_supervisor_that_dies_while_its_engine_starts() {
    const TEST: &str = "killed_anywhere::a_supervisor_that_dies_while_its_engine_starts";
    let Some((scene, name)) = prepared(TEST) else { return };
    // An engine that begins and comes no further.
    let folder = files::scratch("qemu");
    let engine = qemu::that_first(folder.path(), "kill -STOP $$");
    for _ in 0..3 {
        let fork = scene.spore.command(["fork", &name]).env("SPORE_QEMU", &engine);
        let mut victim = Victim::start(fork, &scene.output);
        victim.wait_for(DEADLINE, || processes::in_folder(scene.root()).iter().any(Process::is_engine));
        victim.kill(Whom::Supervisors, scene.root());
        let ending = victim.wait(DEADLINE);
        assert_eq!(ending.status.code(), Some(1), "{}", ending.output);
        assert!(ending.output.contains("its supervisor has ended"), "{}", ending.output);
        // The command has seen to it before it ended.
        let left = processes::in_folder(scene.root());
        assert!(left.is_empty(), "left behind: {left:#?}");
        aftermath::assert_all_ends(&scene.spore);
    }
    scene.spore.fsck();
}
