//! `spore exec`: what it has started in the guest ends with it, and neither sandbox nor supervisor has anything left of it.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::chance::Chance;
use crate::harness::needs::{Need, skipped};
use crate::harness::run::Run;
use crate::harness::shared::Shared;
use crate::harness::{processes, recipes};
use crate::scene::Scene;
use crate::victim::Whom;
use crate::{Trial, aftermath};

/// What is run until somebody has made `/tmp/again`: a program that is silent, one with a family, one that nobody can read
/// as fast as it writes, and one that reads.
const PROGRAMS: [&str; 4] = [
    "sleep 1000",
    "sleep 1000 & sleep 1000 | sleep 1000 & wait",
    "yes",
    "while read -r line; do :; done; sleep 1000",
];
/// What each process of it has in its environment.
const MARK: &str = "KILLED_EXEC=1";
/// How long the guest may take to end it.
const PATIENCE: Duration = Duration::from_secs(60);

struct Exec {
    scene: Scene,
    id: String,
    whole: Duration,
    /// Open descriptors of the supervisor without any exec.
    open: usize,
}

pub fn exec(test: &'static str) -> Option<Box<dyn Trial>> {
    if skipped(test, &[Need::Bake]) {
        return None;
    }
    let scene = Scene::new();
    let (name, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&scene.spore);
    let id = scene.spore.fork(&name, 1).remove(0);
    scene.spore.sh(&id, "echo kept >/tmp/kept");
    let once = scene.measure_twice(|spore| spore.command(["exec", &id, "--", "true"]), |_| ());
    let mut exec = Exec { scene, id, whole: 3 * once, open: 0 };
    exec.open = exec.descriptors();
    Some(Box::new(exec))
}

impl Exec {
    fn command(&self, program: &str) -> Run {
        let script = format!("test -e /tmp/again && exit; {program}");
        let args = ["exec", "-i", "--env", MARK, &self.id, "--", "/bin/sh", "-c", &script];
        self.scene.spore.command(args)
    }

    /// Open descriptors of the supervisor.
    fn descriptors(&self) -> usize {
        let sandbox = self.scene.spore.json(["ps"])["sandboxes"][0].clone();
        assert_eq!(sandbox["status"], "running");
        let pid = sandbox["supervisor_pid"].as_u64().unwrap();
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
    }

    /// What is left of it in the guest: processes, and what nobody has waited for.
    fn left_in_guest(&self) -> String {
        let script = format!(
            "for process in /proc/[0-9]*; do grep -q '{MARK}' $process/environ && cat $process/cmdline; \
             grep -q '^State:.Z' $process/status && echo zombie $process; done 2>/dev/null; true"
        );
        self.scene.spore.sh(&self.id, &script)
    }
}

impl Trial for Exec {
    fn kill(&mut self, _: usize, chance: &mut Chance) {
        let program = chance.one_of(&PROGRAMS);
        let killed =
            self.scene.kill(chance, self.command(program), self.whole, &[Whom::Command, Whom::Group]);
        assert!(!killed.was_done(), "{program} ends: {}", killed.ending.output);
        let end = Instant::now() + PATIENCE;
        loop {
            let (left, open) = (self.left_in_guest(), self.descriptors());
            if left.is_empty() && open <= self.open {
                break;
            }
            assert!(
                Instant::now() < end,
                "{program}: left in the guest: {left:?}; open: {open}, not {}",
                self.open
            );
        }
        self.scene.spore.sh(&self.id, "touch /tmp/again");
        self.command(program).finish().succeeds();
        assert_eq!(self.scene.spore.sh(&self.id, "rm /tmp/again; cat /tmp/kept"), "kept");
        let running = processes::in_folder(self.scene.root());
        assert_eq!(running.len(), 2, "an engine and a supervisor: {running:#?}");
        aftermath::assert_no_leftovers(self.scene.root());
    }
}

/// The one sandbox that there is.
pub fn sandbox(scene: &Scene) -> Value {
    let listed = scene.spore.json(["ps", "--all"]);
    assert_eq!(listed["sandboxes"].as_array().unwrap().len(), 1, "{listed}");
    listed["sandboxes"][0].clone()
}
