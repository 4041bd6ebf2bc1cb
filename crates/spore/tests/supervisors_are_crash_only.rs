//! A killed supervisor takes nothing with it: the VM runs on, the next command takes it up, and its time limit still holds.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

mod harness;

use std::time::{Duration, Instant};

use harness::needs::{Need, skipped};
use harness::run::in_parallel;
use harness::shared::Shared;
use harness::{Spore, processes, recipes};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn sandbox(spore: &Spore) -> Value {
    spore.json(["ps", "-a"])["sandboxes"][0].clone()
}

fn kill(pid: &Value) {
    let pid = i32::try_from(pid.as_i64().expect("a pid")).expect("a pid");
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("it can be killed");
}

/// Asks `ps` until it says so.
fn wait_for(spore: &Spore, what: &str, holds: impl Fn(&Value) -> bool) {
    let begun = Instant::now();
    while !holds(&sandbox(spore)) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: {}", sandbox(spore));
    }
}

#[test]
fn supervisors_are_crash_only() {
    if skipped("supervisors_are_crash_only", &[Need::Bake]) {
        return;
    }
    let spore = Spore::new();
    let (snapshot, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&spore);
    let id = spore.fork(&snapshot, 1).remove(0);
    spore.sh(&id, "echo kept >/tmp/file");

    kill(&sandbox(&spore)["supervisor_pid"]);
    wait_for(&spore, "its supervisor is gone", |sandbox| sandbox["status"] == "unsupervised");
    // Several at once take it up: one does, and all are served.
    let answers = in_parallel(&[1, 2, 3], |_| spore.sh(&id, "cat /tmp/file"));
    assert!(answers.iter().all(|answer| answer.trim() == "kept"), "{answers:?}");
    assert_eq!(sandbox(&spore)["status"], "running");

    kill(&sandbox(&spore)["engine_pid"]);
    wait_for(&spore, "its engine is gone", |sandbox| sandbox["status"]["dead"].is_object());
    spore.run(["exec", &id, "--", "true"]).exits_with(125).says(&[&id, "not running"]);
    spore.run(["prune"]).succeeds();
    spore.assert_no_sandboxes();
}

#[test]
fn what_runs_beside_a_guest_has_no_credentials() {
    if skipped("supervisors_are_crash_only::what_runs_beside_a_guest_has_no_credentials", &[Need::Bake]) {
        return;
    }
    let spore = Spore::new().env("AWS_SECRET_ACCESS_KEY", "of the host");
    let (snapshot, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&spore);
    spore.fork(&snapshot, 1);
    // The supervisor that the fork started, and the one that takes over.
    for _ in 0..2 {
        let running = processes::in_folder(&spore.root().join("sandboxes"));
        assert_eq!(running.len(), 2, "an engine and a supervisor: {running:?}");
        for process in running {
            let environment = std::fs::read(format!("/proc/{}/environ", process.pid)).expect("it runs");
            let environment = String::from_utf8_lossy(&environment);
            assert!(!environment.contains("of the host"), "{process:?}: {environment}");
        }
        kill(&sandbox(&spore)["supervisor_pid"]);
        wait_for(&spore, "its supervisor is gone", |sandbox| sandbox["status"] == "unsupervised");
        spore.sh(sandbox(&spore)["id"].as_str().expect("an id"), "true");
    }
}

#[test]
fn a_time_limit_outlives_the_supervisor() {
    if skipped("supervisors_are_crash_only::a_time_limit_outlives_the_supervisor", &[Need::Bake]) {
        return;
    }
    let spore = Spore::new();
    let (snapshot, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&spore);
    spore.run(["fork", &snapshot, "--ttl", "3s"]).succeeds();
    kill(&sandbox(&spore)["supervisor_pid"]);
    wait_for(&spore, "its time limit has passed", |sandbox| {
        sandbox["status"]["dead"]["reason"] == "its time limit has passed"
    });
    spore.run(["kill", "--all"]).succeeds();
    spore.run(["fork", &snapshot, "--ttl", "2s"]).succeeds();
    wait_for(&spore, "its supervisor ends it", |sandbox| {
        sandbox["status"]["dead"]["reason"] == "its time limit has passed"
    });
    spore.run(["kill", "--all"]).succeeds();
    spore.assert_no_sandboxes();
}
