//! A sandbox, and what is asked of it.

use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::needs::{Need, skipped};
use crate::harness::run::{DEADLINE, Run};
use crate::harness::shared::Shared;
use crate::harness::{Spore, recipes};

/// The recipe of a guest that has nothing but BusyBox.
pub const TINY: &str = "tiny";
/// The recipe of a guest that evaluates Python.
pub const PYTHON: &str = "python-numpy";

/// A sandbox and the `spore` that has it.
pub struct Guest {
    pub spore: Spore,
    pub id: String,
}

impl Guest {
    /// A fork of a recipe's snapshot; `None`, which is said, if `test` cannot run here.
    pub fn of(recipe: &str, test: &str) -> Option<Self> {
        if skipped(&format!("exec_and_eval::{test}"), &[Need::Bake]) {
            return None;
        }
        let spore = Spore::new();
        let (snapshot, _) = Shared::of(&recipes::shipped(recipe)).pull_into(&spore);
        let id = spore.fork(&snapshot, 1).remove(0);
        Some(Self { spore, id })
    }

    /// `spore exec OPTIONS ID -- COMMAND`.
    pub fn exec(&self, options: &[&str], command: &[&str]) -> Run {
        self.spore.command([&["exec"], options, &[&self.id, "--"], command].concat())
    }

    /// `spore exec OPTIONS ID -- /bin/sh -c SCRIPT`.
    pub fn script(&self, options: &[&str], script: &str) -> Run {
        self.exec(options, &["/bin/sh", "-c", script])
    }

    /// What a shell script prints; it is to succeed.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.spore.sh(&self.id, script)
    }

    /// `spore eval ID CODE`.
    pub fn eval(&self, code: &str) -> Run {
        self.spore.command(["eval", &self.id, code])
    }

    /// Sends a signal to its engine.
    #[track_caller]
    pub fn signal_engine(&self, signal: Signal) {
        let pid = self.spore.json(["ps"])["sandboxes"][0]["engine_pid"].as_i64();
        let pid = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.expect("a process"), signal).expect("it runs");
    }

    /// Asks with a shell script until it prints `expected`.
    #[track_caller]
    pub fn wait_until(&self, script: &str, expected: &str) {
        let begun = Instant::now();
        loop {
            let found = self.sh(script);
            if found == expected {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "{script:?} gives {found:?}: expected {expected:?}");
        }
    }
}

/// Kills the supervisor of the only sandbox, and waits until that is seen.
#[track_caller]
pub fn kill_supervisor(spore: &Spore) {
    let sandbox = || spore.json(["ps"])["sandboxes"][0].clone();
    let pid =
        sandbox()["supervisor_pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    kill_process(pid.expect("a process"), Signal::KILL).expect("it runs");
    let begun = Instant::now();
    while sandbox()["status"] != "unsupervised" {
        assert!(begun.elapsed() < DEADLINE, "{}", sandbox());
    }
}
