//! A killed supervisor takes nothing with it: the VM runs on, the next command takes it up, and its time limit still holds.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

mod harness;

use std::path::{Path, PathBuf};
use std::time::Instant;

use harness::needs::{Need, skipped};
use harness::run::{DEADLINE, in_parallel};
use harness::shared::Shared;
use harness::{Spore, processes, qemu, recipes};
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
        assert!(begun.elapsed() < DEADLINE, "{what}: {}", sandbox(spore));
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

/// A QEMU that tries first to read a file of the user, as a guest would that has taken it over.
fn engine_that_looks_around(outside: &Path) -> PathBuf {
    std::fs::write(outside.join("key"), "of the host").expect("a file");
    let folder = outside.join("bin");
    std::fs::create_dir(&folder).expect("a folder");
    // Asked for its version and the like, it works elsewhere and is not confined.
    qemu::that_first(&folder, &format!("cat {}/key ../../config.toml >seen 2>&1", outside.display()))
}

#[test]
fn what_runs_beside_a_guest_has_no_credentials() {
    if skipped("supervisors_are_crash_only::what_runs_beside_a_guest_has_no_credentials", &[Need::Bake]) {
        return;
    }
    let outside = tempfile::tempdir().expect("a folder");
    let engine = engine_that_looks_around(outside.path());
    let spore = Spore::new().env("AWS_SECRET_ACCESS_KEY", "of the host").env("SPORE_QEMU", engine);
    let (snapshot, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&spore);
    let id = spore.fork(&snapshot, 1).remove(0);
    let seen = spore.root().join("sandboxes").join(id).join("seen");
    let seen = std::fs::read_to_string(seen).expect("it writes in its folder");
    assert!(!seen.contains("of the host"), "{seen}");
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
    spore.run(["fork", &snapshot, "--ttl", "1h"]).succeeds();
    kill(&sandbox(&spore)["supervisor_pid"]);
    wait_for(&spore, "its supervisor is gone", |sandbox| sandbox["status"] == "unsupervised");
    // An hour passes.
    let id = sandbox(&spore)["id"].as_str().expect("an id").to_owned();
    let file = spore.root().join("sandboxes").join(id).join("record.json");
    let mut record: Value = serde_json::from_slice(&std::fs::read(&file).expect("a record")).expect("JSON");
    record["ends_at"] = 1.into();
    std::fs::write(&file, record.to_string()).expect("it can be written");
    wait_for(&spore, "its time limit has passed", |sandbox| {
        sandbox["status"]["dead"]["reason"] == "its time limit has passed"
    });
    spore.run(["kill", "--all"]).succeeds();
    spore.run(["fork", &snapshot, "--ttl", "10s"]).succeeds();
    wait_for(&spore, "its supervisor ends it", |sandbox| {
        sandbox["status"]["dead"]["reason"] == "its time limit has passed"
    });
    spore.run(["kill", "--all"]).succeeds();
    spore.assert_no_sandboxes();
}
